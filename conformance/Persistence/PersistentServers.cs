using Conformance.Labs;
using Conformance.Labs.Waiting;
using Conformance.Linux;
using Conformance.Reports;
using Conformance.Suite.Schedulers;
using Conformance.Topologies;
using Conformance.Traffic;
using Conformance.Traffic.Assertions;

namespace Conformance.Suite.Persistence;

/// <summary>What keeps a client on its real server, and groups of ports on one.</summary>
[Topology("nat-four")]
[TestFixture(SetUpBy.Ipvsadm)]
[TestFixture(SetUpBy.Keepalived)]
public sealed class PersistentServers(SetUpBy by) : SchedulerFixture(by)
{
    private const string Vip6 = "fd00:10::1";
    private const string Service6 = "[fd00:10::1]:8080";

    private static readonly string[] Four6 =
        ["[fd00:16::99]:8080", "[fd00:16::100]:8080", "[fd00:16::101]:8080", "[fd00:16::102]:8080"];

    private static readonly VirtualServerSpec s_persistent = VirtualServerSpec.Tcp(Service) with { PersistenceSeconds = 300 };

    [Test, Claim("PERSIST-1")]
    public async Task A_client_comes_back_to_its_server()
    {
        await AddAsync(s_persistent.Masquerading(Four));

        var first = await SequenceAsync(6);
        var second = await SequenceAsync(6, Client2);

        first.Distinct().Count().ShouldBe(1, first);
        second.Distinct().Count().ShouldBe(1, second);
        second[0].ShouldNotBe(first[0], "the next client is the next one's in turn");
    }

    [Test, Claim("PERSIST-2")]
    public async Task Clients_in_the_network_of_the_mask_share_a_server()
    {
        await AddAsync((s_persistent with { PersistenceMask = "255.255.255.254" }).Masquerading(Four)); // .102 and .103

        (await SequenceAsync(3) + await SequenceAsync(3, Client2)).Distinct().Count().ShouldBe(1);
        Director.IpvsConnections().ShouldContain(c => c.Client.Port == 0 && c.Client.Address.ToString() == "192.168.113.102");
    }

    [Test, Claim("PERSIST-3")]
    public async Task Port_zero_takes_every_port_to_one_server()
    {
        await AddAsync((VirtualServerSpec.Tcp($"{Vip}:0") with { PersistenceSeconds = 300 })
            .Masquerading("rs1:0", "rs2:0", "rs3:0", "rs4:0"));
        ServeOn(8081);

        var sequence = await SequenceAsync(2, target: $"{Vip}:8080") + await SequenceAsync(2, target: $"{Vip}:8081");

        sequence.Distinct().Count().ShouldBe(1, sequence);
    }

    [Test, Claim("PERSIST-4")]
    public async Task A_firewall_mark_takes_a_group_of_ports_to_one_server()
    {
        ServeOn(8081);
        await Director.RunAsync($"iptables -w -t mangle -A PREROUTING -d {Vip} -p tcp --dport 8080:8081 -j MARK --set-mark 7");
        await AddAsync((VirtualServerSpec.Mark(7) with { PersistenceSeconds = 300 }).Masquerading("rs1", "rs2", "rs3", "rs4"));

        var sequence = await SequenceAsync(2, target: $"{Vip}:8080") + await SequenceAsync(2, target: $"{Vip}:8081");

        sequence.Distinct().Count().ShouldBe(1, sequence);
        await (await Client.AskAsync($"{Vip}:8082")).ShouldBeRefusedAsync(by: "director");
    }

    [Test, Claim("PERSIST-5")]
    public async Task Without_persistence_a_firewall_mark_schedules_each_connection()
    {
        await Director.RunAsync($"iptables -w -t mangle -A PREROUTING -d {Vip} -p tcp --dport 8080 -j MARK --set-mark 7");
        await AddAsync(VirtualServerSpec.Mark(7).Masquerading("rs1", "rs2", "rs3", "rs4"));

        Sorted(await SequenceAsync(4, target: $"{Vip}:8080")).ShouldBe("1234");
    }

    [Test, Claim("PERSIST-6")]
    public async Task A_quiescent_server_keeps_its_persistent_clients_by_default()
    {
        var server = s_persistent.Masquerading(Two);
        await AddAsync(server);
        var chosen = (await SequenceAsync(1))[0];
        var other = chosen == '1' ? '2' : '1';

        await Director.Ipvs.EditAsync(server.Weighing(chosen == '1' ? 0 : 1, chosen == '2' ? 0 : 1));
        var kept = await SequenceAsync(2);
        await Director.SetSysctlAsync("net.ipv4.vs.expire_quiescent_template", "1");
        var moved = await SequenceAsync(2);

        kept.ShouldBe(new string(chosen, 2));
        moved.ShouldBe(new string(other, 2));
    }

    [Test, Claim("PERSIST-7")]
    public async Task A_template_without_connections_goes_after_the_time_out()
    {
        await Director.RunAsync("ipvsadm --set 0 0 1"); // an idle UDP client is forgotten after a second
        await AddAsync((VirtualServerSpec.Udp($"{Vip}:8080") with { PersistenceSeconds = 2 }).Masquerading(Four));

        var first = await Client.AskUdpAsync($"{Vip}:8080");
        await first.ShouldBeAnsweredAsync();
        Director.IpvsConnections().ShouldContain(c => c.Client.Port == 0);
        await Eventually.Async("connection and template are gone", () => Director.IpvsConnections(), c => c.Count == 0,
            TimeSpan.FromSeconds(15));
        var next = await Client.AskUdpAsync($"{Vip}:8080");

        await next.ShouldBeAnsweredAsync();
        next.Answer!.Server.ShouldNotBe(first.Answer!.Server, "the next one in turn");
    }

    [Test, Claim("PERSIST-8")]
    public async Task With_one_packet_scheduling_each_datagram_is_scheduled_alone()
    {
        await AddAsync((VirtualServerSpec.Udp($"{Vip}:8080") with { IsOnePacket = true }).Masquerading(Four));

        var flows = new List<Flow>();
        for (var i = 0; i < 4; i++)
            flows.Add(await Client.AskUdpAsync($"{Vip}:8080", sourcePort: 20_000));

        flows.Select(f => f.ReadStory().Steps.First(s => s.Captured.Node.StartsWith("rs", StringComparison.Ordinal)).Captured.Node).Order()
            .ShouldBe(["rs1", "rs2", "rs3", "rs4"]);
        Director.IpvsConnections().ShouldBeEmpty();
    }

    [Test, Claim("PERSIST-9")]
    public async Task Without_it_the_datagrams_of_a_port_have_one_server()
    {
        await AddAsync(VirtualServerSpec.Udp($"{Vip}:8080").Masquerading(Four));

        var flows = new List<Flow>();
        for (var i = 0; i < 4; i++)
            flows.Add(await Client.AskUdpAsync($"{Vip}:8080", sourcePort: 20_000));

        (await NumbersAsync(flows)).Distinct().Count().ShouldBe(1);
    }

    [Test, Claim("PERSIST-10")]
    public async Task By_the_engine_for_sip_a_call_has_one_server()
    {
        await Director.RunAsync("modprobe ip_vs_pe_sip");
        await AddAsync((VirtualServerSpec.Udp($"{Vip}:8080") with
        {
            IsOnePacket = true,
            PersistenceSeconds = 300,
            PersistenceEngine = "sip"
        })
            .Masquerading(Four));

        var calls = new Dictionary<string, List<string>>(StringComparer.Ordinal);
        foreach (var call in new[] { "first-call", "second-call", "first-call", "second-call", "first-call" })
        {
            var before = PeersByNode();
            await Client.Command("perl", "-e", $"use Socket; socket(my $s, PF_INET, SOCK_DGRAM, 0); send($s, " +
                $"\"OPTIONS sip:server SIP/2.0\\r\\nCall-ID: {call}\\r\\n\\r\\n\", 0, sockaddr_in(8080, inet_aton('{Vip}')));")
                .ExecuteAsync();
            var server = await Eventually.Async("a server has the message", PeersByNode, p => p.Count(b => b.Value > before[b.Key]) == 1);
            if (!calls.TryGetValue(call, out var servers))
                calls[call] = servers = [];
            servers.Add(server.Single(b => b.Value > before[b.Key]).Key);
        }

        calls["first-call"].Distinct().ShouldHaveSingleItem();
        calls["second-call"].Distinct().ShouldHaveSingleItem();
        calls["first-call"][0].ShouldNotBe(calls["second-call"][0]);
    }

    [Test, Claim("PERSIST-11")]
    public async Task With_ipv6_a_client_comes_back_and_a_network_shares_a_server()
    {
        await AddIPv6AddressAsync();
        var server = VirtualServerSpec.Tcp(Service6) with { PersistenceSeconds = 300 };
        await AddAsync(server.Masquerading(Four6),
            (server with { EndPoint = $"[{Vip6}]:8081", PersistenceMask = "112" }).Masquerading(Four6));

        var first = await SequenceAsync(3, target: Service6);
        var second = await SequenceAsync(3, Client2, Service6);

        first.Distinct().Count().ShouldBe(1, first);
        second.ShouldBe(new string(second[0], 3));
        second[0].ShouldNotBe(first[0], "the next client is the next one's in turn");
        var together = await SequenceAsync(2, target: $"[{Vip6}]:8081") + await SequenceAsync(2, Client2, $"[{Vip6}]:8081");
        together.Distinct().Count().ShouldBe(1, together);
        Director.IpvsConnections().ShouldContain(c => c.Client.Port == 0 && c.Client.Address.ToString() == "fd00:113::");
    }

    [Test, Claim("PERSIST-12")]
    public async Task With_ipv6_port_zero_takes_every_port_to_one_server()
    {
        await AddIPv6AddressAsync();
        await AddAsync((VirtualServerSpec.Tcp($"[{Vip6}]:0") with { PersistenceSeconds = 300 })
            .Masquerading([.. Four6.Select(e => e.Replace("8080", "0", StringComparison.Ordinal))]));
        ServeOn(8081);

        var sequence = await SequenceAsync(2, target: Service6) + await SequenceAsync(2, target: $"[{Vip6}]:8081");

        sequence.Distinct().Count().ShouldBe(1, sequence);
    }

    [Test, Claim("PERSIST-13")]
    public async Task A_firewall_mark_of_ipv6_takes_a_group_of_ports_to_one_server()
    {
        await AddIPv6AddressAsync();
        ServeOn(8081);
        await Director.RunAsync($"ip6tables -w -t mangle -A PREROUTING -d {Vip6} -p tcp --dport 8080:8081 -j MARK --set-mark 7");
        await AddAsync((VirtualServerSpec.Mark(7, ipv6: true) with { PersistenceSeconds = 300 }).Masquerading(WithoutPort(Four6)));

        var sequence = await SequenceAsync(2, target: Service6) + await SequenceAsync(2, target: $"[{Vip6}]:8081");

        sequence.Distinct().Count().ShouldBe(1, sequence);
        await (await Client.AskAsync($"[{Vip6}]:8082")).ShouldBeRefusedAsync(by: "director");
    }

    [Test, Claim("PERSIST-14")]
    public async Task A_firewall_mark_has_a_virtual_server_for_each_family()
    {
        await AddIPv6AddressAsync();
        await Director.RunAsync($"iptables -w -t mangle -A PREROUTING -d {Vip} -p tcp --dport 8080 -j MARK --set-mark 7");
        await Director.RunAsync($"ip6tables -w -t mangle -A PREROUTING -d {Vip6} -p tcp --dport 8080 -j MARK --set-mark 7");
        await AddAsync(VirtualServerSpec.Mark(7).Masquerading("rs1", "rs2"));

        Sorted(await SequenceAsync(2, target: $"{Vip}:8080")).ShouldBe("12");
        await (await Client.AskAsync(Service6)).ShouldBeRefusedAsync(by: "director");
        await Director.Ipvs.AddAsync(VirtualServerSpec.Mark(7, ipv6: true).Masquerading([.. WithoutPort(Four6)[2..]]));

        Sorted(await SequenceAsync(2, target: Service6)).ShouldBe("34");
        Sorted(await SequenceAsync(2, target: $"{Vip}:8080")).ShouldBe("12");
    }

    /// <summary>Of real servers of a virtual server by mark: the port of the packet is kept.</summary>
    private static string[] WithoutPort(IEnumerable<string> endPoints) => [.. endPoints.Select(e => e[..e.LastIndexOf(':')])];

    private Task AddIPv6AddressAsync() => Director.RunAsync($"ip addr add {Vip6}/128 dev {Director.Device} preferred_lft 0");

    private void ServeOn(int port)
    {
        foreach (var node in new[] { Rs1, Rs2, Lab["rs3"], Lab["rs4"] })
            node.Serve(TransportProtocol.Tcp, port);
    }

    private Dictionary<string, int> PeersByNode() => new[] { Rs1, Rs2, Lab["rs3"], Lab["rs4"] }
        .ToDictionary(n => n.Name, n => n.Servers.Single(s => s.Protocol == TransportProtocol.Udp).Peers.Count, StringComparer.Ordinal);
}
