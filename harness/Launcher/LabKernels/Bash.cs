using CliWrap;
using CliWrap.Buffered;

namespace Conformance.Launcher.LabKernels;

/// <summary>Runs a few lines of shell where a pipe or a pattern is needed.</summary>
internal static class Bash
{
    /// <param name="script">Ends at the first command that fails, also in the middle of a pipe.</param>
    /// <param name="arguments">$1 and so on, so that no path or name is taken for shell.</param>
    internal static async Task<BufferedCommandResult> RunAsync(string script, string folder, CancellationToken cancellationToken,
        params string[] arguments) => await CliWrap.Cli.Wrap("bash")
            .WithArguments(["-euo", "pipefail", "-c", script, "bash", .. arguments]).WithWorkingDirectory(folder)
            .WithValidation(CommandResultValidation.None).ExecuteBufferedAsync(cancellationToken);
}
