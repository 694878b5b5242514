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

    /// <summary>It serves by IPVS: what it has programmed stands in the kernel's tables of virtual servers and connections.</summary>
    Ipvs,

    IPv6,
    Sctp,
    HealthCheckNodePort,

    /// <summary>A Service chooses its scheduler by annotation.</summary>
    SchedulerPerService,

    /// <summary>It follows a Service's trafficDistribution (KEP-4444).</summary>
    TrafficDistribution,

    /// <summary>It answers probes on port 10256, and on 10249 with metrics, as kube-proxy does.</summary>
    Healthz,

    /// <summary>Virtual servers in <see cref="KubeProxy.ExcludedNetwork"/> are none of its business.</summary>
    ExcludedNetworks,

    /// <summary>It can remove all that it has made.</summary>
    CleanUp,
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

    /// <summary>Until a change must have been programmed. What does not come by then does not come.</summary>
    public virtual TimeSpan Patience => Timeouts.Start;

    /// <summary>What the program says of itself.</summary>
    /// <exception cref="HarnessException">The program cannot be started.</exception>
    public abstract Task<string> VersionAsync();

    /// <summary>Starts it on a node; it goes on until it is disposed.</summary>
    public abstract Task<IRunningProxy> StartAsync(Node node, ClusterObjects objects);

    /// <summary>Removes from a node, on which it does not run, all that it has made there. What is left tells whether it succeeded.</summary>
    /// <exception cref="NotSupportedException">It has not declared <see cref="ProxyFeature.CleanUp"/>.</exception>
    public virtual Task CleanUpAsync(Node node) => throw new NotSupportedException(Name);

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
            ("kube-proxy", not "") => new KubeProxy(ExistingFile(Path.GetFullPath(value)), KubeProxy.DefaultFeatures),
            (_, not "") when name.StartsWith("kube-proxy:", StringComparison.Ordinal) => new KubeProxy(ExistingFile(Path.GetFullPath(value)), FeaturesOf(name["kube-proxy:".Length..], KubeProxy.DefaultFeatures, [])),
            ("command", not "") => new CommandProxy(text, WithFullPath(value), CommandProxy.DefaultFeatures),
            (_, not "") when name.StartsWith("command:", StringComparison.Ordinal) => new CommandProxy(text, WithFullPath(value), FeaturesOf(name["command:".Length..], CommandProxy.DefaultFeatures, CommandProxy.Impossible)),
            _ => throw new HarnessException($"There is no proxy '{text}'.", "Known are generator, generator-api, generator-compat, kube-proxy=PATH, command=COMMAND; the last two also with features, as command:+FEATURE,-FEATURE=COMMAND.", "Nothing was started.", "Name one of them."),
        };
    }

    /// <summary>What a proxy has besides, or lacks of, what is expected of its kind: words such as <c>-ipv6,+ipvs</c>.</summary>
    private static HashSet<ProxyFeature> FeaturesOf(string words, IReadOnlySet<ProxyFeature> expected, ProxyFeature[] impossible)
    {
        var features = expected.ToHashSet();
        foreach (var word in words.Split(',', StringSplitOptions.RemoveEmptyEntries))
        {
            var known = Enum.GetValues<ProxyFeature>().Except(impossible).Where(f => f.ToString().Equals(word[1..].Replace("-", "", StringComparison.Ordinal), StringComparison.OrdinalIgnoreCase)).ToList();
            if (word[0] is not ('+' or '-') || known.Count == 0)
                throw new HarnessException($"'{word}' is no feature of a proxy.", $"Known, with + or - before them, are {string.Join(", ", Enum.GetValues<ProxyFeature>().Except(impossible))}.", "Nothing was started.", "Name one of them.");
            _ = word[0] == '+' ? features.Add(known[0]) : features.Remove(known[0]);
        }
        return features;
    }

    private static string ExistingFile(string path) => File.Exists(path)
        ? path
        : throw new HarnessException($"There is no {path}.", "It is not a file.", "Nothing was started.", "Give the path of a kube-proxy binary.");

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

/// <summary>A proxy at work on a node, whatever it is: a process here, a container elsewhere. Disposing of it ends it.</summary>
public interface IRunningProxy : IAsyncDisposable
{
    Node Node { get; }

    /// <summary>How it was started, in words.</summary>
    string Description { get; }

    /// <summary>What it has said, of much the end.</summary>
    string Log { get; }

    /// <summary>Whether it has ended by itself.</summary>
    bool HasEnded { get; }
}
