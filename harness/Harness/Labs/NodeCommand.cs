using CliWrap;
using CliWrap.Buffered;

namespace Conformance.Harness.Labs;

/// <summary>
/// A command to be run in a node: an immutable value. nsenter(1) takes it into the node's namespace, so that no
/// thread of this process has to be inside while a process is started.
/// </summary>
public sealed class NodeCommand(Node node, IReadOnlyList<string> argv, string? input = null, string? resolvConf = null)
{
    /// <summary>In a mount namespace of its own: nobody else sees the file.</summary>
    private const string WithResolvConf = "mount --bind \"$0\" /etc/resolv.conf && exec \"$@\"";

    public Node Node { get; } = node;

    public IReadOnlyList<string> Argv { get; } = argv;

    public NodeCommand WithInput(string text) => new(Node, Argv, text, resolvConf);

    /// <summary>The command sees this text as its /etc/resolv.conf, as a process in a pod sees the pod's.</summary>
    public NodeCommand WithResolver(string text) => new(Node, Argv, input, text);

    /// <exception cref="CommandFailedException">The command ended with another exit code than 0, or not at all.</exception>
    public async Task<BufferedCommandResult> ExecuteAsync()
    {
        var result = await TryAsync();
        return result.ExitCode == 0 ? result : throw new CommandFailedException(this, result.ExitCode, result.StandardError);
    }

    /// <summary>Runs the command and returns its result whatever its exit code.</summary>
    public async Task<BufferedCommandResult> TryAsync()
    {
        Node.Lab.Note(Node, ToString());
        using var limit = new CancellationTokenSource(Timeouts.Command);
        try
        {
            return await ToCliWrap().WithValidation(CommandResultValidation.None).ExecuteBufferedAsync(limit.Token);
        }
        catch (OperationCanceledException)
        {
            throw new CommandFailedException(this, exitCode: null, $"not ended within {Timeouts.Command.TotalSeconds} s; killed");
        }
    }

    /// <summary>The command line that enters the namespace, ready to start.</summary>
    public Command ToCliWrap()
    {
        var command = Cli.Wrap(Node.Namespace.Enter[0])
            .WithArguments([.. Node.Namespace.Enter.Skip(1), .. Wrapped()])
            .WithEnvironmentVariables(Toolbox.Environment);
        return input is null ? command : command.WithStandardInputPipe(PipeSource.FromString(input));
    }

    private IEnumerable<string> Wrapped()
    {
        if (resolvConf is null)
            return Argv;
        var file = Path.Combine(Directory.CreateDirectory(Path.Combine(RunFolder.Current, "resolv")).FullName, $"{Guid.NewGuid():N}.conf");
        File.WriteAllText(file, resolvConf);
        return ["unshare", "--mount", "--propagation", "private", "sh", "-c", WithResolvConf, file, .. Argv];
    }

    public override string ToString() => string.Join(' ', Argv) + (input is null ? "" : $" <<< {input.TrimEnd().ReplaceLineEndings("; ")}");
}

/// <summary>A command in a node failed; the message has node, argv, exit code, what it said, and one hint.</summary>
public sealed class CommandFailedException(NodeCommand command, int? exitCode, string stderr)
    : Exception($"On {command.Node.Name}: '{command}' {(exitCode is { } code ? $"ended with exit code {code}" : "did not end")}: {stderr.Trim()}{Hint(stderr)}")
{
    public NodeCommand Command { get; } = command;

    public int? ExitCode { get; } = exitCode;

    public string StandardError { get; } = stderr;

    private static string Hint(string stderr) => stderr switch
    {
        _ when stderr.Contains("failed to execute", StringComparison.Ordinal) => "\n  hint: the program is not installed; ./lab doctor names its package",
        _ when stderr.Contains("Permission denied", StringComparison.Ordinal) || stderr.Contains("Operation not permitted", StringComparison.Ordinal) => "\n  hint: root is needed",
        _ when stderr.Contains("IPVS not available", StringComparison.Ordinal) || stderr.Contains("Protocol not available", StringComparison.Ordinal) => "\n  hint: this kernel has no IPVS; ./lab doctor shows what it has",
        _ => "",
    };
}
