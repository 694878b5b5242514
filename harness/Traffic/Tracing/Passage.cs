using Conformance.Linux.Iptables;

namespace Conformance.Traffic.Tracing;

/// <summary>
/// How a packet passed a node, as captures and tables show it. A trace of its rules that shows less is not whole: messages of
/// the kernel come late, or are lost.
/// </summary>
/// <param name="IsFollowed">Whether it came to the node, or from it, under the source port that is traced.</param>
/// <param name="HasLeft">Whether the node sent it on, under whatever addresses.</param>
/// <param name="IsTracked">Whether connection tracking of the node has an entry of its flow.</param>
/// <param name="Rules">The rules of the node.</param>
internal sealed record Passage(bool IsFollowed, bool HasLeft, bool IsTracked, SavedRules Rules)
{
    private static readonly string[] s_final = ["ACCEPT", "DROP", "REJECT", "DNAT", "SNAT", "MASQUERADE", "REDIRECT", "NETMAP", "TPROXY",
        "SYNPROXY", "QUEUE", "NFQUEUE"];

    private static readonly string[] s_tables = ["raw", "mangle", "nat", "filter"];
    private static readonly string[] s_chains = ["PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"];

    /// <summary>What a trace lacks, in words; null when nothing is missing.</summary>
    internal string? Missing(IReadOnlyList<WalkStep> steps)
    {
        if (!IsFollowed)
            return null;
        if (steps.Count == 0)
            return s_tables.Any(t => s_chains.Any(c => HasRules(t, c))) ? "no rule was reported" : null;
        var last = steps[^1];
        if (last.Kind == TraceKind.Return || (last.Kind == TraceKind.Rule && !s_final.Contains(last.Target, StringComparer.Ordinal)))
            return $"it ends in {last.Table} {last.Chain} without a decision";
        if (!HasLeft)
            return null;
        // Every packet that leaves passes FORWARD, or OUTPUT: of the node itself, or after IPVS has rewritten it. A chain without
        // rules need not report anything.
        foreach (var table in new[] { "mangle", "filter" }.Where(t => HasRules(t, "FORWARD") && HasRules(t, "OUTPUT")))
        {
            if (!steps.Any(s => s.Table == table && s.Chain is "FORWARD" or "OUTPUT"))
                return $"the packet left the node, and neither FORWARD nor OUTPUT of the table {table} was reported";
        }
        if (IsTracked && HasRules("nat", "POSTROUTING") && !steps.Any(s => s is { Table: "nat", Chain: "POSTROUTING" }))
            return "the packet left the node, and POSTROUTING of the table nat was not reported";
        return null;
    }

    private bool HasRules(string table, string chain) => Rules.Of(table, chain).Count > 0;
}
