using Conformance.Linux;
using Conformance.Linux.Ipvs;

namespace Conformance.Labs;

/// <summary>How packets are wrapped on their way to a real server that is reached by tunnelling (ipvsadm(8), --tun-type).</summary>
public enum Encapsulation
{
    /// <summary>IP in IP.</summary>
    IpIp,

    /// <summary>Generic UDP Encapsulation, without a checksum, to port 6080.</summary>
    Gue,

    /// <summary>The same with a checksum of UDP.</summary>
    GueChecksum,

    /// <summary>Generic Routing Encapsulation without a checksum.</summary>
    Gre,

    /// <summary>The same with a checksum.</summary>
    GreChecksum,
}

/// <summary>A real server that a test wants.</summary>
/// <param name="EndPoint">By node name or address: <c>rs1:8080</c>.</param>
/// <param name="Weight">Its share of new connections; 0 for none.</param>
public sealed record RealServerSpec(string EndPoint, ForwardingMethod Method, int Weight)
{
    /// <summary>How packets are wrapped, of a real server that is reached by tunnelling.</summary>
    public Encapsulation Encapsulation { get; init; }

    /// <summary>With so many connections it gets no new one; 0 for no limit.</summary>
    public int UpperThreshold { get; init; }

    /// <summary>Below so many connections it gets new ones again; 0 for three quarters of the upper threshold.</summary>
    public int LowerThreshold { get; init; }
}

/// <summary>
/// A virtual server that a test wants, with end points that may name nodes:
/// <c>VirtualServerSpec.Tcp("10.10.0.1:8410", Scheduler.RoundRobin).Masquerading("rs1:8080")</c>.
/// </summary>
/// <param name="EndPoint">Address and port; of a virtual server by firewall mark the mark.</param>
public sealed record VirtualServerSpec(TransportProtocol Protocol, string EndPoint, string SchedulerName)
{
    /// <summary>The real servers, in the order in which they are added.</summary>
    public IReadOnlyList<RealServerSpec> RealServers { get; private init; } = [];

    /// <summary>The seconds of persistence; 0 for none.</summary>
    public int PersistenceSeconds { get; init; }

    /// <summary>The mask of clients that persistence takes for one, such as 255.255.255.0, or for IPv6 a prefix length; null for each
    /// alone.</summary>
    public string? PersistenceMask { get; init; }

    /// <summary>The persistence engine, such as sip; null for none.</summary>
    public string? PersistenceEngine { get; init; }

    /// <summary>Whether each UDP datagram is scheduled alone.</summary>
    public bool IsOnePacket { get; init; }

    /// <summary>Flags of the scheduler, such as <c>sh-port</c> or <c>mh-port,mh-fallback</c>; null for none.</summary>
    public string? SchedulerFlags { get; init; }

    /// <summary>Whether a virtual server by firewall mark is of IPv6.</summary>
    public bool IsIPv6Mark { get; private init; }

    /// <summary>A TCP virtual server.</summary>
    public static VirtualServerSpec Tcp(string endPoint, string scheduler = Scheduler.RoundRobin) =>
        new(TransportProtocol.Tcp, endPoint, scheduler);

    /// <summary>A UDP virtual server.</summary>
    public static VirtualServerSpec Udp(string endPoint, string scheduler = Scheduler.RoundRobin) =>
        new(TransportProtocol.Udp, endPoint, scheduler);

    /// <summary>An SCTP virtual server.</summary>
    public static VirtualServerSpec Sctp(string endPoint, string scheduler = Scheduler.RoundRobin) =>
        new(TransportProtocol.Sctp, endPoint, scheduler);

    /// <summary>A virtual server for the packets that have a firewall mark.</summary>
    public static VirtualServerSpec Mark(int mark, string scheduler = Scheduler.RoundRobin, bool ipv6 = false) =>
        new(TransportProtocol.None, mark.ToString(System.Globalization.CultureInfo.InvariantCulture), scheduler) { IsIPv6Mark = ipv6 };

    /// <summary>Adds real servers that are reached by masquerading (NAT).</summary>
    public VirtualServerSpec Masquerading(params string[] endPoints) => With(ForwardingMethod.Masq, endPoints);

    /// <summary>Adds real servers that are reached by direct routing.</summary>
    public VirtualServerSpec Routing(params string[] endPoints) => With(ForwardingMethod.Route, endPoints);

    /// <summary>Adds real servers that are reached through an IP-in-IP tunnel.</summary>
    public VirtualServerSpec Tunnelling(params string[] endPoints) => With(ForwardingMethod.Tunnel, endPoints);

    /// <summary>Wraps the packets for the real servers that are reached by tunnelling.</summary>
    public VirtualServerSpec By(Encapsulation encapsulation) => WithEach((r, _) => r with { Encapsulation = encapsulation });

    /// <summary>Gives the real servers these weights, in their order.</summary>
    public VirtualServerSpec Weighing(params int[] weights) => WithEach((r, i) => r with { Weight = weights[i] });

    /// <summary>Limits the connections of every real server.</summary>
    public VirtualServerSpec Limited(int upper, int lower = 0) =>
        WithEach((r, _) => r with { UpperThreshold = upper, LowerThreshold = lower });

    private VirtualServerSpec With(ForwardingMethod method, string[] endPoints) =>
        this with { RealServers = [.. RealServers, .. endPoints.Select(e => new RealServerSpec(e, method, Weight: 1))] };

    private VirtualServerSpec WithEach(Func<RealServerSpec, int, RealServerSpec> change) =>
        this with { RealServers = [.. RealServers.Select(change)] };
}
