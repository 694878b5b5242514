using System.Net;
using Conformance.Linux.Ipvs;
using Conformance.Linux.Namespaces;
using Conformance.Linux.Netlink;

namespace Conformance.Linux.Conntrack;

/// <summary>Deletes tracked connections of one namespace over netlink (linux/netfilter/nfnetlink_conntrack.h).</summary>
public sealed class ConntrackSocket(NetworkNamespace ns) : IDisposable
{
    private const ushort Subsystem = 1 << 8;
    private const ushort CT_GET = 1, CT_DELETE = 2;
    private const ushort TUPLE_ORIG = 1, TUPLE_REPLY = 2, ID = 12, ZONE = 18, FILTER = 25;
    private const ushort FILTER_ORIG_FLAGS = 1;

    /// <summary>
    /// Bits of the fields to compare (net/netfilter/nf_internals.h). Not the address: of IPv6 the kernel takes those that differ
    /// (ctnetlink_filter_match_tuple, 5.8 to this day).
    /// </summary>
    private const uint FILTER_PROTOCOL = 1 << 3, FILTER_PORT = 1 << 5;
    private const ushort TUPLE_IP = 1, TUPLE_PROTO = 2;
    private const ushort IP_V4_SRC = 1, IP_V4_DST = 2, IP_V6_SRC = 3, IP_V6_DST = 4;
    private const ushort PROTO_NUM = 1, PROTO_DST_PORT = 3;
    private const ushort NESTED = 0x8000;

    private readonly NetlinkSocket _socket = new(ns, NetlinkProtocol.Netfilter);

    /// <summary>Deletes stale entries of some virtual servers.</summary>
    /// <param name="servers">Of one family and protocol. Kernels since 5.8 tell of their protocol alone, and of one port where all have it,
    /// so that a large table costs little.</param>
    /// <param name="isStale">Judges an entry, of these servers or of others, by its original destination and by who answers it (the source
    /// of the reply direction).</param>
    /// <returns>How many were deleted.</returns>
    public int Delete(IReadOnlyCollection<VirtualServerKey> servers, Func<VirtualServerKey, IPAddress, bool> isStale)
    {
        if (servers.Count == 0)
            return 0;
        var isIPv6 = servers.First().IsIPv6;
        var family = isIPv6 ? 10u : 2u;
        var stale = _socket.Dump("list the tracked connections", () => Listing(family, servers))
            .Select(m => m.Attributes(4))
            .Where(entry => IsOf(entry, isIPv6, isStale))
            .Select(entry =>
            {
                var request = new NetlinkRequest(Subsystem | CT_DELETE).Fixed(family)
                    .Attribute(TUPLE_ORIG | NESTED, entry.Find(TUPLE_ORIG)!.Value.Span);
                foreach (var type in new[] { ZONE, ID }) // the number guards against another entry that has taken its place
                {
                    if (entry.Find(type) is { } value)
                        request.Attribute(type, value.Span);
                }
                return ((FormattableString)$"delete a tracked connection", request);
            })
            .ToList();
        // What has ended by itself meanwhile is gone as well.
        return stale.Count - _socket.TryExecute(stale).Count;
    }

    /// <inheritdoc/>
    public void Dispose() => _socket.Dispose();

    /// <summary>Older kernels do not know the filter, and tell of everything.</summary>
    private static NetlinkRequest Listing(uint family, IReadOnlyCollection<VirtualServerKey> servers)
    {
        var first = servers.First();
        var hasOnePort = servers.All(s => s.Port == first.Port);
        return new NetlinkRequest(Subsystem | CT_GET).Fixed(family)
            .Nest(TUPLE_ORIG | NESTED, tuple => tuple.Nest(TUPLE_PROTO | NESTED, proto => proto.Attribute(PROTO_NUM, (byte)first.Protocol)
                .BigEndian(PROTO_DST_PORT, first.Port)))
            .Nest(FILTER | NESTED, filter => filter.Attribute(FILTER_ORIG_FLAGS, hasOnePort ? FILTER_PROTOCOL | FILTER_PORT
                : FILTER_PROTOCOL));
    }

    private static bool IsOf(NetlinkAttributes entry, bool isIPv6, Func<VirtualServerKey, IPAddress, bool> isStale)
    {
        var original = entry.Nest(TUPLE_ORIG);
        var protocol = original.Nest(TUPLE_PROTO).Byte(PROTO_NUM);
        var destination = original.Nest(TUPLE_IP).Address(isIPv6 ? IP_V6_DST : IP_V4_DST);
        var answering = entry.Nest(TUPLE_REPLY).Nest(TUPLE_IP).Address(isIPv6 ? IP_V6_SRC : IP_V4_SRC);
        var port = original.Nest(TUPLE_PROTO).UInt16BigEndian(PROTO_DST_PORT);
        return protocol is { } code && destination is not null && answering is not null && port is { } number
            && isStale(new VirtualServerKey((TransportProtocol)code, destination, number), answering);
    }
}
