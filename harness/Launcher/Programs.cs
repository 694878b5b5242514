using Conformance.Harness;

namespace Conformance.Launcher;

/// <summary>Where our programs are: side by side, in the same place of each project as this one.</summary>
internal static class Programs
{
    internal static string Cli => Path.Combine(AppContext.BaseDirectory, "Conformance.Launcher.dll");

    internal static string Suite => Sibling("conformance", "Conformance.Suite.dll");

    internal static string KernelTests => Sibling("harness/KernelTests", "Conformance.KernelTests.dll");

    internal static string Generator => Sibling("harness/Generator", "ipvs-generator");

    internal static string Tests => Sibling("harness/Tests", "Conformance.Tests.dll");

    /// <summary>The .NET host that runs this process.</summary>
    internal static string Dotnet => Environment.ProcessPath is { } path && Path.GetFileName(path) == "dotnet" ? path : "dotnet";

    private static string Sibling(string project, string assembly)
    {
        var root = RunFolder.ProjectRoot();
        var inProject = Path.GetRelativePath(Path.Combine(root, "harness", "Cli"), AppContext.BaseDirectory);
        return Path.GetFullPath(Path.Combine(root, project, inProject, assembly));
    }
}
