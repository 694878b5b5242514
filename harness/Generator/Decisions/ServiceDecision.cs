using System.Net;
using Conformance.Generator.Model;
using Conformance.Linux.Ipset;
using Conformance.Linux.Ipvs;

namespace Conformance.Generator.Decisions;

/// <summary>A virtual server as the kernel should have it. Its real servers are reached by masquerading, with weight 1.</summary>
public sealed record DesiredServer(VirtualServer Server, IReadOnlyList<RealServerKey> RealServers)
{
    /// <summary>A virtual server for an address and port of a Service.</summary>
    /// <param name="persistenceSeconds">0 for no session affinity.</param>
    public DesiredServer(VirtualServerKey key, string scheduler, int persistenceSeconds, IReadOnlyList<RealServerKey> realServers)
        : this(new VirtualServer(key, 0, scheduler, FlagsOf(scheduler), persistenceSeconds), realServers)
    {
    }

    /// <summary>Address, port and protocol.</summary>
    public VirtualServerKey Key => Server.Key!.Value;

    /// <summary>kube-proxy lets Maglev hashing use the source port as well (IP_VS_SVC_F_SCHED_MH_PORT).</summary>
    private static VirtualServerFlags FlagsOf(string scheduler) => scheduler == Scheduler.MaglevHashing ? VirtualServerFlags.Sched2
        : VirtualServerFlags.None;
}

/// <summary>A member that a set should have.</summary>
public readonly record struct SetMember(SetKey Set, IpsetEntry Entry);

/// <summary>
/// What one Service claims of the kernel at one address and port: a virtual server with all that belongs to it.
/// Of several claims for one key the oldest Service's counts, the others wait.
/// </summary>
/// <param name="Binds">Whether the address has to be on kube-ipvs0 (it is not one of the node's own).</param>
/// <param name="IsClosedToNode">Whether source ranges keep the node itself out of this load-balancer address.</param>
public sealed record PortClaim(DesiredServer Server, IReadOnlyList<SetMember> Members, bool Binds, bool IsClosedToNode)
{
    /// <summary>Address, port and protocol.</summary>
    public VirtualServerKey Key => Server.Key;
}

/// <summary>A port on which load balancers ask whether this node has endpoints of a Service.</summary>
public sealed record HealthCheck(ushort Port, ObjectName Service, int LocalEndpoints);

/// <summary>All that one Service asks of the kernel.</summary>
/// <param name="Members">Members of sets that no port of another Service can dispute.</param>
public sealed record ServiceDecision(ObjectName Name, DateTimeOffset CreatedAt, IReadOnlyList<PortClaim> Claims,
    IReadOnlyList<SetMember> Members, HealthCheck? HealthCheck)
{
    /// <summary>The decision on a Service that is not served.</summary>
    public static ServiceDecision Nothing(ObjectName name) => new(name, DateTimeOffset.MinValue, [], [], null);
}
