using Conformance.Labs;
using Conformance.Labs.Waiting;
using Conformance.Linux;
using Conformance.Linux.Ipvs;
using Conformance.Linux.Sockets;
using Conformance.Reports;
using Conformance.Topologies;
using Conformance.Traffic;
using Conformance.Traffic.Assertions;

namespace Conformance.Suite.Ipvs;

/// <summary>Article 1.2: how a packet travels through LVS-NAT when the real servers' gateway is the director.</summary>
[Topology("routed-nat")]
public sealed class NatForwarding : ArticleFixture
{
    [Test, Claim("VS-1")]
    public async Task No_socket_listens_on_the_director()
    {
        await SetUpServiceAsync("rs1:8080");

        await (await Client.AskAsync(Service)).ShouldBeAnsweredByAsync("rs1");

        ListeningSockets.Tcp(Director.Namespace).ShouldBeEmpty();
    }

    [Test, Claim("VS-5")]
    public async Task Destination_address_and_port_are_rewritten_to_a_real_server_s()
    {
        await SetUpServiceAsync("rs1:8080");

        var flow = await Client.AskAsync(Service);

        await flow.ShouldBeAnsweredByAsync("rs1");
        await flow.ShouldBeSeenAsAsync(
            On("director").Arriving.Syn(from: "client", to: Service),
            On("director").Leaving.Syn(from: "client", to: "rs1:8080"),
            On("rs1").Arriving.Syn(from: "client", to: "rs1:8080"));
        await flow.ShouldNotBeSeenAsync(On("rs1").Syn(to: Service));
    }

    [Test, Claim("VS-6")]
    public async Task Real_server_sees_the_address_and_port_of_the_client()
    {
        await SetUpServiceAsync("rs1:8080");

        var flow = await Client.AskAsync(Service, sourcePort: 35562);

        await flow.ShouldBeAnsweredByAsync("rs1");
        await flow.ShouldBeSeenByServerAsAsync("192.168.113.102:35562");
    }

    [Test, Claim("VS-9")]
    public async Task Reply_gets_the_virtual_address_at_the_director()
    {
        await SetUpServiceAsync("rs1:8080");

        var flow = await Client.AskAsync(Service);

        await flow.ShouldBeAnsweredByAsync("rs1");
        await flow.ShouldBeSeenAsAsync(
            On("rs1").Leaving.SynAck(from: "rs1:8080", to: "client"),
            On("director").Arriving.SynAck(from: "rs1:8080", to: "client"),
            On("director").Leaving.SynAck(from: Service, to: "client"),
            On("client").Arriving.SynAck(from: Service, to: "client"));
        await flow.ShouldNotBeSeenAsync(On("rs1").SynAck(from: "director"));
        var directorsMac = Director.Route.Links().Single(l => l.Name == "ens34").Address;
        flow.ReadStory().Steps.First(s => s.Captured is { Node: "rs1", IsLeaving: true }).Packet.DestinationMac
            .ShouldBe(directorsMac, "the reply is addressed to the client and only carried to the director");
    }

    [Test, Claim("VS-14")]
    public async Task Both_directions_load_the_director()
    {
        const int bytes = 100_000;
        await SetUpServiceAsync("rs1:8080");

        await using var flow = await Client.ConnectAsync(Service);
        await flow.ShouldBeAnsweredByAsync("rs1");
        await flow.ExchangeAsync(bytes);

        var stats = await Eventually.Async("the kernel has counted the connection", () => IpvsStats.Read(Director.Namespace),
            s => s.Connections == 1 && s.BytesOut > bytes);
        stats.BytesIn.ShouldBeGreaterThan(bytes, "what the client sent went through the director");
        stats.BytesOut.ShouldBeGreaterThan(bytes, "and so did what the real server sent back");
    }
}
