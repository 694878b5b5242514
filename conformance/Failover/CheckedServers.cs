using Conformance.Labs;
using Conformance.Labs.Waiting;
using Conformance.Linux;
using Conformance.Linux.Ipvs;
using Conformance.Reports;
using Conformance.Topologies;
using Conformance.Traffic;
using Conformance.Traffic.Assertions;

namespace Conformance.Suite.Failover;

/// <summary>Article 1.2: keepalived takes a dead real server out of the table. IPVS itself checks nothing.</summary>
[Topology("routed-nat")]
public sealed class CheckedServers() : NatFixture(SetUpBy.Keepalived)
{
    private const string Check = "TCP_CHECK { connect_timeout 1 retry 0 }";
    private static readonly TimeSpan s_limit = TimeSpan.FromSeconds(15);

    [Test, Claim("HA-3")]
    public async Task A_dead_real_server_leaves_the_table_and_returns()
    {
        await StartAsync();

        await Rs1.StopServingAsync(TransportProtocol.Tcp, 8080);
        await ServersAsync("rs1 is gone", s => s.Count == 1);
        await (await Client.AskAsync(Service)).ShouldBeAnsweredByAsync("rs2");
        Rs1.Serve(TransportProtocol.Tcp, 8080);
        await ServersAsync("rs1 is back", s => s.Count == 2);

        var servers = new[] { (await Client.AskAsync(Service)).Answer?.Server, (await Client.AskAsync(Service)).Answer?.Server };
        servers.ShouldBe(["rs1", "rs2"], ignoreOrder: true);
    }

    [Test, Claim("HA-4")]
    public async Task With_inhibit_on_failure_a_dead_server_stays_with_weight_zero()
    {
        await StartAsync("delay_loop 1\n    inhibit_on_failure");

        await Rs1.StopServingAsync(TransportProtocol.Tcp, 8080);

        var servers = await ServersAsync("rs1 has weight 0", s => s.Any(r => r.Weight == 0));
        servers.Count.ShouldBe(2);
        servers.Single(r => r.Weight == 0).Address.ShouldBe(Rs1.Address);
        await (await Client.AskAsync(Service)).ShouldBeAnsweredByAsync("rs2");
    }

    [Test, Claim("HA-5")]
    public async Task Below_the_quorum_the_sorry_server_serves_alone()
    {
        Client.Serve(TransportProtocol.Tcp, 8081);
        Director.Serve(TransportProtocol.Tcp, 8081);
        await StartAsync("delay_loop 1\n    quorum 2\n    sorry_server 172.16.0.1 8081");

        await Rs1.StopServingAsync(TransportProtocol.Tcp, 8080);

        // The server that failed goes first, and the other one when the quorum is missed.
        await ServersAsync("only the sorry server is there", s => s.Count == 1 && s[0].EndPoint.ToString() == "172.16.0.1:8081");
        await (await Client.AskAsync(Service)).ShouldBeAnsweredByAsync("director");
    }

    [Test, Claim("HA-6")]
    public async Task Ipvs_itself_sends_connections_to_a_dead_server()
    {
        await Director.Ipvs.AddAsync(VirtualServerSpec.Tcp(Service).Masquerading("rs1:8080", "rs2:8080"));
        await Rs1.StopServingAsync(TransportProtocol.Tcp, 8080);

        var flows = new[] { await Client.AskAsync(Service), await Client.AskAsync(Service) };

        flows.Count(f => f.Answer is null).ShouldBe(1);
        await flows.Single(f => f.Answer is not null).ShouldBeAnsweredByAsync("rs2");
        await flows.Single(f => f.Answer is null).ShouldBeRefusedAsync(by: "rs1");
        Director.IpvsTable().VirtualServers[0].RealServers.Count.ShouldBe(2);
    }

    private Task<IReadOnlyList<RealServer>> ServersAsync(string what, Func<IReadOnlyList<RealServer>, bool> isSo) => Eventually.Async(what,
        () => Director.IpvsTable().VirtualServers is [{ } server] ? server.RealServers : [], isSo, s_limit);

    private async Task StartAsync(string options = "delay_loop 1")
    {
        var server = VirtualServerSpec.Tcp(Service).Masquerading("rs1:8080", "rs2:8080");
        await Director.StartKeepalivedAsync(Keepalived.Section(Lab, server, Check, options), "finds both real servers alive",
            () => Director.IpvsTable().VirtualServers is [{ RealServers.Count: 2 }]);
    }
}
