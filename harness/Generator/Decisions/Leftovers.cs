namespace Conformance.Generator.Decisions;

/// <summary>
/// Chains that kube-proxy's iptables mode leaves on a node (pkg/proxy/iptables/proxier.go) and that nothing of ours uses. Their rules
/// come before ours: a REJECT of KUBE-EXTERNAL-SERVICES, say, beats every virtual server (kubernetes/kubernetes#102314).
/// </summary>
public static class Leftovers
{
    private static readonly string[] s_prefixes = ["KUBE-SVC-", "KUBE-SVL-", "KUBE-SEP-", "KUBE-EXT-", "KUBE-FW-", "KUBE-XLB-"];

    private static readonly HashSet<(string Table, string Chain)> s_chains =
    [
        (RuleSet.FilterTable, "KUBE-SERVICES"), (RuleSet.FilterTable, "KUBE-EXTERNAL-SERVICES"), (RuleSet.FilterTable, "KUBE-NODEPORTS"),
            (RuleSet.NatTable, "KUBE-NODEPORTS"),
        (RuleSet.NatTable, "KUBE-PROXY-CANARY"), (RuleSet.FilterTable, "KUBE-PROXY-CANARY"), ("mangle", "KUBE-PROXY-CANARY"),
    ];

    /// <summary>Whether a chain is one of these. KUBE-FIREWALL and KUBE-MARK-DROP are not: a kubelet has them as well.</summary>
    public static bool Has(string table, string chain) => s_chains.Contains((table, chain))
        || Array.Exists(s_prefixes, p => chain.StartsWith(p, StringComparison.Ordinal));
}
