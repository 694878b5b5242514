using System.Globalization;

namespace Conformance.Labs;

/// <summary>Schedulers by their names in ipvsadm(8).</summary>
public static class Scheduler
{
    public const string RoundRobin = "rr";
}

/// <summary>A real server to be added: where, by which forwarding method (an option of ipvsadm), with which weight.</summary>
public sealed record RealServer(string EndPoint, string MethodOption, int Weight);

/// <summary>A virtual server to be added, written as a sentence: <c>VirtualServer.Tcp("10.10.0.1:8410", Scheduler.RoundRobin).Masquerading("rs1:8080")</c>.</summary>
public sealed record VirtualServer
{
    private VirtualServer(string option, string endPoint, string scheduler) => (Option, EndPoint, SchedulerName) = (option, endPoint, scheduler);

    public string Option { get; }

    public string EndPoint { get; }

    public string SchedulerName { get; }

    public IReadOnlyList<RealServer> RealServers { get; private init; } = [];

    public static VirtualServer Tcp(string endPoint, string scheduler = Scheduler.RoundRobin) => new("-t", endPoint, scheduler);

    public static VirtualServer Udp(string endPoint, string scheduler = Scheduler.RoundRobin) => new("-u", endPoint, scheduler);

    /// <summary>With real servers that are reached by NAT.</summary>
    public VirtualServer Masquerading(params string[] endPoints) => With("-m", endPoints);

    /// <summary>With real servers that are reached by direct routing.</summary>
    public VirtualServer Routing(params string[] endPoints) => With("-g", endPoints);

    /// <summary>With real servers that are reached through an IP-in-IP tunnel.</summary>
    public VirtualServer Tunnelling(params string[] endPoints) => With("-i", endPoints);

    private VirtualServer With(string option, string[] endPoints) =>
        this with { RealServers = [.. RealServers, .. endPoints.Select(e => new RealServer(e, option, 1))] };
}

/// <summary>Sets the virtual servers of a node with ipvsadm(8).</summary>
public sealed class IpvsAdmin
{
    private readonly Node _node;

    internal IpvsAdmin(Node node) => _node = node;

    /// <summary>Adds virtual servers with their real servers, all by one process.</summary>
    public Task AddAsync(params IEnumerable<VirtualServer> servers)
    {
        var lines = new List<string>();
        foreach (var server in servers)
        {
            var address = _node.Lab.Resolve(server.EndPoint);
            lines.Add($"-A {server.Option} {address} -s {server.SchedulerName}");
            lines.AddRange(server.RealServers.Select(real => string.Create(
                CultureInfo.InvariantCulture,
                $"-a {server.Option} {address} -r {_node.Lab.Resolve(real.EndPoint)} {real.MethodOption} -w {real.Weight}")));
        }
        return _node.Command("ipvsadm", "-R").WithInput(string.Join('\n', lines) + "\n").ExecuteAsync();
    }
}
