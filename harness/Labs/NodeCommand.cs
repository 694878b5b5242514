using CliWrap;
using CliWrap.Buffered;
using Conformance.Labs.Waiting;
using Conformance.Linux;
using Conformance.Linux.Processes;

namespace Conformance.Labs;

/// <summary>
/// A command to be run in a node: an immutable value. <see cref="Tool"/> starts a command that ends soon inside the node's namespace:
/// nsenter(1) would cost as much again. .NET starts a program that stays, and may start threads of its own with it. So nsenter takes
/// such a program into the namespace, and no thread of this process is inside meanwhile.
/// </summary>
public sealed class NodeCommand(Node node, IReadOnlyList<string> argv, string? input = null, string? view = null, string text = "",
    TimeSpan? limit = null)
{
    /// <summary>Where a command may have a file system of its own in memory: a folder that every machine has.</summary>
    public const string ScratchFolder = "/mnt";

    /// <summary>What the error of a command begins with whose program is not there; nsenter says it too.</summary>
    internal const string NotThere = "failed to execute";

    private const int ENOENT = 2;

    // What is done in a mount namespace of the command's own, before it starts. No file is needed for it, and nobody else sees it.
    private const string Scratch = $"mount -t tmpfs tmpfs {ScratchFolder}";
    private const string ResolvConf =
        $"{Scratch} && printf %s \"$0\" >{ScratchFolder}/resolv.conf && mount --bind {ScratchFolder}/resolv.conf /etc/resolv.conf && " +
        $"umount {ScratchFolder}";

    /// <summary>The node that the command runs in.</summary>
    public Node Node { get; } = node;

    /// <summary>The program and its arguments.</summary>
    public IReadOnlyList<string> Argv { get; } = argv;

    /// <summary>The same command with this text as its stdin.</summary>
    public NodeCommand WithInput(string standardInput) => new(Node, Argv, standardInput, view, text, limit);

    /// <summary>The command sees this text as its /etc/resolv.conf, as a process in a pod sees the pod's.</summary>
    public NodeCommand WithResolver(string resolvConf) => new(Node, Argv, input, ResolvConf, resolvConf, limit);

    /// <summary>
    /// The command alone sees an empty file system in memory on <see cref="ScratchFolder"/>. There it can change owners, which a user's
    /// files do not allow.
    /// </summary>
    public NodeCommand WithScratch() => new(Node, Argv, input, Scratch, limit: limit);

    /// <summary>With another limit than <see cref="Timeouts.Command"/>.</summary>
    public NodeCommand Within(TimeSpan time) => new(Node, Argv, input, view, text, time);

    /// <exception cref="CommandFailedException">The command ended with another exit code than 0, or not at all.</exception>
    public async Task<BufferedCommandResult> ExecuteAsync()
    {
        var result = await TryAsync();
        return result.ExitCode == 0 ? result : throw new CommandFailedException(this, result.ExitCode, result.StandardError);
    }

    /// <summary>Runs the command and returns its result whatever its exit code: 127 and 126 as a shell has them.</summary>
    /// <exception cref="CommandFailedException">It did not end in time, and was killed.</exception>
    public async Task<BufferedCommandResult> TryAsync()
    {
        Node.Lab.Note(Node, ToString());
        var result = await RunAsync();
        if (input is null && (result.StandardOutput.Length > 0 || result.ExitCode != 0))
            Node.Lab.Observe(Node, ToString(), result.ExitCode == 0 ? result.StandardOutput
                : $"exit code {result.ExitCode}: {result.StandardError}{result.StandardOutput}");
        return result;
    }

    private async Task<BufferedCommandResult> RunAsync()
    {
        var time = limit ?? Timeouts.Command;
        using var end = new Patience(time);
        var start = DateTimeOffset.Now;
        string[] words = [.. Wrapped()];
        ToolResult result;
        try
        {
            // In the first process of a container .NET collects every child, and Tool would lose the exit code.
            if (Environment.ProcessId == 1)
                return await ToCliWrap().WithValidation(CommandResultValidation.None).ExecuteBufferedAsync(end.Token);
            result = await Task.Run(() => Tool.Run(words, input, TimeSpan.MaxValue, end.Token, Node.Namespace, Toolbox.Environment,
                ProcessTree.Kill));
        }
        catch (OperationCanceledException)
        {
            throw new CommandFailedException(this, exitCode: null, $"not ended within {time.TotalSeconds} s; killed");
        }
        catch (StartException e)
        {
            result = e.Errno == ENOENT ? new ToolResult(ExitCode: 127, "", $"{NotThere}: {e.Message}")
                : new ToolResult(ExitCode: 126, "", e.Message);
        }
        return new BufferedCommandResult(result.ExitCode, start, DateTimeOffset.Now, result.Output, result.Error);
    }

    /// <summary>The command line that enters the namespace, ready to start.</summary>
    public Command ToCliWrap()
    {
        var command = Cli.Wrap(Node.Namespace.Enter[0])
            .WithArguments([.. Node.Namespace.Enter.Skip(1), .. Wrapped()])
            .WithEnvironmentVariables(Toolbox.Environment);
        return input is null ? command : command.WithStandardInputPipe(PipeSource.FromString(input));
    }

    private IEnumerable<string> Wrapped() => view is null ? Argv
        : ["unshare", "--mount", "--propagation", "private", "sh", "-c", $"{view} && exec \"$@\"", text, .. Argv];

    /// <inheritdoc/>
    public override string ToString() => string.Join(' ', Argv) + (input is null ? "" : $" <<< {input.TrimEnd().ReplaceLineEndings("; ")}");
}

/// <summary>A command in a node failed; the message has node, argv, exit code, what it said, and one hint.</summary>
public sealed class CommandFailedException(NodeCommand command, int? exitCode, string stderr)
    : Exception($"On {command.Node.Name}: '{command}' {(exitCode is { } code ? $"ended with exit code {code}" : "did not end")}: " +
        $"{stderr.Trim()}{Hint(stderr)}")
{
    /// <summary>The failed command.</summary>
    public NodeCommand Command { get; } = command;

    /// <summary>The exit code; null when the command was killed.</summary>
    public int? ExitCode { get; } = exitCode;

    /// <summary>What it wrote to stderr.</summary>
    public string StandardError { get; } = stderr;

    private static string Hint(string stderr) => stderr switch
    {
        _ when stderr.Contains(NodeCommand.NotThere, StringComparison.Ordinal) =>
            "\n  hint: the program is not installed; ./lab doctor names its package",
        _ when stderr.Contains("Cannot find device \"tunl0\"", StringComparison.Ordinal) =>
            "\n  hint: the node's topology says with 'tunnels: true' that it needs the kernel's own tunnel devices",
        _ when stderr.Contains("Permission denied", StringComparison.Ordinal)
            || stderr.Contains("Operation not permitted", StringComparison.Ordinal) => "\n  hint: root is needed",
        _ when stderr.Contains("IPVS not available", StringComparison.Ordinal)
            || stderr.Contains("Protocol not available", StringComparison.Ordinal) =>
            "\n  hint: this kernel has no IPVS; ./lab doctor shows what it has",
        _ => "",
    };
}
