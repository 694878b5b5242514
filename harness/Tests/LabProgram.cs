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

    /// <summary>
    /// The launcher. Where the tests themselves are a job in the background, SIGINT is ignored, and what they start would ignore it too.
    /// </summary>
    internal static Command Command(params string[] arguments) =>
        CliWrap.Cli.Wrap("env")
            .WithArguments(["--default-signal=INT,QUIT", Path.Combine(ProjectFolder.Root, "lab"), .. arguments])
            .WithEnvironmentVariables(Variables)
            .WithValidation(CommandResultValidation.None);
}
