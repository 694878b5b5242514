using System.Net;
using Conformance.Generator.Model;

namespace Conformance.Generator.Preflight;

/// <summary>
/// Finds the Services that depend on what kube-proxy's IPVS mode does otherwise than its other modes, or than this generator. Sources:
/// the claims that are named, and the table of differences in the generator's README.
/// </summary>
public static class Checks
{
    private const int MostNames = 5;

    /// <summary>All findings, by Service.</summary>
    /// <param name="options">Of the flags, those count that say how node ports are served now.</param>
    public static IReadOnlyList<Finding> Of(Cluster cluster, GeneratorOptions options)
    {
        var nodes = cluster.Nodes.Values.OrderBy(n => n.Name, StringComparer.Ordinal).ToList();
        var owners = Owners(cluster);
        return [.. cluster.Services.Values.Where(s => s.IsProxied).OrderBy(s => s.Name, ObjectName.Order).SelectMany(service =>
            Affinity(service).Concat(ExternalLocal(service, cluster, nodes)).Concat(InternalLocal(service, cluster, nodes))
                .Concat(NodeAddresses(service, nodes)).Concat(Duplicates(service, owners)).Concat(SourceRanges(service))
                .Concat(NodePorts(service, options)).Concat(SharedPodAddresses(service, cluster)))];
    }

    private static IEnumerable<Finding> Affinity(Service service)
    {
        if (service.AffinitySeconds > 0)
        {
            yield return new Finding("session-affinity", service.Name, ["AFFINITY-3"],
                $"sessionAffinity is ClientIP, {service.AffinitySeconds} s.",
                "IPVS keeps a client on its endpoint while one of its connections lives, and counts the time from its last one on; " +
                "the iptables and nftables modes count from the last new connection. At the " +
                "change, every client may get another endpoint.");
        }
    }

    private static IEnumerable<Finding> ExternalLocal(Service service, Cluster cluster, IReadOnlyList<NodeObject> nodes)
    {
        if (!service.ExternalPolicyIsLocal || Without(service, cluster, nodes) is not { } where)
            yield break;
        var claims = new List<string>();
        if (HasNodePorts(service))
            claims.Add("POLICY-9");
        if (service.LoadBalancerIPs.Count > 0)
            claims.Add("POLICY-10");
        if (service.ExternalIPs.Count > 0)
            claims.Add("POLICY-11");
        if (claims.Count == 0)
            claims.Add("POLICY-9"); // its node ports have not been allocated yet
        yield return new Finding("external-policy-local", service.Name, claims, $"externalTrafficPolicy is Local, and {where}.",
            "kube-proxy's IPVS mode answers the outside there with endpoints of other nodes; every other mode, and this generator, drops " +
            "new connections. Load balancers must look at the health-check node port.");
    }

    private static IEnumerable<Finding> InternalLocal(Service service, Cluster cluster, IReadOnlyList<NodeObject> nodes)
    {
        if (service.InternalPolicyIsLocal && (HasNodePorts(service) || service.IsLoadBalancer)
            && Without(service, cluster, nodes) is { } where)
        {
            yield return new Finding("internal-policy-local", service.Name, ["POLICY-14", "POLICY-16"],
                $"internalTrafficPolicy is Local, and {where}.",
                "kube-proxy's IPVS mode takes endpoints of other nodes there, because the Service has node ports; other modes " +
                "refuse pods and nodes.");
        }
    }

    private static IEnumerable<Finding> NodeAddresses(Service service, IReadOnlyList<NodeObject> nodes) =>
        from address in service.ExternalIPs.Concat(service.LoadBalancerIPs).Distinct()
        from node in nodes
        where node.InternalIPs.Contains(address)
        select new Finding("node-address", service.Name, ["KP-15", "KP-29"], $"{address} is the InternalIP of Node {node.Name}.",
            "With IPVS the address is bound to every node, which then no longer reaches that Node by it; the other modes leave the Node " +
            "reachable on other ports. After the change that Node is reachable again.");

    private static IEnumerable<Finding> Duplicates(Service service,
        ILookup<(IPAddress, Linux.TransportProtocol, ushort), Service> owners) =>
        from address in AddressesOf(service)
        from port in service.Ports
        let others = owners[(address, port.Protocol, port.Port)].Where(o => o.Name != service.Name).ToList()
        where others.Count > 0
        select new Finding("duplicate-address", service.Name, ["CHANGE-17"],
            $"{address} port {port.Port} is also wanted by {string.Join(", ", others.Select(o => $"Service {o.Name}"))}.",
            "kube-proxy's IPVS mode sends to one of them, and to the other after the next sync; this generator serves the older one. " +
            "Remove the address from one.");

    private static IEnumerable<Finding> SourceRanges(Service service)
    {
        var ranges = service.LoadBalancerSourceRanges;
        if (ranges.Count == 0)
            yield break;
        if (ranges.Any(r => r.PrefixLength == 0))
        {
            yield return new Finding("source-range-of-everybody", service.Name, ["RANGE-3"],
                "loadBalancerSourceRanges has a network with the prefix length 0.",
                "ipset takes no such entry: kube-proxy's IPVS mode closes the Service to everybody. The other modes open it.");
        }
    }

    private static IEnumerable<Finding> NodePorts(Service service, GeneratorOptions options)
    {
        if (HasNodePorts(service) && (options.NodePortAddresses.Count > 0 || options.NodePortsOnPrimaryAddress
            || options.IpvsExcludeCidrs.Count > 0))
        {
            yield return new Finding("node-port-addresses", service.Name, ["RESTART-8"],
                "It has node ports, and --nodeport-addresses or --ipvs-exclude-cidrs is set.",
                "kube-proxy's IPVS mode also serves node ports on addresses of excluded networks, and leaves them there when the Service " +
                "goes; the other modes do not serve them there.");
        }
    }

    private static IEnumerable<Finding> SharedPodAddresses(Service service, Cluster cluster)
    {
        var twice = cluster.SlicesOf(service.Name).SelectMany(s => s.Endpoints).GroupBy(e => e.Address)
            .Where(g => g.Select(e => (e.IsReady, e.IsServing, e.IsTerminating)).Distinct().Count() > 1).Select(g => g.Key).ToList();
        if (twice.Count > 0)
        {
            yield return new Finding("endpoint-twice", service.Name, ["ENDPOINT-7", "ENDPOINT-8"],
                $"{Names(twice.Select(a => a.ToString()))} is in its slices more than once, in different states.",
                "In kube-proxy the entry that is read last counts, so that the endpoint may get no connections; here the better state " +
                "counts.");
        }
    }

    private static bool HasNodePorts(Service service) => service.Ports.Any(p => p.NodePort > 0);

    /// <summary>The nodes without a ready endpoint, in words; null when each has one.</summary>
    private static string? Without(Service service, Cluster cluster, IReadOnlyList<NodeObject> nodes)
    {
        if (nodes.Count == 0)
            return "no Node objects were given to tell which nodes have an endpoint";
        var with = cluster.SlicesOf(service.Name).SelectMany(s => s.Endpoints).Where(e => e.IsReady).Select(e => e.NodeName)
            .ToHashSet(StringComparer.Ordinal);
        var without = nodes.Where(n => !with.Contains(n.Name)).Select(n => n.Name).ToList();
        return without.Count == 0 ? null : $"{Names(without)} {(without.Count == 1 ? "has" : "have")} no ready endpoint";
    }

    private static string Names(IEnumerable<string> names)
    {
        var all = names.ToList();
        return all.Count <= MostNames ? string.Join(", ", all)
            : $"{string.Join(", ", all.Take(MostNames))} and {all.Count - MostNames} more";
    }

    private static IEnumerable<IPAddress> AddressesOf(Service service) =>
        service.ClusterIPs.Concat(service.ExternalIPs).Concat(service.LoadBalancerIPs).Distinct();

    private static ILookup<(IPAddress, Linux.TransportProtocol, ushort), Service> Owners(Cluster cluster) =>
        (from service in cluster.Services.Values
         where service.IsProxied
         from address in AddressesOf(service)
         from port in service.Ports
         select (Key: (address, port.Protocol, port.Port), service)).ToLookup(o => o.Key, o => o.service);
}
