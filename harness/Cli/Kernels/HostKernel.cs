using System.Diagnostics;
using CliWrap;

namespace Conformance.Cli.Kernels;

/// <summary>The kernel that this program runs on: nothing to boot.</summary>
public sealed class HostKernel : LabKernel
{
    public override string Name => "host";

    public override async Task<LabResult> RunAsync(LabCommand command, CancellationToken cancellationToken)
    {
        var watch = Stopwatch.StartNew();
        var result = await CliWrap.Cli.Wrap(command.Argv[0])
            .WithArguments(command.Argv.Skip(1))
            .WithWorkingDirectory(command.WorkingDirectory)
            .WithEnvironmentVariables(command.Variables.ToDictionary(v => v.Key, v => (string?)v.Value, StringComparer.Ordinal))
            .WithStandardInputPipe(PipeSource.FromStream(command.Input))
            .WithStandardOutputPipe(PipeTarget.ToStream(command.Output))
            .WithStandardErrorPipe(PipeTarget.ToStream(command.Error))
            .WithValidation(CommandResultValidation.None)
            .ExecuteAsync(cancellationToken);
        return new LabResult(result.ExitCode, new LabTimes(TimeSpan.Zero, watch.Elapsed, TimeSpan.Zero));
    }
}
