using Conformance.Clusters.Kubernetes;
using Conformance.Reports;
using Conformance.Traffic.Assertions;

namespace Conformance.Suite.Endpoints;

/// <summary>Endpoints for the clients of a zone (KEP-2433). Each node is a zone of its own here.</summary>
public sealed class TopologyHints : ClusterFixture
{
    private static readonly EndpointSpec s_forNode1 = new("web-a") { ForZone = "zone-node1" };
    private static readonly EndpointSpec s_forNode2 = new("web-b") { ForZone = "zone-node2" };

    [Test, Claim("ENDPOINT-13")]
    public async Task Topology_hints_keep_a_client_in_its_zone()
    {
        var service = await ApplyAsync(WithHints(s_forNode1, s_forNode2));

        (await PodA.AskManyAsync(service.Target(), 20)).Keys.ShouldBe(["web-a"]);
        (await PodC.AskManyAsync(service.Target(), 20)).Keys.ShouldBe(["web-b"]);
    }

    [Test, Claim("ENDPOINT-14")]
    public async Task Missing_hint_disables_topology_hints()
    {
        var service = await ApplyAsync(WithHints(s_forNode1, "web-b"));

        (await PodA.AskManyAsync(service.Target(), 20)).Keys.Order(StringComparer.Ordinal).ShouldBe(["web-a", "web-b"]);
    }

    [Test, Claim("ENDPOINT-15")]
    public async Task Node_hints_keep_a_client_on_its_node()
    {
        var service = await ApplyAsync(NewService(new EndpointSpec("web-a") { ForNode = "node2" },
            new EndpointSpec("web-b") { ForNode = "node1" }) with
        { TrafficDistribution = "PreferSameNode" });

        (await PodA.AskManyAsync(service.Target(), 20)).Keys.ShouldBe(["web-b"]);
        (await PodC.AskManyAsync(service.Target(), 20)).Keys.ShouldBe(["web-a"]);
    }

    [Test, Claim("ENDPOINT-18")]
    public async Task Missing_hint_disables_node_hints()
    {
        var service = await ApplyAsync(NewService(new EndpointSpec("web-a") { ForNode = "node1" }, "web-b") with
        {
            TrafficDistribution = "PreferSameNode"
        });

        (await PodA.AskManyAsync(service.Target(), 20)).Keys.Order(StringComparer.Ordinal).ShouldBe(["web-a", "web-b"]);
    }

    private static ServiceSpec WithHints(params EndpointSpec[] endpoints) =>
        NewService(endpoints) with
        {
            Annotations = new Dictionary<string, string>(
            StringComparer.Ordinal)
            { ["service.kubernetes.io/topology-mode"] = "Auto" }
        };
}
