using System.Globalization;
using System.Net;
using System.Net.Sockets;

namespace Conformance.Linux.Ipvs;

/// <summary>
/// Flags of a virtual server (IP_VS_SVC_F_* in linux/ip_vs.h). The meaning of the scheduler flags depends on the scheduler.
/// </summary>
[Flags]
public enum VirtualServerFlags : uint
{
    /// <summary>No flag.</summary>
    None = 0,

    /// <summary>Connections of one client go to one real server. The persistence time-out sets it.</summary>
    Persistent = 0x1,

    /// <summary>Set by the kernel only.</summary>
    Hashed = 0x2,

    /// <summary>One-packet scheduling: each UDP datagram is scheduled alone.</summary>
    OnePacket = 0x4,

    /// <summary>sh-fallback, mh-fallback.</summary>
    Sched1 = 0x8,

    /// <summary>sh-port, mh-port: the source port counts as well.</summary>
    Sched2 = 0x10,

    /// <summary>Not used by a scheduler of the kernel.</summary>
    Sched3 = 0x20,
}

/// <summary>The identity of a virtual server that is known by its address.</summary>
public readonly record struct VirtualServerKey(TransportProtocol Protocol, IPAddress Address, ushort Port)
{
    /// <summary>Whether the address is an IPv6 address.</summary>
    public bool IsIPv6 => Address.AddressFamily == AddressFamily.InterNetworkV6;

    /// <inheritdoc/>
    public override string ToString() => $"{Protocol.Name()} {new IPEndPoint(Address, Port)}";
}

/// <summary>A virtual server without its real servers. It is known by its address, or by a firewall mark.</summary>
/// <param name="Key">The address, port and protocol; null for a virtual server by firewall mark.</param>
/// <param name="FirewallMark">The mark; 0 for a virtual server by address.</param>
/// <param name="Scheduler">A name such as <see cref="Ipvs.Scheduler.RoundRobin"/>.</param>
/// <param name="PersistenceSeconds">The persistence time-out; 0 for no persistence.</param>
public sealed record VirtualServer(VirtualServerKey? Key, uint FirewallMark, string Scheduler, VirtualServerFlags Flags,
    int PersistenceSeconds)
{
    /// <inheritdoc/>
    public override string ToString() => string.Create(CultureInfo.InvariantCulture,
        $"{Key?.ToString() ?? $"mark {FirewallMark}"} " +
            $"{Scheduler}{(Flags.HasFlag(VirtualServerFlags.OnePacket) ? " ops" : "")}" +
            $"{(PersistenceSeconds > 0 ? $" persistent {PersistenceSeconds}" : "")}");
}

/// <summary>How packets get to a real server, by the names of linux/ip_vs.h.</summary>
public enum ForwardingMethod
{
    /// <summary>Masquerading (NAT): the destination is rewritten.</summary>
    Masq,

    /// <summary>The real server is the director itself.</summary>
    Local,

    /// <summary>An IP-in-IP, GUE or GRE tunnel.</summary>
    Tunnel,

    /// <summary>Direct routing: only the MAC address is rewritten.</summary>
    Route,

    /// <summary>Not forwarded by IPVS (cache_bypass).</summary>
    Bypass,
}

/// <summary>The identity of a real server inside its virtual server.</summary>
public readonly record struct RealServerKey(IPAddress Address, ushort Port)
{
    /// <inheritdoc/>
    public override string ToString() => Address.Text(Port);
}

/// <summary>A real server of a virtual server.</summary>
/// <param name="Weight">Its share of new connections; 0 for none.</param>
/// <param name="ActiveConnections">Connections in an established state.</param>
/// <param name="InactiveConnections">Connections in every other state.</param>
public sealed record RealServer(IPAddress Address, ushort Port, ForwardingMethod Method, int Weight, int ActiveConnections = 0,
    int InactiveConnections = 0)
{
    /// <summary>Address and port.</summary>
    public IPEndPoint EndPoint => new(Address, Port);

    /// <summary>Address and port as the identity inside the virtual server.</summary>
    public RealServerKey Key => new(Address, Port);

    /// <inheritdoc/>
    public override string ToString() =>
        $"  -> {EndPoint}  {Method}  weight {Weight}  active {ActiveConnections}  inactive {InactiveConnections}";
}
