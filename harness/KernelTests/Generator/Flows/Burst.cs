using System.Net.Sockets;
using Conformance.Labs;

namespace Conformance.KernelTests.Generator.Flows;

/// <summary>What came of a flow.</summary>
internal enum FlowEnd
{
    Answered,
    Refused,
    Silent,
}

/// <summary>What came of a flow, as its client saw it.</summary>
/// <param name="Server">The pod that answered.</param>
/// <param name="Seen">The address that the pod saw.</param>
/// <param name="GoesOn">Whether a second packet of the connection was answered, by the same pod that saw the same client.</param>
internal sealed record FlowResult(FlowEnd End, string? Server = null, System.Net.IPAddress? Seen = null, bool GoesOn = true)
{
    public override string ToString() => End != FlowEnd.Answered ? End.ToString().ToLowerInvariant()
        : $"answered by {Server}, which saw {Seen}{(GoesOn ? "" : "; its second packet was not")}";
}

/// <summary>Asks many flows at once. No flow is kept.</summary>
internal static class Burst
{
    /// <summary>Less than the second after which TCP sends its first packet again.</summary>
    private static readonly TimeSpan s_limit = TimeSpan.FromMilliseconds(400);

    private const int FirstPort = 33_000;
    private const int Ports = 28_000;
    private static int s_flows;

    /// <param name="limit">Until an answer must be there; without it, so little that each packet is sent once.</param>
    internal static Task<FlowResult[]> AskAsync(Lab lab, IEnumerable<RandomFlow> flows, TimeSpan? limit = null) =>
        Task.WhenAll(flows.Select(f => AskAsync(lab[f.From], f, limit ?? s_limit)).ToList());

    /// <summary>
    /// No flow has the source port of an earlier one that connection tracking and IPVS still know: such a flow goes the way of the earlier
    /// one, by rules that are no longer there. The kernel itself draws its first choice again every ten seconds
    /// (secure_ipv6_port_ephemeral). After 28,000 flows the ports come again: by then those of TCP have ended.
    /// </summary>
    private static int NextPort() => FirstPort + (int)((uint)Interlocked.Increment(ref s_flows) % Ports);

    private static async Task<FlowResult> AskAsync(Node from, RandomFlow flow, TimeSpan limit)
    {
        try
        {
            var target = new System.Net.IPEndPoint(flow.Target.Address, flow.Target.Port);
            using var probe = await Probe.OpenAsync(from, flow.Target.Protocol, target, limit, NextPort());
            var (server, seen) = probe.Answer;
            return new FlowResult(FlowEnd.Answered, server, seen.Address, await probe.GoesOnAsync(limit));
        }
        catch (OperationCanceledException)
        {
            return new FlowResult(FlowEnd.Silent);
        }
        catch (SocketException e) when (e.SocketErrorCode == SocketError.AddressAlreadyInUse)
        {
            return await AskAsync(from, flow, limit); // another program of the node has the port: nothing was sent
        }
        catch (SocketException e)
        {
            return e.SocketErrorCode is SocketError.ConnectionRefused or SocketError.ConnectionReset ? new FlowResult(FlowEnd.Refused)
                : new FlowResult(FlowEnd.Silent); // such as a packet that a rule of the node itself drops
        }
    }
}
