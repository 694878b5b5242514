using System.Net;
using Conformance.Harness.Kubernetes;
using Conformance.Harness.Labs;

namespace Conformance.Harness.Proxies;

/// <summary>A real kube-proxy in IPVS mode, driven by an API server in each node's namespace.</summary>
/// <param name="program">Path of the binary.</param>
/// <param name="features">What this version of it has.</param>
public sealed class KubeProxy(string program, IReadOnlySet<ProxyFeature> features) : Proxy
{
    /// <summary>The network of all pods of the topology.</summary>
    public const string ClusterCidr = "10.244.0.0/16,fd00:10:244::/48";

    /// <summary>What v1.30 has; since v1.31 there is trafficDistribution too.</summary>
    public static IReadOnlySet<ProxyFeature> DefaultFeatures { get; } = new HashSet<ProxyFeature> { ProxyFeature.KubeProxyLayout, ProxyFeature.ApiServer, ProxyFeature.Ipvs, ProxyFeature.IPv6, ProxyFeature.Sctp, ProxyFeature.HealthCheckNodePort, ProxyFeature.Healthz, ProxyFeature.ExcludedNetworks, ProxyFeature.CleanUp };

    /// <summary>The network of others' virtual servers.</summary>
    public const string ExcludedNetwork = "198.18.0.0/15";

    internal static IPEndPoint ServerAddress { get; } = new(IPAddress.Loopback, 8080);

    public override string Name => $"kube-proxy={program}";

    public override IReadOnlySet<ProxyFeature> Features => features;

    /// <summary>A sync of some dozen Services takes seconds where a process costs tens of milliseconds, and a canary takes two syncs.</summary>
    public override TimeSpan Patience => 3 * Timeouts.Start;

    public override Task<string> VersionAsync() => AskVersionAsync(program, "--version");

    public override async Task<IRunningProxy> StartAsync(Node node, ClusterObjects objects)
    {
        var server = await objects.ServeAsync(node.Namespace, ServerAddress);
        return new ProxyProcess(node, [program, $"--master={server.Address.AbsoluteUri.TrimEnd('/')}", "--kube-api-content-type=application/json", "--proxy-mode=ipvs", .. NodeFlags(node)], objects.Folder);
    }

    public override Task CleanUpAsync(Node node) => node.Command(program, "--cleanup").TryAsync();

    /// <summary>The flags that the generator has as well. In a namespace the machine's limits of connection tracking cannot be set.</summary>
    internal static IEnumerable<string> NodeFlags(Node node) =>
        [$"--hostname-override={node.Name}", $"--cluster-cidr={ClusterCidr}", $"--ipvs-exclude-cidrs={ExcludedNetwork}", "--conntrack-max-per-core=0", "--conntrack-min=0"];
}
