using Conformance.Labs;
using Conformance.Labs.Waiting;
using Conformance.Linux.Features;
using Conformance.Reports;
using Conformance.Topologies;
using Conformance.Traffic;
using Conformance.Traffic.Assertions;

namespace Conformance.Suite.KubeProxy;

/// <summary>
/// What IPVS itself does where users of kube-proxy have met it: which sysctl makes the difference, and what none can change.
/// Set by hand; sources: Documentation/networking/ipvs-sysctl.rst, and the threads named below.
/// </summary>
[Topology("routed-nat")]
[Requires(Feature.Ipvs)]
public sealed class IpvsLimits : ConformanceFixture
{
    private const string Vip = "10.10.0.1";
    private const string OtherVip = "10.10.0.2";

    [Test, Claim("KP-16")]
    public async Task Port_shared_by_two_virtual_servers_breaks_the_first_connection()
    {
        await Director.AddAddressAsync($"{OtherVip}/32", "lo");
        await ServeAsync(VirtualServerSpec.Tcp($"{Vip}:80").Masquerading("rs1:8080"), VirtualServerSpec.Tcp($"{OtherVip}:80")
            .Masquerading("rs1:8080"));
        await Director.RunAsync("iptables -t nat -A POSTROUTING -o ens34 -j MASQUERADE");
        await Director.SetSysctlAsync("net.ipv4.vs.conntrack", "1");
        await using var first = await Client.ConnectAsync($"{Vip}:80", sourcePort: 20107);
        await using var second = await Client.ConnectAsync($"{OtherVip}:80", sourcePort: 20107);
        await first.ShouldBeAnsweredByAsync("rs1");
        await second.ShouldBeAnsweredByAsync("rs1");
        second.Answer!.SeenPeer.Port.ShouldNotBe(first.Answer!.SeenPeer.Port,
            "connection tracking keeps them apart towards the real server");

        await second.ExchangeAsync(100);
        await first.ShouldCarryNothingAsync();
    }

    [Test, Claim("KP-17")]
    public async Task Connection_to_a_removed_real_server_is_silent_or_reset()
    {
        await ServeAsync(VirtualServerSpec.Tcp($"{Vip}:80").Masquerading("rs1:8080", "rs2:8080"));
        await using var silent = await ConnectAndRemoveAsync(expireNodest: "0");
        await silent.ShouldCarryNothingAsync();
        await silent.ShouldNotBeSeenAsync(On("client").Arriving.Reset());

        await using var reset = await ConnectAndRemoveAsync(expireNodest: "1");
        await reset.ShouldCarryNothingAsync();
        await reset.ShouldBeSeenAsAsync(On("client").Arriving.Reset(from: $"{Vip}:80", to: "client"));
    }

    [Test, Claim("KP-18")]
    public async Task Datagrams_to_a_removed_real_server_vanish_or_move()
    {
        await ServeAsync(VirtualServerSpec.Udp($"{Vip}:80").Masquerading("rs1:8080", "rs2:8080"));
        await Director.SetSysctlAsync("net.ipv4.vs.expire_nodest_conn", "0");
        var first = await Client.AskUdpAsync($"{Vip}:80", sourcePort: 20118);
        await first.ShouldBeAnsweredAsync();
        await RemoveAsync("-u", first.Answer!.Server);

        await (await Client.AskUdpAsync($"{Vip}:80", sourcePort: 20118)).ShouldBeMetWithSilenceAsync();

        await Director.SetSysctlAsync("net.ipv4.vs.expire_nodest_conn", "1");
        var again = await Client.AskUdpAsync($"{Vip}:80", sourcePort: 20118);
        await again.ShouldBeAnsweredByAsync(first.Answer.Server == "rs1" ? "rs2" : "rs1");
    }

    [Test, Claim("KP-19")]
    public async Task Persistence_keeps_a_client_on_a_real_server_of_weight_0()
    {
        await Director.AddAddressAsync($"{Vip}/32", "lo");
        await Director.RunAsync($"ipvsadm -A -t {Vip}:80 -s rr -p 60");
        foreach (var server in new[] { Rs1, Rs2 })
            await Director.RunAsync($"ipvsadm -a -t {Vip}:80 -r {server.Address}:8080 -m");
        var first = await Client.AskAsync($"{Vip}:80");
        await first.ShouldBeAnsweredAsync();
        var chosen = first.Answer!.Server;
        await Director.RunAsync($"ipvsadm -e -t {Vip}:80 -r {Lab[chosen].Address}:8080 -m -w 0");

        await Director.SetSysctlAsync("net.ipv4.vs.expire_quiescent_template", "0");
        await (await Client.AskAsync($"{Vip}:80")).ShouldBeAnsweredByAsync(chosen);

        await Director.SetSysctlAsync("net.ipv4.vs.expire_quiescent_template", "1");
        await (await Client.AskAsync($"{Vip}:80")).ShouldBeAnsweredByAsync(chosen == "rs1" ? "rs2" : "rs1");
    }

    [Test, Claim("KP-20")]
    public async Task Idle_connection_is_reset_after_the_time_out_of_ipvs()
    {
        await ServeAsync(VirtualServerSpec.Tcp($"{Vip}:80").Masquerading("rs1:8080"));
        // 900 s by default, less than the keep-alives of Linux (kubernetes/kubernetes#84041)
        await Director.RunAsync("ipvsadm --set 2 0 0");
        await using var flow = await Client.ConnectAsync($"{Vip}:80");
        await flow.ShouldBeAnsweredByAsync("rs1");

        await Eventually.Async("IPVS has forgotten the connection", Director.IpvsConnections, connections => connections.Count == 0);

        await flow.ShouldCarryNothingAsync();
        await flow.ShouldBeSeenAsAsync(On("client").Arriving.Reset(from: $"{Vip}:80", to: "client"));
    }

    private async Task ServeAsync(params VirtualServerSpec[] servers)
    {
        await Director.AddAddressAsync($"{Vip}/32", "lo");
        await Director.Ipvs.AddAsync(servers);
    }

    private async Task<Flow> ConnectAndRemoveAsync(string expireNodest)
    {
        await Director.SetSysctlAsync("net.ipv4.vs.expire_nodest_conn", expireNodest);
        var flow = await Client.ConnectAsync($"{Vip}:80");
        await flow.ShouldBeAnsweredAsync();
        await RemoveAsync("-t", flow.Answer!.Server);
        return flow;
    }

    private Task RemoveAsync(string protocol, string server) =>
        Director.RunAsync($"ipvsadm -d {protocol} {Vip}:80 -r {Lab[server].Address}:8080");
}
