using CliWrap;
using Conformance.Labs;

namespace Conformance.Tests;

/// <summary>The launcher's program, of the same build as the tests that call it.</summary>
internal static class LabProgram
{
    /// <summary>Lets the script ./lab use that program.</summary>
    internal static IReadOnlyDictionary<string, string?> Variables { get; } =
        new Dictionary<string, string?>(StringComparer.Ordinal)
        {
            ["CONFORMANCE_PROGRAM"] = ProjectFolder.Program("harness/Launcher",
                "Conformance.Launcher.dll")
        };

    internal static Command Command(params string[] arguments) =>
        CliWrap.Cli.Wrap(Path.Combine(ProjectFolder.Root, "lab"))
            .WithArguments(arguments)
            .WithEnvironmentVariables(Variables)
            .WithValidation(CommandResultValidation.None);
}
