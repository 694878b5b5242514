using System.Text;
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
    private const int MaxLog = 1 << 20;
    private static readonly string[] s_confined = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "--"];
    private static int s_number;
    private readonly string _fileName;
    private readonly StringBuilder _log = new();
    private readonly ApiServer? _server;
    private readonly CommandTask<CommandResult> _process;

    /// <param name="argv">The program and its arguments.</param>
    /// <param name="workingFolder">Where it is started.</param>
    /// <param name="server">The API server that it follows; null for none.</param>
    public ProxyProcess(Node node, IReadOnlyList<string> argv, string workingFolder, ApiServer? server = null)
    {
        Node = node;
        _server = server;
        _fileName = $"{RunFolder.Numbered(Interlocked.Increment(ref s_number))}-{node.Name}";
        Description = string.Join(' ', argv);
        // Both streams in one text, which may be read while they go on.
        var pipe = PipeTarget.ToDelegate(line =>
        {
            lock (_log)
            {
                _log.Append(line).Append('\n');
                if (_log.Length > MaxLog)
                    _log.Remove(0, MaxLog / 2);
            }
        });
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
    public string Log
    {
        get
        {
            string log;
            lock (_log)
                log = _log.ToString();
            return _server?.Unknown is { Count: > 0 } unknown
                ? $"{log}The API server has no place for (404):\n  {string.Join("\n  ", unknown)}\n" : log;
        }
    }

    /// <inheritdoc/>
    public bool HasEnded => _process.Task.IsCompleted;

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        ProcessTree.Kill(_process.ProcessId);
        await _process;
        var file = Path.Combine(Directory.CreateDirectory(Path.Combine(RunFolder.Current, "proxies")).FullName, _fileName);
        await File.WriteAllTextAsync($"{file}.log", $"{Description}\n{Log}");
        if (_server is not null)
            await File.WriteAllLinesAsync($"{file}.requests", _server.Answers);
    }
}
