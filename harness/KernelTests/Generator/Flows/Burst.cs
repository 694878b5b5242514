using System.Net.Sockets;
using System.Text;
using Conformance.Labs;
using Conformance.Linux;
using Conformance.Linux.Sockets;

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
    /// <param name="limit">Less than the second after which TCP sends its first packet again.</param>
    internal static Task<FlowResult[]> AskAsync(Lab lab, IEnumerable<RandomFlow> flows, TimeSpan limit) =>
        Task.WhenAll(flows.Select(f => AskAsync(lab[f.From], f, limit)).ToList());

    private static async Task<FlowResult> AskAsync(Node from, RandomFlow flow, TimeSpan limit)
    {
        var target = new System.Net.IPEndPoint(flow.Target.Address, flow.Target.Port);
        using var socket = from.Namespace.Run(() => TransportSocket.Create(flow.Target.Protocol, target.AddressFamily));
        using var end = new CancellationTokenSource(limit);
        var isStream = flow.Target.Protocol == TransportProtocol.Tcp;
        if (isStream)
            socket.LingerState = new LingerOption(true, 0);
        string? first = null;
        try
        {
            await socket.ConnectAsync(target, end.Token);
            var question = Encoding.ASCII.GetBytes("question\n");
            if (!isStream)
                await socket.SendAsync(question, end.Token);
            first = await ReadLineAsync(socket, end.Token);
            using var more = new CancellationTokenSource(limit);
            await socket.SendAsync(question, more.Token);
            var second = await ReadLineAsync(socket, more.Token);
            return Answered(first, isStream ? second.Length > 0 : second == first);
        }
        catch (OperationCanceledException)
        {
            return first is null ? new FlowResult(FlowEnd.Silent) : Answered(first, goesOn: false);
        }
        catch (SocketException e)
        {
            return first is not null ? Answered(first, goesOn: false)
                : e.SocketErrorCode is SocketError.ConnectionRefused or SocketError.ConnectionReset ? new FlowResult(FlowEnd.Refused)
                : new FlowResult(FlowEnd.Silent); // such as a packet that a rule of the node itself drops
        }
    }

    private static FlowResult Answered(string line, bool goesOn)
    {
        var words = line.Trim().Split(' ');
        return new FlowResult(FlowEnd.Answered, words[0], System.Net.IPEndPoint.Parse(words[1]).Address, goesOn);
    }

    private static async Task<string> ReadLineAsync(Socket socket, CancellationToken cancellationToken)
    {
        var buffer = new byte[256];
        var count = await socket.ReceiveAsync(buffer, cancellationToken);
        return Encoding.ASCII.GetString(buffer, 0, count);
    }
}
