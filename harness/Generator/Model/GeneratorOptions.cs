using System.Net;
using System.Net.Sockets;
using Conformance.Generator.Sources;

namespace Conformance.Generator.Model;

/// <summary>How pods of this node are recognized (kube-proxy's --detect-local-mode).</summary>
public enum DetectLocalMode
{
    /// <summary>Pods have addresses of <c>--cluster-cidr</c>.</summary>
    ClusterCIDR,

    /// <summary>Pods have addresses of the Node's podCIDRs.</summary>
    NodeCIDR,

    /// <summary>Packets of pods arrive on a bridge.</summary>
    BridgeInterface,

    /// <summary>Packets of pods arrive on interfaces with a name prefix.</summary>
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

    /// <summary>--cluster-cidr: pod networks, at most one for each family.</summary>
    public IReadOnlyList<IPNetwork> ClusterCidr { get; init; } = [];

    /// <summary>--detect-local-mode.</summary>
    public DetectLocalMode DetectLocalMode { get; init; }

    /// <summary>--pod-bridge-interface.</summary>
    public string PodBridgeInterface { get; init; } = "";

    /// <summary>--pod-interface-name-prefix.</summary>
    public string PodInterfaceNamePrefix { get; init; } = "";

    /// <summary>--ipvs-scheduler: the scheduler of every virtual server.</summary>
    public string IpvsScheduler { get; init; } = "rr";

    /// <summary>--ipvs-strict-arp.</summary>
    public bool IpvsStrictArp { get; init; }

    /// <summary>--ipvs-exclude-cidrs.</summary>
    public IReadOnlyList<IPNetwork> IpvsExcludeCidrs { get; init; } = [];

    /// <summary>0 leaves the kernel's.</summary>
    public int IpvsTcpTimeoutSeconds { get; init; }

    /// <summary>--ipvs-tcpfin-timeout in seconds; 0 keeps the kernel's.</summary>
    public int IpvsTcpFinTimeoutSeconds { get; init; }

    /// <summary>--ipvs-udp-timeout in seconds; 0 keeps the kernel's.</summary>
    public int IpvsUdpTimeoutSeconds { get; init; }

    /// <summary>--masquerade-all.</summary>
    public bool MasqueradeAll { get; init; }

    /// <summary>--iptables-masquerade-bit: the bit of the packet mark, 0 to 31.</summary>
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

    /// <summary>Whether the objects of all Nodes are read from an API server, and not the node's own alone.</summary>
    public bool FollowsAllNodes { get; init; }

    /// <summary>--conntrack-max-per-core; 0 keeps the kernel's.</summary>
    public int ConntrackMaxPerCore { get; init; } = 32768;

    /// <summary>--conntrack-min.</summary>
    public int ConntrackMin { get; init; } = 131072;

    /// <summary>--conntrack-tcp-timeout-established in seconds; 0 keeps the kernel's.</summary>
    public int ConntrackTcpTimeoutEstablishedSeconds { get; init; } = 86400;

    /// <summary>--conntrack-tcp-timeout-close-wait in seconds; 0 keeps the kernel's.</summary>
    public int ConntrackTcpTimeoutCloseWaitSeconds { get; init; } = 3600;

    /// <summary>--conntrack-tcp-be-liberal.</summary>
    public bool ConntrackTcpBeLiberal { get; init; }

    /// <summary>--conntrack-udp-timeout in seconds; 0 keeps the kernel's.</summary>
    public int ConntrackUdpTimeoutSeconds { get; init; }

    /// <summary>--conntrack-udp-timeout-stream in seconds; 0 keeps the kernel's.</summary>
    public int ConntrackUdpTimeoutStreamSeconds { get; init; }

    /// <summary>Between two looks for drift, of watch.</summary>
    public TimeSpan IpvsSyncPeriod { get; init; } = TimeSpan.FromSeconds(30);

    /// <summary>At least between two syncs of watch.</summary>
    public TimeSpan IpvsMinSyncPeriod { get; init; }

    /// <summary>Where watch serves its health; null for nowhere.</summary>
    public IPEndPoint? HealthzBindAddress { get; init; } = new(IPAddress.Any, 10256);

    /// <summary>--metrics-bind-address; null for none.</summary>
    public IPEndPoint? MetricsBindAddress { get; init; } = new(IPAddress.Loopback, 10249);

    /// <summary>How many connections may be tracked: so many for each processor, at least the minimum; 0 leaves the kernel's.</summary>
    public int ConntrackMax(int processors) => ConntrackMaxPerCore == 0 ? 0
        : (int)Math.Max(ConntrackMin, Math.Min((long)ConntrackMaxPerCore * processors, int.MaxValue));

    /// <summary>The packet mark that asks for masquerading.</summary>
    public uint MasqueradeMark => 1u << IptablesMasqueradeBit;

    /// <summary>The pod network of a family; null when there is none.</summary>
    public IPNetwork? ClusterCidrOf(AddressFamily family) => ClusterCidr.Where(c => c.BaseAddress.AddressFamily == family)
        .Select(c => (IPNetwork?)c).FirstOrDefault();

    /// <summary>Whether virtual servers at an address belong to another program.</summary>
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
