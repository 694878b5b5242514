using System.Globalization;
using Conformance.Linux;
using Conformance.Linux.Ipvs;

namespace Conformance.Labs;

/// <summary>Sets the virtual servers of a node with ipvsadm(8).</summary>
public sealed class IpvsAdmin
{
    private readonly Node _node;

    internal IpvsAdmin(Node node) => _node = node;

    /// <summary>Adds virtual servers with their real servers, all by one process.</summary>
    /// <exception cref="CommandFailedException">ipvsadm refused one; those before it are there.</exception>
    public Task AddAsync(params IEnumerable<VirtualServerSpec> servers) =>
        RestoreAsync(string.Concat(servers.Select(s => Lines(s, "-A", "-a"))));

    /// <summary>Changes a virtual server's options, and the options of its real servers.</summary>
    public Task EditAsync(VirtualServerSpec server) => RestoreAsync(Lines(server, "-E", "-e"));

    /// <summary>Deletes real servers from a virtual server.</summary>
    /// <param name="endPoints">By node name or address.</param>
    public Task DeleteAsync(VirtualServerSpec server, params IEnumerable<string> endPoints) =>
        RestoreAsync(string.Concat(endPoints.Select(e => $"-d {Identity(server)} -r {_node.Lab.Resolve(e)}\n")));

    private Task RestoreAsync(string lines) => _node.Command("ipvsadm", "-R").WithInput(lines).ExecuteAsync();

    /// <summary>A line for the virtual server, and one for each real server.</summary>
    private string Lines(VirtualServerSpec server, string verb, string verbOfReal) => $"{verb} {Identity(server)}{Options(server)}\n"
        + string.Concat(server.RealServers.Select(real => $"{verbOfReal} {Identity(server)} {Describe(real)}\n"));

    private string Identity(VirtualServerSpec server) => server.Protocol switch
    {
        TransportProtocol.None => $"-f {server.EndPoint}{(server.IsIPv6Mark ? " -6" : "")}",
        TransportProtocol.Udp => $"-u {_node.Lab.Resolve(server.EndPoint)}",
        TransportProtocol.Sctp => $"--sctp-service {_node.Lab.Resolve(server.EndPoint)}",
        _ => $"-t {_node.Lab.Resolve(server.EndPoint)}",
    };

    private static string Options(VirtualServerSpec server) => string.Create(CultureInfo.InvariantCulture,
        $" -s {server.SchedulerName}{(server.PersistenceSeconds > 0 ? $" -p {server.PersistenceSeconds}" : "")}" +
        $"{(server.PersistenceMask is null ? "" : $" -M {server.PersistenceMask}")}{(server.IsOnePacket ? " -o" : "")}" +
        $"{(server.SchedulerFlags is null ? "" : $" -b {server.SchedulerFlags}")}" +
        $"{(server.PersistenceEngine is null ? "" : $" --pe {server.PersistenceEngine}")}");

    private string Describe(RealServerSpec real) => string.Create(CultureInfo.InvariantCulture,
        $"-r {_node.Lab.Resolve(real.EndPoint)} {Option(real)} -w {real.Weight}" +
        $"{(real.UpperThreshold > 0 ? $" -x {real.UpperThreshold}" : "")}{(real.LowerThreshold > 0 ? $" -y {real.LowerThreshold}" : "")}");

    private static string Option(RealServerSpec real) => (real.Method, real.Encapsulation) switch
    {
        (ForwardingMethod.Route, _) => "-g",
        (ForwardingMethod.Tunnel, Encapsulation.IpIp) => "-i",
        (ForwardingMethod.Tunnel, Encapsulation.Gue) => "-i --tun-type gue --tun-port 6080 --tun-nocsum",
        (ForwardingMethod.Tunnel, Encapsulation.GueChecksum) => "-i --tun-type gue --tun-port 6080 --tun-csum",
        (ForwardingMethod.Tunnel, Encapsulation.Gre) => "-i --tun-type gre --tun-nocsum",
        (ForwardingMethod.Tunnel, Encapsulation.GreChecksum) => "-i --tun-type gre --tun-csum",
        _ => "-m",
    };
}
