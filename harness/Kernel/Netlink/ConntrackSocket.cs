using System.Net;

namespace Conformance.Kernel.Netlink;

/// <summary>Deletes tracked connections of one namespace over netlink (linux/netfilter/nfnetlink_conntrack.h).</summary>
public sealed class ConntrackSocket(NetworkNamespace ns) : IDisposable
{
    private const ushort Subsystem = 1 << 8;
    private const ushort CT_GET = 1, CT_DELETE = 2;
    private const ushort TUPLE_ORIG = 1, TUPLE_REPLY = 2, ID = 12, ZONE = 18;
    private const ushort TUPLE_IP = 1, TUPLE_PROTO = 2;
    private const ushort IP_V4_SRC = 1, IP_V4_DST = 2, IP_V6_SRC = 3, IP_V6_DST = 4;
    private const ushort PROTO_NUM = 1, PROTO_DST_PORT = 3;
    private const ushort NESTED = 0x8000;

    private readonly NetlinkSocket _socket = new(ns, NetlinkProtocol.Netfilter);

    /// <summary>Deletes the entries whose original destination is one of some virtual servers'.</summary>
    /// <param name="isStale">Judges an entry by its original destination and by who answers it (the source of the reply direction).</param>
    /// <returns>How many were deleted.</returns>
    public int Delete(IpProtocol protocol, bool isIPv6, Func<IpvsKey, IPAddress, bool> isStale)
    {
        var family = isIPv6 ? 10u : 2u;
        var stale = _socket.Dump("list the tracked connections", () => new NetlinkRequest(Subsystem | CT_GET).Fixed(family))
            .Select(m => m.Attributes(4))
            .Where(entry => IsOf(entry, protocol, isIPv6, isStale))
            .Select(entry =>
            {
                var request = new NetlinkRequest(Subsystem | CT_DELETE).Fixed(family).Attribute(TUPLE_ORIG | NESTED, entry.Find(TUPLE_ORIG)!.Value.Span);
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

    public void Dispose() => _socket.Dispose();

    private static bool IsOf(NetlinkAttributes entry, IpProtocol protocol, bool isIPv6, Func<IpvsKey, IPAddress, bool> isStale)
    {
        var original = entry.Nest(TUPLE_ORIG);
        if (original.Nest(TUPLE_PROTO).Byte(PROTO_NUM) != (byte)protocol)
            return false;
        var destination = original.Nest(TUPLE_IP).Address(isIPv6 ? IP_V6_DST : IP_V4_DST);
        var answering = entry.Nest(TUPLE_REPLY).Nest(TUPLE_IP).Address(isIPv6 ? IP_V6_SRC : IP_V4_SRC);
        var port = original.Nest(TUPLE_PROTO).UInt16BigEndian(PROTO_DST_PORT);
        return destination is not null && answering is not null && port is { } number && isStale(new IpvsKey(protocol, destination, number), answering);
    }
}
