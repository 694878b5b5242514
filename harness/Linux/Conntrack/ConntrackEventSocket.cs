using System.Net;
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
    private const ushort NFNL_SUBSYS_CTNETLINK = 1;
    private const byte IPCTNL_MSG_CT_NEW = 0;
    private const byte IPCTNL_MSG_CT_GET = 1;
    private const byte IPCTNL_MSG_CT_DELETE = 2;
    private const int NfgenmsgLength = 4;
    private const ushort CTA_TUPLE_ORIG = 1;
    private const ushort CTA_TUPLE_REPLY = 2;
    private const ushort CTA_STATUS = 3;
    private const ushort CTA_TUPLE_IP = 1;
    private const ushort CTA_TUPLE_PROTO = 2;
    private const ushort CTA_IP_V4_SRC = 1;
    private const ushort CTA_IP_V4_DST = 2;
    private const ushort CTA_IP_V6_SRC = 3;
    private const ushort CTA_IP_V6_DST = 4;
    private const ushort CTA_PROTO_NUM = 1;
    private const ushort CTA_PROTO_SRC_PORT = 2;
    private const ushort CTA_PROTO_DST_PORT = 3;
    private const uint IPS_SEEN_REPLY = 2;
    private const uint IPS_ASSURED = 4;

    private readonly NetlinkSocket _socket;

    /// <summary>Joins the groups of conntrack events of a namespace.</summary>
    /// <exception cref="KernelException">CAP_NET_ADMIN is missing (EPERM).</exception>
    public ConntrackEventSocket(NetworkNamespace ns)
    {
        _socket = new NetlinkSocket(ns, NetlinkProtocol.Netfilter);
        // Joining a group loads the kernel's module in the background, and events before that are lost; a dump waits for it.
        _ = _socket.Dump("list the conntrack entries", () => new NetlinkRequest(NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_GET).Fixed(0));
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
        var attributes = message.Attributes(NfgenmsgLength);
        var status = attributes.UInt32BigEndian(CTA_STATUS) ?? 0;
        var type = (byte)message.Type switch
        {
            IPCTNL_MSG_CT_DELETE => ConntrackEventType.Destroy,
            // A new entry is announced as CT_NEW with create flags, an update as CT_NEW without.
            IPCTNL_MSG_CT_NEW when (message.Flags & (NetlinkFlags.Create | NetlinkFlags.Exclusive)) != NetlinkFlags.None =>
                ConntrackEventType.New,
            _ => ConntrackEventType.Update,
        };
        var original = attributes.Nest(CTA_TUPLE_ORIG);
        return new ConntrackEvent(
            type, original.Nest(CTA_TUPLE_PROTO).Byte(CTA_PROTO_NUM) ?? 0,
            Tuple(original), Tuple(attributes.Nest(CTA_TUPLE_REPLY)),
            (status & IPS_SEEN_REPLY) != 0, (status & IPS_ASSURED) != 0);
    }

    private static ConntrackTuple Tuple(NetlinkAttributes tuple)
    {
        var ip = tuple.Nest(CTA_TUPLE_IP);
        var protocol = tuple.Nest(CTA_TUPLE_PROTO);
        return new ConntrackTuple(
            ip.Address(CTA_IP_V4_SRC) ?? ip.Address(CTA_IP_V6_SRC) ?? IPAddress.None,
            ip.Address(CTA_IP_V4_DST) ?? ip.Address(CTA_IP_V6_DST) ?? IPAddress.None,
            protocol.UInt16BigEndian(CTA_PROTO_SRC_PORT) ?? 0,
            protocol.UInt16BigEndian(CTA_PROTO_DST_PORT) ?? 0);
    }
}
