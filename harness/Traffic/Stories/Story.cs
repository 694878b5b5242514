using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text;
using Conformance.Labs;
using Conformance.Linux;
using Conformance.Packets;
using Frame = (Conformance.Packets.CapturedPacket Captured, Conformance.Packets.Packet Packet);

namespace Conformance.Traffic.Stories;

/// <summary>One packet of a story, with what the node did to it: which address or port it rewrote.</summary>
/// <param name="Packet">The captured packet, parsed.</param>
/// <param name="Rewrite">What the node did, such as <c>destination 10.10.0.1:80 -> 172.16.0.99:8080</c>; null when the node rewrote
/// nothing.</param>
public sealed record StoryStep(CapturedPacket Captured, Packet Packet, string? Rewrite);

/// <summary>
/// The story of a flow: its packets on every interface of the lab, in order, with who rewrote what where.
/// A packet belongs to a flow when its addresses and ports, in either direction, are ones under which a packet of the
/// client was seen anywhere (a TCP sequence number or a payload goes through NAT unchanged), when it is addressed
/// to the client's socket, or when it is an ICMP error about such a packet.
/// </summary>
public sealed class Story
{
    private Story(IReadOnlyList<StoryStep> steps) => Steps = steps;

    /// <summary>The packets in the order of their time stamps.</summary>
    public IReadOnlyList<StoryStep> Steps { get; }

    /// <summary>Tells the story of the flow that the client's socket at <paramref name="client"/> had.</summary>
    /// <param name="protocol">The flow's transport protocol: sockets of two protocols may have the same port.</param>
    /// <param name="seenAs">What the server saw as its client: a node that masquerades its own packets rewrites them before any interface
    /// sees them.</param>
    public static Story Of(IReadOnlyList<CapturedPacket> packets, string clientNode, TransportProtocol protocol, IPEndPoint client,
        IPEndPoint? seenAs, DateTime since, DateTime until)
    {
        var relevant = packets.Where(p => p.Time >= since && p.Time < until).Select(p => (Captured: p, p.Packet))
            .Where(s => s.Packet.IsIp).ToList();
        var firsts = FirstsOf(relevant, clientNode, protocol, client, seenAs);
        var conversations = ConversationsOf(relevant, firsts);
        // Later a node may rewrite otherwise than the first packet was: another director has taken over.
        conversations.UnionWith(ConversationsOf(relevant, [.. relevant.Where(s => s.Captured.Node == clientNode && s.Captured.IsLeaving
            && s.Packet.Tcp is not null && conversations.Contains(Key(s.Packet)))]));
        var sockets = firsts.Select(s => (s.Packet.SourceAddress, s.Packet.SourcePort, s.Packet.Protocol)).ToHashSet();
        var steps = new List<StoryStep>();
        var seen = new Dictionary<(string Node, string Identity), Packet>();
        foreach (var (captured, packet) in relevant)
        {
            if (!conversations.Contains(Key(packet))
                && !sockets.Contains((packet.DestinationAddress, packet.DestinationPort, packet.Protocol))
                && !(packet.Icmp?.Quoted is { } quoted && conversations.Contains(Key(quoted)))
                && !(packet.Inner is { } inner && conversations.Contains(Key(inner))))
            {
                continue;
            }
            var key = (captured.Node, packet.TransportIdentity);
            string? rewrite = null;
            if (captured.IsLeaving && seen.TryGetValue(key, out var before))
                rewrite = Difference(before, packet);
            if (!captured.IsLeaving)
                seen[key] = packet;
            steps.Add(new StoryStep(captured, packet, rewrite));
        }
        return new Story(steps);
    }

    /// <inheritdoc/>
    public override string ToString()
    {
        if (Steps.Count == 0)
            return "(no packet was seen on any interface)";
        var first = Steps[0].Captured.Time;
        var width = Steps.Max(s => s.Captured.Node.Length + s.Captured.Device.Length + 1);
        var text = new StringBuilder();
        foreach (var step in Steps)
        {
            var at = (step.Captured.Time - first).TotalMilliseconds.ToString("0.000", CultureInfo.InvariantCulture).PadLeft(9);
            var where = $"{step.Captured.Node}:{step.Captured.Device}".PadRight(width);
            text.Append(CultureInfo.InvariantCulture,
                $"{at} ms  {where}  {(step.Captured.IsLeaving ? "sends   " : "receives")}  {step.Packet}");
            if (step.Rewrite is not null)
                text.Append(CultureInfo.InvariantCulture, $"   <- {step.Captured.Node} rewrote {step.Rewrite}");
            text.Append('\n');
        }
        return text.ToString().TrimEnd('\n');
    }

    /// <summary>The packets with which the client's socket began: a SYN, or anything of a protocol without connections.</summary>
    private static List<Frame> FirstsOf(List<Frame> packets, string clientNode, TransportProtocol protocol, IPEndPoint client,
        IPEndPoint? seenAs) =>
        [.. packets
            .Where(p => p.Captured.Node == clientNode && p.Captured.IsLeaving && p.Packet.Protocol == (int)protocol
                && (IsFrom(p.Packet, client) || (seenAs is not null && seenAs.Equals(p.Packet.Source)))
                && (p.Packet.Tcp is not { } tcp || tcp.Flags == TcpFlags.Syn))];

    /// <summary>The pairs of end points under which packets of the client travel, both directions.</summary>
    private static HashSet<(int, IPAddress?, int, IPAddress?, int)> ConversationsOf(List<Frame> packets, List<Frame> sent)
    {
        var identities = sent.Select(s => s.Packet.TransportIdentity).ToHashSet(StringComparer.Ordinal);
        var conversations = new HashSet<(int, IPAddress?, int, IPAddress?, int)>();
        foreach (var packet in packets.Where(s => identities.Contains(s.Packet.TransportIdentity)).Select(s => s.Packet))
        {
            conversations.Add(Key(packet));
            conversations.Add((packet.Protocol, packet.DestinationAddress, packet.DestinationPort, packet.SourceAddress,
                packet.SourcePort));
        }
        return conversations;
    }

    private static bool IsFrom(Packet packet, IPEndPoint client) =>
        packet.SourcePort == client.Port && (client.Address.Equals(IPAddress.Any) || client.Address.Equals(IPAddress.IPv6Any)
            || Equals(packet.SourceAddress, client.Address));

    private static (int, IPAddress?, int, IPAddress?, int) Key(Packet packet) =>
        (packet.Protocol, packet.SourceAddress, packet.SourcePort, packet.DestinationAddress, packet.DestinationPort);

    private static string? Difference(Packet before, Packet after)
    {
        if ((before.Inner is null) != (after.Inner is null))
            return after.Inner is null ? "the tunnel packet into the one inside"
                : $"the packet into a tunnel packet {after.SourceAddress} > {after.DestinationAddress}";
        var changes = new List<string>();
        if (!Equals(before.Source, after.Source))
            changes.Add($"source {before.Source} -> {after.Source}");
        if (!Equals(before.Destination, after.Destination))
            changes.Add($"destination {before.Destination} -> {after.Destination}");
        return changes.Count > 0 ? string.Join(", ", changes) : null;
    }
}
