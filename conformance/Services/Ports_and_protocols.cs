using Conformance.Clusters.Kubernetes;
using Conformance.Labs;
using Conformance.Linux;
using Conformance.Reports;
using Conformance.Traffic;
using Conformance.Traffic.Assertions;

namespace Conformance.Suite.Services;

/// <summary>Several ports, several protocols.</summary>
public sealed class Ports_and_protocols : ClusterFixture
{
    [Test, Claim("SM-66")]
    public async Task One_port_is_served_for_tcp_and_udp()
    {
        var service = await ApplyAsync(NewService("web-a") with { Ports = [new PortSpec(53), new PortSpec(53, Protocol: TransportProtocol.Udp)] });

        await (await PodA.AskAsync(service.Target(53))).ShouldBeAnsweredByAsync("web-a");
        await (await PodA.AskUdpAsync(service.Target(53))).ShouldBeAnsweredByAsync("web-a");
    }

    [Test, Claim("SM-67")]
    public async Task A_port_of_one_protocol_is_not_served_for_the_other()
    {
        var service = await ApplyAsync(NewService("web-a") with { Ports = [new PortSpec(53, Protocol: TransportProtocol.Udp)] });

        await (await PodA.AskUdpAsync(service.Target(53))).ShouldBeAnsweredByAsync("web-a");
        await (await PodA.AskAsync(service.Target(53))).ShouldBeRefusedAsync();
    }

    [Test, Claim("SM-68")]
    public async Task Each_port_of_a_service_leads_to_its_own_target_port()
    {
        Lab["web-c"].Serve(TransportProtocol.Tcp, 9068);
        var service = await ApplyAsync(NewService("web-c") with { Ports = [new PortSpec(80), new PortSpec(443, TargetPort: 9068)] });

        var (first, second) = (await PodA.AskAsync(service.Target(80)), await PodA.AskAsync(service.Target(443)));

        await first.ShouldBeSeenAsAsync(On("web-c").Arriving.Syn(to: "web-c:8080"));
        await second.ShouldBeSeenAsAsync(On("web-c").Arriving.Syn(to: "web-c:9068"));
        await second.ShouldBeAnsweredByAsync("web-c");
    }

    [Test, Claim("SM-69")]
    public async Task Datagrams_reach_a_node_port()
    {
        var service = await ApplyAsync(WithNodePort(NewService("web-b") with { Ports = [new PortSpec(53, Protocol: TransportProtocol.Udp)] }));

        await (await Client.AskUdpAsync($"node1:{service.NodePort}")).ShouldBeSeenByServerAsAddressOfAsync("node1");
    }

    [Test, Claim("SM-70")]
    public async Task A_large_answer_comes_through_the_overlay_whole()
    {
        var service = await ApplyAsync(WithNodePort(NewService("web-b")));
        await using var flow = await Client.ConnectAsync($"node1:{service.NodePort}");
        await flow.ShouldBeAnsweredAsync();

        await flow.ExchangeAsync(200_000);
    }
}
