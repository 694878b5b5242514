using System.Net;
using Conformance.Generator.Objects;
using Conformance.Linux;
using Conformance.Linux.Ipset;
using Conformance.Linux.Ipvs;

namespace Conformance.Generator.Decisions;

/// <summary>A real server, reached by masquerading with weight 1.</summary>
public readonly record struct RealServer(IPAddress Address, ushort Port)
{
    public override string ToString() => Address.Text(Port);
}

/// <summary>A virtual server as the kernel should have it.</summary>
/// <param name="PersistenceSeconds">0 for none.</param>
public sealed record VirtualServer(IpvsKey Key, string Scheduler, int PersistenceSeconds, IReadOnlyList<RealServer> RealServers)
{
    /// <summary>kube-proxy lets Maglev hashing look at the source port as well (IP_VS_SVC_F_SCHED_MH_PORT).</summary>
    public bool HashesSourcePort => Scheduler == "mh";
}

/// <summary>A member that a set should have.</summary>
public readonly record struct SetMember(SetKey Set, IpsetEntry Entry);

/// <summary>
/// What one Service claims of the kernel at one address and port: a virtual server with all that belongs to it.
/// Of several claims for one key the oldest Service's counts, the others wait.
/// </summary>
/// <param name="Binds">Whether the address has to be on kube-ipvs0 (it is not one of the node's own).</param>
/// <param name="IsClosedToNode">Whether source ranges keep the node itself out of this load-balancer address.</param>
public sealed record PortClaim(VirtualServer Server, IReadOnlyList<SetMember> Members, bool Binds, bool IsClosedToNode)
{
    public IpvsKey Key => Server.Key;
}

/// <summary>A port on which load balancers ask whether this node has endpoints of a Service.</summary>
public sealed record HealthCheck(ushort Port, ObjectName Service, int LocalEndpoints);

/// <summary>All that one Service asks of the kernel.</summary>
/// <param name="Members">Members of sets that no port of another Service can dispute.</param>
public sealed record ServiceDecision(ObjectName Name, DateTimeOffset CreatedAt, IReadOnlyList<PortClaim> Claims, IReadOnlyList<SetMember> Members, HealthCheck? HealthCheck)
{
    public static ServiceDecision Nothing(ObjectName name) => new(name, DateTimeOffset.MinValue, [], [], null);
}
