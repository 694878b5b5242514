using Conformance.Clusters.Kubernetes;
using Conformance.Clusters.Proxies;
using Conformance.Labs;
using Conformance.Linux;
using Conformance.Linux.Features;
using Conformance.Reports;
using Conformance.Traffic;
using Conformance.Traffic.Assertions;

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

        await (await PodA.AskSctpAsync(service.Target())).ShouldBeSeenByServerAsAsync("pod-a");
    }

    [Test, Claim("SM-91")]
    public async Task Outside_reaches_a_node_port_over_sctp_under_an_address_of_the_node()
    {
        var service = await ServiceAsync(9091, WithNodePort(NewService("web-b")));

        await (await Client.AskSctpAsync($"node1:{service.NodePort}")).ShouldBeSeenByServerAsAddressOfAsync("node1");
    }

    [Test, Claim("SM-92")]
    public async Task A_port_of_tcp_is_not_served_for_sctp()
    {
        var service = await ApplyAsync(NewService("web-b"));
        await (await PodA.AskAsync(service.Target())).ShouldBeAnsweredByAsync("web-b");

        await (await PodA.AskSctpAsync(service.Target())).ShouldBeRefusedAsync();
    }

    private Task<ServiceSpec> ServiceAsync(int targetPort, ServiceSpec service)
    {
        Lab["web-b"].Serve(TransportProtocol.Sctp, targetPort);
        return ApplyAsync(service with { Ports = [.. service.Ports.Select(p => p with { Protocol = TransportProtocol.Sctp, TargetPort = targetPort })] });
    }
}
