using System.Net;
using Conformance.Linux.Ipvs;
using Conformance.Linux.Namespaces;
using Conformance.Linux.Netlink;

namespace Conformance.Linux.Conntrack;

/// <summary>Deletes tracked connections of one namespace over netlink (linux/netfilter/nfnetlink_conntrack.h).</summary>
public sealed class ConntrackSocket(NetworkNamespace ns) : IDisposable
{
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
        var first = servers.First();
        var isIPv6 = first.IsIPv6;
        var port = servers.All(s => s.Port == first.Port) ? first.Port : (int?)null;
        var stale = _socket.Dump("list the tracked connections", () => Ctnetlink.Listing(isIPv6, first.Protocol, destinationPort: port))
            .Select(Ctnetlink.Attributes)
            .Where(entry => IsOf(entry, isIPv6, isStale))
            .Select(entry =>
            {
                var request = new NetlinkRequest(Ctnetlink.Subsystem | Ctnetlink.CT_DELETE).Fixed(Ctnetlink.Family(isIPv6))
                    .Attribute(Ctnetlink.TUPLE_ORIG | Ctnetlink.NESTED, entry.Find(Ctnetlink.TUPLE_ORIG)!.Value.Span);
                // The number guards against another entry that has taken its place.
                foreach (var type in new[] { Ctnetlink.ZONE, Ctnetlink.ID })
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

    private static bool IsOf(NetlinkAttributes entry, bool isIPv6, Func<VirtualServerKey, IPAddress, bool> isStale)
    {
        // Not by Ctnetlink.Tuple, which takes a field that is missing for 0: such an entry belongs to no virtual server.
        var original = entry.Nest(Ctnetlink.TUPLE_ORIG);
        var protocol = original.Nest(Ctnetlink.TUPLE_PROTO).Byte(Ctnetlink.PROTO_NUM);
        var port = original.Nest(Ctnetlink.TUPLE_PROTO).UInt16BigEndian(Ctnetlink.PROTO_DST_PORT);
        var destination = original.Nest(Ctnetlink.TUPLE_IP).Address(isIPv6 ? Ctnetlink.IP_V6_DST : Ctnetlink.IP_V4_DST);
        var answering = entry.Nest(Ctnetlink.TUPLE_REPLY).Nest(Ctnetlink.TUPLE_IP)
            .Address(isIPv6 ? Ctnetlink.IP_V6_SRC : Ctnetlink.IP_V4_SRC);
        return protocol is { } code && destination is not null && answering is not null && port is { } number
            && isStale(new VirtualServerKey((TransportProtocol)code, destination, number), answering);
    }
}
