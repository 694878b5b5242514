using System.Globalization;
using Conformance.Labs;
using Conformance.Reports;
using Conformance.Traffic;
using Conformance.Traffic.Assertions;

namespace Conformance.Suite.ClusterIp;

/// <summary>Reaches a ClusterIP from outside, and from the pod behind it.</summary>
public sealed class Reachability : ClusterFixture
{
    [Test, Claim("K-6")]
    public async Task A_pod_reaches_itself_through_its_cluster_ip_under_an_address_of_the_node()
    {
        var service = await ApplyAsync(NewService("pod-b"));

        var flow = await Lab["pod-b"].AskAsync(service.Target());

        await flow.ShouldBeAnsweredByAsync("pod-b");
        await flow.ShouldBeSeenByServerAsAddressOfAsync("node1");
        await flow.ShouldBeSeenAsAsync(
            On("pod-b").Leaving.Syn(from: "pod-b", to: service.Target()),
            On("pod-b").Arriving.Syn(from: flow.Answer!.SeenPeer.Address.ToString(), to: "pod-b:8080"));
    }

    [Test, Claim("K-2")]
    public async Task A_client_outside_with_a_route_reaches_a_cluster_ip_under_an_address_of_the_node()
    {
        var service = await ApplyAsync(NewService("web-b"));
        await ReachableAsync(service.ClusterIPs[0], via: Node1);

        var flow = await Client.AskAsync(service.Target());

        await flow.ShouldBeAnsweredByAsync("web-b");
        await flow.ShouldBeSeenByServerAsAddressOfAsync("node1");
    }
}
