using Conformance.Labs;

namespace Conformance.Suite;

/// <summary>The versions of the tools that the tests use, as the package system has them: asking each tool would cost a process.</summary>
internal static class ToolVersions
{
    private const string DpkgStatus = "/var/lib/dpkg/status";

    private static readonly Lazy<IReadOnlyDictionary<string, string>> s_versions = new(Read);

    /// <summary>The versions by package.</summary>
    internal static IReadOnlyDictionary<string, string> All => s_versions.Value;

    /// <summary>The version of a package; empty where the package system does not know it.</summary>
    internal static string Of(string package) => All.GetValueOrDefault(package, "");

    private static IReadOnlyDictionary<string, string> Read()
    {
        var packages = File.ReadLines(Path.Combine(ProjectFolder.Root, "harness", "packages.tsv")).Where(l => !l.StartsWith('#'))
            .Select(l => l.Split('\t')).Where(f => f.Length == 4 && f[2] == "labs").Select(f => f[1]).ToHashSet(StringComparer.Ordinal);
        var versions = new Dictionary<string, string>(StringComparer.Ordinal);
        if (!File.Exists(DpkgStatus))
            return versions;
        string? package = null;
        foreach (var line in File.ReadLines(DpkgStatus))
        {
            if (line.StartsWith("Package: ", StringComparison.Ordinal))
                package = line["Package: ".Length..];
            else if (line.StartsWith("Version: ", StringComparison.Ordinal) && packages.Contains(package ?? ""))
                versions[package!] = line["Version: ".Length..];
        }
        return versions;
    }
}
