using Conformance.Labs;
using Conformance.Packets;
using Conformance.Traffic.Stories;

namespace Conformance.Traffic.Assertions;

/// <summary>
/// A packet that a story is expected to have, on some interface of a node: <c>On("client").Syn(from: "client", to: "rs1:8080")</c>.
/// End points are texts for <see cref="Lab.Resolve"/>; one without a port matches any port.
/// </summary>
public sealed record PacketPattern
{
    private readonly string _kind;
    private readonly Func<Packet, bool> _isKind;

    private PacketPattern(string node, string? from, string? to, string kind, Func<Packet, bool> isKind)
    {
        Node = node;
        From = from;
        To = to;
        _kind = kind;
        _isKind = isKind;
    }

    /// <summary>The node where the packet is expected.</summary>
    public string Node { get; }

    /// <summary>The source end point; null for any.</summary>
    public string? From { get; }

    /// <summary>The destination end point; null for any.</summary>
    public string? To { get; }

    /// <summary>Whether the packet must leave the node (true), arrive at it (false), or either (null).</summary>
    public bool? Leaving { get; private init; }

    /// <summary>The node where the packet is expected; then say which packet.</summary>
    public static Place On(string node) => new(node, null);

    /// <summary>The same packet as a tunnel packet carries it.</summary>
    /// <param name="from">The tunnel packet's source; null for any.</param>
    /// <param name="to">The tunnel packet's destination; null for any.</param>
    public PacketPattern Inside(string? from = null, string? to = null) => this with { Tunnel = (from, to) };

    internal bool Matches(StoryStep step, Lab lab)
    {
        var packet = Tunnel is null ? step.Packet : step.Packet.Inner;
        return step.Captured.Node == Node
            && (Leaving is null || Leaving == step.Captured.IsLeaving)
            && packet is not null && _isKind(packet)
            && Is(From, packet.Source, lab)
            && Is(To, packet.Destination, lab)
            && (Tunnel is not { } tunnel || (IsAddress(tunnel.From, step.Packet.SourceAddress, lab)
                && IsAddress(tunnel.To, step.Packet.DestinationAddress, lab)));
    }

    /// <inheritdoc/>
    public override string ToString() =>
        $"on {Node}{Leaving switch { true => ", leaving", false => ", arriving", _ => "" }}: " +
            $"{_kind}{(From is null ? "" : $" from {From}")}{(To is null ? "" : $" to {To}")}" +
            (Tunnel is not { } tunnel ? "" : $" inside a tunnel packet from {tunnel.From ?? "any"} to {tunnel.To ?? "any"}");

    private (string? From, string? To)? Tunnel { get; init; }

    private static bool IsAddress(string? expected, System.Net.IPAddress? actual, Lab lab) =>
        expected is null || lab.Resolve(expected).Address.Equals(actual);

    private static bool Is(string? expected, System.Net.IPEndPoint? actual, Lab lab)
    {
        if (expected is null)
            return true;
        var wanted = lab.Resolve(expected);
        return actual is not null && wanted.Address.Equals(actual.Address) && (wanted.Port == 0 || wanted.Port == actual.Port);
    }

    /// <summary>Where a packet is expected.</summary>
    public sealed record Place(string Node, bool? IsLeaving)
    {
        /// <summary>The node, for a packet that leaves it.</summary>
        public Place Leaving => this with { IsLeaving = true };

        /// <summary>The node, for a packet that arrives at it.</summary>
        public Place Arriving => this with { IsLeaving = false };

        /// <summary>A SYN.</summary>
        public PacketPattern Syn(string? from = null, string? to = null) => Tcp("SYN", f => f == TcpFlags.Syn, from, to);

        /// <summary>A SYN-ACK.</summary>
        public PacketPattern SynAck(string? from = null, string? to = null) =>
            Tcp("SYN-ACK", f => f == (TcpFlags.Syn | TcpFlags.Ack), from, to);

        /// <summary>A RST.</summary>
        public PacketPattern Reset(string? from = null, string? to = null) => Tcp("RST", f => f.HasFlag(TcpFlags.Rst), from, to);

        /// <summary>A FIN.</summary>
        public PacketPattern Fin(string? from = null, string? to = null) => Tcp("FIN", f => f.HasFlag(TcpFlags.Fin), from, to);

        /// <summary>A TCP segment.</summary>
        public PacketPattern Tcp(string? from = null, string? to = null) => Tcp("TCP", _ => true, from, to);

        /// <summary>A UDP datagram.</summary>
        public PacketPattern Udp(string? from = null, string? to = null) => Make("UDP", p => p.IsUdp, from, to);

        /// <summary>An ICMP or ICMPv6 message of a type and code.</summary>
        public PacketPattern Icmp(byte type, byte code, string? from = null, string? to = null) =>
            Make($"ICMP {type}/{code}", p => p.Icmp is { } icmp && icmp.Type == type && icmp.Code == code, from, to);

        private PacketPattern Tcp(string kind, Func<TcpFlags, bool> flags, string? from, string? to) =>
            Make(kind, p => p.Tcp is { } tcp && flags(tcp.Flags), from, to);

        private PacketPattern Make(string kind, Func<Packet, bool> isKind, string? from, string? to) =>
            new(Node, from, to, kind, isKind) { Leaving = IsLeaving };
    }
}
