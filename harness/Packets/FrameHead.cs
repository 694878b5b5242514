using System.Buffers.Binary;

namespace Conformance.Packets;

/// <summary>Reads addresses and ports from a raw Ethernet frame without an allocation, for filters that see every packet.</summary>
public static class FrameHead
{
    private const int Ethernet = 14;
    private const int Vxlan = 8 + 8; // UDP and VXLAN headers (RFC 7348)
    private const ushort VxlanPort = 4789;
    private const ushort FlannelPort = 8472; // the kernel's default, and flannel's

    /// <summary>
    /// Whether a TCP, UDP or SCTP packet has this port or one of these addresses at either end. Of a VXLAN packet the inner packet counts.
    /// </summary>
    /// <param name="addresses">Addresses in network byte order, 4 or 16 bytes each.</param>
    public static bool Has(ReadOnlySpan<byte> frame, int port, IReadOnlyList<byte[]> addresses)
    {
        if (frame.Length < Ethernet)
            return false;
        var (length, address, protocol) = BinaryPrimitives.ReadUInt16BigEndian(frame[12..]) switch
        {
            0x0800 when frame.Length >= Ethernet + 20 => ((frame[Ethernet] & 0xf) * 4, 4, frame[Ethernet + 9]),
            0x86dd when frame.Length >= Ethernet + 40 => (40, 16, frame[Ethernet + 6]),
            _ => (0, 0, (byte)0),
        };
        if (length == 0)
            return false;
        var ip = frame[Ethernet..];
        var first = address == 4 ? 12 : 8;
        var source = ip.Slice(first, address);
        var destination = ip.Slice(first + address, address);
        foreach (var wanted in addresses)
        {
            if (source.SequenceEqual(wanted) || destination.SequenceEqual(wanted))
                return true;
        }
        if (protocol is not (6 or 17 or 132) || ip.Length < length + 4)
            return false;
        var transport = ip[length..];
        var (from, to) = (BinaryPrimitives.ReadUInt16BigEndian(transport), BinaryPrimitives.ReadUInt16BigEndian(transport[2..]));
        return from == port || to == port || (protocol == 17 && to is (VxlanPort or FlannelPort) && transport.Length > Vxlan
            && Has(transport[Vxlan..], port, addresses));
    }
}
