namespace Conformance.Kernel;

/// <summary>
/// Kernel parameters below <c>/proc/sys</c>, as sysctl(8) names them. A slash in a name stands for itself, as in
/// <c>net/ipv4/conf/eth0.100/rp_filter</c>; otherwise dots separate. <c>net.*</c> is the calling thread's namespace.
/// </summary>
public static class Sysctl
{
    public static string Read(string name)
    {
        try
        {
            return File.ReadAllText(PathOf(name)).Trim();
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw Explain("read", name, e);
        }
    }

    public static string Read(NetworkNamespace ns, string name) => ns.Run(() => Read(name));

    public static void Write(string name, string value)
    {
        try
        {
            File.WriteAllText(PathOf(name), value);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw Explain($"write '{value}' to", name, e);
        }
    }

    public static void Write(NetworkNamespace ns, string name, string value) => ns.Run(() => Write(name, value));

    public static bool Exists(string name) => File.Exists(PathOf(name));

    private static string PathOf(string name) =>
        $"/proc/sys/{(name.Contains('/', StringComparison.Ordinal) ? name : name.Replace('.', '/'))}";

    private static IOException Explain(string verb, string name, Exception cause) =>
        new($"Cannot {verb} the sysctl {name}: {cause.Message}", cause);
}
