using Conformance.Harness.Assertions;
using Conformance.Harness.Kubernetes;
using Conformance.Harness.Labs;
using Conformance.Harness.Proxies;
using Conformance.Harness.Traffic;
using Conformance.Linux.Features;
using Conformance.Reports;
using Conformance.Topologies;

namespace Conformance.Suite.Services;

/// <summary>Services of SCTP (KEP-614), without multi-homing, which Kubernetes does not support.</summary>
[Requires(Feature.Sctp)]
public sealed class Sctp : ClusterFixture
{
    protected override IReadOnlyList<ProxyFeature> Needs => [ProxyFeature.Sctp];

    [Test, Claim("SM-90")]
    public async Task A_pod_reaches_a_cluster_ip_over_sctp_under_its_own_address()
    {
        var service = await ServiceAsync(9090, NewService("web-b"));

        (await PodA.AskSctpAsync(service.Target())).ShouldBeSeenByServerAs("pod-a");
    }

    [Test, Claim("SM-91")]
    public async Task Outside_reaches_a_node_port_over_sctp_under_an_address_of_the_node()
    {
        var service = await ServiceAsync(9091, WithNodePort(NewService("web-b")));

        (await Client.AskSctpAsync($"node1:{service.NodePort}")).ShouldBeSeenByServerAsAddressOf("node1");
    }

    [Test, Claim("SM-92")]
    public async Task A_port_of_tcp_is_not_served_for_sctp()
    {
        var service = await ApplyAsync(NewService("web-b"));
        (await PodA.AskAsync(service.Target())).ShouldBeAnsweredBy("web-b");

        (await PodA.AskSctpAsync(service.Target())).ShouldBeRefused();
    }

    private Task<ServiceSpec> ServiceAsync(int targetPort, ServiceSpec service)
    {
        Lab["web-b"].Serve(TransportProtocol.Sctp, targetPort);
        return ApplyAsync(service with { Ports = [.. service.Ports.Select(p => p with { Protocol = "SCTP", TargetPort = targetPort })] });
    }
}
