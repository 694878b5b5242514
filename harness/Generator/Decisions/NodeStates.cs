using System.Net;
using System.Net.NetworkInformation;
using System.Net.Sockets;
using Conformance.Generator.Documents;
using Conformance.Generator.Model;
using Conformance.Linux;

namespace Conformance.Generator.Decisions;

/// <summary>Finds out what the node is like.</summary>
public static class NodeStates
{
    /// <summary>Of the node that the options name: its object says zone and networks of pods, the addresses are given.</summary>
    public static NodeState Of(GeneratorOptions options, Cluster cluster, IReadOnlyList<IPAddress> addresses, bool servesIPv6 = true)
    {
        var node = cluster.Nodes.GetValueOrDefault(options.HostnameOverride);
        return new NodeState(options.HostnameOverride, addresses, node?.Zone, node?.PodCidrs ?? [], node?.InternalIPs ?? [])
        {
            ServesIPv6 = servesIPv6,
            OtherNodes = cluster.Nodes.Values.Where(n => n.Name != options.HostnameOverride)
            .SelectMany(n => n.InternalIPs.Select(a => (a, n.Name))).DistinctBy(n => n.a).ToDictionary(n => n.a, n => n.Name),
        };
    }

    /// <summary>Whether nothing follows from the one that does not follow from the other.</summary>
    public static bool IsSame(NodeState a, NodeState b) =>
        a.Zone == b.Zone && a.ServesIPv6 == b.ServesIPv6 && a.Addresses.SequenceEqual(b.Addresses) && a.PodCidrs.SequenceEqual(b.PodCidrs)
            && a.InternalIPs.SequenceEqual(b.InternalIPs)
        && a.OtherNodes.Count == b.OtherNodes.Count && a.OtherNodes.All(n => b.OtherNodes.GetValueOrDefault(n.Key) == n.Value);

    /// <summary>
    /// What is wrong with the name by which this node takes its endpoints for local; null when it is a Node's, or no Nodes are known.
    /// With a wrong name every endpoint is somebody else's, and the policies Local lose clients and their addresses.
    /// </summary>
    public static string? WhyNotOurs(GeneratorOptions options, Cluster cluster, IReadOnlyList<IPAddress> addresses)
    {
        if (cluster.Nodes.ContainsKey(options.HostnameOverride))
            return null;
        var ours = cluster.Nodes.Values.FirstOrDefault(n => n.InternalIPs.Any(addresses.Contains));
        var local = cluster.Slices.Values.Any(s => s.Endpoints.Any(e => e.NodeName == options.HostnameOverride));
        return ours is not null
            ? $"no Node is called {options.HostnameOverride}, but the Node {ours.Name} has an address of this host: no endpoint is " +
            $"taken for local; is --hostname-override {ours.Name} meant?"
            : cluster.Nodes.Count > 0 && !local
                ? $"no Node is called {options.HostnameOverride}, and no endpoint is on it: none is taken for local; see " +
                $"--hostname-override"
            : null;
    }

    /// <summary>Every address of this network namespace but loopback, link-local and kube-ipvs0's.</summary>
    public static IReadOnlyList<IPAddress> AddressesHere() =>
    [
        .. NetworkInterface.GetAllNetworkInterfaces()
            .Where(i => i.Name != DocumentSet.Device)
            .SelectMany(i => i.GetIPProperties().UnicastAddresses)
            .Select(a => a.Address)
            .Where(a => IsNodeAddress(a)),
    ];

    /// <summary>Whether an address of an interface can serve node ports: not loopback, not link-local.</summary>
    public static bool IsNodeAddress(IPAddress address) =>
        !IPAddress.IsLoopback(address) && !address.IsIPv6LinkLocal && !address.IsIPv6Multicast
        && !(address.AddressFamily == AddressFamily.InterNetwork && address.GetAddressBytes() is [169, 254, ..]);
}
