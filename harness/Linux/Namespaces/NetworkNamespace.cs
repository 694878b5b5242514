using System.Diagnostics.CodeAnalysis;
using System.Runtime.InteropServices;
using Conformance.Linux.Interop;

namespace Conformance.Linux.Namespaces;

/// <summary>
/// A network namespace, held open by a file descriptor of this process and by nothing else: when the process
/// ends, however it ends, the namespace and all that is in it end too.
/// </summary>
/// <remarks>
/// <para>
/// This class is the only way into one. A namespace belongs to a thread; a socket to the namespace that it was created in;
/// a child process to the one of the thread that started it. <see cref="Run{T}"/> carries out short synchronous
/// work inside: create and bind sockets, start a non-blocking connect, read <c>/proc/thread-self/net</c>, write
/// <c>/proc/sys/net</c>. Sockets made inside are awaited outside.
/// </para>
/// <para>
/// Inside there is nothing asynchronous, no pool work, no logging, no name resolution: whatever starts a thread
/// there leaves that thread in the namespace. Commands are started by <see cref="Processes.Tool"/>, which starts no thread, or by a
/// program that enters by itself (<see cref="Path"/> and nsenter(1)). The calling thread does the work, and is back before the result is
/// returned: a thread of our own for it would cost twelve system calls more.
/// </para>
/// <para>Sources: network_namespaces(7), setns(2).</para>
/// </remarks>
public sealed class NetworkNamespace : IDisposable
{
    private readonly int _fd;
    private int _disposed;

    private NetworkNamespace(string name, int fd)
    {
        Name = name;
        _fd = fd;
        Inode = InodeOf($"/proc/self/fd/{fd}");
    }

    /// <summary>The name, for messages; the kernel does not know it.</summary>
    public string Name { get; }

    /// <summary>The inode number, by which the kernel tells namespaces apart.</summary>
    public ulong Inode { get; }

    /// <summary>A path by which another process can open the namespace while this process lives, as nsenter(1) takes it.</summary>
    public string Path => string.Create(System.Globalization.CultureInfo.InvariantCulture, $"/proc/{Environment.ProcessId}/fd/{_fd}");

    /// <summary>The words before a command line that start it in the namespace.</summary>
    public IReadOnlyList<string> Enter => ["nsenter", $"--net={Path}", "--"];

    /// <summary>The inode number of the namespace that this process was started in.</summary>
    public static ulong RootInode { get; } = InodeOf("/proc/self/ns/net");

    /// <summary>Makes a new, empty namespace (its <c>lo</c> is down).</summary>
    /// <exception cref="KernelException">CAP_SYS_ADMIN is lacking (EPERM), or too many namespaces (ENOSPC).</exception>
    public static NetworkNamespace Create(string name) => new(name, Visit.Create(name));

    /// <summary>Opens a namespace that exists, such as <c>/proc/PID/ns/net</c> or <c>/run/netns/NAME</c>.</summary>
    public static NetworkNamespace Open(string name, string path) => new(name, OpenFile(path));

    /// <summary>Runs synchronous work inside the namespace and returns its result. Exceptions pass through.</summary>
    public T Run<T>(Func<T> work)
    {
        ObjectDisposedException.ThrowIf(_disposed != 0, this);
        // The generator visits its own namespace: that needs no system call.
        return Inode == RootInode && Inode != 0 && !Visit.IsInside ? work() : Visit.Run(_fd, work);
    }

    /// <summary>Runs synchronous work inside the namespace.</summary>
    public void Run(Action work) => Run(() =>
    {
        work();
        return true;
    });

    /// <summary>Always an error of the compiler: asynchronous work must not run inside a namespace.</summary>
    [Obsolete("Asynchronous work would go on in another thread, outside the namespace: create the socket inside, await it outside.",
        error: true)]
    [SuppressMessage("Design", "CA1822", Justification = "Must look like Run.")]
    public Task<T> Run<T>(Func<Task<T>> work) => throw new NotSupportedException();

    /// <summary>Always an error of the compiler: asynchronous work must not run inside a namespace.</summary>
    [Obsolete("Asynchronous work would go on in another thread, outside the namespace: create the socket inside, await it outside.",
        error: true)]
    [SuppressMessage("Design", "CA1822", Justification = "Must look like Run.")]
    public Task Run(Func<Task> work) => throw new NotSupportedException();

    /// <summary>Lets the namespace go. The kernel destroys it when no thread, process or socket is left in it.</summary>
    public void Dispose()
    {
        if (Interlocked.Exchange(ref _disposed, 1) == 0)
            _ = Libc.close(_fd);
    }

    /// <inheritdoc/>
    public override string ToString() => Name;

    /// <summary>The number in <c>net:[4026531840]</c>, which readlink(2) shows for a namespace's file; 0 when the file is gone.</summary>
    internal static ulong InodeOf(string path)
    {
        try
        {
            var target = new FileInfo(path).LinkTarget;
            if (target is null || !target.StartsWith("net:[", StringComparison.Ordinal))
                return 0;
            return ulong.Parse(target.AsSpan(5, target.Length - 6), System.Globalization.CultureInfo.InvariantCulture);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return 0;
        }
    }

    internal static int OpenFile(string path)
    {
        var fd = Libc.open(path, Libc.O_RDONLY | Libc.O_CLOEXEC);
        return fd >= 0 ? fd : throw KernelException.FromErrno($"open {path}");
    }
}
