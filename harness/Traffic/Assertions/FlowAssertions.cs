using Conformance.Labs;
using Conformance.Labs.Waiting;
using Conformance.Linux;
using Shouldly;

namespace Conformance.Traffic.Assertions;

/// <summary>
/// Checks the outcome of a flow. A failure is a <see cref="ShouldAssertException"/> with the flow, its story on every interface,
/// and the tables and rules of the nodes (see <see cref="FlowExplanation"/>).
/// </summary>
public static class FlowAssertions
{
    /// <summary>A server of one of these nodes answered, and the answer reached the client's socket.</summary>
    public static Task ShouldBeAnsweredByAsync(this Flow flow, params string[] nodes) =>
        DemandAnswerAsync(flow, nodes.Contains(flow.Answer?.Server ?? flow.Outcome.By, StringComparer.Ordinal),
            $"should be answered by {string.Join(" or ", nodes)}");

    /// <summary>A server answered, and the answer reached the client's socket.</summary>
    public static Task ShouldBeAnsweredAsync(this Flow flow) => DemandAnswerAsync(flow, isSo: true, "should be answered");

    /// <summary>No server answered: the client was refused, or got no reply.</summary>
    public static Task ShouldNotBeAnsweredAsync(this Flow flow) => DemandAsync(flow, flow.Answer is null, "should not be answered");

    /// <summary>The server saw this address as its client, and this port when the text has one.</summary>
    public static Task ShouldBeSeenByServerAsAsync(this Flow flow, string endPoint)
    {
        var wanted = flow.From.Lab.Resolve(endPoint);
        var seen = flow.Answer?.SeenPeer;
        return DemandAsync(flow, seen is not null && seen.Address.Equals(wanted.Address) && (wanted.Port == 0 || wanted.Port == seen.Port),
            $"should be seen by the server as {endPoint}, was seen as {seen}");
    }

    /// <summary>The server saw any address of this node as its client, as it does of a masqueraded flow.</summary>
    public static Task ShouldBeSeenByServerAsAddressOfAsync(this Flow flow, string node)
    {
        var seen = flow.Answer?.SeenPeer;
        return DemandAsync(flow, seen is not null && flow.From.Lab[node].Addresses.Contains(seen.Address),
            $"should be seen by the server as an address of {node}, was seen as {seen}");
    }

    /// <summary>The connection attempt timed out: it was neither established nor refused.</summary>
    public static Task ShouldTimeOutAsync(this Flow flow) =>
        DemandAsync(flow, flow is { GaveUp: true, WasEstablished: false }, "should time out");

    /// <summary>No packet came back to the client.</summary>
    public static Task ShouldBeMetWithSilenceAsync(this Flow flow) =>
        DemandAsync(flow, flow.Outcome.Kind == OutcomeKind.Silence, "should be met with silence");

    /// <summary>The client's own kernel sent no packet.</summary>
    public static Task ShouldNotLeaveTheClientAsync(this Flow flow) =>
        DemandAsync(flow, flow.Outcome.Kind == OutcomeKind.NotSent, "should not leave the client");

    /// <summary>The client was refused at once: by a reset, by ICMP port unreachable, or by its own kernel.</summary>
    public static Task ShouldBeRefusedAsync(this Flow flow) => DemandAsync(flow, flow.Outcome.IsRefusal, "should be refused");

    /// <summary>This node reset the connection attempt.</summary>
    public static Task ShouldBeRefusedAsync(this Flow flow, string by) =>
        DemandAsync(flow, flow.Outcome is { Kind: OutcomeKind.Refused } outcome && outcome.By == by, $"should be refused (reset) by {by}");

    /// <summary>This node sent the client an ICMP error about the flow.</summary>
    public static Task ShouldMeetIcmpAsync(this Flow flow, byte type, byte code, string by) =>
        DemandAsync(flow, flow.Outcome is { Kind: OutcomeKind.IcmpError, Icmp: { } icmp } outcome && icmp.Type == type
            && icmp.Code == code && outcome.By == by,
            $"should meet ICMP {type}/{code} from {by}");

    /// <summary>The story has these packets in this order; other packets may be between them.</summary>
    public static Task ShouldBeSeenAsAsync(this Flow flow, params IReadOnlyList<PacketPattern> expected)
    {
        var next = 0;
        foreach (var step in flow.ReadStory().Steps)
        {
            if (next < expected.Count && expected[next].Matches(step, flow.From.Lab))
                next++;
        }
        return DemandAsync(flow, next == expected.Count,
            next == expected.Count ? ""
                : $"should be seen {expected[next]} (expected packet {next + 1} of {expected.Count}; those before it were seen in order)");
    }

    /// <summary>The story has no such packet.</summary>
    public static Task ShouldNotBeSeenAsync(this Flow flow, PacketPattern pattern) =>
        DemandAsync(flow, !flow.ReadStory().Steps.Any(s => pattern.Matches(s, flow.From.Lab)), $"should not be seen {pattern}");

    /// <summary>Sends bytes on the open connection; the server sends as many back.</summary>
    public static async Task ExchangeAsync(this Flow flow, int bytes) =>
        await DemandSuccessAsync(flow, await flow.TryExchangeAsync(bytes, Timeouts.Answer), $"carry {bytes} bytes there and back");

    /// <summary>The client closes first, with FIN; the server follows.</summary>
    public static async Task CloseAsync(this Flow flow) => await DemandSuccessAsync(flow, await flow.TryCloseAsync(),
        "close with FIN from both sides");

    /// <summary>The server closes first, with FIN or RST; the client follows.</summary>
    public static async Task CloseByServerAsync(this Flow flow, bool reset = false) =>
        await DemandSuccessAsync(flow, await flow.TryCloseByServerAsync(reset), $"be {(reset ? "reset" : "closed")} by the server");

    /// <summary>The established connection carries no data any more: bytes that are sent are not answered, or reset it.</summary>
    public static async Task ShouldCarryNothingAsync(this Flow flow) =>
        await DemandAsync(flow, await flow.TryExchangeAsync(bytes: 100, Timeouts.Silence) is not null, "should carry nothing any more");

    /// <summary>Opens many TCP connections to a target and closes each with a reset; every one is answered.</summary>
    /// <returns>The number of answers of each server.</returns>
    public static async Task<IReadOnlyDictionary<string, int>> AskManyAsync(this Node node, string target, int count)
    {
        var (answers, unanswered) = await node.CountAnswersAsync(target, count);
        Observe(node, $"answers to {count} connections to {target}",
            string.Join(", ", answers.OrderBy(a => a.Key, StringComparer.Ordinal).Select(a => $"{a.Key} {a.Value}")));
        return unanswered is null ? answers : throw new ShouldAssertException(
            $"{node.Name}: {target} should answer each of {count} connections, and did not answer one after {answers.Values.Sum()} were " +
                $"answered.\n{await FlowExplanation.OfAsync(unanswered)}");
    }

    /// <summary>Keeps each of several readings of one test.</summary>
    private static void Observe(Node node, string title, string text)
    {
        var scope = Lab.CurrentScope();
        if (scope.Length == 0)
            return; // no test: nobody reads it
        var before = node.Lab.Observations.Count(o => o.Scope == scope && o.Node == node.Name
            && o.Title.StartsWith(title, StringComparison.Ordinal));
        node.Lab.Observe(node, before == 0 ? title : $"{title}, time {before + 1}", text);
    }

    private static Task DemandAnswerAsync(Flow flow, bool isSo, string expectation) => flow
        is { Outcome.Kind: OutcomeKind.Answered, CloseFailure: { } failure }
        ? DemandSuccessAsync(flow, failure, "close with FIN from both sides")
        : DemandAsync(flow, isSo && flow.Outcome.Kind == OutcomeKind.Answered, expectation);

    private static Task DemandSuccessAsync(Flow flow, Exception? failure, string expectation) =>
        DemandAsync(flow, failure is null, $"should {expectation}: {failure?.Message}");

    private static Task DemandAsync(Flow flow, bool isSo, string expectation) => isSo ? Task.CompletedTask : FailAsync(flow, expectation);

    private static async Task FailAsync(Flow flow, string expectation) =>
        throw new ShouldAssertException($"The flow {expectation}.\n{await FlowExplanation.OfAsync(flow)}");
}
