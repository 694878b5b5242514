using System.Reflection;
using Conformance.Labs;

namespace Conformance.Launcher;

/// <summary>Where our programs are: side by side, in the same place of each project as this one.</summary>
internal static class Programs
{
    internal static string Cli => Path.Combine(AppContext.BaseDirectory, "Conformance.Launcher.dll");

    internal static string Suite => ProjectFolder.Program("conformance", "Conformance.Suite.dll");

    internal static string KernelTests => ProjectFolder.Program("harness/KernelTests", "Conformance.KernelTests.dll");

    internal static string Generator => ProjectFolder.Program("harness/Generator", "ipvs-generator");

    /// <summary>The generator compiled ahead of time; it is there where a C linker was.</summary>
    internal static string NativeGenerator { get; } =
        Path.Combine(ProjectFolder.Root, "harness", "Generator", "bin", "native", "publish", "ipvs-generator");

    /// <summary>
    /// Whether the generator that is used is the native one. The one that needs .NET has the same name, and is a few kilobytes large.
    /// </summary>
    internal static bool IsGeneratorNative => new FileInfo(Generator) is { Exists: true, Length: > 1 << 20 };

    internal static string Tests => ProjectFolder.Program("harness/Tests", "Conformance.Tests.dll");

    /// <summary>The commit that this program was built of, in short; the compiler knows it of a checkout by git.</summary>
    internal static string Commit => typeof(Programs).Assembly.GetCustomAttribute<AssemblyInformationalVersionAttribute>()?
        .InformationalVersion.Split('+') is [_, { Length: >= 7 } commit] ? commit[..7] : "not known";

    /// <summary>The .NET host that runs this process.</summary>
    internal static string Dotnet => Environment.ProcessPath is { } path && Path.GetFileName(path) == "dotnet" ? path : "dotnet";
}
