using System.Globalization;
using Conformance.Reports;
using Conformance.Traffic;
using Conformance.Traffic.Assertions;
using Conformance.Traffic.Tracing;

namespace Conformance.Suite.NodePort;

/// <summary>The path of a packet to a node port, by the kernel's trace.</summary>
public sealed class NodePortPath : ClusterFixture
{
    [Test, Claim("NP-4")]
    public async Task A_node_port_is_marked_in_kube_node_port()
    {
        await StartNginxAsync();

        var walk = await RuleWalk.FollowAsync(Node1, 21071,
            port => Client.AskHttpAsync($"node1:{ArticleServices.MyService.NodePort}", port));

        walk.Path.TakeWhile(p => p.StartsWith("nat", StringComparison.Ordinal))
            .ShouldBe(["nat PREROUTING -> KUBE-SERVICES", "nat KUBE-SERVICES -> KUBE-NODE-PORT", "nat KUBE-NODE-PORT -> KUBE-MARK-MASQ",
                "nat KUBE-MARK-MASQ -> MARK"]);
        await walk.Flow.ShouldBeSeenByServerAsAsync(OverlayOfNode1);
    }

    [Test, Claim("NP-6")]
    public async Task Packets_of_the_node_to_a_node_port_pass_kube_services_in_output()
    {
        await StartNginxAsync();

        var walk = await RuleWalk.FollowAsync(Node1, 21081,
            port => Node1.AskHttpAsync($"node1:{ArticleServices.MyService.NodePort}", port));

        walk.Path.ShouldContain("nat OUTPUT -> KUBE-SERVICES");
        await walk.Flow.ShouldBeAnsweredByAsync("web-b");
    }
}
