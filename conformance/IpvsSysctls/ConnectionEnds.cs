using Conformance.Labs;
using Conformance.Labs.Waiting;
using Conformance.Linux;
using Conformance.Reports;
using Conformance.Suite.Schedulers;
using Conformance.Topologies;
using Conformance.Traffic;
using Conformance.Traffic.Assertions;

namespace Conformance.Suite.IpvsSysctls;

/// <summary>What happens to a connection whose real server or entry has gone (Documentation/networking/ipvs-sysctl.rst).</summary>
[Topology("nat-four")]
public sealed class ConnectionEnds() : SchedulerFixture(SetUpBy.Ipvsadm)
{
    private static readonly VirtualServerSpec s_two = VirtualServerSpec.Tcp(Service).Masquerading(Two);
    private static readonly VirtualServerSpec s_datagrams = VirtualServerSpec.Udp(Service).Masquerading(Two);

    [Test, Claim("SYSCTL-1")]
    public async Task A_port_that_is_used_again_is_scheduled_again()
    {
        await AddAsync(s_two);

        var first = await Client.AskAsync(Service, sourcePort: 20_000);
        var second = await Client.AskAsync(Service, sourcePort: 20_000);

        (await NumbersAsync([first, second])).Order().ShouldBe("12");
    }

    [Test, Claim("SYSCTL-2")]
    public async Task With_conn_reuse_mode_0_it_goes_to_its_old_server_even_at_weight_zero()
    {
        await AddAsync(s_two);
        await Director.SetSysctlAsync("net.ipv4.vs.conn_reuse_mode", "0");

        var first = await Client.AskAsync(Service, sourcePort: 20_000);
        await first.ShouldBeAnsweredAsync();
        await Director.Ipvs.EditAsync(s_two.Weighing(first.Answer!.Server == "rs1" ? 0 : 1, first.Answer.Server == "rs2" ? 0 : 1));
        var second = await Client.AskAsync(Service, sourcePort: 20_000);

        await second.ShouldBeAnsweredByAsync(first.Answer.Server);
    }

    [Test, Claim("SYSCTL-3")]
    public async Task Packets_of_a_connection_to_a_removed_server_are_dropped()
    {
        await AddAsync(s_two);
        await using var flow = await Client.ConnectAsync(Service);
        await flow.ShouldBeAnsweredAsync();
        var server = flow.Answer!.Server;

        await Director.Ipvs.DeleteAsync(s_two, $"{server}:8080");

        await flow.ShouldCarryNothingAsync();
        await flow.ShouldNotBeSeenAsync(On("client").Arriving.Reset());
        Director.IpvsConnections().ShouldContain(c => c.Client.Port == flow.Local.Port);
    }

    [Test, Claim("SYSCTL-4")]
    public async Task A_removed_server_that_is_added_again_has_its_connections_again()
    {
        await AddAsync(s_two);
        await using var flow = await Client.ConnectAsync(Service);
        await flow.ShouldBeAnsweredAsync();
        var server = $"{flow.Answer!.Server}:8080";

        await Director.Ipvs.DeleteAsync(s_two, server);
        await Director.RunAsync($"ipvsadm -a -t {Service} -r {Lab.Resolve(server)} -m");

        await flow.ExchangeAsync(1000);
    }

    [Test, Claim("SYSCTL-5")]
    public async Task Datagrams_to_a_removed_server_are_dropped()
    {
        var server = await LoseServerOfDatagramsAsync();

        var next = await Client.AskUdpAsync(Service, sourcePort: 20_000);

        await next.ShouldBeMetWithSilenceAsync();
        await next.ShouldNotBeSeenAsync(On(server).Udp());
        await next.ShouldNotBeSeenAsync(On("director").Leaving.Udp());
    }

    [Test, Claim("SYSCTL-6")]
    public async Task With_expire_nodest_conn_they_reach_another_server()
    {
        await Director.SetSysctlAsync("net.ipv4.vs.expire_nodest_conn", "1");
        var server = await LoseServerOfDatagramsAsync();

        // The first datagram ends the entry, and is dropped.
        await Client.AskUdpAsync(Service, sourcePort: 20_000);
        var next = await Client.AskUdpAsync(Service, sourcePort: 20_000);

        await next.ShouldBeAnsweredByAsync(server == "rs1" ? "rs2" : "rs1");
    }

    [Test, Claim("SYSCTL-7")]
    public async Task A_connection_whose_entry_is_gone_is_reset()
    {
        await AddAsync(VirtualServerSpec.Tcp(Service).Masquerading("rs1:8080"));
        await using var flow = await ForgottenConnectionAsync();

        await flow.ShouldCarryNothingAsync();
        await flow.ShouldBeSeenAsAsync(On("director").Leaving.Reset(from: Service, to: "client"));
    }

    [Test, Claim("SYSCTL-8")]
    public async Task With_sloppy_tcp_any_segment_begins_a_connection()
    {
        await AddAsync(VirtualServerSpec.Tcp(Service).Masquerading("rs1:8080"));
        await Director.SetSysctlAsync("net.ipv4.vs.sloppy_tcp", "1");
        await using var flow = await ForgottenConnectionAsync();

        await flow.ExchangeAsync(1000);
    }

    [Test, Claim("SYSCTL-9")]
    public async Task A_late_answer_is_reported_to_its_server_only_with_nat_icmp_send()
    {
        await AddAsync(VirtualServerSpec.Udp(Service).Masquerading("rs1:8080"));
        await Rs1.StopServingAsync(TransportProtocol.Udp, 8080);

        var forwarded = await Rs1.AskUdpAsync("client:9", sourcePort: 8080); // as an answer that comes too late
        await Director.SetSysctlAsync("net.ipv4.vs.nat_icmp_send", "1");
        var reported = await Rs1.AskUdpAsync("client:9", sourcePort: 8080);

        await forwarded.ShouldMeetIcmpAsync(3, 3, by: "client");
        await reported.ShouldMeetIcmpAsync(3, 3, by: "director");
        await reported.ShouldNotBeSeenAsync(On("client").Udp());
    }

    [Test, Claim("SYSCTL-10")]
    public async Task Time_outs_of_ipvsadm_are_those_of_the_next_state()
    {
        await AddAsync(s_two);
        await Director.RunAsync("ipvsadm --set 100 50 0");

        await using var held = await Client.ConnectAsync(Service);
        await held.ShouldBeAnsweredAsync();

        Director.IpvsConnections().ShouldHaveSingleItem().ExpiresInSeconds.ShouldBeInRange(90, 100);
        (await Director.RunAsync("ipvsadm -l --timeout")).ShouldContain("100 50 300");
    }

    [Test, Claim("SYSCTL-11")]
    public async Task With_drop_packet_connections_are_refused_at_the_stated_rate()
    {
        await AddAsync(s_two);
        await Director.SetSysctlAsync("net.ipv4.vs.am_droprate", "1");
        await (await Client.AskAsync(Service)).ShouldBeAnsweredAsync();

        await Director.SetSysctlAsync("net.ipv4.vs.drop_packet", "3");

        // The kernel looks at its defence once a second.
        var dropped = await Eventually.Async("every first packet is dropped", () => Client.AskAsync(Service), f => f.Answer is null,
            TimeSpan.FromSeconds(10));
        await dropped.ShouldBeMetWithSilenceAsync();
        await dropped.ShouldNotBeSeenAsync(On("director").Leaving.Syn());
    }

    [Test, Claim("SYSCTL-12")]
    public async Task Replies_follow_the_routes_of_the_virtual_address_by_default()
    {
        await AddAsync(VirtualServerSpec.Tcp(Service).Masquerading("rs1:8080"));
        await Director.RunAsync("ip route add blackhole default table 100");
        await Director.RunAsync($"ip rule add from {Vip} lookup 100");

        var rerouted = await Client.AskAsync(Service);
        await Director.SetSysctlAsync("net.ipv4.vs.snat_reroute", "0");
        var kept = await Client.AskAsync(Service);

        await rerouted.ShouldTimeOutAsync();
        await rerouted.ShouldBeSeenAsAsync(On("director").Arriving.SynAck(from: "rs1:8080"));
        await rerouted.ShouldNotBeSeenAsync(On("director").Leaving.SynAck());
        await kept.ShouldBeAnsweredByAsync("rs1");
    }

    [Test, Claim("SYSCTL-15")]
    public async Task With_cache_bypass_a_marked_packet_without_a_server_goes_where_it_wanted_to()
    {
        await Director.RunAsync("iptables -w -t mangle -A PREROUTING -d 172.16.0.102 -p tcp --dport 8080 -j MARK --set-mark 1");
        await Director.RunAsync("ip rule add fwmark 1 lookup 100");
        await Director.RunAsync("ip route add local default dev lo table 100");
        await AddAsync(VirtualServerSpec.Mark(1));

        var dropped = await Client.AskAsync("rs4:8080");
        await Director.SetSysctlAsync("net.ipv4.vs.cache_bypass", "1");
        var passed = await Client.AskAsync("rs4:8080");

        await dropped.ShouldBeMetWithSilenceAsync();
        await passed.ShouldBeAnsweredByAsync("rs4");
        Director.IpvsConnections().ShouldContain(c => c.Client.Port == passed.Local.Port);
    }

    [Test, Claim("SYSCTL-17")]
    public async Task A_short_time_out_has_the_shape_of_a_longer_one()
    {
        await AddAsync(VirtualServerSpec.Udp(Service).Masquerading("rs1:8080"));

        var lives = new List<double>();
        foreach (var seconds in new[] { 2, 6 })
        {
            await Director.RunAsync($"ipvsadm --set 0 0 {seconds}");
            var flow = await Client.AskUdpAsync(Service);
            await flow.ShouldBeAnsweredAsync();
            var began = DateTime.UtcNow;
            await Eventually.Async("the entry is gone", () => Director.IpvsConnections(), c => c.Count == 0,
                TimeSpan.FromSeconds(seconds + 5));
            lives.Add((DateTime.UtcNow - began).TotalSeconds - seconds);
        }

        lives.ShouldAllBe(late => late > -0.5 && late < 2, $"seconds after the time-out: {string.Join(", ", lives)}");
    }

    private async Task<string> LoseServerOfDatagramsAsync()
    {
        await AddAsync(s_datagrams);
        var first = await Client.AskUdpAsync(Service, sourcePort: 20_000);
        await first.ShouldBeAnsweredAsync();
        await Director.Ipvs.DeleteAsync(s_datagrams, $"{first.Answer!.Server}:8080");
        return first.Answer.Server;
    }

    /// <summary>An established connection that the director has forgotten, because nothing came for its time-out of a second.</summary>
    private async Task<Flow> ForgottenConnectionAsync()
    {
        await Director.RunAsync("ipvsadm --set 1 0 0");
        var flow = await Client.ConnectAsync(Service);
        await flow.ShouldBeAnsweredByAsync("rs1");
        await Eventually.Async("the director has forgotten the connection", () => Director.IpvsConnections(), c => c.Count == 0,
            TimeSpan.FromSeconds(10));
        return flow;
    }
}
