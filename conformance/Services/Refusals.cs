using Conformance.Clusters.Kubernetes;
using Conformance.Linux;
using Conformance.Reports;
using Conformance.Traffic;
using Conformance.Traffic.Assertions;

namespace Conformance.Suite.Services;

/// <summary>What nobody serves is refused at once, not dropped: the client need not wait for its time-out.</summary>
public sealed class Refusals : ClusterFixture
{
    [Test, Claim("SM-40")]
    public async Task A_pod_is_refused_by_a_cluster_ip_without_endpoints()
    {
        var service = await ApplyAsync(NewService());

        await (await PodA.AskAsync(service.Target())).ShouldBeRefusedAsync();
    }

    [Test, Claim("SM-41")]
    public async Task A_node_is_refused_by_a_cluster_ip_without_endpoints()
    {
        var service = await ApplyAsync(NewService());

        await (await Node1.AskAsync(service.Target())).ShouldBeRefusedAsync();
    }

    [Test, Claim("SM-42")]
    public async Task Outside_is_refused_by_a_node_port_without_endpoints()
    {
        var service = await ApplyAsync(WithNodePort(NewService()));

        await (await Client.AskAsync($"node1:{service.NodePort}")).ShouldBeRefusedAsync();
    }

    [Test, Claim("SM-43")]
    public async Task Outside_is_refused_by_a_load_balancer_without_endpoints()
    {
        var service = NewService();
        await ApplyAsync(WithLoadBalancer(service));

        await (await Client.AskAsync($"{await ReachableAsync(OutsideAddress(service), via: Node1)}:80")).ShouldBeRefusedAsync();
    }

    [Test, Claim("SM-44")]
    public async Task A_datagram_to_a_service_without_endpoints_is_answered_by_icmp()
    {
        var service = await ApplyAsync(NewService() with { Ports = [new PortSpec(80, Protocol: TransportProtocol.Udp)] });

        await (await PodA.AskUdpAsync(service.Target())).ShouldMeetIcmpAsync(type: 3, code: 3, by: "node1");
    }

    [Test, Claim("SM-45")]
    public async Task Endpoints_that_are_not_ready_count_as_none()
    {
        var service = await ApplyAsync(NewService(EndpointSpec.NotReady("web-a")));

        await (await PodA.AskAsync(service.Target())).ShouldBeRefusedAsync();
    }

    [Test, Claim("SM-46")]
    public async Task A_port_that_the_service_does_not_have_is_refused()
    {
        var service = await ApplyAsync(NewService("web-a"));

        await (await PodA.AskAsync(service.Target(81))).ShouldBeRefusedAsync();
        await (await Node1.AskAsync(service.Target(81))).ShouldBeRefusedAsync();
    }

    [Test, Claim("SM-47")]
    public async Task A_socket_of_the_node_cannot_be_reached_through_a_cluster_ip()
    {
        var service = await ApplyAsync(NewService("web-a"));
        Node1.Serve(TransportProtocol.Tcp, 7047);
        await (await PodA.AskAsync("node1:7047")).ShouldBeAnsweredByAsync("node1");

        await (await PodA.AskAsync(service.Target(7047))).ShouldBeRefusedAsync();
    }

    [Test, Claim("SM-48")]
    public async Task A_socket_of_the_node_cannot_be_reached_through_a_load_balancer_s_address()
    {
        var service = NewService("web-a");
        await ApplyAsync(WithLoadBalancer(service));
        Node1.Serve(TransportProtocol.Tcp, 7048);
        await (await Client.AskAsync("node1:7048")).ShouldBeAnsweredByAsync("node1");
        await (await Client.AskAsync($"{await ReachableAsync(OutsideAddress(service), via: Node1)}:80")).ShouldBeAnsweredByAsync("web-a");

        await (await Client.AskAsync($"{OutsideAddress(service)}:7048")).ShouldNotBeAnsweredAsync();
    }
}
