using Conformance.Generator.Decisions;
using Conformance.Generator.Model;
using Conformance.Linux;

namespace Conformance.KernelTests.Generator.Flows;

/// <summary>
/// Why a flow goes another way with the generator than with kube-proxy's state: the rows of "Where it differs" in the generator's README.
/// </summary>
internal static class KnownDifferences
{
    /// <summary>How many reasons there are.</summary>
    internal const int Count = 6;

    /// <summary>The reason for one flow.</summary>
    /// <param name="ours">What the generator decides on each node.</param>
    /// <param name="kubeProxys">What kube-proxy decides.</param>
    /// <returns>Null when there is no known reason.</returns>
    internal static string? ReasonFor(RandomFlow flow, FlowCase value, Dictionary<string, World> ours, Dictionary<string, World> kubeProxys)
    {
        var holders = FlowLab.Nodes.Select(n => (Ours: ours[n].Desired.Holder(flow.Target),
            KubeProxys: kubeProxys[n].Desired.Holder(flow.Target)));
        if (holders.Any(h => h.Ours != h.KubeProxys))
            return "of two Services with one address the older is served";
        var services = value.Services.Where(s => IsOf(s, flow)).ToList();
        if (services.Exists(s => s.LoadBalancerSourceRanges.Any(r => r.PrefixLength == 0)))
            return "a source range of length 0 opens";
        var isInternal = services.Exists(s => s.ClusterIPs.Contains(flow.Target.Address));
        if (isInternal && services.Exists(s => s.InternalPolicyIsLocal))
            return "internalTrafficPolicy Local without an endpoint here refuses";
        if (!isInternal && services.Exists(s => s.ExternalPolicyIsLocal))
            return FlowLab.Nodes.Contains(flow.From, StringComparer.Ordinal)
                ? "the node's own traffic to an address with policy Local is masqueraded"
                : "externalTrafficPolicy Local without an endpoint here drops what comes from outside";
        return value.Services.Any(s => s.Ports.Any(p => p.NodePort == flow.Target.Port && p.NodePort != 0))
            ? "node ports match by address and port" : null;
    }

    private static bool IsOf(Service service, RandomFlow flow) =>
        service.ClusterIPs.Concat(service.ExternalIPs).Concat(service.LoadBalancerIPs).Contains(flow.Target.Address)
        || service.Ports.Any(p => p.NodePort == flow.Target.Port && p.NodePort != 0);
}
