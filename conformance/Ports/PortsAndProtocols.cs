using Conformance.Clusters.Kubernetes;
using Conformance.Clusters.Proxies;
using Conformance.Labs;
using Conformance.Linux;
using Conformance.Reports;
using Conformance.Traffic;
using Conformance.Traffic.Assertions;

namespace Conformance.Suite.Ports;

/// <summary>Several ports, several protocols.</summary>
public sealed class PortsAndProtocols : ClusterFixture
{
    [Test, Claim("PORT-1")]
    public async Task One_port_is_served_for_tcp_and_udp()
    {
        var service = await ApplyAsync(
            NewService("web-a") with { Ports = [new PortSpec(53), new PortSpec(53, Protocol: TransportProtocol.Udp)] });

        await (await PodA.AskAsync(service.Target(53))).ShouldBeAnsweredByAsync("web-a");
        await (await PodA.AskUdpAsync(service.Target(53))).ShouldBeAnsweredByAsync("web-a");
    }

    [Test, Claim("PORT-2")]
    public async Task Port_of_one_protocol_is_not_served_for_the_other()
    {
        var service = await ApplyAsync(NewService("web-a") with { Ports = [new PortSpec(53, Protocol: TransportProtocol.Udp)] });

        await (await PodA.AskUdpAsync(service.Target(53))).ShouldBeAnsweredByAsync("web-a");
        await ShouldBeTurnedAwayAsync(await PodA.AskAsync(service.Target(53)), ProxyFeature.RefusesOtherPorts);
    }

    [Test, Claim("PORT-3")]
    public async Task Each_port_leads_to_its_own_target_port()
    {
        Lab["web-c"].Serve(TransportProtocol.Tcp, 9068);
        var service = await ApplyAsync(NewService("web-c") with { Ports = [new PortSpec(80), new PortSpec(443, TargetPort: 9068)] });

        var (first, second) = (await PodA.AskAsync(service.Target(80)), await PodA.AskAsync(service.Target(443)));

        await first.ShouldBeSeenAsAsync(On("web-c").Arriving.Syn(to: "web-c:8080"));
        await second.ShouldBeSeenAsAsync(On("web-c").Arriving.Syn(to: "web-c:9068"));
        await second.ShouldBeAnsweredByAsync("web-c");
    }

    [Test, Claim("PORT-4")]
    public async Task Node_port_is_served_for_udp()
    {
        var service = await ApplyAsync(
            WithNodePort(NewService("web-b") with { Ports = [new PortSpec(53, Protocol: TransportProtocol.Udp)] }));

        await (await Client.AskUdpAsync($"node1:{service.NodePort}")).ShouldBeSeenByServerAsAddressOfAsync("node1");
    }

    [Test, Claim("PORT-5")]
    public async Task Large_reply_passes_the_overlay()
    {
        var service = await ApplyAsync(WithNodePort(NewService("web-b")));
        await using var flow = await Client.ConnectAsync($"node1:{service.NodePort}");
        await flow.ShouldBeAnsweredAsync();

        await flow.ExchangeAsync(200_000);
    }
}
