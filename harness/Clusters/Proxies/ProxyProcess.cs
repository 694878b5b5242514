using CliWrap;
using Conformance.Clusters.Kubernetes;
using Conformance.Labs;
using Conformance.Linux;

namespace Conformance.Clusters.Proxies;

/// <summary>
/// A proxy that is a process in a node, the first of a PID namespace: when it ends or is killed, everything that it has started
/// ends as well, and a program that goes into the background has ended.
/// </summary>
public sealed class ProxyProcess : IRunningProxy
{
    private static readonly string[] s_confined = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "--"];
    private readonly ProxyLog _log;
    private readonly CommandTask<CommandResult> _process;

    /// <param name="argv">The program and its arguments.</param>
    /// <param name="workingFolder">Where it is started.</param>
    /// <param name="server">The API server that it follows; null for none.</param>
    public ProxyProcess(Node node, IReadOnlyList<string> argv, string workingFolder, ApiServer? server = null)
    {
        Node = node;
        Description = string.Join(' ', argv);
        _log = new ProxyLog(node, server);
        var pipe = PipeTarget.ToDelegate(line => _log.Append($"{line}\n"));
        _process = node.Command([.. s_confined, .. argv]).ToCliWrap().WithWorkingDirectory(workingFolder)
            .WithValidation(CommandResultValidation.None)
            .WithStandardOutputPipe(pipe).WithStandardErrorPipe(pipe).ExecuteAsync();
        node.Lab.Note(node, $"start {Description}");
    }

    /// <inheritdoc/>
    public Node Node { get; }

    /// <inheritdoc/>
    public string Description { get; }

    /// <inheritdoc/>
    public string Log => _log.ToString();

    /// <inheritdoc/>
    public bool HasEnded => _process.Task.IsCompleted;

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        await ProcessTree.EndAsync(_process.ProcessId);
        await _process;
        await _log.SaveAsync(Description);
    }
}
