using System.Net;
using Conformance.Harness.Labs;
using Conformance.Harness.Observation;
using Conformance.Harness.Traffic;
using Conformance.Linux;
using Shouldly;

namespace Conformance.Harness.Assertions;

/// <summary>
/// What a flow should have come to. Every failure prints the flow, its story on every interface, and the tables of
/// the node in the middle of it.
/// </summary>
public static class FlowAssertions
{
    private const int LongTable = 40;

    /// <summary>A server of this node answered, and the client heard it.</summary>
    public static void ShouldBeAnsweredBy(this Flow flow, params string[] nodes) =>
        Demand(flow, flow.Outcome.Kind == OutcomeKind.Answered && nodes.Contains(flow.Answer?.Server ?? flow.Outcome.By, StringComparer.Ordinal),
            $"should be answered by {string.Join(" or ", nodes)}");

    public static void ShouldBeAnswered(this Flow flow) => Demand(flow, flow.Outcome.Kind == OutcomeKind.Answered, "should be answered");

    /// <summary>Nobody answered, whether the client was refused or left in silence.</summary>
    public static void ShouldNotBeAnswered(this Flow flow) => Demand(flow, flow.Answer is null, "should not be answered");

    /// <summary>The server saw this address (and this port, when the text has one) as its client.</summary>
    public static void ShouldBeSeenByServerAs(this Flow flow, string endPoint)
    {
        var wanted = flow.From.Lab.Resolve(endPoint);
        var seen = flow.Answer?.SeenPeer;
        Demand(flow, seen is not null && seen.Address.Equals(wanted.Address) && (wanted.Port == 0 || wanted.Port == seen.Port),
            $"should be seen by the server as {endPoint}, was seen as {seen}");
    }

    /// <summary>The server saw an address of this node as its client, whichever: that it is the node's is what a masqueraded flow needs.</summary>
    public static void ShouldBeSeenByServerAsAddressOf(this Flow flow, string node)
    {
        var seen = flow.Answer?.SeenPeer;
        Demand(flow, seen is not null && flow.From.Lab[node].Addresses.Contains(seen.Address), $"should be seen by the server as an address of {node}, was seen as {seen}");
    }

    /// <summary>No connection came about, and nobody refused it: the attempt ran into its time-out.</summary>
    public static void ShouldTimeOut(this Flow flow) =>
        Demand(flow, flow is { GaveUp: true, WasEstablished: false }, "should time out");

    /// <summary>Nothing at all came back to the client.</summary>
    public static void ShouldBeMetWithSilence(this Flow flow) => Demand(flow, flow.Outcome.Kind == OutcomeKind.Silence, "should be met with silence");

    /// <summary>The client's own kernel sent nothing.</summary>
    public static void ShouldNotLeaveTheClient(this Flow flow) => Demand(flow, flow.Outcome.Kind == OutcomeKind.NotSent, "should not leave the client");

    /// <summary>The client is told at once that nobody serves there, in whatever way.</summary>
    public static void ShouldBeRefused(this Flow flow) => Demand(flow, flow.Outcome.IsRefusal, "should be refused");

    public static void ShouldBeRefused(this Flow flow, string by) =>
        Demand(flow, flow.Outcome is { Kind: OutcomeKind.Refused } outcome && outcome.By == by, $"should be refused (reset) by {by}");

    public static void ShouldMeetIcmp(this Flow flow, byte type, byte code, string by) =>
        Demand(flow, flow.Outcome is { Kind: OutcomeKind.IcmpError, Icmp: { } icmp } outcome && icmp.Type == type && icmp.Code == code && outcome.By == by,
            $"should meet ICMP {type}/{code} from {by}");

    /// <summary>The story has these packets in this order; others may stand between them.</summary>
    public static void ShouldBeSeenAs(this Flow flow, params IReadOnlyList<PacketPattern> expected)
    {
        var steps = flow.Story.Steps;
        var next = 0;
        foreach (var step in steps)
        {
            if (next < expected.Count && expected[next].Matches(step.Captured, flow.From.Lab))
                next++;
        }
        Demand(flow, next == expected.Count,
            next == expected.Count ? "" : $"should be seen {expected[next]} (expected packet {next + 1} of {expected.Count}; those before it were seen in order)");
    }

    /// <summary>The story has no such packet.</summary>
    public static void ShouldNotBeSeen(this Flow flow, PacketPattern pattern) =>
        Demand(flow, !flow.Story.Steps.Any(s => pattern.Matches(s.Captured, flow.From.Lab)), $"should not be seen {pattern}");

    /// <summary>
    /// What a failure prints: the flow, the story, the tables and rules of every node that has any (of long ones what concerns
    /// the flow), and the rules that a repeat of it passed.
    /// </summary>
    public static string Explain(Flow flow) =>
        $"{flow}\n{flow.Story}\n{RuleWalk.RepeatAsync(flow).GetAwaiter().GetResult().TrimEnd('\n')}{string.Concat(flow.From.Lab.Nodes.SelectMany(node => TablesOf(node).Select(t => $"\n{t.Title} of {node.Name}:\n{Relevant(t.Text, flow)}")))}";

    private static string Relevant(string text, Flow flow)
    {
        var lines = text.Split('\n');
        if (lines.Length <= LongTable)
            return text;
        var words = new[] { flow.Target.ToString(), $"dst={flow.Target.Address} sport={flow.Local.Port} ", $":{flow.Local.Port} ", $"={flow.Local.Port} ", flow.Answer?.SeenPeer.ToString() }.OfType<string>().ToList();
        var kept = new List<string>();
        var isBlockKept = false;
        foreach (var line in lines)
        {
            // Real servers stand below their virtual server; a rule that has met no packet did nothing to this one.
            var isBelow = line.StartsWith("  ->", StringComparison.Ordinal);
            if (!isBelow)
                isBlockKept = words.Exists(w => $"{line} ".Contains(w, StringComparison.Ordinal)) || (line.Contains(": [", StringComparison.Ordinal) && !line.Contains(": [0:0]", StringComparison.Ordinal));
            if (isBlockKept)
                kept.Add(line);
        }
        return string.Join('\n', [.. kept, string.Create(System.Globalization.CultureInfo.InvariantCulture, $"({lines.Length - kept.Count} other lines: see the record)")]);
    }

    private static IEnumerable<(string Title, string Text)> TablesOf(Node node)
    {
        foreach (var table in node.Tables())
            yield return table;
        // Waited for, as the repeat above, so that every assertion need not be asynchronous for the sake of its failure.
        if (node.Iptables.DescribeAsync().GetAwaiter().GetResult() is { Length: > 0 } rules)
            yield return ("iptables rules with counters", rules);
    }

    private static void Demand(Flow flow, bool isSo, string expectation)
    {
        if (!isSo)
            throw new ShouldAssertException($"The flow {expectation}.\n{Explain(flow)}");
    }
}
