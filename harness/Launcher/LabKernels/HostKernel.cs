using System.Diagnostics;
using CliWrap;

namespace Conformance.Launcher.LabKernels;

/// <summary>The kernel that this program runs on: nothing to boot.</summary>
/// <param name="confined">
/// Gives the command a PID namespace, so that what it starts (an nginx in a node) ends with it even when it is killed.
/// This takes root; tests that need neither root nor labs do without.
/// </param>
public sealed class HostKernel(bool confined = true) : LabKernel
{
    private static readonly string[] s_confined = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "--", "bash", "-c",
        "\"$@\"; exit $?", "bash"];

    public override string Name => "host";

    protected override async Task<LabResult> ExecuteAsync(LabCommand command, CancellationToken cancellationToken)
    {
        var watch = Stopwatch.StartNew();
        Command Configure(Command process) => process
            .WithWorkingDirectory(command.WorkingDirectory)
            .WithEnvironmentVariables(command.Variables.ToDictionary(v => v.Key, v => (string?)v.Value, StringComparer.Ordinal))
            .WithStandardInputPipe(PipeSource.FromStream(command.Input))
            .WithStandardOutputPipe(PipeTarget.ToStream(command.Output))
            .WithStandardErrorPipe(PipeTarget.ToStream(command.Error))
            .WithValidation(CommandResultValidation.None);

        using var guard = new Guard();
        await using var interrupt = cancellationToken.Register(guard.Dispose);
        var result = confined
            ? await guard.Start(temporary: "", [.. s_confined, .. command.Argv], Configure)
            : await Configure(CliWrap.Cli.Wrap(command.Argv[0]).WithArguments(command.Argv.Skip(1))).ExecuteAsync(cancellationToken);
        cancellationToken.ThrowIfCancellationRequested();
        return new LabResult(result.ExitCode, new LabTimes(TimeSpan.Zero, watch.Elapsed, TimeSpan.Zero));
    }
}
