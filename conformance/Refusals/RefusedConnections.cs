using Conformance.Clusters.Kubernetes;
using Conformance.Clusters.Proxies;
using Conformance.Linux;
using Conformance.Reports;
using Conformance.Traffic;
using Conformance.Traffic.Assertions;

namespace Conformance.Suite.Refusals;

/// <summary>What nobody serves is refused at once, not dropped: the client need not wait for its time-out.</summary>
public sealed class RefusedConnections : ClusterFixture
{
    [Test, Claim("REFUSE-1")]
    public async Task Cluster_ip_without_endpoints_refuses_a_pod()
    {
        var service = await ApplyAsync(NewService());

        await (await PodA.AskAsync(service.Target())).ShouldBeRefusedAsync();
    }

    [Test, Claim("REFUSE-2")]
    public async Task Cluster_ip_without_endpoints_refuses_a_node()
    {
        var service = await ApplyAsync(NewService());

        await (await Node1.AskAsync(service.Target())).ShouldBeRefusedAsync();
    }

    [Test, Claim("REFUSE-3")]
    public async Task Node_port_without_endpoints_refuses_an_external_client()
    {
        var service = await ApplyAsync(WithNodePort(NewService()));

        await (await Client.AskAsync($"node1:{service.NodePort}")).ShouldBeRefusedAsync();
    }

    [Test, Claim("REFUSE-4")]
    public async Task Load_balancer_without_endpoints_refuses_an_external_client()
    {
        var service = NewService();
        await ApplyAsync(WithLoadBalancer(service));

        await (await Client.AskAsync($"{await ReachableAsync(OutsideAddress(service), via: Node1)}:80")).ShouldBeRefusedAsync();
    }

    [Test, Claim("REFUSE-5")]
    public async Task Udp_service_without_endpoints_answers_with_icmp()
    {
        var service = await ApplyAsync(NewService() with { Ports = [new PortSpec(80, Protocol: TransportProtocol.Udp)] });

        await (await PodA.AskUdpAsync(service.Target())).ShouldMeetIcmpAsync(type: 3, code: 3, by: "node1");
    }

    [Test, Claim("REFUSE-6")]
    public async Task Endpoints_that_are_not_ready_count_as_none()
    {
        var service = await ApplyAsync(NewService(EndpointSpec.NotReady("web-a")));

        await (await PodA.AskAsync(service.Target())).ShouldBeRefusedAsync();
    }

    [Test, Claim("REFUSE-7")]
    public async Task Port_that_the_service_does_not_have_is_refused()
    {
        var service = await ApplyAsync(NewService("web-a"));

        await (await PodA.AskAsync(service.Target(81))).ShouldBeRefusedAsync();
        await (await Node1.AskAsync(service.Target(81))).ShouldBeRefusedAsync();
    }

    [Test, Claim("REFUSE-8")]
    public async Task Socket_of_the_node_is_not_reached_through_a_cluster_ip()
    {
        var service = await ApplyAsync(NewService("web-a"));
        Node1.Serve(TransportProtocol.Tcp, 7047);
        await (await PodA.AskAsync("node1:7047")).ShouldBeAnsweredByAsync("node1");

        await ShouldBeTurnedAwayAsync(await PodA.AskAsync(service.Target(7047)), ProxyFeature.RefusesOtherPorts);
    }

    [Test, Claim("REFUSE-9")]
    public async Task Socket_of_the_node_is_not_reached_through_a_load_balancer()
    {
        var service = NewService("web-a");
        await ApplyAsync(WithLoadBalancer(service));
        Node1.Serve(TransportProtocol.Tcp, 7048);
        await (await Client.AskAsync("node1:7048")).ShouldBeAnsweredByAsync("node1");
        await (await Client.AskAsync($"{await ReachableAsync(OutsideAddress(service), via: Node1)}:80")).ShouldBeAnsweredByAsync("web-a");

        await (await Client.AskAsync($"{OutsideAddress(service)}:7048")).ShouldNotBeAnsweredAsync();
    }

    [Test, Claim("REFUSE-10")]
    public async Task Ping_of_a_cluster_ip_reaches_no_endpoint()
    {
        var service = await ApplyAsync(NewService("web-a"));
        await (await PodA.AskAsync(service.Target())).ShouldBeAnsweredByAsync("web-a");

        var flow = await PodA.PingAsync(service.ClusterIPs[0]);

        await flow.ShouldBeSeenAsAsync(On("pod-a").Leaving.Icmp(8, 0));
        await flow.ShouldNotBeSeenAsync(On("web-a").Icmp(8, 0));
    }

    [Test, Claim("REFUSE-11")]
    public async Task Port_that_a_service_has_lost_does_not_reach_a_socket_of_the_node()
    {
        const int lost = 7152;
        PortSpec[] both = [new(80), new(lost)];
        Node1.Serve(TransportProtocol.Tcp, lost); // on every address, the Services' too if they are the node's
        var external = NewService("web-a") with { Ports = both };
        external = await ApplyAsync(external with { ExternalIPs = [OutsideAddress(external)] });
        var local = NewService("web-a") with { Ports = both };
        local = await ApplyAsync(local with { ExternalIPs = [OutsideAddress(local)], ExternalTrafficPolicy = "Local" });
        var balanced = await ApplyAsync(WithLoadBalancer(NewService("web-a") with { Ports = both }));
        var addresses = new List<string>();
        foreach (var address in new[] { external.ExternalIPs[0], local.ExternalIPs[0], balanced.LoadBalancerIPs[0] })
            addresses.Add(await ReachableAsync(address, via: Node1));
        foreach (var address in addresses)
            await (await Client.AskAsync($"{address}:{lost}")).ShouldBeAnsweredByAsync("web-a");
        await (await PodA.AskAsync(external.Target(lost))).ShouldBeAnsweredByAsync("web-a");

        await ApplyAsync(external with { Ports = [both[0]] });
        await ApplyAsync(local with { Ports = [both[0]] });
        await ApplyAsync(balanced with { Ports = [balanced.Ports[0]] });

        foreach (var address in addresses)
            await (await Client.AskAsync($"{address}:{lost}")).ShouldNotBeAnsweredAsync();
        await (await PodA.AskAsync(external.Target(lost))).ShouldNotBeAnsweredAsync();
    }
}
