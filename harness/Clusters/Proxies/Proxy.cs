using System.Text;
using System.Text.RegularExpressions;
using CliWrap;
using Conformance.Clusters.Kubernetes;
using Conformance.Labs;
using Conformance.Labs.Waiting;
using Conformance.Linux;
using Conformance.Linux.Features;

namespace Conformance.Clusters.Proxies;

/// <summary>What an implementation may leave out; a claim about it is then not supported, instead of violated.</summary>
public enum ProxyFeature
{
    /// <summary>Sets, chains and rules are called and ordered as kube-proxy's IPVS mode has them.</summary>
    KubeProxyLayout,

    /// <summary>These chains are those of kube-proxy v1.28 and later, without KUBE-FIREWALL and KUBE-MARK-DROP (KEP-3178).</summary>
    CurrentChains,

    /// <summary>It follows an API server.</summary>
    ApiServer,

    /// <summary>It serves by IPVS: what it has programmed stands in the kernel's tables of virtual servers and connections.</summary>
    Ipvs,

    /// <summary>It serves IPv6.</summary>
    IPv6,

    /// <summary>It serves SCTP.</summary>
    Sctp,

    /// <summary>
    /// A ClusterIP refuses the ports that its Service does not have. kube-proxy's iptables mode leaves their packets to the node's routes.
    /// </summary>
    RefusesOtherPorts,

    /// <summary>
    /// With internalTrafficPolicy Local, a client on a node without an endpoint is refused. kube-proxy's iptables and nftables modes drop
    /// its
    /// packets.
    /// </summary>
    RefusesWithoutLocalEndpoint,

    /// <summary>
    /// Node ports are served at every address of a node. kube-proxy's nftables mode serves them at the node's own address (KEP-3866).
    /// </summary>
    NodePortsOnAllAddresses,

    /// <summary>It answers load balancers' health checks (healthCheckNodePort).</summary>
    HealthCheckNodePort,

    /// <summary>A Service chooses its scheduler by annotation.</summary>
    SchedulerPerService,

    /// <summary>It follows a Service's trafficDistribution (KEP-4444).</summary>
    TrafficDistribution,

    /// <summary>It answers probes on port 10256, and on 10249 with metrics, as kube-proxy does.</summary>
    Healthz,

    /// <summary>Its /healthz says 503 on a node that is about to be deleted, and its /livez does not (KEP-3836).</summary>
    NodeEligibility,

    /// <summary>It prefers the endpoints whose hints name its node (KEP-3015).</summary>
    NodeHints,

    /// <summary>
    /// It sets the time-outs of tracked TCP connections that kube-proxy sets: 24 hours, and one hour after the other side's FIN.
    /// </summary>
    ConntrackTimeouts,

    /// <summary>It can be started with <see cref="ProxySettings"/>.</summary>
    Settings,

    /// <summary>Virtual servers in <see cref="KubeProxy.ExcludedNetwork"/> are none of its business.</summary>
    ExcludedNetworks,

    /// <summary>It can remove all that it has made.</summary>
    CleanUp,
}

/// <summary>How a proxy is started otherwise than the others of a cluster.</summary>
/// <param name="NodePortAddresses">The networks whose node addresses serve node ports; null for every address.</param>
/// <param name="SyncPeriod">Between two looks for drift; null for what the proxy's driver chooses.</param>
public sealed record ProxySettings(string? NodePortAddresses = null, TimeSpan? SyncPeriod = null)
{
    /// <summary>As flags of kube-proxy, which ours has as well.</summary>
    internal IEnumerable<string> Flags()
    {
        if (NodePortAddresses is not null)
            yield return $"--nodeport-addresses={NodePortAddresses}";
        if (SyncPeriod is { } period)
        {
            var text = string.Create(System.Globalization.CultureInfo.InvariantCulture, $"{period.TotalSeconds:0}s");
            yield return $"--ipvs-sync-period={text}";
        }
    }
}

/// <summary>
/// A service proxy that can be put under test, seen from outside: it is started on a node, follows the objects of a
/// cluster, shows by its packets that it has programmed them, and is stopped.
/// </summary>
public abstract partial class Proxy
{
    /// <summary>Names the proxy under test to the processes of a run; our generator when it is not set.</summary>
    public const string Variable = "CONFORMANCE_PROXY";

    /// <summary>The words by which it is chosen, with full paths: <see cref="Parse"/> makes the same proxy of them anywhere.</summary>
    public abstract string Name { get; }

    /// <summary>What it does. Of a program whose features depend on its version they are known after <see cref="VersionAsync"/>.</summary>
    public abstract IReadOnlySet<ProxyFeature> Features { get; }

    /// <summary>
    /// Whether a sync takes seconds. Nearly all tests wait then, and the more of them wait together, the fewer rounds of canaries
    /// there are; but clusters start one after another, because side by side each would take the time of all.
    /// </summary>
    public virtual bool IsSlow => false;

    /// <summary>Until a change must have been programmed. What does not come by then does not come.</summary>
    public virtual TimeSpan Patience => Timeouts.Start;

    /// <summary>Whether it runs in containers, and so needs a container engine.</summary>
    public virtual bool NeedsEngine => false;

    /// <summary>Does what has to be done on this machine before a lab kernel boots, which sees this machine's files alone.</summary>
    /// <exception cref="HarnessException">What is to be tested is not there.</exception>
    public virtual Task PrepareAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    /// <summary>What the program says of itself.</summary>
    /// <exception cref="HarnessException">The program cannot be started.</exception>
    public abstract Task<string> VersionAsync();

    /// <summary>Starts it on a node; it goes on until it is disposed.</summary>
    /// <param name="settings">Further settings for a proxy that declares <see cref="ProxyFeature.Settings"/>; null for none.</param>
    public abstract Task<IRunningProxy> StartAsync(Node node, ClusterObjects objects, ProxySettings? settings = null);

    /// <summary>
    /// Removes from a node, on which it does not run, all that it has made there. What is left tells whether it succeeded.
    /// </summary>
    /// <exception cref="NotSupportedException">It has not declared <see cref="ProxyFeature.CleanUp"/>.</exception>
    public virtual Task CleanUpAsync(Node node) => throw new NotSupportedException(Name);

    /// <summary>The proxy of a text such as <c>generator</c> or <c>kube-proxy[--v=4]=/usr/local/bin/kube-proxy</c>.</summary>
    /// <exception cref="HarnessException">There is no such proxy.</exception>
    public static Proxy Parse(string text)
    {
        var words = Specification().Match(text);
        var (kind, features, arguments, value) = (words.Groups["kind"].Value, words.Groups["features"].Value,
            words.Groups["arguments"].Value, words.Groups["value"].Value);
        var isPlain = features.Length == 0 && arguments.Length == 0;
        return (kind, value) switch
        {
            ("generator", "") when isPlain => new GeneratorProxy(),
            ("generator-api", "") when isPlain => new GeneratorProxy { FollowsApiServer = true },
            ("generator-compat", "") when isPlain => new GeneratorProxy { IsCompatible = true },
            ("mutant", not "") when isPlain => new GeneratorProxy { Mutant = value },
            ("kube-proxy", not "") => new KubeProxy(ExistingFile(Path.GetFullPath(value)),
                arguments.Split(' ', StringSplitOptions.RemoveEmptyEntries), FeatureChange.Parse(features, [])),
            ("command", not "") when arguments.Length == 0 =>
            new CommandProxy(WithFullPath(value), FeatureChange.Parse(features, CommandProxy.Impossible)),
            ("api", not "") when arguments.Length == 0 =>
            new ApiProxy(WithFullPath(value), FeatureChange.Parse(features, ApiProxy.Impossible)),
            ("image", not "") => new ImageProxy(File.Exists(value) ? Path.GetFullPath(value) : value,
                arguments.Split(' ', StringSplitOptions.RemoveEmptyEntries),
                FeatureChange.Parse(features, ApiProxy.Impossible)),
            _ => throw Unknown(text, kind),
        };
    }

    private static HarnessException Unknown(string text, string kind)
    {
        string[] kinds = ["generator", "generator-api", "generator-compat", "mutant", "kube-proxy", "command", "api", "image"];
        return new HarnessException($"There is no proxy '{text}'.",
            $"Known are generator, generator-api, generator-compat, mutant=ID, kube-proxy=PATH, command=COMMAND, api=COMMAND, " +
                $"image=NAME|ARCHIVE; the last four also with features (command:+FEATURE,-FEATURE=COMMAND), kube-proxy and image also " +
                $"with arguments (kube-proxy[--v=4]=PATH).{(kinds.Contains(kind, StringComparer.Ordinal) ? ""
                    : Topologies.Nearest.Hint(kind, kinds))}",
            "Nothing was started.", "Name one of them.");
    }

    /// <summary>KIND, features behind a colon, arguments in brackets, and a value behind an equals sign.</summary>
    [GeneratedRegex(@"^(?<kind>[a-z-]*)(:(?<features>[^\[=]*))?(\[(?<arguments>.*)\](?==))?(=(?<value>.*))?$",
        RegexOptions.ExplicitCapture | RegexOptions.Singleline, 1000)]
    private static partial Regex Specification();

    private static string ExistingFile(string path) => File.Exists(path)
        ? path
        : throw new HarnessException($"There is no {path}.", "It is not a file.", "Nothing was started.",
            "Give the path of a kube-proxy binary.");

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

        HarnessException CannotRun(string evidence) => new($"{program} does not tell its version.", evidence,
            "It was not put under test.", "See that it is an executable program of this machine.");
    }
}

/// <summary>A proxy at work on a node, whatever it is: a process here, a container elsewhere. Disposing of it ends it.</summary>
public interface IRunningProxy : IAsyncDisposable
{
    /// <summary>The node that it runs on.</summary>
    Node Node { get; }

    /// <summary>How it was started, in words.</summary>
    string Description { get; }

    /// <summary>What it has said, of much the end.</summary>
    string Log { get; }

    /// <summary>Whether it has ended by itself.</summary>
    bool HasEnded { get; }

    /// <exception cref="HarnessException">It has ended; the message has its log.</exception>
    void ThrowIfEnded(Proxy proxy)
    {
        if (HasEnded)
            throw new HarnessException($"The proxy {proxy.Name} on {Node.Name} has ended.", $"{Description} said:\n{Log}",
                "No claim can be tested on it.", "See its log.");
    }
}

/// <summary>Features that a user adds to those of a kind of proxy, or takes away: words such as <c>-ipv6,+ipvs</c>.</summary>
public sealed record FeatureChange(IReadOnlyList<(bool IsAdded, ProxyFeature Feature)> Changes)
{
    /// <param name="impossible">Features that this kind of proxy cannot have.</param>
    /// <exception cref="HarnessException">A word names no feature.</exception>
    internal static FeatureChange Parse(string words, ProxyFeature[] impossible)
    {
        var possible = Enum.GetValues<ProxyFeature>().Except(impossible).ToList();
        var changes = new List<(bool, ProxyFeature)>();
        foreach (var word in words.Split(',', StringSplitOptions.RemoveEmptyEntries))
        {
            var named = possible.Where(f => f.ToString().Equals(word[1..].Replace("-", "", StringComparison.Ordinal),
                StringComparison.OrdinalIgnoreCase)).ToList();
            if (word[0] is not ('+' or '-') || named.Count == 0)
                throw new HarnessException($"'{word}' is no feature of a proxy.",
                    $"Known, with + or - before them, are " +
                    $"{string.Join(", ", possible.Select(Word))}.{Topologies.Nearest.Hint(word[1..], possible.Select(Word))}",
                    "Nothing was started.", "Name one of them.");
            changes.Add((word[0] == '+', named[0]));
        }
        return new FeatureChange(changes);
    }

    /// <summary>The feature of a word such as <c>health-check-node-port</c>.</summary>
    /// <exception cref="HarnessException">The word names no feature.</exception>
    public static ProxyFeature Parse(string word) => Enum.GetValues<ProxyFeature>().Where(f => Word(f) == word)
        .Select(f => (ProxyFeature?)f).FirstOrDefault()
        ?? throw new HarnessException($"'{word}' is no feature of a proxy.",
            $"Known are {string.Join(", ", Enum.GetValues<ProxyFeature>().Select(Word))}.", "The claim that names it cannot be tested.",
            "Correct its row in claims.yaml.");

    internal IReadOnlySet<ProxyFeature> Apply(IEnumerable<ProxyFeature> features)
    {
        var result = features.ToHashSet();
        foreach (var (isAdded, feature) in Changes)
            _ = isAdded ? result.Add(feature) : result.Remove(feature);
        return result;
    }

    /// <summary>As in a specification, with the colon; empty when nothing changes.</summary>
    public override string ToString() => Changes.Count == 0 ? ""
        : $":{string.Join(',', Changes.Select(c => $"{(c.IsAdded ? '+' : '-')}{Word(c.Feature)}"))}";

    /// <summary>The feature as specifications and the catalogue write it.</summary>
    public static string Word(ProxyFeature feature) => feature switch
    {
        ProxyFeature.IPv6 => "ipv6",
        _ => string.Concat(feature.ToString().Select((c, i) => char.IsAsciiLetterUpper(c)
        ? $"{(i == 0 ? "" : "-")}{char.ToLowerInvariant(c)}" : $"{c}")),
    };
}
