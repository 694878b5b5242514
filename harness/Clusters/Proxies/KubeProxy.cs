using System.Net;
using System.Text.RegularExpressions;
using Conformance.Clusters.Kubernetes;
using Conformance.Labs;
using Conformance.Labs.Waiting;
using Conformance.Linux;

namespace Conformance.Clusters.Proxies;

/// <summary>
/// A real kube-proxy, in IPVS mode unless its arguments say otherwise (<c>--proxy-mode=iptables</c> or <c>nftables</c>), driven by an API
/// server in each node's namespace.
/// </summary>
/// <param name="program">Path of the binary.</param>
/// <param name="arguments">Arguments that come after the harness's own, and so win.</param>
/// <param name="change">What it does more or less than its version and mode tell.</param>
public sealed partial class KubeProxy(string program, IReadOnlyList<string> arguments, FeatureChange change) : Proxy
{
    /// <summary>The network of all pods of the topology.</summary>
    public const string ClusterCidr = "10.244.0.0/16,fd00:10:244::/48";

    /// <summary>The network of others' virtual servers.</summary>
    public const string ExcludedNetwork = "198.18.0.0/15";

    private static readonly string[] s_modes = ["ipvs", "iptables", "nftables"];

    /// <inheritdoc/>
    public override string Name => $"kube-proxy{change}{(arguments.Count == 0 ? "" : $"[{string.Join(' ', arguments)}]")}={program}";

    /// <inheritdoc/>
    public override IReadOnlySet<ProxyFeature> Features => change.Apply(FeaturesOf(Version));

    /// <summary>
    /// A sync of some dozen Services takes seconds where a process costs tens of milliseconds, and a canary takes two syncs.
    /// </summary>
    public override TimeSpan Patience => 3 * Timeouts.Start;

    /// <inheritdoc/>
    public override bool IsSlow => true;

    private string Mode { get; } = ModeOf(arguments);

    /// <summary>What the binary reports; that of a new one until it was asked, and for a text that is no version.</summary>
    private Version Version { get; set; } = new(int.MaxValue, 0);

    /// <inheritdoc/>
    public override async Task<string> VersionAsync()
    {
        var said = await AskVersionAsync(program, "--version");
        if (VersionNumber().Match(said) is { Success: true } match)
            Version = Version.Parse(match.Groups["version"].ValueSpan);
        return said;
    }

    /// <inheritdoc/>
    public override async Task<IRunningProxy> StartAsync(Node node, ClusterObjects objects, ProxySettings? settings = null)
    {
        var server = await objects.ServeAsync(node.Namespace);
        // Before v1.31 the mode nftables has to be asked for twice.
        var gates = Mode == "nftables" && Version < new Version(1, 31) ? ["--feature-gates=NFTablesProxyMode=true"] : Array.Empty<string>();
        // A full sync without a reason every 30 s would take most of a slow kernel's time.
        return new ProxyProcess(node,
            [program, $"--master={server.Address.AbsoluteUri.TrimEnd('/')}", "--kube-api-content-type=application/json",
                "--proxy-mode=ipvs", "--ipvs-sync-period=1h", "--iptables-sync-period=1h", .. NodeFlags(node), .. gates,
                .. settings?.Flags() ?? [], .. arguments],
            objects.Folder, server);
    }

    /// <inheritdoc/>
    public override Task CleanUpAsync(Node node) => node.Command(program, "--cleanup").Within(Patience).TryAsync();

    /// <summary>
    /// The flags that the generator has as well. In a namespace the machine's limits of connection tracking cannot be set.
    /// </summary>
    internal static IEnumerable<string> NodeFlags(Node node) =>
        [$"--hostname-override={node.Name}", $"--cluster-cidr={ClusterCidr}", $"--ipvs-exclude-cidrs={ExcludedNetwork}",
            "--conntrack-max-per-core=0", "--conntrack-min=0"];

    /// <summary>What a version does in this mode. Sources: the KEPs, and the changelogs of v1.28 to v1.34.</summary>
    private IEnumerable<ProxyFeature> FeaturesOf(Version version)
    {
        foreach (var feature in new[] { ProxyFeature.ApiServer, ProxyFeature.IPv6, ProxyFeature.Sctp, ProxyFeature.HealthCheckNodePort,
            ProxyFeature.Healthz, ProxyFeature.CleanUp, ProxyFeature.ConntrackTimeouts, ProxyFeature.Settings })
            yield return feature;
        if (Mode != "nftables")
            yield return ProxyFeature.NodePortsOnAllAddresses;
        if (Mode != "iptables")
            yield return ProxyFeature.RefusesOtherPorts;
        if (Mode == "ipvs")
        {
            yield return ProxyFeature.RefusesWithoutLocalEndpoint;
            yield return ProxyFeature.Ipvs;
            yield return ProxyFeature.KubeProxyLayout;
            yield return ProxyFeature.ExcludedNetworks;
        }
        if (Mode == "ipvs" && version >= new Version(1, 28))
            yield return ProxyFeature.CurrentChains;
        if (version >= new Version(1, 30))
            yield return ProxyFeature.NodeEligibility;
        if (version >= new Version(1, 31))
            yield return ProxyFeature.TrafficDistribution;
        if (version >= new Version(1, 34))
            yield return ProxyFeature.NodeHints;
    }

    /// <exception cref="HarnessException">The arguments ask for a mode that is none, or hide it in a file.</exception>
    private static string ModeOf(IReadOnlyList<string> arguments)
    {
        var mode = "ipvs";
        for (var i = 0; i < arguments.Count; i++)
        {
            if (arguments[i] == "--config" || arguments[i].StartsWith("--config=", StringComparison.Ordinal))
                throw Wrong("--config hides the mode, by which claims are chosen.", "Give kube-proxy its settings as flags.");
            if (arguments[i] == "--proxy-mode" && i + 1 < arguments.Count)
                mode = arguments[i + 1];
            else if (arguments[i].StartsWith("--proxy-mode=", StringComparison.Ordinal))
                mode = arguments[i]["--proxy-mode=".Length..];
        }
        return s_modes.Contains(mode, StringComparer.Ordinal) ? mode
            : throw Wrong($"kube-proxy has no mode '{mode}'.", $"Take one of {string.Join(", ", s_modes)}.");

        HarnessException Wrong(string what, string fix) => new(what, string.Join(' ', arguments), "Nothing was started.", fix);
    }

    [GeneratedRegex(@"v(?<version>\d+\.\d+)", RegexOptions.ExplicitCapture, 1000)]
    private static partial Regex VersionNumber();
}
