using Conformance.Labs;

namespace Conformance.Launcher;

/// <summary>Where our programs are: side by side, in the same place of each project as this one.</summary>
internal static class Programs
{
    internal static string Cli => Path.Combine(AppContext.BaseDirectory, "Conformance.Launcher.dll");

    internal static string Suite => ProjectFolder.Program("conformance", "Conformance.Suite.dll");

    internal static string KernelTests => ProjectFolder.Program("harness/KernelTests", "Conformance.KernelTests.dll");

    internal static string Generator => ProjectFolder.Program("harness/Generator", "ipvs-generator");

    internal static string Tests => ProjectFolder.Program("harness/Tests", "Conformance.Tests.dll");

    /// <summary>The .NET host that runs this process.</summary>
    internal static string Dotnet => Environment.ProcessPath is { } path && Path.GetFileName(path) == "dotnet" ? path : "dotnet";
}
