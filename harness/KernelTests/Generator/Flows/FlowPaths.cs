using System.Net;
using System.Net.Sockets;
using Conformance.Generator.Decisions;
using Conformance.Generator.Explain;
using Conformance.Labs;
using Conformance.Linux;
using Conformance.Linux.Ipvs;

namespace Conformance.KernelTests.Generator.Flows;

/// <summary>One way that a flow may take, as the explanations of its packet on each node say.</summary>
/// <param name="Pod">The pod that it leads to; null where it leads to none.</param>
/// <param name="Seen">The sources that the pod may see.</param>
/// <param name="Walks">The explanations, by the nodes that the packet passes.</param>
internal sealed record Way(FlowEnd End, string? Pod, IReadOnlyList<IPAddress> Seen,
    IReadOnlyList<(string Node, WalkResult Walk)> Walks)
{
    /// <summary>
    /// Whether a result is what this way says. SCTP goes on asking where an ICMP error refuses it (sctp_v4_err of the kernel).
    /// </summary>
    internal bool Agrees(RandomFlow flow, FlowResult result) => End != FlowEnd.Answered
        ? result.End == End || (End == FlowEnd.Refused && result.End == FlowEnd.Silent && flow.Target.Protocol == TransportProtocol.Sctp)
        : result is { End: FlowEnd.Answered, GoesOn: true } && result.Server == Pod && Seen.Contains(result.Seen);

    /// <summary>What its client notices.</summary>
    internal string Outcome => End == FlowEnd.Answered ? $"answered by {Pod}, which sees {string.Join(" or ", Seen)}"
        : End.ToString().ToLowerInvariant();

    public override string ToString() => Outcome + string.Concat(Walks.SelectMany(w => w.Walk.Steps.Select(s => $"\n  {w.Node}: {s}")));
}

/// <summary>The ways of flows through the topology "cluster", by the explanations of their packets on its nodes.</summary>
/// <param name="worlds">What is decided on each node.</param>
internal sealed class FlowPaths(Lab lab, IReadOnlyDictionary<string, World> worlds)
{
    /// <summary>The ways that a flow may take: one for each real server that IPVS may choose.</summary>
    internal IReadOnlyList<Way> Predict(RandomFlow flow)
    {
        var first = NodeOfSource(flow.From) ?? OwnerOf(flow.Target.Address) ?? "node1";
        return [.. WaysFrom(first, flow, AddressOf(flow.From, flow.Target.Address))];
    }

    private IEnumerable<Way> WaysFrom(string node, RandomFlow flow, IPAddress from)
    {
        var walk = Walk.Of(worlds[node], flow.Target, from);
        switch (walk.End)
        {
            case WalkEnd.Forwarded:
                return walk.Server!.RealServers.Select(real => WayTo(real, node, flow, Walk.Of(worlds[node], flow.Target, from, real)));
            case WalkEnd.Routed when OwnerOf(flow.Target.Address) is { } owner && owner != node:
                return WaysFrom(owner, flow, from).Select(w => w with { Walks = [(node, walk), .. w.Walks] });
            case WalkEnd.Routed: // the router drops it
            case WalkEnd.Dropped:
                return [new Way(FlowEnd.Silent, null, [], [(node, walk)])];
            default:
                return [new Way(IsUnheard(flow, node, walk) ? FlowEnd.Silent : FlowEnd.Refused, null, [], [(node, walk)])];
        }
    }

    /// <param name="walk">The way through the node that chooses the real server.</param>
    private Way WayTo(RealServerKey real, string node, RandomFlow flow, WalkResult walk)
    {
        var pod = FlowCase.Pods.First(p => p.V4.Equals(real.Address) || p.V6.Equals(real.Address));
        var seen = walk.IsMasqueraded ? AddressesOf(node, flow.Target.IsIPv6) : [walk.Source];
        var walks = new List<(string, WalkResult)> { (node, walk) };
        // What is not masqueraded is answered only where the answer comes back by this node.
        var comesBack = walk.IsMasqueraded || pod.Node == node || NodeOfSource(flow.From) == node;
        if (pod.Node != node)
        {
            var there = Walk.Of(worlds[pod.Node], new VirtualServerKey(flow.Target.Protocol, real.Address, real.Port), seen[0]);
            walks.Add((pod.Node, there));
            // Then the answer stays on the other node: it is sent to that node, or to a virtual address, which each node has.
            comesBack &= !there.IsMasqueraded && (walk.IsMasqueraded || !worlds[pod.Node].Desired.IsBound(walk.Source));
        }
        return comesBack ? new Way(FlowEnd.Answered, pod.Name, seen, walks) : new Way(FlowEnd.Silent, null, [], walks);
    }

    /// <summary>
    /// IPVS refuses a node's own datagram by an ICMP error and drops it, by which the call that sends it fails (EPERM).
    /// </summary>
    private static bool IsUnheard(RandomFlow flow, string hop, WalkResult walk) => walk.Server is not null && flow.From == hop
        && flow.Target.Protocol == TransportProtocol.Udp;

    /// <summary>The source of a flow: of a node to itself the address that it asks.</summary>
    private IPAddress AddressOf(string name, IPAddress target) => lab[name].Addresses.Contains(target) ? target
        : lab[name].Spec.Interfaces[0].Addresses.First(a => a.AddressFamily == target.AddressFamily);

    /// <summary>
    /// Of a masqueraded packet: the address of the device that it leaves by, of which the overlay has the first of its network.
    /// </summary>
    private IReadOnlyList<IPAddress> AddressesOf(string node, bool isIPv6) =>
    [
        .. lab[node].Addresses.Where(a => a.AddressFamily == (isIPv6 ? AddressFamily.InterNetworkV6 : AddressFamily.InterNetwork)),
        .. lab[node].Spec.Interfaces.Where(i => i.IsBridge).Select(i => isIPv6 ? i.Network.Subnet6!.Value.BaseAddress
            : i.Network.Subnet.BaseAddress),
    ];

    private string? OwnerOf(IPAddress address) => FlowLab.Nodes.FirstOrDefault(n => lab[n].Addresses.Contains(address));

    /// <summary>The node that a flow begins at: null for a client outside.</summary>
    private static string? NodeOfSource(string name) => FlowLab.Nodes.Contains(name, StringComparer.Ordinal) ? name
        : FlowCase.Pods.FirstOrDefault(p => p.Name == name).Node;
}
