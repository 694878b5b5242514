using System.Globalization;
using System.Text;
using CliWrap;
using Conformance.Labs.Waiting;
using Conformance.Linux;
using Shouldly;

namespace Conformance.Labs;

/// <summary>
/// A server of Debian's in a node, for flows in which a person expects the real thing. Its files are in the run's folder.
/// </summary>
public sealed class ServerProgram : IAsyncDisposable
{
    private readonly Task _running;
    private int _disposed;

    private ServerProgram(CommandTask<CommandResult> running) => (_running, ProcessId) = (running.Task, running.ProcessId);

    /// <summary>The number of its process.</summary>
    public int ProcessId { get; }

    /// <summary>Starts a program that stays in the foreground, and waits until it listens.</summary>
    /// <param name="port">What it listens on.</param>
    /// <param name="ports">Reads the ports that have a socket in the node.</param>
    /// <exception cref="CommandFailedException">It ended, or does not listen.</exception>
    internal static Task<ServerProgram> StartAsync(NodeCommand command, int port, Func<IReadOnlyList<int>> ports) =>
        StartAsync(command, string.Create(CultureInfo.InvariantCulture, $"listens on port {port}"), () => ports().Contains(port));

    /// <summary>Starts a program that stays in the foreground, and waits until it has done its first work.</summary>
    /// <param name="work">That work in words, such as <c>listens on port 80</c>.</param>
    /// <exception cref="CommandFailedException">It ended, or has not done it in time.</exception>
    internal static async Task<ServerProgram> StartAsync(NodeCommand command, string work, Func<bool> isReady)
    {
        var (node, name) = (command.Node, command.Argv[0]);
        node.Lab.Note(node, $"start {name}, which {work}");
        var said = new StringBuilder();
        var pipe = PipeTarget.ToStringBuilder(said);
        var running = command.ToCliWrap().WithStandardErrorPipe(pipe).WithStandardOutputPipe(pipe)
            .WithValidation(CommandResultValidation.None).ExecuteAsync();
        var program = new ServerProgram(running);
        try
        {
            await Eventually.Async($"{name} {work}", isReady, ready => ready || running.Task.IsCompleted);
            if (!running.Task.IsCompleted)
                return program;
        }
        catch (ShouldAssertException)
        {
            // The harness's own server is not what is tested: this is no verdict.
        }
        await program.DisposeAsync();
        throw new CommandFailedException(command, exitCode: null, $"it has not done its work ({work}): {said}");
    }

    /// <summary>A folder for the program's files.</summary>
    internal static string NewFolder(Node node, string program) =>
        Directory.CreateDirectory(Path.Combine(RunFolder.Current, program, $"{node.Name}-{Guid.NewGuid():N}")).FullName;

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        if (Interlocked.Exchange(ref _disposed, 1) != 0)
            return;
        await ProcessTree.EndAsync(ProcessId);
        await _running;
    }
}
