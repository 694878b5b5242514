using System.Net;
using System.Net.Sockets;
using Conformance.Linux.Namespaces;
using Conformance.Linux.Netlink;

namespace Conformance.Linux.Conntrack;

/// <summary>Addresses and ports of one direction. Ports are 0 for protocols without them.</summary>
public sealed record ConntrackTuple(IPAddress Source, IPAddress Destination, int SourcePort, int DestinationPort)
{
    /// <inheritdoc/>
    public override string ToString() => $"src={Source} dst={Destination} sport={SourcePort} dport={DestinationPort}";
}

/// <summary>
/// One entry of the table of connection tracking: the transport protocol's name and number, seconds left, state (TCP, SCTP; else
/// empty), the two tuples, flags. Source: net/netfilter/nf_conntrack_netlink.c; names as in <c>/proc/net/nf_conntrack</c>.
/// </summary>
public sealed record ConntrackEntry(
    string Protocol,
    int ProtocolNumber,
    int SecondsLeft,
    string State,
    ConntrackTuple Original,
    ConntrackTuple Reply,
    bool IsAssured,
    bool IsUnreplied)
{
    private const int EINVAL = 22;
    private const int EPROTONOSUPPORT = 93;
    private const ushort PROTOINFO_TCP = 1, PROTOINFO_SCTP = 3, STATE = 1;

    /// <summary>In the order of enum tcp_conntrack (linux/netfilter/nf_conntrack_tcp.h).</summary>
    private static readonly string[] s_tcpStates = ["NONE", "SYN_SENT", "SYN_RECV", "ESTABLISHED", "FIN_WAIT", "CLOSE_WAIT", "LAST_ACK",
        "TIME_WAIT", "CLOSE", "SYN_SENT2"];

    /// <summary>In the order of enum sctp_conntrack (linux/netfilter/nf_conntrack_sctp.h).</summary>
    private static readonly string[] s_sctpStates = ["NONE", "CLOSED", "COOKIE_WAIT", "COOKIE_ECHOED", "ESTABLISHED", "SHUTDOWN_SENT",
        "SHUTDOWN_RECD", "SHUTDOWN_ACK_SENT", "HEARTBEAT_SENT", "HEARTBEAT_ACKED"];

    /// <summary>
    /// Reads the table of a namespace; empty where the kernel has no connection tracking. Reading does not switch it on.
    /// </summary>
    /// <exception cref="KernelException">The kernel has connection tracking without ctnetlink (CONFIG_NF_CT_NETLINK).</exception>
    /// <remarks>
    /// Not from <c>/proc/net/nf_conntrack</c>: the kernel finds the next page of that file by counting the entries of all namespaces
    /// (ct_get_idx), and misses one when any of them has ended meanwhile.
    /// </remarks>
    public static IReadOnlyList<ConntrackEntry> Read(NetworkNamespace ns) => Read(ns, () => Ctnetlink.Listing());

    /// <summary>Reads the entries of one family and protocol whose original direction comes from one port.</summary>
    public static IReadOnlyList<ConntrackEntry> Read(NetworkNamespace ns, bool isIPv6, TransportProtocol protocol, int sourcePort) =>
        [.. Read(ns, () => Ctnetlink.Listing(isIPv6, protocol, sourcePort: sourcePort))
            .Where(e => e.ProtocolNumber == (int)protocol && e.Original.SourcePort == sourcePort)];

    /// <inheritdoc/>
    public override string ToString() =>
        $"{(Original.Source.AddressFamily == AddressFamily.InterNetworkV6 ? "ipv6 10" : "ipv4 2")} {Protocol} {ProtocolNumber} " +
        $"{SecondsLeft}{(State.Length > 0 ? $" {State}" : "")} " +
        $"{Original} {(IsUnreplied ? "[UNREPLIED] " : "")}{Reply}{(IsAssured ? " [ASSURED]" : "")}";

    private static IReadOnlyList<ConntrackEntry> Read(NetworkNamespace ns, Func<NetlinkRequest> listing)
    {
        try
        {
            using var socket = new NetlinkSocket(ns, NetlinkProtocol.Netfilter);
            // The kernel repeats a row of its hash table when the entry that it gave last has ended meanwhile (ctnetlink_dump_table).
            return [.. socket.Dump("list the tracked connections", listing).Select(Ctnetlink.Attributes)
                .DistinctBy(e => (e.UInt32BigEndian(Ctnetlink.ID), Ctnetlink.Tuple(e.Nest(Ctnetlink.TUPLE_ORIG)))).Select(Parse)];
        }
        catch (KernelException e) when (e.Errno is EINVAL or EPROTONOSUPPORT && !File.Exists("/proc/sys/net/netfilter/nf_conntrack_max"))
        {
            return []; // the kernel has no connection tracking
        }
    }

    private static ConntrackEntry Parse(NetlinkAttributes entry)
    {
        var original = entry.Nest(Ctnetlink.TUPLE_ORIG);
        var status = entry.UInt32BigEndian(Ctnetlink.STATUS) ?? 0;
        var protocol = Ctnetlink.Protocol(original);
        var details = entry.Nest(Ctnetlink.PROTOINFO);
        return new ConntrackEntry(
            NameOf(protocol), protocol, (int)(entry.UInt32BigEndian(Ctnetlink.TIMEOUT) ?? 0),
            details.Nest(PROTOINFO_TCP).Byte(STATE) is { } tcp ? Name(s_tcpStates, tcp)
                : details.Nest(PROTOINFO_SCTP).Byte(STATE) is { } sctp ? Name(s_sctpStates, sctp) : "",
            Ctnetlink.Tuple(original), Ctnetlink.Tuple(entry.Nest(Ctnetlink.TUPLE_REPLY)),
            (status & Ctnetlink.IPS_ASSURED) != 0, (status & Ctnetlink.IPS_SEEN_REPLY) == 0);
    }

    private static string Name(string[] states, int state) => state < states.Length ? states[state] : $"state {state}";

    /// <summary>As l4proto_name (net/netfilter/nf_conntrack_standalone.c) has it.</summary>
    private static string NameOf(int protocol) => protocol switch
    {
        1 => "icmp",
        6 => "tcp",
        17 => "udp",
        33 => "dccp",
        47 => "gre",
        58 => "icmpv6",
        132 => "sctp",
        136 => "udplite",
        _ => "unknown",
    };
}
