using Conformance.Labs;
using Conformance.Linux;
using Conformance.Linux.Ipvs;
using Conformance.Linux.Sockets;
using Conformance.Topologies;
using Conformance.Traffic;
using Conformance.Traffic.Assertions;

namespace Conformance.KernelTests;

/// <summary>The readers of the kernel's tables, with the stock tools as judges.</summary>
public sealed class TableTests
{
    [Test]
    public async Task Virtual_servers_are_those_that_ipvsadm_lists()
    {
        await using var lab = await Lab.StartAsync(Topology.Load("article-nat"), capture: false);
        var director = lab["director"];
        await director.Command("ipvsadm", "-R").WithInput("""
            -A -t 10.0.0.1:80 -s wrr -p 300
            -a -t 10.0.0.1:80 -r 192.168.113.99:8080 -m -w 3
            -a -t 10.0.0.1:80 -r 192.168.113.100:80 -g -w 0
            -A -u 10.0.0.1:53 -s rr
            -A -f 7 -s lc
            -a -f 7 -r 192.168.113.99:0 -i -w 1
            -A -t [fd00::1]:443 -s rr
            -a -t [fd00::1]:443 -r [fd00::99]:8443 -m -w 1

            """).ExecuteAsync();

        var table = director.IpvsTable();

        table.VirtualServers.Select(v => v.EndPoint?.ToString() ?? $"mark {v.Server.FirewallMark}")
            .ShouldBe(["10.0.0.1:80", "10.0.0.1:53", "mark 7", "[fd00::1]:443"], ignoreOrder: true);
        var web = table.VirtualServers.Single(v => v.EndPoint?.ToString() == "10.0.0.1:80");
        (web.Protocol, web.Server.Scheduler).ShouldBe((TransportProtocol.Tcp, "wrr"));
        web.Server.PersistenceSeconds.ShouldBe(300);
        web.RealServers.Select(r => (r.EndPoint.ToString(), r.Method, r.Weight)).ShouldBe(
            [("192.168.113.99:8080", ForwardingMethod.Masq, 3), ("192.168.113.100:80", ForwardingMethod.Route, 0)], ignoreOrder: true);
        var listed = await director.RunAsync("ipvsadm -Ln");
        foreach (var real in table.VirtualServers.SelectMany(v => v.RealServers))
            listed.ShouldContain($"-> {real.EndPoint} ");
    }

    [Test]
    public async Task Connections_are_those_that_ipvsadm_and_conntrack_list()
    {
        await using var lab = await Lab.StartAsync(Topology.Load("routed-nat"));
        var (client, director) = (lab["client"], lab["director"]);
        await director.AddAddressAsync("10.10.0.1/24");
        await director.Ipvs.AddAsync(VirtualServerSpec.Tcp("10.10.0.1:80").Masquerading("rs1:8080"));
        await director.Iptables.AddAsync(("filter", "-A FORWARD -m conntrack --ctstate INVALID -j DROP"));
        await director.SetSysctlAsync("net.ipv4.vs.conntrack", "1");
        var events = director.ListenToConntrack();

        await using var flow = await client.ConnectAsync("10.10.0.1:80", sourcePort: 40001);
        await flow.ShouldBeAnsweredByAsync("rs1");

        var connection = director.IpvsConnections().ShouldHaveSingleItem();
        connection.ToString().ShouldStartWith("TCP 192.168.113.102:40001 -> 10.10.0.1:80 -> 172.16.0.99:8080 ESTABLISHED");
        (await director.RunAsync("ipvsadm -Lnc")).ShouldContain("192.168.113.102:40001 10.10.0.1:80       172.16.0.99:8080");
        var entry = director.Conntrack().ShouldHaveSingleItem();
        (await director.RunAsync("conntrack -L")).ShouldContain($"ESTABLISHED {entry.Original} {entry.Reply} [ASSURED]");
        events.Take().ShouldContain(e => e.Protocol == 6 && e.Original.SourcePort == 40001 && e.Reply.ToString() == entry.Reply.ToString());
        ListeningSockets.Tcp(lab["rs1"].Namespace).ShouldBe([8080]);
        ListeningSockets.Udp(lab["rs1"].Namespace).ShouldBe([8080]);
    }
}
