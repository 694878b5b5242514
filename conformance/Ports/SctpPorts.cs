using Conformance.Clusters.Kubernetes;
using Conformance.Clusters.Proxies;
using Conformance.Labs;
using Conformance.Linux;
using Conformance.Linux.Features;
using Conformance.Reports;
using Conformance.Traffic;
using Conformance.Traffic.Assertions;

namespace Conformance.Suite.Ports;

/// <summary>Services of SCTP (KEP-614), without multi-homing, which Kubernetes does not support.</summary>
[Requires(Feature.Sctp)]
public sealed class SctpPorts : ClusterFixture
{
    [Test, Claim("PORT-6")]
    public async Task Pod_reaches_cluster_ip_over_sctp_with_its_own_address()
    {
        var service = await ServiceAsync(9090, NewService("web-b"));

        await (await PodA.AskSctpAsync(service.Target())).ShouldBeSeenByServerAsAsync("pod-a");
    }

    [Test, Claim("PORT-7")]
    public async Task Client_reaches_node_port_over_sctp_with_a_node_address()
    {
        var service = await ServiceAsync(9091, WithNodePort(NewService("web-b")));

        await (await Client.AskSctpAsync($"node1:{service.NodePort}")).ShouldBeSeenByServerAsAddressOfAsync("node1");
    }

    [Test, Claim("PORT-8")]
    public async Task Port_of_tcp_is_not_served_for_sctp()
    {
        var service = await ApplyAsync(NewService("web-b"));
        await (await PodA.AskAsync(service.Target())).ShouldBeAnsweredByAsync("web-b");

        await ShouldBeTurnedAwayAsync(await PodA.AskSctpAsync(service.Target()), ProxyFeature.RefusesOtherPorts);
    }

    private Task<ServiceSpec> ServiceAsync(int targetPort, ServiceSpec service)
    {
        Lab["web-b"].Serve(TransportProtocol.Sctp, targetPort);
        return ApplyAsync(service with
        {
            Ports = [
            .. service.Ports.Select(p => p with { Protocol = TransportProtocol.Sctp, TargetPort = targetPort })]
        });
    }
}
