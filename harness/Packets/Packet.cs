using System.Buffers.Binary;
using System.Globalization;
using System.Net;
using System.Net.NetworkInformation;

namespace Conformance.Packets;

/// <summary>Flags of a TCP header (RFC 9293, 3.1).</summary>
[Flags]
public enum TcpFlags : byte
{
    /// <summary>No flag.</summary>
    None = 0,

    /// <summary>No more data from the sender.</summary>
    Fin = 0x01,

    /// <summary>Synchronizes sequence numbers.</summary>
    Syn = 0x02,

    /// <summary>Resets the connection.</summary>
    Rst = 0x04,

    /// <summary>Push.</summary>
    Psh = 0x08,

    /// <summary>The acknowledgement number is valid.</summary>
    Ack = 0x10,

    /// <summary>The urgent pointer is valid.</summary>
    Urg = 0x20,
}

/// <summary>The TCP header's fields that a story needs. Sequence numbers are as on the wire.</summary>
public sealed record TcpSegment(uint Sequence, uint Acknowledgement, TcpFlags Flags, int PayloadLength);

/// <summary>An ICMP or ICMPv6 message; errors quote the head of the packet that they are about.</summary>
public sealed record IcmpMessage(byte Type, byte Code, ushort Identifier, ushort SequenceNumber, Packet? Quoted);

/// <summary>An ARP message of IPv4 over Ethernet (RFC 826).</summary>
/// <param name="Operation">1 for a request, 2 for a reply.</param>
public sealed record ArpMessage(ushort Operation, PhysicalAddress SenderMac, IPAddress Sender, IPAddress Target)
{
    /// <summary>Whether somebody asks.</summary>
    public bool IsRequest => Operation == 1;

    /// <summary>Whether it tells everybody the sender's address, unasked.</summary>
    public bool IsGratuitous => Sender.Equals(Target);
}

/// <summary>
/// A parsed Ethernet frame: Ethernet II, ARP, IPv4 and IPv6 (of extension headers only the fragment header), TCP, UDP, ICMP, and the
/// tunnels of IPVS: IP in IP, GRE, and GUE at its own port (<see cref="Inner"/>). What is something else keeps its Ethernet fields. Fields
/// that were cut off are absent.
/// </summary>
public sealed record Packet
{
    private const int ProtocolIcmp = 1;
    private const int ProtocolIpInIp = 4;
    private const int ProtocolIPv6InIp = 41;
    private const int ProtocolIPv6Fragment = 44;
    private const int ProtocolGre = 47;
    private const int GuePort = 6080; // IANA; GUE has no number of its own
    private const int ProtocolTcp = 6;
    private const int ProtocolUdp = 17;
    private const int ProtocolIcmpV6 = 58;
    private const int ProtocolSctp = 132;
    private const int SctpHeader = 12; // ports, verification tag, checksum (RFC 9260)

    /// <summary>The source of the Ethernet frame; null for a packet without one.</summary>
    public PhysicalAddress? SourceMac { get; private set; }

    /// <summary>The destination of the Ethernet frame; null for a packet without one.</summary>
    public PhysicalAddress? DestinationMac { get; private set; }

    /// <summary>The type in the Ethernet frame: 0x0800 for IPv4, 0x86dd for IPv6, 0x0806 for ARP.</summary>
    public ushort EtherType { get; private set; }

    /// <summary>The source of the IP header; null for another protocol.</summary>
    public IPAddress? SourceAddress { get; private set; }

    /// <summary>The destination of the IP header; null for another protocol.</summary>
    public IPAddress? DestinationAddress { get; private set; }

    /// <summary>Whether no router may fragment the packet. IPv6 has no such flag: no router ever does.</summary>
    public bool MayNotFragment { get; private set; }

    /// <summary>Whether further fragments of the same packet follow.</summary>
    public bool HasMoreFragments { get; private set; }

    /// <summary>Where the fragment begins in its packet, in bytes; 0 for the first one and for a whole packet.</summary>
    public int FragmentOffset { get; private set; }

    /// <summary>Whether the packet is a fragment.</summary>
    public bool IsFragment => HasMoreFragments || FragmentOffset > 0;

    /// <summary>The length in bytes that the IP header states, headers included.</summary>
    public int Length { get; private set; }

    /// <summary>The number of the protocol inside IP.</summary>
    public int Protocol { get; private set; }

    /// <summary>The time to live of IPv4, the hop limit of IPv6.</summary>
    public int TimeToLive { get; private set; }

    /// <summary>The source port; 0 for a protocol without ports.</summary>
    public int SourcePort { get; private set; }

    /// <summary>The destination port; 0 for a protocol without ports.</summary>
    public int DestinationPort { get; private set; }

    /// <summary>The checksum of UDP; 0 where the sender has left it out, and for another protocol.</summary>
    public int UdpChecksum { get; private set; }

    /// <summary>The TCP header; null for another protocol.</summary>
    public TcpSegment? Tcp { get; private set; }

    /// <summary>The ICMP or ICMPv6 message; null for another protocol.</summary>
    public IcmpMessage? Icmp { get; private set; }

    /// <summary>By this both ends of an SCTP association know its packets.</summary>
    public uint VerificationTag { get; private set; }

    /// <summary>The ARP message; null for another protocol.</summary>
    public ArpMessage? Arp { get; private set; }

    /// <summary>The packet inside a tunnel packet.</summary>
    public Packet? Inner { get; private set; }

    /// <summary>What TCP or UDP carries; of SCTP its chunks.</summary>
    public ReadOnlyMemory<byte> Payload { get; private set; }

    /// <summary>Whether it is an IPv4 or IPv6 packet.</summary>
    public bool IsIp => SourceAddress is not null;

    /// <summary>Whether it is a UDP packet.</summary>
    public bool IsUdp => Protocol == ProtocolUdp;

    /// <summary>Source address and port; null for a packet that is not IP.</summary>
    public IPEndPoint? Source => SourceAddress is null ? null : new IPEndPoint(SourceAddress, SourcePort);

    /// <summary>Destination address and port; null for a packet that is not IP.</summary>
    public IPEndPoint? Destination => DestinationAddress is null ? null : new IPEndPoint(DestinationAddress, DestinationPort);

    /// <summary>Parses an Ethernet frame. Fields that are cut off or malformed are absent.</summary>
    public static Packet Parse(ReadOnlyMemory<byte> frame)
    {
        var packet = new Packet(); // layer by layer in place: a copy for each would be four of every frame of a run
        var span = frame.Span;
        if (span.Length < 14)
            return packet;
        packet.DestinationMac = new PhysicalAddress(span[..6].ToArray());
        packet.SourceMac = new PhysicalAddress(span[6..12].ToArray());
        packet.EtherType = BinaryPrimitives.ReadUInt16BigEndian(span[12..]);
        if (packet.EtherType is 0x0800 or 0x86dd)
            packet.ReadIp(frame[14..]);
        else if (packet.EtherType == 0x0806 && span.Length >= 42)
            packet.Arp = new ArpMessage(BinaryPrimitives.ReadUInt16BigEndian(span[20..]), new PhysicalAddress(span[22..28].ToArray()),
                new IPAddress(span[28..32]), new IPAddress(span[38..42]));
        return packet;
    }

    /// <summary>The first packet of a TCP connection, or a UDP datagram, of which only this is known.</summary>
    /// <param name="isSyn">Whether it is the SYN of TCP; of UDP otherwise.</param>
    /// <param name="length">In bytes, the IPv4 header's 20 included.</param>
    public static Packet OfIPv4(IPEndPoint source, IPEndPoint destination, bool isSyn, int length) =>
        new()
        {
            SourceAddress = source.Address,
            SourcePort = source.Port,
            DestinationAddress = destination.Address,
            DestinationPort = destination.Port,
            Length = length,
            Protocol = isSyn ? ProtocolTcp : ProtocolUdp,
            Tcp = isSyn ? new TcpSegment(0, 0, TcpFlags.Syn, 0) : null,
            Payload = isSyn ? default : new byte[Math.Max(0, length - 28)],
        };

    /// <summary>A packet without its Ethernet header, as the kernel logs it.</summary>
    public static Packet ParseIp(ReadOnlyMemory<byte> bytes)
    {
        var packet = new Packet();
        packet.ReadIp(bytes);
        return packet;
    }

    /// <summary>What stays the same when addresses and ports are rewritten: by this a packet is recognised on another interface.</summary>
    public string TransportIdentity => _transportIdentity ??= IdentityOf(this);

    private string? _transportIdentity; // asked for often; a packet is complete when it is parsed

    private static string IdentityOf(Packet packet) => packet switch
    {
        { Inner: { } inner } => inner.TransportIdentity,
        { Tcp: { } tcp } => string.Create(CultureInfo.InvariantCulture,
            $"tcp {tcp.Sequence} {tcp.Acknowledgement} {(int)tcp.Flags} {tcp.PayloadLength}"),
        { Icmp: { Quoted: { } quoted } icmp } => $"icmp {icmp.Type} {icmp.Code} of {quoted.TransportIdentity}",
        { Icmp: { } icmp } => $"icmp {icmp.Type} {icmp.Identifier} {icmp.SequenceNumber}",
        _ => $"{packet.Protocol} {packet.VerificationTag:x} {Convert.ToHexString(packet.Payload.Span)}",
    };

    private void ReadIp(ReadOnlyMemory<byte> bytes)
    {
        var span = bytes.Span;
        if (span.Length >= 20 && span[0] >> 4 == 4)
        {
            var headerLength = (span[0] & 0xf) * 4;
            Length = BinaryPrimitives.ReadUInt16BigEndian(span[2..]);
            var fragment = BinaryPrimitives.ReadUInt16BigEndian(span[6..]);
            MayNotFragment = (fragment & 0x4000) != 0;
            HasMoreFragments = (fragment & 0x2000) != 0;
            FragmentOffset = (fragment & 0x1fff) * 8;
            TimeToLive = span[8];
            Protocol = span[9];
            SourceAddress = new IPAddress(span.Slice(12, 4));
            DestinationAddress = new IPAddress(span.Slice(16, 4));
            var total = Math.Clamp(Length, headerLength, Math.Max(headerLength, span.Length));
            if (headerLength <= span.Length)
                ReadTransport(bytes[headerLength..Math.Min(total, span.Length)]);
        }
        else if (span.Length >= 40 && span[0] >> 4 == 6)
        {
            Length = 40 + BinaryPrimitives.ReadUInt16BigEndian(span[4..]);
            Protocol = span[6];
            TimeToLive = span[7];
            SourceAddress = new IPAddress(span.Slice(8, 16));
            DestinationAddress = new IPAddress(span.Slice(24, 16));
            var rest = bytes[40..Math.Min(Length, span.Length)];
            if (Protocol == ProtocolIPv6Fragment && rest.Length >= 8)
                ReadFragment(rest);
            else
                ReadTransport(rest);
        }
    }

    /// <summary>The fragment header of IPv6 (RFC 8200, 4.5).</summary>
    private void ReadFragment(ReadOnlyMemory<byte> bytes)
    {
        var fragment = BinaryPrimitives.ReadUInt16BigEndian(bytes.Span[2..]);
        Protocol = bytes.Span[0];
        HasMoreFragments = (fragment & 1) != 0;
        FragmentOffset = fragment & 0xfff8;
        ReadTransport(bytes[8..]);
    }

    private void ReadTransport(ReadOnlyMemory<byte> bytes)
    {
        if (FragmentOffset > 0)
        {
            Payload = bytes; // its ports are in the first fragment
            return;
        }
        var span = bytes.Span;
        switch (Protocol)
        {
            case ProtocolTcp when span.Length >= 14:
                ReadPorts(span);
                var dataOffset = Math.Min((span[12] >> 4) * 4, span.Length);
                Tcp = new TcpSegment(BinaryPrimitives.ReadUInt32BigEndian(span[4..]), BinaryPrimitives.ReadUInt32BigEndian(span[8..]),
                    (TcpFlags)(span[13] & 0x3f), span.Length - dataOffset);
                Payload = bytes[dataOffset..];
                break;
            case ProtocolTcp when span.Length >= 8: // quoted by an ICMP error: ports and sequence number only
                ReadPorts(span);
                Tcp = new TcpSegment(BinaryPrimitives.ReadUInt32BigEndian(span[4..]), 0, TcpFlags.None, 0);
                break;
            case ProtocolUdp when span.Length >= 8:
                ReadPorts(span);
                UdpChecksum = BinaryPrimitives.ReadUInt16BigEndian(span[6..]);
                Payload = bytes[8..];
                if (DestinationPort == GuePort && span.Length >= 12)
                    Inner = InnerOfGue(bytes[8..]);
                break;
            case ProtocolSctp when span.Length >= 8: // quoted by an ICMP error: no chunks
                ReadPorts(span);
                VerificationTag = BinaryPrimitives.ReadUInt32BigEndian(span[4..]);
                Payload = bytes[Math.Min(SctpHeader, span.Length)..];
                break;
            case ProtocolIcmp or ProtocolIcmpV6 when span.Length >= 8:
                var isError = Protocol == ProtocolIcmp ? span[0] is 3 or 4 or 5 or 11 or 12 : span[0] < 128;
                Icmp = new IcmpMessage(span[0], span[1], BinaryPrimitives.ReadUInt16BigEndian(span[4..]),
                    BinaryPrimitives.ReadUInt16BigEndian(span[6..]), isError ? ParseIp(bytes[8..]) : null);
                break;
            case ProtocolIpInIp or ProtocolIPv6InIp:
                Inner = ParseIp(bytes);
                break;
            case ProtocolGre when span.Length >= 4:
                Payload = bytes;
                Inner = InnerOfGre(bytes);
                break;
        }
    }

    private void ReadPorts(ReadOnlySpan<byte> span)
    {
        SourcePort = BinaryPrimitives.ReadUInt16BigEndian(span);
        DestinationPort = BinaryPrimitives.ReadUInt16BigEndian(span[2..]);
    }

    /// <summary>Behind the GRE header, whose optional fields are checksum, key and sequence number (RFC 2784, 2890).</summary>
    private static Packet? InnerOfGre(ReadOnlyMemory<byte> bytes)
    {
        var flags = bytes.Span[0];
        var header = 4 + ((flags & 0x80) != 0 ? 4 : 0) + ((flags & 0x20) != 0 ? 4 : 0) + ((flags & 0x10) != 0 ? 4 : 0);
        return header <= bytes.Length ? ParseIp(bytes[header..]) : null;
    }

    /// <summary>
    /// Behind the GUE header of version 0, whose length is in its first byte (draft-ietf-intarea-gue); version 1 has none.
    /// </summary>
    private static Packet? InnerOfGue(ReadOnlyMemory<byte> bytes)
    {
        var header = bytes.Span[0] >> 6 == 1 ? 0 : 4 + (bytes.Span[0] & 0x1f) * 4;
        return header <= bytes.Length ? ParseIp(bytes[header..]) : null;
    }

    /// <inheritdoc/>
    public override string ToString() => this switch
    {
        { Tcp: { } tcp } => $"{Source} > {Destination} {Describe(tcp.Flags)}{(tcp.PayloadLength > 0 ? $" {tcp.PayloadLength} bytes" : "")}",
        { Icmp: { Quoted: { } quoted } icmp } =>
        $"{SourceAddress} > {DestinationAddress} ICMP {DescribeIcmp(icmp)} about [{quoted.Source} > {quoted.Destination}]",
        { Icmp: { } icmp } => $"{SourceAddress} > {DestinationAddress} ICMP {DescribeIcmp(icmp)}",
        { Inner: { } inner } => $"{SourceAddress} > {DestinationAddress} {DescribeTunnel()} [{inner}]",
        { Arp: { IsRequest: true } arp } => $"{arp.Sender} asks who has {arp.Target}",
        { Arp: { } arp } => $"{arp.Sender} is at {arp.SenderMac}",
        { FragmentOffset: > 0 } => $"{SourceAddress} > {DestinationAddress} fragment at {FragmentOffset}",
        { Protocol: ProtocolSctp } => $"{Source} > {Destination} SCTP {DescribeChunk(Payload.Span)}",
        { IsUdp: true } => $"{Source} > {Destination} UDP {Payload.Length} bytes",
        { IsIp: true } => $"{SourceAddress} > {DestinationAddress} protocol {Protocol}",
        _ => $"{SourceMac} > {DestinationMac} ethertype 0x{EtherType:x4}",
    };

    private string DescribeTunnel() => Protocol switch
    {
        ProtocolGre => "GRE",
        ProtocolUdp => "GUE",
        _ => "IP in IP",
    };

    private static string Describe(TcpFlags flags) => flags switch
    {
        TcpFlags.Syn => "SYN",
        TcpFlags.Syn | TcpFlags.Ack => "SYN-ACK",
        TcpFlags.Ack or TcpFlags.None => "ACK",
        _ when flags.HasFlag(TcpFlags.Rst) => "RST",
        _ when flags.HasFlag(TcpFlags.Fin) => "FIN",
        _ => "ACK",
    };

    /// <summary>The first chunk of an SCTP packet.</summary>
    private static string DescribeChunk(ReadOnlySpan<byte> chunks) => (chunks.IsEmpty ? -1 : chunks[0]) switch
    {
        -1 => "",
        0 => "DATA",
        1 => "INIT",
        2 => "INIT-ACK",
        3 => "SACK",
        4 => "HEARTBEAT",
        5 => "HEARTBEAT-ACK",
        6 => "ABORT",
        7 => "SHUTDOWN",
        8 => "SHUTDOWN-ACK",
        10 => "COOKIE-ECHO",
        11 => "COOKIE-ACK",
        14 => "SHUTDOWN-COMPLETE",
        var type => string.Create(System.Globalization.CultureInfo.InvariantCulture, $"chunk {type}"),
    };

    private static string DescribeIcmp(IcmpMessage icmp) => (icmp.Type, icmp.Code, icmp.Quoted) switch
    {
        (8, _, null) or (128, _, null) => "echo request",
        (0, _, null) or (129, _, null) => "echo reply",
        (3, 0, _) => "network unreachable (3/0)",
        (3, 1, _) => "host unreachable (3/1)",
        (3, 2, _) => "protocol unreachable (3/2)",
        (3, 3, _) => "port unreachable (3/3)",
        (3, 4, _) => "fragmentation needed (3/4)",
        (5, _, _) => "redirect (5)",
        _ => $"type {icmp.Type} code {icmp.Code}",
    };
}
