namespace Conformance.Suite;

/// <summary>The versions of the tools that the tests use, as the package system has them: asking each tool would cost a process.</summary>
internal static class ToolVersions
{
    private const string DpkgStatus = "/var/lib/dpkg/status";
    private static readonly string[] s_packages = ["ipvsadm", "ipset", "iptables", "iproute2", "conntrack", "nginx-light", "curl"];

    internal static IReadOnlyDictionary<string, string> Read()
    {
        var versions = new Dictionary<string, string>(StringComparer.Ordinal);
        if (!File.Exists(DpkgStatus))
            return versions;
        string? package = null;
        foreach (var line in File.ReadLines(DpkgStatus))
        {
            if (line.StartsWith("Package: ", StringComparison.Ordinal))
                package = line["Package: ".Length..];
            else if (line.StartsWith("Version: ", StringComparison.Ordinal) && s_packages.Contains(package, StringComparer.Ordinal))
                versions[package!] = line["Version: ".Length..];
        }
        return versions;
    }
}
