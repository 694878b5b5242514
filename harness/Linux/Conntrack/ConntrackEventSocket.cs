using Conformance.Linux.Namespaces;
using Conformance.Linux.Netlink;

namespace Conformance.Linux.Conntrack;

/// <summary>Kinds of conntrack events (linux/netfilter/nfnetlink_conntrack.h).</summary>
public enum ConntrackEventType
{
    /// <summary>A new entry.</summary>
    New,

    /// <summary>A change of an entry: its state, or a flag.</summary>
    Update,

    /// <summary>The end of an entry.</summary>
    Destroy,
}

/// <summary>A change of the connection-tracking table. Protocol is the IP protocol's number.</summary>
public sealed record ConntrackEvent(ConntrackEventType Type, int Protocol, ConntrackTuple Original, ConntrackTuple Reply, bool SeenReply,
    bool IsAssured)
{
    /// <inheritdoc/>
    public override string ToString() =>
        $"{Type} {Protocol} {Original} {Reply}{(SeenReply ? "" : " [UNREPLIED]")}{(IsAssured ? " [ASSURED]" : "")}";
}

/// <summary>
/// Listens to the conntrack events of a namespace, as <c>conntrack -E</c> does: what happens, not what is there.
/// Listening registers no hook. Source: linux/netfilter/nfnetlink_conntrack.h.
/// </summary>
public sealed class ConntrackEventSocket : IAsyncDisposable
{
    private const int NFNLGRP_CONNTRACK_NEW = 1;
    private const int NFNLGRP_CONNTRACK_UPDATE = 2;
    private const int NFNLGRP_CONNTRACK_DESTROY = 3;

    private readonly NetlinkSocket _socket;

    /// <summary>Joins the groups of conntrack events of a namespace.</summary>
    /// <exception cref="KernelException">CAP_NET_ADMIN is missing (EPERM).</exception>
    public ConntrackEventSocket(NetworkNamespace ns)
    {
        _socket = new NetlinkSocket(ns, NetlinkProtocol.Netfilter);
        // Joining a group loads the kernel's module in the background, and events before that are lost; a dump waits for it.
        _ = _socket.Dump("list the conntrack entries", Ctnetlink.Listing);
        _socket.Join(NFNLGRP_CONNTRACK_NEW);
        _socket.Join(NFNLGRP_CONNTRACK_UPDATE);
        _socket.Join(NFNLGRP_CONNTRACK_DESTROY);
    }

    /// <summary>The events since the last call, oldest first.</summary>
    public IReadOnlyList<ConntrackEvent> Take() => [.. _socket.TryReceive().Select(Parse)];

    /// <inheritdoc/>
    public ValueTask DisposeAsync()
    {
        _socket.Dispose();
        return ValueTask.CompletedTask;
    }

    internal static ConntrackEvent Parse(NetlinkMessage message)
    {
        var attributes = Ctnetlink.Attributes(message);
        var status = attributes.UInt32BigEndian(Ctnetlink.STATUS) ?? 0;
        var type = (message.Type & 0xff) switch
        {
            Ctnetlink.CT_DELETE => ConntrackEventType.Destroy,
            // A new entry is announced as CT_NEW with create flags, an update as CT_NEW without.
            Ctnetlink.CT_NEW when (message.Flags & (NetlinkFlags.Create | NetlinkFlags.Exclusive)) != NetlinkFlags.None =>
                ConntrackEventType.New,
            _ => ConntrackEventType.Update,
        };
        var original = attributes.Nest(Ctnetlink.TUPLE_ORIG);
        return new ConntrackEvent(
            type, Ctnetlink.Protocol(original),
            Ctnetlink.Tuple(original), Ctnetlink.Tuple(attributes.Nest(Ctnetlink.TUPLE_REPLY)),
            (status & Ctnetlink.IPS_SEEN_REPLY) != 0, (status & Ctnetlink.IPS_ASSURED) != 0);
    }
}
