using System.Text;
using CliWrap.Exceptions;

namespace CliWrap.Buffered
{
    /// <summary>A result with the text of both output streams.</summary>
    public sealed class BufferedCommandResult(
        int exitCode, DateTimeOffset startTime, DateTimeOffset exitTime, string standardOutput, string standardError)
        : CommandResult(exitCode, startTime, exitTime)
    {
        public string StandardOutput { get; } = standardOutput;

        public string StandardError { get; } = standardError;
    }

    public static class BufferedCommandExtensions
    {
        public static CommandTask<BufferedCommandResult> ExecuteBufferedAsync(this Command command, CancellationToken cancellationToken = default)
        {
            var output = new StringBuilder();
            var error = new StringBuilder();
            var running = command
                .WithStandardOutputPipe(PipeTarget.ToStringBuilder(output))
                .WithStandardErrorPipe(PipeTarget.ToStringBuilder(error))
                .WithValidation(CommandResultValidation.None)
                .ExecuteAsync(cancellationToken);
            return running.Select(result =>
            {
                if (result.ExitCode != 0 && command.Validation.HasFlag(CommandResultValidation.ZeroExitCode))
                    throw new CommandExecutionException(command, result.ExitCode, $"'{command}' ended with exit code {result.ExitCode}.\n{error}");
                return new BufferedCommandResult(result.ExitCode, result.StartTime, result.ExitTime, output.ToString(), error.ToString());
            });
        }
    }
}

namespace CliWrap.Exceptions
{
    public sealed class CommandExecutionException(Command command, int exitCode, string message) : Exception(message)
    {
        public Command Command { get; } = command;

        public int ExitCode { get; } = exitCode;
    }
}
