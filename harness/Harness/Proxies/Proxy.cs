using System.Text;
using CliWrap;
using Conformance.Harness.Kubernetes;
using Conformance.Harness.Labs;

namespace Conformance.Harness.Proxies;

/// <summary>What an implementation may leave out; a claim about it is then not supported, instead of violated.</summary>
public enum ProxyFeature
{
    /// <summary>Sets, chains and rules are called and ordered as kube-proxy's IPVS mode has them.</summary>
    KubeProxyLayout,

    /// <summary>It follows an API server.</summary>
    ApiServer,

    IPv6,
    Sctp,
    HealthCheckNodePort,

    /// <summary>A Service chooses its scheduler by annotation.</summary>
    SchedulerPerService,
}

/// <summary>
/// A service proxy that can be put under test, seen from outside: it is started on a node, follows the objects of a
/// cluster, shows by its packets that it has programmed them, and is stopped.
/// </summary>
public abstract class Proxy
{
    /// <summary>Names the proxy under test to the processes of a run; our generator when it is not set.</summary>
    public const string Variable = "CONFORMANCE_PROXY";

    /// <summary>The words by which it is chosen.</summary>
    public abstract string Name { get; }

    public abstract IReadOnlySet<ProxyFeature> Features { get; }

    /// <summary>What the program says of itself.</summary>
    /// <exception cref="HarnessException">The program cannot be started.</exception>
    public abstract Task<string> VersionAsync();

    /// <summary>Starts it on a node; it goes on until it is disposed.</summary>
    public abstract Task<RunningProxy> StartAsync(Node node, ClusterObjects objects);

    /// <summary>The proxy of a text such as <c>generator</c> or <c>kube-proxy=/usr/local/bin/kube-proxy</c>.</summary>
    /// <exception cref="HarnessException">There is no such proxy.</exception>
    public static Proxy Parse(string text)
    {
        var equals = text.IndexOf('=', StringComparison.Ordinal);
        var (name, value) = equals < 0 ? (text, "") : (text[..equals], text[(equals + 1)..]);
        return (name, value) switch
        {
            ("generator", "") => new GeneratorProxy(),
            ("generator-api", "") => new GeneratorProxy { FollowsApiServer = true },
            ("generator-compat", "") => new GeneratorProxy { IsCompatible = true },
            ("kube-proxy", not "") => new KubeProxy(Path.GetFullPath(value)),
            ("command", not "") => new CommandProxy(WithFullPath(value)),
            _ => throw new HarnessException($"There is no proxy '{text}'.", "Known are generator, generator-api, generator-compat, kube-proxy=PATH, command=COMMAND.", "Nothing was started.", "Name one of them."),
        };
    }

    /// <summary>A program that is given by its path is meant from where we are, and not from where it is started.</summary>
    private static string WithFullPath(string commandLine)
    {
        var program = commandLine.Split(' ')[0];
        return program.Contains('/', StringComparison.Ordinal) ? Path.GetFullPath(program) + commandLine[program.Length..] : commandLine;
    }

    /// <summary>What a program prints when it is asked for its version.</summary>
    protected static async Task<string> AskVersionAsync(string program, params string[] arguments)
    {
        try
        {
            var said = new StringBuilder();
            using var limit = new CancellationTokenSource(Timeouts.Command);
            var result = await CliWrap.Cli.Wrap(program).WithArguments(arguments).WithValidation(CommandResultValidation.None)
                .WithStandardOutputPipe(PipeTarget.ToStringBuilder(said)).ExecuteAsync(limit.Token);
            return result.IsSuccess ? said.ToString().Trim() : throw CannotRun($"It ended with exit code {result.ExitCode}.");
        }
        catch (Exception e) when (e is System.ComponentModel.Win32Exception or OperationCanceledException)
        {
            throw CannotRun(e.Message);
        }

        HarnessException CannotRun(string evidence) => new($"{program} does not tell its version.", evidence, "It was not put under test.", "See that it is an executable program of this machine.");
    }
}

/// <summary>A proxy's process in a node.</summary>
public sealed class RunningProxy : IAsyncDisposable
{
    private readonly CancellationTokenSource _end = new();
    private readonly StringBuilder _log = new();
    private readonly CommandTask<CommandResult> _process;

    /// <param name="argv">The program and its arguments.</param>
    /// <param name="workingFolder">Where it is started.</param>
    public RunningProxy(Node node, IReadOnlyList<string> argv, string workingFolder)
    {
        Node = node;
        Argv = argv;
        // Both streams in one text, which may be read while they go on.
        var pipe = PipeTarget.ToDelegate(line =>
        {
            lock (_log)
                _log.Append(line).Append('\n');
        });
        _process = node.Command([.. argv]).ToCliWrap().WithWorkingDirectory(workingFolder).WithValidation(CommandResultValidation.None)
            .WithStandardOutputPipe(pipe).WithStandardErrorPipe(pipe).ExecuteAsync(_end.Token);
        node.Lab.Note(node, $"start {string.Join(' ', argv)}");
    }

    public Node Node { get; }

    public IReadOnlyList<string> Argv { get; }

    /// <summary>What it has said so far.</summary>
    public string Log
    {
        get
        {
            lock (_log)
                return _log.ToString();
        }
    }

    /// <summary>Whether it has ended by itself.</summary>
    public bool HasEnded => _process.Task.IsCompleted;

    public async ValueTask DisposeAsync()
    {
        await _end.CancelAsync();
        try
        {
            await _process;
        }
        catch (OperationCanceledException)
        {
            // ended by us
        }
        _end.Dispose();
    }
}
