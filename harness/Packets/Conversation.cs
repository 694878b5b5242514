using System.Net;

namespace Conformance.Packets;

/// <summary>The two ends of a packet, from the side of its sender.</summary>
public readonly record struct Conversation(int Protocol, IPAddress? Source, int SourcePort, IPAddress? Destination, int DestinationPort)
{
    /// <summary>The same from the other side.</summary>
    public Conversation Reversed => new(Protocol, Destination, DestinationPort, Source, SourcePort);

    /// <summary>The ends of a packet.</summary>
    public static Conversation Of(Packet packet) =>
        new(packet.Protocol, packet.SourceAddress, packet.SourcePort, packet.DestinationAddress, packet.DestinationPort);
}

/// <summary>
/// Hash codes of a packet's fields. A search compares them first, and parses only the packets whose codes match.
/// </summary>
/// <param name="IsIp">Whether it is an IP packet.</param>
/// <param name="SourcePort">The source port.</param>
/// <param name="Identity">The hash code of <see cref="Packet.TransportIdentity"/>.</param>
/// <param name="Ends">The hash code of its <see cref="Conversation"/>.</param>
/// <param name="Inside">The same of the packet in a tunnel packet, or of the one that an ICMP error quotes; null without them.</param>
/// <param name="Destination">The hash code of <see cref="Socket"/> for the end that it goes to.</param>
public sealed record PacketMarks(bool IsIp, int SourcePort, int Identity, int Ends, int? Inside, int Destination)
{
    /// <summary>The hash code of one end of a conversation.</summary>
    public static int Socket(int protocol, IPAddress? address, int port) => HashCode.Combine(protocol, address, port);

    internal static PacketMarks Of(Packet packet) => new(packet.IsIp, packet.SourcePort,
        packet.TransportIdentity.GetHashCode(StringComparison.Ordinal), Conversation.Of(packet).GetHashCode(),
        (packet.Inner ?? packet.Icmp?.Quoted) is { } inside ? Conversation.Of(inside).GetHashCode() : null,
        Socket(packet.Protocol, packet.DestinationAddress, packet.DestinationPort));
}
