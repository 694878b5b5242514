using Conformance.Harness.Assertions;
using Conformance.Harness.Kubernetes;
using Conformance.Harness.Labs;
using Conformance.Harness.Traffic;
using Conformance.Reports;

namespace Conformance.Suite.Services;

/// <summary>Several ports, several protocols.</summary>
public sealed class Ports_and_protocols : ClusterFixture
{
    [Test, Claim("SM-66")]
    public async Task One_port_is_served_for_tcp_and_udp()
    {
        var service = await ApplyAsync(NewService("web-a") with { Ports = [new PortSpec(53), new PortSpec(53, Protocol: "UDP")] });

        (await PodA.AskAsync(service.Target(53))).ShouldBeAnsweredBy("web-a");
        (await PodA.AskUdpAsync(service.Target(53))).ShouldBeAnsweredBy("web-a");
    }

    [Test, Claim("SM-67")]
    public async Task A_port_of_one_protocol_is_not_served_for_the_other()
    {
        var service = await ApplyAsync(NewService("web-a") with { Ports = [new PortSpec(53, Protocol: "UDP")] });

        (await PodA.AskUdpAsync(service.Target(53))).ShouldBeAnsweredBy("web-a");
        (await PodA.AskAsync(service.Target(53))).ShouldBeRefused();
    }

    [Test, Claim("SM-68")]
    public async Task Each_port_of_a_service_leads_to_its_own_target_port()
    {
        Lab["web-c"].Serve(Topologies.TransportProtocol.Tcp, 9068);
        var service = await ApplyAsync(NewService("web-c") with { Ports = [new PortSpec(80), new PortSpec(443, TargetPort: 9068)] });

        var (first, second) = (await PodA.AskAsync(service.Target(80)), await PodA.AskAsync(service.Target(443)));

        first.ShouldBeSeenAs(On("web-c").Arriving.Syn(to: "web-c:8080"));
        second.ShouldBeSeenAs(On("web-c").Arriving.Syn(to: "web-c:9068"));
        second.ShouldBeAnsweredBy("web-c");
    }

    [Test, Claim("SM-69")]
    public async Task Datagrams_reach_a_node_port()
    {
        var service = await ApplyAsync(WithNodePort(NewService("web-b") with { Ports = [new PortSpec(53, Protocol: "UDP")] }));

        (await Client.AskUdpAsync($"node1:{service.NodePort}")).ShouldBeSeenByServerAsAddressOf("node1");
    }

    [Test, Claim("SM-70")]
    public async Task A_large_answer_comes_through_the_overlay_whole()
    {
        var service = await ApplyAsync(WithNodePort(NewService("web-b")));
        await using var flow = await Client.ConnectAsync($"node1:{service.NodePort}");
        flow.ShouldBeAnswered();

        await flow.ExchangeAsync(200_000);
    }
}
