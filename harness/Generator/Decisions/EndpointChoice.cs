using System.Net;
using Conformance.Generator.Model;
using Conformance.Linux;
using Conformance.Linux.Ipvs;

namespace Conformance.Generator.Decisions;

/// <summary>An endpoint of one Service port: its address with the port that the slice gives it.</summary>
internal sealed record PortEndpoint(RealServerKey Server, Endpoint Endpoint, bool IsLocal);

/// <summary>
/// The endpoints of a Service port that traffic may go to. Ready ones; where there is none, those that still serve
/// while they terminate (KEP-1669). Hints narrow the cluster's choice to the node (KEP-3015), or to its zone (KEP-2433),
/// when every ready endpoint has such hints and some are for it.
/// </summary>
internal sealed record EndpointChoice(IReadOnlyList<PortEndpoint> All, IReadOnlyList<RealServerKey> Cluster,
    IReadOnlyList<RealServerKey> Local)
{
    /// <summary>So many are compared one by one faster than they are hashed.</summary>
    private const int MaxCompared = 16;

    internal static EndpointChoice Of(Service service, ServicePort port, bool ipv6, IEnumerable<EndpointSlice> slices, NodeState node,
        bool isCompatible)
    {
        var usesHints = service.UsesTopologyHints || (service.PrefersCloseEndpoints && !isCompatible);
        var all = EndpointsOf(port, ipv6, slices, node.Name, isCompatible);
        return new EndpointChoice(
            all,
            Usable(all, usesHints ? Hinted(all, node, knowsNodes: !isCompatible) : _ => true),
            Usable(all.FindAll(e => e.IsLocal), _ => true));
    }

    private static List<PortEndpoint> EndpointsOf(ServicePort port, bool ipv6, IEnumerable<EndpointSlice> slices, string nodeName,
        bool isCompatible)
    {
        var endpoints = new List<PortEndpoint>();
        Dictionary<RealServerKey, int>? seen = null; // where there are many
        foreach (var slice in slices)
        {
            if (slice.IsIPv6 != ipv6)
                continue;
            foreach (var slicePort in slice.Ports)
            {
                if (slicePort.Name != port.Name || slicePort.Protocol != port.Protocol)
                    continue;
                foreach (var endpoint in slice.Endpoints)
                {
                    var server = new RealServerKey(endpoint.Address, slicePort.Port);
                    var found = new PortEndpoint(server, endpoint, endpoint.NodeName is not null && endpoint.NodeName == nodeName);
                    if (seen is null && endpoints.Count > MaxCompared)
                        seen = endpoints.Select((e, i) => (e.Server, i)).ToDictionary(e => e.Server, e => e.i);
                    var at = seen is null ? IndexOf(endpoints, server) : seen.GetValueOrDefault(server, -1);
                    // While a slice is split or merged an endpoint stands in two; and the address of a pod that has ended may already be
                    // another's.
                    if (at >= 0)
                    {
                        endpoints[at] = isCompatible ? found : Merge(endpoints[at], found);
                        continue;
                    }
                    seen?.Add(server, endpoints.Count);
                    endpoints.Add(found);
                }
            }
        }
        return endpoints;
    }

    private static int IndexOf(List<PortEndpoint> endpoints, RealServerKey server)
    {
        for (var i = 0; i < endpoints.Count; i++)
        {
            if (endpoints[i].Server == server)
                return i;
        }
        return -1;
    }

    /// <summary>
    /// Two endpoints with one address are one, in the better state of the two whatever their order
    /// (kubernetes/kubernetes#135266). Of two in the same state it is local if either is, and has the hints of both; without
    /// hints in one, none.
    /// </summary>
    private static PortEndpoint Merge(PortEndpoint a, PortEndpoint b)
    {
        if (Rank(a.Endpoint) != Rank(b.Endpoint))
            return Rank(a.Endpoint) > Rank(b.Endpoint) ? a : b;
        return a with
        {
            IsLocal = a.IsLocal || b.IsLocal,
            Endpoint = a.Endpoint with
            {
                HintedZones = Both(a.Endpoint.HintedZones, b.Endpoint.HintedZones),
                HintedNodes = Both(a.Endpoint.HintedNodes, b.Endpoint.HintedNodes)
            },
        };

        static int Rank(Endpoint endpoint) => endpoint switch
        {
            { IsReady: true } => 2,
            { IsServing: true, IsTerminating: true } => 1,
            _ => 0,
        };

        static IReadOnlyList<string>? Both(IReadOnlyList<string>? a, IReadOnlyList<string>? b) => a is null || b is null ? null
            : [.. a.Union(b, StringComparer.Ordinal)];
    }

    private static Predicate<PortEndpoint> Hinted(List<PortEndpoint> all, NodeState node, bool knowsNodes)
    {
        var ready = all.FindAll(e => e.Endpoint.IsReady);
        if (knowsNodes && CanUse(e => e.Endpoint.HintedNodes, node.Name))
            return e => e.Endpoint.HintedNodes!.Contains(node.Name, StringComparer.Ordinal);
        if (node.Zone is { } zone && CanUse(e => e.Endpoint.HintedZones, zone))
            return e => e.Endpoint.HintedZones!.Contains(zone, StringComparer.Ordinal);
        return _ => true;

        bool CanUse(Func<PortEndpoint, IReadOnlyList<string>?> hints, string name) =>
            ready.TrueForAll(e => hints(e) is { Count: > 0 }) && ready.Exists(e => hints(e)!.Contains(name, StringComparer.Ordinal));
    }

    private static List<RealServerKey> Usable(List<PortEndpoint> endpoints, Predicate<PortEndpoint> isChosen)
    {
        var ready = endpoints.FindAll(e => e.Endpoint.IsReady && isChosen(e));
        if (ready.Count == 0)
            ready = endpoints.FindAll(e => e.Endpoint is { IsServing: true, IsTerminating: true });
        return ready.ConvertAll(e => e.Server);
    }
}
