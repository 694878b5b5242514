using System.Net.Sockets;
using Conformance.Generator.Model;
using Conformance.Linux;

namespace Conformance.Generator.Decisions;

/// <summary>
/// Effects of a valid Service on the node that its author probably did not intend. kube-proxy has the same effects and does not warn.
/// </summary>
internal static class Warnings
{
    internal static IReadOnlyList<string> Of(Service service, GeneratorOptions options, NodeState node) =>
        service.IsProxied ? [.. OtherNodes(service, options, node), .. OpenFamilies(service)] : [];

    /// <summary>Bound to kube-ipvs0, the address of another node makes that node unreachable from here (k3s-io/k3s#5000).</summary>
    private static IEnumerable<string> OtherNodes(Service service, GeneratorOptions options, NodeState node) =>
        from address in service.ExternalIPs.Concat(service.LoadBalancerIPs).Distinct()
        where node.OtherNodes.ContainsKey(address)
        select options.RefuseNodeAddresses
            ? $"Service {service.Name}: {address} is not served, since it is the InternalIP of Node {node.OtherNodes[address]} " +
                $"(--refuse-node-addresses)"
            : $"Service {service.Name}: {address} is also the InternalIP of Node {node.OtherNodes[address]}: this node keeps all " +
                $"packets to it, and no longer reaches that one by it; see --refuse-node-addresses";

    /// <summary>Source ranges hold in their own family (kubernetes/kubernetes#109575).</summary>
    private static IEnumerable<string> OpenFamilies(Service service) =>
        from family in service.LoadBalancerIPs.Select(a => a.AddressFamily).Distinct()
        where service.LoadBalancerSourceRanges.Count > 0 && service.LoadBalancerSourceRanges.All(r => r.BaseAddress.AddressFamily != family)
        let name = family == AddressFamily.InterNetwork ? "IPv4" : "IPv6"
        select $"Service {service.Name}: loadBalancerSourceRanges has no range of {name}: its load-balancer addresses of {name} are " +
            $"open to everybody";
}
