using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text;
using Conformance.Labs;
using Conformance.Linux;
using Conformance.Packets;

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
/// to the client's socket, or when it is an ICMP error about such a packet. A tunnel packet belongs to the flow of the packet inside.
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
        var relevant = packets.Where(p => p.Time >= since && p.Time < until && p.Marks.IsIp).ToList();
        var firsts = FirstsOf(relevant, clientNode, protocol, client, seenAs);
        var conversations = new Conversations();
        conversations.AddAll(relevant, firsts);
        // Later a node may rewrite otherwise than the first packet was: another director has taken over.
        conversations.AddAll(relevant, [.. relevant.Where(p => p.Node == clientNode && p.IsLeaving && conversations.MayHave(p.Marks.Ends)
            && p.Packet.Tcp is not null && conversations.Has(p.Packet))]);
        var sockets = firsts.Select(p => (p.Packet.SourceAddress, p.Packet.SourcePort, p.Packet.Protocol)).ToHashSet();
        var marksOfSockets = sockets.Select(s => PacketMarks.Socket(s.Protocol, s.SourceAddress, s.SourcePort)).ToHashSet();
        var steps = new List<StoryStep>();
        var seen = new Dictionary<(string Node, string Identity), Packet>();
        foreach (var captured in relevant)
        {
            var marks = captured.Marks;
            if (!conversations.MayHave(marks.Ends) && !marksOfSockets.Contains(marks.Destination)
                && !(marks.Inside is { } inside && conversations.MayHave(inside)))
            {
                continue;
            }
            var packet = captured.Packet;
            if (!conversations.HasWithin(packet)
                && !sockets.Contains((packet.DestinationAddress, packet.DestinationPort, packet.Protocol)))
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
    private static List<CapturedPacket> FirstsOf(List<CapturedPacket> packets, string clientNode, TransportProtocol protocol,
        IPEndPoint client, IPEndPoint? seenAs) =>
        [.. packets
            .Where(p => p.Node == clientNode && p.IsLeaving
                && (p.Marks.SourcePort == client.Port || p.Marks.SourcePort == seenAs?.Port)
                && p.Packet.Protocol == (int)protocol
                && (IsFrom(p.Packet, client) || (seenAs is not null && seenAs.Equals(p.Packet.Source)))
                && (p.Packet.Tcp is not { } tcp || tcp.Flags == TcpFlags.Syn))];

    private static bool IsFrom(Packet packet, IPEndPoint client) =>
        packet.SourcePort == client.Port && (client.Address.Equals(IPAddress.Any) || client.Address.Equals(IPAddress.IPv6Any)
            || Equals(packet.SourceAddress, client.Address));

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

    /// <summary>The pairs of end points under which packets of the client travel, both directions.</summary>
    private sealed class Conversations
    {
        private readonly HashSet<Conversation> _ends = [];
        private readonly HashSet<int> _marks = [];

        /// <summary>Adds those of packets that the client sent, as they are seen anywhere.</summary>
        internal void AddAll(List<CapturedPacket> packets, List<CapturedPacket> sent)
        {
            var identities = sent.Select(s => s.Packet.TransportIdentity).ToHashSet(StringComparer.Ordinal);
            var marks = sent.Select(s => s.Marks.Identity).ToHashSet();
            foreach (var packet in packets.Where(p => marks.Contains(p.Marks.Identity)).Select(p => p.Packet)
                .Where(p => identities.Contains(p.TransportIdentity)))
            {
                Add(Conversation.Of(packet));
                if (packet.Inner is { } inner)
                    Add(Conversation.Of(inner));
            }
        }

        private void Add(Conversation ends)
        {
            foreach (var each in new[] { ends, ends.Reversed })
            {
                _ends.Add(each);
                _marks.Add(each.GetHashCode());
            }
        }

        /// <summary>Whether ends with this mark can be among them.</summary>
        internal bool MayHave(int mark) => _marks.Contains(mark);

        internal bool Has(Packet packet) => _ends.Contains(Conversation.Of(packet));

        /// <summary>
        /// The same for the packet inside a tunnel packet, whose own ends other flows share, and for the one that an ICMP error quotes.
        /// </summary>
        internal bool HasWithin(Packet packet) => packet.Inner is { } inner ? HasWithin(inner)
            : Has(packet) || (packet.Icmp?.Quoted is { } quoted && HasWithin(quoted));
    }
}
