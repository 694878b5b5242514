using System.Globalization;
using System.Text;
using Conformance.Linux;
using Conformance.Linux.Ipvs;

namespace Conformance.Labs;

/// <summary>A real server that a test wants: its end point by node name or address, its forwarding method, its weight.</summary>
public sealed record RealServerSpec(string EndPoint, ForwardingMethod Method, int Weight);

/// <summary>
/// A virtual server that a test wants, with end points that may name nodes:
/// <c>VirtualServerSpec.Tcp("10.10.0.1:8410", Scheduler.RoundRobin).Masquerading("rs1:8080")</c>.
/// </summary>
public sealed record VirtualServerSpec(TransportProtocol Protocol, string EndPoint, string SchedulerName)
{
    /// <summary>The real servers, in the order in which they are added.</summary>
    public IReadOnlyList<RealServerSpec> RealServers { get; private init; } = [];

    /// <summary>A TCP virtual server.</summary>
    public static VirtualServerSpec Tcp(string endPoint, string scheduler = Scheduler.RoundRobin) =>
        new(TransportProtocol.Tcp, endPoint, scheduler);

    /// <summary>A UDP virtual server.</summary>
    public static VirtualServerSpec Udp(string endPoint, string scheduler = Scheduler.RoundRobin) =>
        new(TransportProtocol.Udp, endPoint, scheduler);

    /// <summary>Adds real servers that are reached by masquerading (NAT).</summary>
    public VirtualServerSpec Masquerading(params string[] endPoints) => With(ForwardingMethod.Masq, endPoints);

    /// <summary>Adds real servers that are reached by direct routing.</summary>
    public VirtualServerSpec Routing(params string[] endPoints) => With(ForwardingMethod.Route, endPoints);

    /// <summary>Adds real servers that are reached through an IP-in-IP tunnel.</summary>
    public VirtualServerSpec Tunnelling(params string[] endPoints) => With(ForwardingMethod.Tunnel, endPoints);

    private VirtualServerSpec With(ForwardingMethod method, string[] endPoints) =>
        this with { RealServers = [.. RealServers, .. endPoints.Select(e => new RealServerSpec(e, method, Weight: 1))] };
}

/// <summary>Sets the virtual servers of a node with ipvsadm(8).</summary>
public sealed class IpvsAdmin
{
    private readonly Node _node;

    internal IpvsAdmin(Node node) => _node = node;

    /// <summary>Adds virtual servers with their real servers, all by one process.</summary>
    /// <exception cref="CommandFailedException">ipvsadm refused one; those before it are there.</exception>
    public Task AddAsync(params IEnumerable<VirtualServerSpec> servers)
    {
        var lines = new StringBuilder();
        foreach (var server in servers)
        {
            var virtualServer = $"{Option(server.Protocol)} {_node.Lab.Resolve(server.EndPoint)}";
            lines.Append(CultureInfo.InvariantCulture, $"-A {virtualServer} -s {server.SchedulerName}\n");
            foreach (var real in server.RealServers)
                lines.Append(CultureInfo.InvariantCulture,
                    $"-a {virtualServer} -r {_node.Lab.Resolve(real.EndPoint)} {Option(real.Method)} -w {real.Weight}\n");
        }
        return _node.Command("ipvsadm", "-R").WithInput(lines.ToString()).ExecuteAsync();
    }

    private static string Option(TransportProtocol protocol) => protocol switch
    {
        TransportProtocol.Udp => "-u",
        TransportProtocol.Sctp => "--sctp-service",
        _ => "-t",
    };

    private static string Option(ForwardingMethod method) => method switch
    {
        ForwardingMethod.Route => "-g",
        ForwardingMethod.Tunnel => "-i",
        _ => "-m",
    };
}
