using Conformance.Clusters.Kubernetes;
using Conformance.Clusters.Proxies;
using Conformance.Reports;
using Conformance.Traffic.Assertions;

namespace Conformance.Suite.Services;

/// <summary>Endpoints for the clients of a zone (KEP-2433). Each node is a zone of its own here.</summary>
public sealed class Topology_hints : ClusterFixture
{
    private static readonly EndpointSpec s_forNode1 = new("web-a") { ForZone = "zone-node1" };
    private static readonly EndpointSpec s_forNode2 = new("web-b") { ForZone = "zone-node2" };

    [Test, Claim("SM-93")]
    public async Task With_hints_on_every_endpoint_a_client_reaches_those_for_its_zone()
    {
        var service = await ApplyAsync(WithHints(s_forNode1, s_forNode2));

        (await PodA.AskManyAsync(service.Target(), 20)).Keys.ShouldBe(["web-a"]);
        (await PodC.AskManyAsync(service.Target(), 20)).Keys.ShouldBe(["web-b"]);
    }

    [Test, Claim("SM-94")]
    public async Task With_an_endpoint_that_lacks_a_hint_all_endpoints_are_used()
    {
        var service = await ApplyAsync(WithHints(s_forNode1, "web-b"));

        (await PodA.AskManyAsync(service.Target(), 20)).Keys.Order(StringComparer.Ordinal).ShouldBe(["web-a", "web-b"]);
    }

    [Test, Claim("SM-147")]
    public async Task With_hints_for_nodes_a_client_reaches_those_for_its_node()
    {
        Demand(ProxyFeature.NodeHints);
        var service = await ApplyAsync(NewService(new EndpointSpec("web-a") { ForNode = "node2" }, new EndpointSpec("web-b") { ForNode = "node1" }) with { TrafficDistribution = "PreferSameNode" });

        (await PodA.AskManyAsync(service.Target(), 20)).Keys.ShouldBe(["web-b"]);
        (await PodC.AskManyAsync(service.Target(), 20)).Keys.ShouldBe(["web-a"]);
    }

    private ServiceSpec WithHints(params EndpointSpec[] endpoints) =>
        NewService(endpoints) with { Annotations = new Dictionary<string, string>(StringComparer.Ordinal) { ["service.kubernetes.io/topology-mode"] = "Auto" } };
}
