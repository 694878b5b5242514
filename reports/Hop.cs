namespace Conformance.Reports;

/// <summary>One way of a packet from a node to the next, as two captures show it.</summary>
/// <param name="Ms">When it was sent, or received where nobody saw it sent.</param>
/// <param name="From">The sender; null where nobody saw it sent.</param>
/// <param name="To">The receiver; null where nobody saw it arrive.</param>
/// <param name="IsLost">Whether it did not arrive, and not only unseen: its sender sent it again, or the flow was not answered.</param>
/// <param name="Packet">The packet as it was sent.</param>
/// <param name="ArrivedAs">The packet as it arrived, where something between the two changed it; else null.</param>
/// <param name="Rewrite">The sender's change to the packet that it had received; null for none.</param>
public sealed record Hop(double Ms, string? From, string Device, string? To, bool IsLost, string Packet, string? ArrivedAs, string? Rewrite)
{
    /// <summary>
    /// The hops of a flow, in the order of their first capture. A packet keeps its number through NAT. A retransmission has the number of
    /// the first packet: what arrives belongs to the latest of the packets that are under way.
    /// </summary>
    public static IReadOnlyList<Hop> Of(FlowRecord flow)
    {
        var hops = new List<(Hop Hop, int Number)>();
        foreach (var packet in flow.Packets)
        {
            if (packet.Direction == "out")
            {
                hops.Add((new Hop(packet.Ms, packet.Node, packet.Device, null, false, packet.Packet, null, packet.Rewrite), packet.Number));
                continue;
            }
            var sent = hops.FindLastIndex(h => h.Number == packet.Number && h.Hop.To is null && h.Hop.From is not null
                && (h.Hop.From != packet.Node || h.Hop.Device == packet.Device));
            if (sent < 0)
                hops.Add((new Hop(packet.Ms, null, packet.Device, packet.Node, false, packet.Packet, null, null), packet.Number));
            else
                hops[sent] = (hops[sent].Hop with
                {
                    To = packet.Node,
                    ArrivedAs = packet.Packet == hops[sent].Hop.Packet ? null : packet.Packet
                }, packet.Number);
        }
        var isAnswered = flow.OutcomeClass == "answered";
        return [.. hops.Select((h, i) => h.Hop with
        {
            IsLost = h.Hop.To is null
                && (!isAnswered || hops.Skip(i + 1).Any(later => later.Number == h.Number && later.Hop.From == h.Hop.From))
        })];
    }
}
