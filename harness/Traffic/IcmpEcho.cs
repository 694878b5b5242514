using System.Buffers.Binary;

namespace Conformance.Traffic;

/// <summary>ICMP echo messages (RFC 792).</summary>
internal static class IcmpEcho
{
    private const byte EchoRequest = 8;
    private const byte EchoReply = 0;

    internal static byte[] Request(ushort identifier)
    {
        var message = new byte[16];
        message[0] = EchoRequest;
        BinaryPrimitives.WriteUInt16BigEndian(message.AsSpan(4), identifier);
        BinaryPrimitives.WriteUInt16BigEndian(message.AsSpan(6), 1);
        BinaryPrimitives.WriteUInt16BigEndian(message.AsSpan(2), Checksum(message));
        return message;
    }

    /// <summary>Whether a datagram of a raw socket (with its IPv4 header) is the reply.</summary>
    internal static bool IsReplyTo(ReadOnlySpan<byte> datagram, ushort identifier)
    {
        if (datagram.Length < 28)
            return false;
        var icmp = datagram[((datagram[0] & 0xf) * 4)..];
        return icmp.Length >= 8 && icmp[0] == EchoReply && BinaryPrimitives.ReadUInt16BigEndian(icmp[4..]) == identifier;
    }

    private static ushort Checksum(ReadOnlySpan<byte> bytes)
    {
        uint sum = 0;
        for (var i = 0; i + 1 < bytes.Length; i += 2)
            sum += BinaryPrimitives.ReadUInt16BigEndian(bytes[i..]);
        while (sum >> 16 != 0)
            sum = (sum & 0xffff) + (sum >> 16);
        return (ushort)~sum;
    }
}
