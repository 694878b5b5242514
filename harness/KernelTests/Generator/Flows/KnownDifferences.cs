using Conformance.Generator.Decisions;
using Conformance.Generator.Model;

namespace Conformance.KernelTests.Generator.Flows;

/// <summary>
/// Why a flow goes another way with the generator than with kube-proxy's state: the rows of "Where it differs" in the generator's README.
/// A row counts where the rules that the packet passes, and its end, show it: a Service that would allow it is not enough.
/// </summary>
internal static class KnownDifferences
{
    private static readonly (string Reason, Func<Difference, bool> Shows)[] s_rows =
    [
        ("of two Services with one address the older is served", d => d.HasOtherHolder),
        ("a source range of length 0 opens", d => d.HasRangeOfAll && Drops(d.KubeProxys, "KUBE-SOURCE-RANGES-FIREWALL")
            && !Drops(d.Ours, "KUBE-SOURCE-RANGES-FIREWALL")),
        ("internalTrafficPolicy Local without an endpoint here refuses", d => d.IsInternalLocal && HasNoRealServer(d.Ours)
            && !HasNoRealServer(d.KubeProxys)),
        ("externalTrafficPolicy Local without an endpoint here drops what comes from outside", d => Drops(d.Ours, "KUBE-PROXY-FIREWALL")
            && !Drops(d.KubeProxys, "KUBE-PROXY-FIREWALL") && Passes(d.Ours, "KUBE-", "NO-LOCAL-ENDPOINT")),
        ("externalTrafficPolicy Local without an endpoint here masquerades pods and the node", d =>
            Passes(d.Ours, "KUBE-SERVICES", "NO-LOCAL-ENDPOINT") && IsMasqueraded(d.Ours) && !IsMasqueraded(d.KubeProxys)),
        ("the node's own traffic to an address with policy Local is masqueraded", d => FlowLab.Nodes.Contains(d.Flow.From)
            && Passes(d.Ours, "KUBE-", "--src-type LOCAL") && IsMasqueraded(d.Ours) && !IsMasqueraded(d.KubeProxys)),
        ("node ports match by address and port", d => Passes(d.KubeProxys, "KUBE-NODE-PORT", "NODE-PORT-")
            && !Passes(d.Ours, "KUBE-NODE-PORT", "NODE-PORT-")),
    ];

    /// <summary>How many reasons there are.</summary>
    internal static int Count => s_rows.Length;

    /// <summary>The reason for one flow.</summary>
    /// <returns>Null when there is no known reason.</returns>
    internal static string? ReasonFor(Difference difference) => s_rows.FirstOrDefault(r => r.Shows(difference)).Reason;

    private static bool Passes(IReadOnlyList<Way> ways, string chain, string rule) => ways.Any(w => w.Walks.Any(n => n.Walk.Rules.Any(r =>
        r.Chain.StartsWith(chain, StringComparison.Ordinal) && r.Rule.Contains(rule, StringComparison.Ordinal))));

    private static bool Drops(IReadOnlyList<Way> ways, string chain) => ways.Any(w => w.Walks[^1].Walk.Rules is [.., var last]
        && last.Chain == chain && last.Rule.EndsWith("-j DROP", StringComparison.Ordinal));

    private static bool HasNoRealServer(IReadOnlyList<Way> ways) => ways.Any(w => w.Walks[^1].Walk.Server is { RealServers.Count: 0 });

    /// <summary>Where IPVS sends it on: the pod's node may masquerade what comes back to the pod that sent it.</summary>
    private static bool IsMasqueraded(IReadOnlyList<Way> ways) =>
        ways.Any(w => w.Walks.Any(n => n.Walk.Server is not null && n.Walk.IsMasqueraded));
}

/// <summary>A flow that goes another way with the generator than with kube-proxy's state.</summary>
internal sealed record Difference(RandomFlow Flow, IReadOnlyList<Way> Ours, IReadOnlyList<Way> KubeProxys)
{
    /// <summary>Whether the two serve different Services on the target, on a node that the flow passes.</summary>
    internal required bool HasOtherHolder { get; init; }

    /// <summary>The Services that have the target.</summary>
    internal required IReadOnlyList<Service> Services { get; init; }

    internal bool HasRangeOfAll => Services.Any(s => s.LoadBalancerIPs.Contains(Flow.Target.Address)
        && s.LoadBalancerSourceRanges.Any(r => r.PrefixLength == 0));

    internal bool IsInternalLocal => Services.Any(s => s.InternalPolicyIsLocal && s.ClusterIPs.Contains(Flow.Target.Address));

    /// <summary>All flows of a case that go different ways.</summary>
    /// <param name="ours">What the generator decides on each node.</param>
    /// <param name="kubeProxys">What kube-proxy decides.</param>
    internal static IEnumerable<Difference> Of(FlowCase value, FlowLab lab, Dictionary<string, World> ours,
        Dictionary<string, World> kubeProxys)
    {
        var (paths, others) = (new FlowPaths(lab.Lab, ours), new FlowPaths(lab.Lab, kubeProxys));
        return from flow in value.Flows
               let our = paths.Predict(flow)
               let other = others.Predict(flow)
               where !our.Select(w => w.Outcome).ToHashSet(StringComparer.Ordinal).SetEquals(other.Select(w => w.Outcome))
               select new Difference(flow, our, other)
               {
                   HasOtherHolder = our.Concat(other).SelectMany(w => w.Walks).Any(n =>
                       ours[n.Node].Desired.Holder(flow.Target) != kubeProxys[n.Node].Desired.Holder(flow.Target)),
                   Services = [.. value.Services.Where(s => FlowCase.TargetsOf(s).Contains(flow.Target))],
               };
    }

    public override string ToString() => $"{Flow}: with the generator {string.Join("\nor: ", Ours)}\n" +
        $"with kube-proxy {string.Join("\nor: ", KubeProxys)}";
}
