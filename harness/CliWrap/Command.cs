using System.ComponentModel;
using System.Diagnostics;
using CliWrap.Exceptions;

namespace CliWrap;

/// <summary>Main entry point: wraps an executable.</summary>
public static class Cli
{
    public static Command Wrap(string targetFilePath) => new(targetFilePath);
}

[Flags]
public enum CommandResultValidation
{
    None = 0,
    ZeroExitCode = 1,
}

/// <summary>An immutable description of a command line and of what its standard streams are connected to.</summary>
public sealed record Command
{
    private static readonly TimeSpan s_graceAfterKill = TimeSpan.FromSeconds(1);

    public Command(string targetFilePath) => TargetFilePath = targetFilePath;

    public string TargetFilePath { get; }

    public IReadOnlyList<string> ArgumentList { get; private init; } = [];

    public string Arguments => string.Join(' ', ArgumentList.Select(Quote));

    public string WorkingDirPath { get; private init; } = "";

    public IReadOnlyDictionary<string, string?> EnvironmentVariables { get; private init; } = new Dictionary<string, string?>(StringComparer.Ordinal);

    public CommandResultValidation Validation { get; private init; } = CommandResultValidation.ZeroExitCode;

    public PipeSource StandardInputPipe { get; private init; } = PipeSource.Null;

    public PipeTarget StandardOutputPipe { get; private init; } = PipeTarget.Null;

    public PipeTarget StandardErrorPipe { get; private init; } = PipeTarget.Null;

    public Command WithArguments(IEnumerable<string> arguments) => this with { ArgumentList = [.. arguments] };

    public Command WithWorkingDirectory(string path) => this with { WorkingDirPath = path };

    public Command WithEnvironmentVariables(IReadOnlyDictionary<string, string?> variables) => this with { EnvironmentVariables = variables };

    public Command WithValidation(CommandResultValidation validation) => this with { Validation = validation };

    public Command WithStandardInputPipe(PipeSource source) => this with { StandardInputPipe = source };

    public Command WithStandardOutputPipe(PipeTarget target) => this with { StandardOutputPipe = target };

    public Command WithStandardErrorPipe(PipeTarget target) => this with { StandardErrorPipe = target };

    /// <summary>Starts the process before it returns. Cancelling kills it.</summary>
    /// <exception cref="CommandExecutionException">The exit code is not 0 and validation is on.</exception>
    /// <exception cref="Win32Exception">The program does not exist or may not be run.</exception>
    public CommandTask<CommandResult> ExecuteAsync(CancellationToken cancellationToken = default)
    {
        var process = new Process { StartInfo = CreateStartInfo() };
        var started = DateTimeOffset.Now;
#pragma warning disable RS0030 // the one place that starts processes
        process.Start();
#pragma warning restore RS0030
        var id = process.Id; // before the process can end and be disposed of
        return new CommandTask<CommandResult>(FinishAsync(process, started, cancellationToken), id);
    }

    public override string ToString() => $"{TargetFilePath} {Arguments}".TrimEnd();

    private static string Quote(string argument) =>
        argument.Length > 0 && argument.All(c => char.IsAsciiLetterOrDigit(c) || "-_./:,=@%+".Contains(c, StringComparison.Ordinal))
            ? argument
            : $"'{argument.Replace("'", "'\\''", StringComparison.Ordinal)}'";

    private ProcessStartInfo CreateStartInfo()
    {
        var info = new ProcessStartInfo(TargetFilePath, ArgumentList)
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            UseShellExecute = false,
            WorkingDirectory = WorkingDirPath,
        };
        foreach (var (name, value) in EnvironmentVariables)
            info.Environment[name] = value;
        return info;
    }

    private async Task<CommandResult> FinishAsync(Process process, DateTimeOffset started, CancellationToken cancellationToken)
    {
        using (process)
        {
            // After a kill, a descendant that got away may hold the pipes open: it is not waited for.
            using var pipes = new CancellationTokenSource();
            await using var kill = cancellationToken.Register(() =>
            {
                process.Kill(entireProcessTree: true);
                pipes.CancelAfter(s_graceAfterKill);
            });
            using var exited = new CancellationTokenSource();
            var feeding = FeedAsync(process.StandardInput.BaseStream, exited.Token);
            await Task.WhenAll(
                StandardOutputPipe.CopyFromAsync(process.StandardOutput.BaseStream, pipes.Token),
                StandardErrorPipe.CopyFromAsync(process.StandardError.BaseStream, pipes.Token),
                process.WaitForExitAsync(CancellationToken.None));
            // Not awaited: a read of our own terminal cannot be cancelled, and it no longer matters.
            await exited.CancelAsync();
            _ = feeding;
            cancellationToken.ThrowIfCancellationRequested();
            var result = new CommandResult(process.ExitCode, started, DateTimeOffset.Now);
            if (result.ExitCode != 0 && Validation.HasFlag(CommandResultValidation.ZeroExitCode))
                throw new CommandExecutionException(this, result.ExitCode, $"'{this}' ended with exit code {result.ExitCode}.");
            return result;
        }
    }

    private async Task FeedAsync(Stream input, CancellationToken cancellationToken)
    {
        try
        {
            await using (input)
                await StandardInputPipe.CopyToAsync(input, cancellationToken);
        }
        catch (Exception e) when (e is IOException or OperationCanceledException)
        {
            // The process does not read its input to the end: its own affair.
        }
    }
}

/// <summary>The result of a finished command.</summary>
public class CommandResult(int exitCode, DateTimeOffset startTime, DateTimeOffset exitTime)
{
    public int ExitCode { get; } = exitCode;

    public bool IsSuccess => ExitCode == 0;

    public DateTimeOffset StartTime { get; } = startTime;

    public DateTimeOffset ExitTime { get; } = exitTime;

    public TimeSpan RunTime => ExitTime - StartTime;
}
