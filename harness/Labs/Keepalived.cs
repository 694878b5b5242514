using System.Globalization;
using System.Text;
using Conformance.Linux;
using Conformance.Linux.Ipvs;

namespace Conformance.Labs;

/// <summary>keepalived(8) in a node: it keeps virtual servers and, by VRRP, virtual addresses.</summary>
public static class Keepalived
{
    /// <summary>Starts keepalived with virtual servers, and waits until they are all in the kernel with their real servers.</summary>
    /// <exception cref="CommandFailedException">It ended, or has not added them in time.</exception>
    public static Task<ServerProgram> StartKeepalivedAsync(this Node node, params IReadOnlyList<VirtualServerSpec> servers) =>
        node.StartKeepalivedAsync(string.Concat(servers.Select(s => Section(node.Lab, s))), "adds its virtual servers", () =>
            IpvsTable.Read(node.Namespace) is { } table && table.VirtualServers.Count == servers.Count
                && table.VirtualServers.Sum(s => s.RealServers.Count) == servers.Sum(s => s.RealServers.Count));

    /// <summary>Starts keepalived with a configuration, and waits until it has done its first work.</summary>
    /// <param name="configuration">Sections of keepalived.conf(5), without global_defs.</param>
    /// <param name="work">Its first work in words.</param>
    /// <exception cref="CommandFailedException">It ended, or has not done it in time.</exception>
    public static async Task<ServerProgram> StartKeepalivedAsync(this Node node, string configuration, string work, Func<bool> isReady)
    {
        var folder = ServerProgram.NewFolder(node, "keepalived");
        var file = Path.Combine(folder, "keepalived.conf");
        await File.WriteAllTextAsync(file, $"global_defs {{\n    router_id {node.Name}\n}}\n{configuration}");
        return node.Own(await ServerProgram.StartAsync(node.Command("keepalived", "--dont-fork", "--log-console", "--no-syslog",
            "--use-file", file, "--pid", $"{folder}/pid", "--checkers_pid", $"{folder}/checkers", "--vrrp_pid", $"{folder}/vrrp"), work,
            isReady));
    }

    /// <summary>The section of keepalived.conf(5) for a virtual server.</summary>
    /// <param name="checks">What every real server's section also says, such as <c>TCP_CHECK { connect_timeout 1 }</c>.</param>
    /// <param name="options">What the virtual server's section also says, such as <c>delay_loop 1</c>.</param>
    public static string Section(Lab lab, VirtualServerSpec server, string checks = "", string options = "")
    {
        var text = new StringBuilder();
        text.Append(CultureInfo.InvariantCulture, $"virtual_server {Identity(lab, server)} {{\n    lvs_sched {server.SchedulerName}\n");
        if (server.Protocol != TransportProtocol.None)
            text.Append(CultureInfo.InvariantCulture, $"    protocol {server.Protocol.Name().ToUpperInvariant()}\n");
        else if (server.IsIPv6Mark)
            text.Append("    ip_family inet6\n");
        if (server.PersistenceSeconds > 0)
            text.Append(CultureInfo.InvariantCulture, $"    persistence_timeout {server.PersistenceSeconds}\n");
        if (server.PersistenceMask is { } mask)
            text.Append(CultureInfo.InvariantCulture, $"    persistence_granularity {mask}\n");
        if (server.PersistenceEngine is { } engine)
            text.Append(CultureInfo.InvariantCulture, $"    persistence_engine {engine}\n");
        if (server.IsOnePacket)
            text.Append("    ops\n");
        foreach (var flag in server.SchedulerFlags?.Split(',') ?? [])
            text.Append(CultureInfo.InvariantCulture, $"    {flag}\n");
        if (options.Length > 0)
            text.Append(CultureInfo.InvariantCulture, $"    {options}\n");
        foreach (var real in server.RealServers)
        {
            text.Append(CultureInfo.InvariantCulture, $"    real_server {EndPoint(lab, real.EndPoint)} {{\n        {Method(real)}\n");
            text.Append(CultureInfo.InvariantCulture, $"        weight {real.Weight}\n");
            if (real.UpperThreshold > 0)
                text.Append(CultureInfo.InvariantCulture, $"        uthreshold {real.UpperThreshold}\n");
            if (real.LowerThreshold > 0)
                text.Append(CultureInfo.InvariantCulture, $"        lthreshold {real.LowerThreshold}\n");
            text.Append(checks.Length > 0 ? $"        {checks}\n    }}\n" : "    }\n");
        }
        return text.Append("}\n").ToString();
    }

    private static string Identity(Lab lab, VirtualServerSpec server) =>
        server.Protocol == TransportProtocol.None ? $"fwmark {server.EndPoint}" : EndPoint(lab, server.EndPoint);

    private static string EndPoint(Lab lab, string text) =>
        lab.Resolve(text) is var resolved ? string.Create(CultureInfo.InvariantCulture, $"{resolved.Address} {resolved.Port}") : "";

    private static string Method(RealServerSpec real) => (real.Method, real.Encapsulation) switch
    {
        (ForwardingMethod.Route, _) => "lvs_method DR",
        (ForwardingMethod.Tunnel, Encapsulation.IpIp) => "lvs_method TUN",
        (ForwardingMethod.Tunnel, Encapsulation.Gue) => "lvs_method TUN type gue port 6080 nocsum",
        (ForwardingMethod.Tunnel, Encapsulation.GueChecksum) => "lvs_method TUN type gue port 6080 csum",
        (ForwardingMethod.Tunnel, Encapsulation.Gre) => "lvs_method TUN type gre nocsum",
        (ForwardingMethod.Tunnel, Encapsulation.GreChecksum) => "lvs_method TUN type gre csum",
        _ => "lvs_method NAT",
    };
}
