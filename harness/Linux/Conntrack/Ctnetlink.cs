using System.Net;
using Conformance.Linux.Netlink;

namespace Conformance.Linux.Conntrack;

/// <summary>The messages of ctnetlink, as far as we use them (linux/netfilter/nfnetlink_conntrack.h).</summary>
internal static class Ctnetlink
{
    internal const ushort Subsystem = 1 << 8;
    internal const ushort CT_NEW = 0, CT_GET = 1, CT_DELETE = 2;
    internal const ushort TUPLE_ORIG = 1, TUPLE_REPLY = 2, STATUS = 3, PROTOINFO = 4, TIMEOUT = 7, ID = 12, ZONE = 18, FILTER = 25;
    internal const ushort TUPLE_IP = 1, TUPLE_PROTO = 2;
    internal const ushort IP_V4_SRC = 1, IP_V4_DST = 2, IP_V6_SRC = 3, IP_V6_DST = 4;
    internal const ushort PROTO_NUM = 1, PROTO_SRC_PORT = 2, PROTO_DST_PORT = 3;
    internal const uint IPS_SEEN_REPLY = 2, IPS_ASSURED = 4;
    internal const ushort NESTED = 0x8000;
    private const int NfgenmsgLength = 4;
    private const ushort FILTER_ORIG_FLAGS = 1;

    /// <summary>
    /// Bits of the fields to compare (net/netfilter/nf_internals.h). Not the addresses: of IPv6 the kernel takes those that differ
    /// (ctnetlink_filter_match_tuple, 5.8 to this day).
    /// </summary>
    private const uint FILTER_PROTOCOL = 1 << 3, FILTER_SRC_PORT = 1 << 4, FILTER_DST_PORT = 1 << 5;

    internal static NetlinkAttributes Attributes(NetlinkMessage message) => message.Attributes(NfgenmsgLength);

    /// <summary>Asks for the table of a namespace.</summary>
    internal static NetlinkRequest Listing() => new NetlinkRequest(Subsystem | CT_GET).Fixed(0u);

    /// <summary>Asks for the entries of one family and protocol, and of one port where it is given, in the original direction.</summary>
    /// <remarks>Kernels before 5.8 ignore the filter, and list the whole family.</remarks>
    internal static NetlinkRequest Listing(bool isIPv6, TransportProtocol protocol, int? sourcePort = null, int? destinationPort = null) =>
        new NetlinkRequest(Subsystem | CT_GET).Fixed(Family(isIPv6))
            .Nest(TUPLE_ORIG | NESTED, tuple => tuple.Nest(TUPLE_PROTO | NESTED, proto => proto.Attribute(PROTO_NUM, (byte)protocol)
                .BigEndian(PROTO_SRC_PORT, (ushort)(sourcePort ?? 0)).BigEndian(PROTO_DST_PORT, (ushort)(destinationPort ?? 0))))
            .Nest(FILTER | NESTED, filter => filter.Attribute(FILTER_ORIG_FLAGS, FILTER_PROTOCOL
                | (sourcePort is null ? 0 : FILTER_SRC_PORT) | (destinationPort is null ? 0 : FILTER_DST_PORT)));

    /// <summary>AF_INET or AF_INET6, with which a message begins (struct nfgenmsg).</summary>
    internal static uint Family(bool isIPv6) => isIPv6 ? 10u : 2u;

    internal static int Protocol(NetlinkAttributes tuple) => tuple.Nest(TUPLE_PROTO).Byte(PROTO_NUM) ?? 0;

    internal static ConntrackTuple Tuple(NetlinkAttributes tuple)
    {
        var ip = tuple.Nest(TUPLE_IP);
        var protocol = tuple.Nest(TUPLE_PROTO);
        return new ConntrackTuple(
            ip.Address(IP_V4_SRC) ?? ip.Address(IP_V6_SRC) ?? IPAddress.None,
            ip.Address(IP_V4_DST) ?? ip.Address(IP_V6_DST) ?? IPAddress.None,
            protocol.UInt16BigEndian(PROTO_SRC_PORT) ?? 0,
            protocol.UInt16BigEndian(PROTO_DST_PORT) ?? 0);
    }
}
