using System.Net;
using Conformance.Packets;
using Conformance.Traffic.Stories;

namespace Conformance.Traffic;

/// <summary>Classes of outcomes, read from the packets at the client.</summary>
public enum OutcomeKind
{
    /// <summary>A server answered, and the answer reached the client's socket.</summary>
    Answered,

    /// <summary>A reset before the connection stood.</summary>
    Refused,

    /// <summary>A reset after the connection stood.</summary>
    Reset,

    /// <summary>An ICMP error about the flow reached the client.</summary>
    IcmpError,

    /// <summary>An answer came, but from an address that the client did not ask.</summary>
    AnswerFromWrongAddress,

    /// <summary>Nothing came back.</summary>
    Silence,

    /// <summary>No packet left the client: its own kernel refused, for example because it has no route.</summary>
    NotSent,
}

/// <summary>What came of a flow, read from the packets at the client's interface and not from an exception.</summary>
/// <param name="By">The node that answered, reset, or sent the ICMP error; null when it is unknown.</param>
/// <param name="From">The address that the client saw it come from.</param>
/// <param name="Error">What the client's own kernel said.</param>
public sealed record Outcome(OutcomeKind Kind, string? By = null, IPAddress? From = null, IcmpMessage? Icmp = null,
    System.Net.Sockets.SocketError? Error = null)
{
    /// <summary>
    /// Whether the client was refused at once: by a reset, by ICMP (port unreachable), or by its own kernel.
    /// </summary>
    public bool IsRefusal => Kind switch
    {
        OutcomeKind.Refused => true,
        OutcomeKind.IcmpError => (Icmp!.Type, Icmp.Code, From!.AddressFamily) is (3, 3, System.Net.Sockets.AddressFamily.InterNetwork) or (
        1, 4, System.Net.Sockets.AddressFamily.InterNetworkV6),
        OutcomeKind.NotSent => Error == System.Net.Sockets.SocketError.ConnectionRefused,
        _ => false,
    };

    /// <summary>The outcome without addresses and names, by which runs are compared: <c>answered</c>, <c>icmp-error 3/3</c>.</summary>
    public string Class => Kind switch
    {
        OutcomeKind.Answered => "answered",
        OutcomeKind.Refused => "refused",
        OutcomeKind.Reset => "reset",
        OutcomeKind.IcmpError => $"icmp-error {Icmp?.Type}/{Icmp?.Code}",
        OutcomeKind.AnswerFromWrongAddress => "answer-from-wrong-address",
        OutcomeKind.NotSent => "not-sent",
        _ => "silence",
    };

    /// <inheritdoc/>
    public override string ToString() => Kind switch
    {
        OutcomeKind.Answered => $"answered by {By ?? "?"}",
        OutcomeKind.Refused => $"refused: reset by {By ?? "?"} as {From}",
        OutcomeKind.Reset => $"reset by {By ?? "?"} as {From} after it stood",
        OutcomeKind.IcmpError => $"ICMP {Icmp?.Type}/{Icmp?.Code} by {By ?? "?"} as {From}",
        OutcomeKind.AnswerFromWrongAddress => $"an answer came from the wrong address {From} ({By ?? "?"})",
        OutcomeKind.NotSent => $"not sent: no packet left the client{(Error is null ? "" : $" ({Error})")}",
        _ => "silence: nothing came back",
    };
}

/// <summary>Reads the outcome of a failed attempt off the wire.</summary>
internal static class Classifier
{
    internal static Outcome Classify(Story story, string clientNode, IPEndPoint client, IPEndPoint target, bool wasEstablished)
    {
        var atClient = story.Steps.Where(s => s.Captured.Node == clientNode && !s.Captured.IsLeaving).ToList();
        foreach (var step in atClient)
        {
            var packet = step.Packet;
            var sender = SenderOf(story, packet);
            if (packet.Icmp is { Quoted: not null, Type: not 5 } icmp)
                return new Outcome(OutcomeKind.IcmpError, sender, packet.SourceAddress, icmp);
            if (packet.DestinationPort != client.Port)
                continue;
            if (!Equals(packet.Source, target))
                return new Outcome(OutcomeKind.AnswerFromWrongAddress, sender, packet.SourceAddress);
            if (packet.Tcp is { } tcp && tcp.Flags.HasFlag(TcpFlags.Rst))
                return new Outcome(wasEstablished ? OutcomeKind.Reset : OutcomeKind.Refused, sender, packet.SourceAddress);
        }
        var sent = story.Steps.Any(s => s.Captured.Node == clientNode && s.Captured.IsLeaving);
        return new Outcome(sent ? OutcomeKind.Silence : OutcomeKind.NotSent);
    }

    /// <summary>The node where a packet, under whatever addresses, was first seen to leave.</summary>
    internal static string? SenderOf(Story story, Packet packet) =>
        story.Steps.FirstOrDefault(s => s.Captured.IsLeaving && s.Packet.TransportIdentity == packet.TransportIdentity)?.Captured.Node;
}
