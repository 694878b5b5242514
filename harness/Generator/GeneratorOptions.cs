using System.Net;
using System.Net.Sockets;
using Conformance.Generator.Input;

namespace Conformance.Generator;

/// <summary>How pods of this node are told from everybody else (kube-proxy's --detect-local-mode).</summary>
public enum DetectLocalMode
{
    ClusterCIDR,
    NodeCIDR,
    BridgeInterface,
    InterfaceNamePrefix,
}

/// <summary>The configuration. What kube-proxy has as well carries its name and its default (KubeProxyConfiguration v1alpha1).</summary>
public sealed record GeneratorOptions
{
    /// <summary>Whether to give the kernel exactly the state that kube-proxy's IPVS mode (v1.30) gives it, faults included.</summary>
    public bool CompatKubeProxy { get; init; }

    /// <summary>The name of the Node that this is.</summary>
    public string HostnameOverride { get; init; } = "";

    /// <summary>The kubeconfig that the configuration file names; it counts where no other source of objects is given.</summary>
    public string? Kubeconfig { get; init; }

    public IReadOnlyList<IPNetwork> ClusterCidr { get; init; } = [];

    public DetectLocalMode DetectLocalMode { get; init; }

    public string PodBridgeInterface { get; init; } = "";

    public string PodInterfaceNamePrefix { get; init; } = "";

    public string IpvsScheduler { get; init; } = "rr";

    public bool IpvsStrictArp { get; init; }

    public IReadOnlyList<IPNetwork> IpvsExcludeCidrs { get; init; } = [];

    /// <summary>0 leaves the kernel's.</summary>
    public int IpvsTcpTimeoutSeconds { get; init; }

    public int IpvsTcpFinTimeoutSeconds { get; init; }

    public int IpvsUdpTimeoutSeconds { get; init; }

    public bool MasqueradeAll { get; init; }

    public int IptablesMasqueradeBit { get; init; } = 14;

    /// <summary>The networks whose node addresses serve node ports; none means all addresses.</summary>
    public IReadOnlyList<IPNetwork> NodePortAddresses { get; init; } = [];

    /// <summary>
    /// Whether node ports are served on the primary address of each family alone (kube-proxy's word "primary", since v1.31).
    /// </summary>
    public bool NodePortsOnPrimaryAddress { get; init; }

    /// <summary>Whether node ports are not served on every address.</summary>
    public bool LimitsNodePorts => NodePortsOnPrimaryAddress || NodePortAddresses.Count > 0;

    /// <summary>
    /// Whether an external or load-balancer IP that is another Node's InternalIP is left out: served here, it would cut this node off from
    /// that one.
    /// </summary>
    public bool RefuseNodeAddresses { get; init; }

    public int ConntrackMaxPerCore { get; init; } = 32768;

    public int ConntrackMin { get; init; } = 131072;

    public int ConntrackTcpTimeoutEstablishedSeconds { get; init; } = 86400;

    public int ConntrackTcpTimeoutCloseWaitSeconds { get; init; } = 3600;

    public bool ConntrackTcpBeLiberal { get; init; }

    public int ConntrackUdpTimeoutSeconds { get; init; }

    public int ConntrackUdpTimeoutStreamSeconds { get; init; }

    /// <summary>Between two looks for drift, of watch.</summary>
    public TimeSpan IpvsSyncPeriod { get; init; } = TimeSpan.FromSeconds(30);

    /// <summary>At least between two syncs of watch.</summary>
    public TimeSpan IpvsMinSyncPeriod { get; init; }

    /// <summary>Where watch serves its health; null for nowhere.</summary>
    public IPEndPoint? HealthzBindAddress { get; init; } = new(IPAddress.Any, 10256);

    public IPEndPoint? MetricsBindAddress { get; init; } = new(IPAddress.Loopback, 10249);

    /// <summary>How many connections may be tracked: so many for each processor, at least the minimum; 0 leaves the kernel's.</summary>
    public int ConntrackMax(int processors) => ConntrackMaxPerCore == 0 ? 0
        : (int)Math.Max(ConntrackMin, Math.Min((long)ConntrackMaxPerCore * processors, int.MaxValue));

    /// <summary>The packet mark that asks for masquerading.</summary>
    public uint MasqueradeMark => 1u << IptablesMasqueradeBit;

    public IPNetwork? ClusterCidrOf(AddressFamily family) => ClusterCidr.Where(c => c.BaseAddress.AddressFamily == family)
        .Select(c => (IPNetwork?)c).FirstOrDefault();

    public bool IsExcluded(IPAddress address) => IpvsExcludeCidrs.Any(c => c.Contains(address));
}

/// <summary>What the node itself is like: not configured but found, in the kernel and in the Node object.</summary>
/// <param name="Addresses">Every address of the node but loopback, link-local and kube-ipvs0's.</param>
public sealed record NodeState(string Name, IReadOnlyList<IPAddress> Addresses, string? Zone, IReadOnlyList<IPNetwork> PodCidrs,
    IReadOnlyList<IPAddress> InternalIPs)
{
    /// <summary>The InternalIPs of the other Nodes that are known, with the Nodes' names.</summary>
    public IReadOnlyDictionary<IPAddress, string> OtherNodes { get; init; } = new Dictionary<IPAddress, string>();

    /// <summary>False where the kernel has no ip6tables: an IPv6 Service without its rules would be worse than none.</summary>
    public bool ServesIPv6 { get; init; } = true;

    /// <summary>The node's own address of a family: what its Node object says first, else its first address.</summary>
    public IPAddress? PrimaryAddress(AddressFamily family) => InternalIPs.Concat(Addresses).FirstOrDefault(a => a.AddressFamily == family);

    /// <summary>
    /// The addresses of a family on which node ports are served. A family of which no network is named is served everywhere, as by
    /// kube-proxy. In an excluded network virtual servers are somebody else's; kube-proxy writes them there, and never removes them.
    /// </summary>
    public IEnumerable<IPAddress> NodePortAddresses(GeneratorOptions options, AddressFamily family)
    {
        var networks = options.NodePortAddresses.Where(n => n.BaseAddress.AddressFamily == family).ToList();
        return Addresses.Where(a => a.AddressFamily == family
            && (options.NodePortsOnPrimaryAddress ? a.Equals(PrimaryAddress(family)) : networks.Count == 0
                || networks.Exists(n => n.Contains(a)))
            && (options.CompatKubeProxy || !options.IsExcluded(a)));
    }
}
