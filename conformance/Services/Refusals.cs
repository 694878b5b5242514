using Conformance.Harness.Assertions;
using Conformance.Harness.Kubernetes;
using Conformance.Harness.Traffic;
using Conformance.Reports;

namespace Conformance.Suite.Services;

/// <summary>What nobody serves is refused at once, not dropped: the client need not wait for its time-out.</summary>
public sealed class Refusals : ClusterFixture
{
    [Test, Claim("SM-40")]
    public async Task A_pod_is_refused_by_a_cluster_ip_without_endpoints()
    {
        var service = await ApplyAsync(NewService());

        (await PodA.AskAsync(service.Target())).ShouldBeRefused();
    }

    [Test, Claim("SM-41")]
    public async Task A_node_is_refused_by_a_cluster_ip_without_endpoints()
    {
        var service = await ApplyAsync(NewService());

        (await Node1.AskAsync(service.Target())).ShouldBeRefused();
    }

    [Test, Claim("SM-42")]
    public async Task Outside_is_refused_by_a_node_port_without_endpoints()
    {
        var service = await ApplyAsync(WithNodePort(NewService()));

        (await Client.AskAsync($"node1:{service.NodePort}")).ShouldBeRefused();
    }

    [Test, Claim("SM-43")]
    public async Task Outside_is_refused_by_a_load_balancer_without_endpoints()
    {
        var service = NewService();
        await ApplyAsync(WithLoadBalancer(service));

        (await Client.AskAsync($"{await ReachableAsync(OutsideAddress(service), via: Node1)}:80")).ShouldBeRefused();
    }

    [Test, Claim("SM-44")]
    public async Task A_datagram_to_a_service_without_endpoints_is_answered_by_icmp()
    {
        var service = await ApplyAsync(NewService() with { Ports = [new PortSpec(80, Protocol: "UDP")] });

        (await PodA.AskUdpAsync(service.Target())).ShouldMeetIcmp(type: 3, code: 3, by: "node1");
    }

    [Test, Claim("SM-45")]
    public async Task Endpoints_that_are_not_ready_count_as_none()
    {
        var service = await ApplyAsync(NewService(EndpointSpec.NotReady("web-a")));

        (await PodA.AskAsync(service.Target())).ShouldBeRefused();
    }

    [Test, Claim("SM-46")]
    public async Task A_port_that_the_service_does_not_have_is_refused()
    {
        var service = await ApplyAsync(NewService("web-a"));

        (await PodA.AskAsync(service.Target(81))).ShouldBeRefused();
        (await Node1.AskAsync(service.Target(81))).ShouldBeRefused();
    }

    [Test, Claim("SM-47")]
    public async Task A_socket_of_the_node_cannot_be_reached_through_a_cluster_ip()
    {
        var service = await ApplyAsync(NewService("web-a"));
        Node1.Serve(Topologies.TransportProtocol.Tcp, 7047);
        (await PodA.AskAsync("node1:7047")).ShouldBeAnsweredBy("node1");

        (await PodA.AskAsync(service.Target(7047))).ShouldBeRefused();
    }

    [Test, Claim("SM-48")]
    public async Task A_socket_of_the_node_cannot_be_reached_through_a_load_balancer_s_address()
    {
        var service = NewService("web-a");
        await ApplyAsync(WithLoadBalancer(service));
        Node1.Serve(Topologies.TransportProtocol.Tcp, 7048);
        (await Client.AskAsync("node1:7048")).ShouldBeAnsweredBy("node1");
        (await Client.AskAsync($"{await ReachableAsync(OutsideAddress(service), via: Node1)}:80")).ShouldBeAnsweredBy("web-a");

        (await Client.AskAsync($"{OutsideAddress(service)}:7048")).ShouldNotBeAnswered();
    }
}
