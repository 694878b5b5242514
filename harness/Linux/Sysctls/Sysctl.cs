using System.Text;
using Conformance.Linux.Interop;
using Conformance.Linux.Namespaces;

namespace Conformance.Linux.Sysctls;

/// <summary>
/// Kernel parameters below <c>/proc/sys</c>, as sysctl(8) names them. A slash in a name stands for itself, as in
/// <c>net/ipv4/conf/eth0.100/rp_filter</c>; otherwise dots separate. <c>net.*</c> is the calling thread's namespace.
/// </summary>
public static class Sysctl
{
    /// <summary>The value in the calling thread's namespace.</summary>
    /// <exception cref="IOException">There is no such sysctl, or it cannot be read.</exception>
    public static string Read(string name)
    {
        try
        {
            return File.ReadAllText(PathOf(name)).Trim();
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new IOException($"Cannot read the sysctl {name}: {e.Message}", e);
        }
    }

    /// <summary>The value in a namespace.</summary>
    /// <exception cref="IOException">There is no such sysctl, or it cannot be read.</exception>
    public static string Read(NetworkNamespace ns, string name) => ns.Run(() => Read(name));

    /// <summary>The value; null where the kernel has no such sysctl.</summary>
    public static string? TryRead(NetworkNamespace ns, string name) => ns.Run(() => Exists(name) ? Read(name) : null);

    /// <summary>Sets a value in the calling thread's namespace.</summary>
    /// <exception cref="KernelException">There is no such sysctl (ENOENT), or it does not take the value (EINVAL).</exception>
    public static void Write(string name, string value)
    {
        // Three system calls; File.WriteAllText makes three times as many, and a lab sets hundreds.
        var fd = Libc.open(PathOf(name), Libc.O_WRONLY | Libc.O_CLOEXEC);
        if (fd < 0)
            throw KernelException.FromErrno($"open the sysctl {name}");
        var bytes = Encoding.ASCII.GetBytes(value);
        var written = Libc.write(fd, bytes, (nuint)bytes.Length);
        var failure = written < 0 ? KernelException.FromErrno($"write '{value}' to the sysctl {name}") : null;
        _ = Libc.close(fd);
        if (failure is not null)
            throw failure;
    }

    /// <summary>Sets a value in a namespace.</summary>
    /// <exception cref="KernelException">There is no such sysctl (ENOENT), or it does not take the value (EINVAL).</exception>
    public static void Write(NetworkNamespace ns, string name, string value) => ns.Run(() => Write(name, value));

    /// <summary>
    /// Whether there is such a sysctl and root may write it in this namespace; global ones can be written in the first alone.
    /// </summary>
    public static bool IsWritable(NetworkNamespace ns, string name) =>
        ns.Run(() => Exists(name) && File.GetUnixFileMode(PathOf(name)).HasFlag(UnixFileMode.UserWrite));

    /// <summary>Whether the calling thread's namespace has such a sysctl.</summary>
    public static bool Exists(string name) => File.Exists(PathOf(name));

    private static string PathOf(string name) =>
        $"/proc/sys/{(name.Contains('/', StringComparison.Ordinal) ? name : name.Replace('.', '/'))}";
}
