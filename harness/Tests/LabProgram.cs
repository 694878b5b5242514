using CliWrap;
using Conformance.Labs;

namespace Conformance.Tests;

/// <summary>The launcher's program, of the same build as the tests that call it.</summary>
internal static class LabProgram
{
    /// <summary>Lets the script ./lab use that program.</summary>
    internal static IReadOnlyDictionary<string, string?> Variables { get; } =
        new Dictionary<string, string?>(StringComparer.Ordinal) { ["CONFORMANCE_PROGRAM"] = Path.Combine(Folder(), "Conformance.Launcher.dll") };

    internal static Command Command(params string[] arguments) =>
        CliWrap.Cli.Wrap(Path.Combine(ProjectFolder.Root, "lab"))
            .WithArguments(arguments)
            .WithEnvironmentVariables(Variables)
            .WithValidation(CommandResultValidation.None);

    /// <summary>Under our own runner this process is the program; under VSTest it is beside the test project's output.</summary>
    private static string Folder()
    {
        var harness = Path.Combine(ProjectFolder.Root, "harness");
        var parts = Path.GetRelativePath(harness, AppContext.BaseDirectory).Split('/');
        return Path.Combine([harness, "Cli", .. parts[1..]]);
    }
}
