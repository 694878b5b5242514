using System.Buffers.Binary;
using System.Globalization;
using System.Text.RegularExpressions;
using Conformance.Linux.Namespaces;
using Conformance.Linux.Netlink;

namespace Conformance.Linux.Iptables;

/// <summary>What a traced packet met: a rule, the return to the calling chain, or a chain's policy.</summary>
public enum TraceKind
{
    /// <summary>A rule matched.</summary>
    Rule,

    /// <summary>A chain ended, or a rule returned from it.</summary>
    Return,

    /// <summary>The policy of a built-in chain applied.</summary>
    Policy,
}

/// <summary>One message of the kernel's own trace of a packet through iptables.</summary>
/// <param name="Number">Of the rule in its chain, from 1.</param>
/// <param name="Mark">The packet's mark before the rule.</param>
/// <param name="Packet">The packet from its network header on, as it was then.</param>
public sealed record TraceEvent(string Table, string Chain, TraceKind Kind, int Number, uint Mark, int InDevice, int OutDevice,
    byte[] Packet);

/// <summary>
/// Receives what the TRACE target of iptables-legacy says of packets in a namespace, over nfnetlink_log(group 0). Source:
/// net/netfilter/nfnetlink_log.c, and trace_packet in net/ipv4/netfilter/ip_tables.c. iptables-nft tells its traces otherwise.
/// </summary>
public sealed partial class RuleTraceSocket : IDisposable
{
    private const ushort NFULNL_MSG_PACKET = 4 << 8;
    private const ushort NFULNL_MSG_CONFIG = (4 << 8) | 1;
    private const ushort NFULA_CFG_CMD = 1, NFULA_CFG_MODE = 2;
    private const byte NFULNL_CFG_CMD_BIND = 1, NFULNL_CFG_CMD_PF_BIND = 3, NFULNL_CFG_CMD_PF_UNBIND = 4;
    private const byte NFULNL_COPY_PACKET = 2;
    private const ushort NFULA_MARK = 2, NFULA_IFINDEX_INDEV = 4, NFULA_IFINDEX_OUTDEV = 5, NFULA_PAYLOAD = 9, NFULA_PREFIX = 10;
    private const uint CopyRange = 128;
    private const byte Inet = 2, Inet6 = 10;

    private readonly NetlinkSocket _socket;

    /// <exception cref="KernelException">The kernel lacks nfnetlink_log, or somebody else traces in this namespace.</exception>
    public RuleTraceSocket(NetworkNamespace ns)
    {
        _socket = new NetlinkSocket(ns, NetlinkProtocol.Netfilter);
        var mode = new byte[6];
        BinaryPrimitives.WriteUInt32BigEndian(mode, CopyRange);
        mode[4] = NFULNL_COPY_PACKET;
        try
        {
            foreach (var family in new[] { Inet, Inet6 })
            {
                _socket.Execute(
                    ($"let go of the logger of family {family}", Config(family, NFULA_CFG_CMD, NFULNL_CFG_CMD_PF_UNBIND)),
                    ($"become the logger of family {family}", Config(family, NFULA_CFG_CMD, NFULNL_CFG_CMD_PF_BIND)));
            }
            _socket.Execute(("bind the log group 0", Config(0, NFULA_CFG_CMD, NFULNL_CFG_CMD_BIND)),
                ("ask for packets", Config(0, NFULA_CFG_MODE, mode)));
        }
        catch
        {
            _socket.Dispose();
            throw;
        }
    }

    /// <summary>What was traced since the last call, in order.</summary>
    public IReadOnlyList<TraceEvent> Take() => [.. _socket.TryReceive().Where(m => m.Type == NFULNL_MSG_PACKET).Select(Parse)
        .OfType<TraceEvent>()];

    /// <inheritdoc/>
    public void Dispose()
    {
        try
        {
            foreach (var family in new[] { Inet, Inet6 })
                _socket.Execute(($"let go of the logger of family {family}", Config(family, NFULA_CFG_CMD, NFULNL_CFG_CMD_PF_UNBIND)));
        }
        finally
        {
            _socket.Dispose();
        }
    }

    private static TraceEvent? Parse(NetlinkMessage message)
    {
        var attributes = message.Attributes(4);
        if (attributes.Text(NFULA_PREFIX) is not { } prefix || Prefix().Match(prefix) is not { Success: true } match)
            return null;
        var kind = match.Groups["kind"].Value switch
        {
            "return" => TraceKind.Return,
            "policy" => TraceKind.Policy,
            _ => TraceKind.Rule,
        };
        return new TraceEvent(
            match.Groups["table"].Value, match.Groups["chain"].Value, kind,
                int.Parse(match.Groups["number"].ValueSpan, CultureInfo.InvariantCulture),
            attributes.UInt32BigEndian(NFULA_MARK) ?? 0, (int)(attributes.UInt32BigEndian(NFULA_IFINDEX_INDEV) ?? 0),
                (int)(attributes.UInt32BigEndian(NFULA_IFINDEX_OUTDEV) ?? 0),
            attributes.Find(NFULA_PAYLOAD)?.ToArray() ?? []);
    }

    /// <summary>struct nfgenmsg: family, version 0, group 0.</summary>
    private static NetlinkRequest Config(byte family, ushort attribute, params byte[] value) =>
        new NetlinkRequest(NFULNL_MSG_CONFIG).Fixed((uint)family).Attribute(attribute, value);

    [GeneratedRegex(@"^TRACE: (?<table>\w+):(?<chain>[^:]+):(?<kind>rule|return|policy):(?<number>\d+)", RegexOptions.ExplicitCapture,
        1000)]
    private static partial Regex Prefix();
}
