using System.Net;

namespace Conformance.Kernel.Netlink;

/// <summary>Deletes tracked connections of one namespace over netlink (linux/netfilter/nfnetlink_conntrack.h).</summary>
public sealed class ConntrackSocket(NetworkNamespace ns) : IDisposable
{
    private const ushort Subsystem = 1 << 8;
    private const ushort CT_GET = 1, CT_DELETE = 2;
    private const ushort TUPLE_ORIG = 1, TUPLE_REPLY = 2, ID = 12, ZONE = 18, FILTER = 25;
    private const ushort FILTER_ORIG_FLAGS = 1;
    private const uint FILTER_DESTINATION = 1 << 1 | 1 << 3 | 1 << 5; // address, protocol, port: net/netfilter/nf_internals.h
    private const ushort TUPLE_IP = 1, TUPLE_PROTO = 2;
    private const ushort IP_V4_SRC = 1, IP_V4_DST = 2, IP_V6_SRC = 3, IP_V6_DST = 4;
    private const ushort PROTO_NUM = 1, PROTO_DST_PORT = 3;
    private const ushort NESTED = 0x8000;

    private readonly NetlinkSocket _socket = new(ns, NetlinkProtocol.Netfilter);

    /// <summary>So many virtual servers are asked for one by one; for more the whole table is cheaper.</summary>
    private const int MaxAsked = 16;

    /// <summary>Deletes the entries whose original destination is one of some virtual servers'.</summary>
    /// <param name="servers">Of one family. Kernels since 5.8 tell of theirs alone, so that a large table costs little.</param>
    /// <param name="isStale">Judges an entry by its original destination and by who answers it (the source of the reply direction).</param>
    /// <returns>How many were deleted.</returns>
    public int Delete(IReadOnlyCollection<IpvsKey> servers, Func<IpvsKey, IPAddress, bool> isStale)
    {
        if (servers.Count == 0)
            return 0;
        var isIPv6 = servers.First().IsIPv6;
        var family = isIPv6 ? 10u : 2u;
        var wanted = servers.ToHashSet();
        IEnumerable<IpvsKey?> asked = wanted.Count <= MaxAsked ? wanted.Select(k => (IpvsKey?)k) : [null];
        var stale = asked.SelectMany(key => _socket.Dump("list the tracked connections", () => Listing(family, key)))
            .Select(m => m.Attributes(4))
            .Where(entry => IsOf(entry, isIPv6, (key, answering) => wanted.Contains(key) && isStale(key, answering)))
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

    /// <summary>Older kernels do not know the filter, and tell of everything.</summary>
    private static NetlinkRequest Listing(uint family, IpvsKey? destination)
    {
        var request = new NetlinkRequest(Subsystem | CT_GET).Fixed(family);
        if (destination is not { } key)
            return request;
        return request
            .Nest(TUPLE_ORIG | NESTED, tuple => tuple
                .Nest(TUPLE_IP | NESTED, ip => ip.Attribute(key.IsIPv6 ? IP_V6_DST : IP_V4_DST, key.Address))
                .Nest(TUPLE_PROTO | NESTED, proto => proto.Attribute(PROTO_NUM, (byte)key.Protocol).BigEndian(PROTO_DST_PORT, key.Port)))
            .Nest(FILTER | NESTED, filter => filter.Attribute(FILTER_ORIG_FLAGS, FILTER_DESTINATION));
    }

    private static bool IsOf(NetlinkAttributes entry, bool isIPv6, Func<IpvsKey, IPAddress, bool> isStale)
    {
        var original = entry.Nest(TUPLE_ORIG);
        var protocol = original.Nest(TUPLE_PROTO).Byte(PROTO_NUM);
        var destination = original.Nest(TUPLE_IP).Address(isIPv6 ? IP_V6_DST : IP_V4_DST);
        var answering = entry.Nest(TUPLE_REPLY).Nest(TUPLE_IP).Address(isIPv6 ? IP_V6_SRC : IP_V4_SRC);
        var port = original.Nest(TUPLE_PROTO).UInt16BigEndian(PROTO_DST_PORT);
        return protocol is { } code && destination is not null && answering is not null && port is { } number && isStale(new IpvsKey((IpProtocol)code, destination, number), answering);
    }
}
