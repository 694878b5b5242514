using System.Globalization;
using Conformance.Clusters;
using Conformance.Clusters.Kubernetes;
using Conformance.Reports;
using Conformance.Traffic;
using Conformance.Traffic.Assertions;

namespace Conformance.Suite.Endpoints;

/// <summary>A node that moves to another zone.</summary>
[Parallelizable(ParallelScope.Self)]
public sealed class ZoneChange : ClusterFixture
{
    protected override ClusterUse Use => ClusterUse.ChangesNodes;

    [Test, Claim("ENDPOINT-16")]
    public async Task Node_that_moves_to_another_zone_follows_its_hints()
    {
        var service = await ApplyAsync(NewService(new EndpointSpec("web-a") { ForZone = "zone-node1" },
            new EndpointSpec("web-b") { ForZone = "zone-node2" }) with
        {
            Annotations = new Dictionary<string, string>(StringComparer.Ordinal) { ["service.kubernetes.io/topology-mode"] = "Auto" },
        });
        (await PodA.AskManyAsync(service.Target(), 20)).Keys.ShouldBe(["web-a"]);
        Undo(() => Cluster.PutNode(Node1));
        Cluster.PutNode(Node1, zone: "zone-node2");
        // Nodes come by another watch than Services: no canary tells when. For a moment there are both endpoints.
        await ProgrammedAsync("only the endpoint of the zone is used",
            async () => (await PodA.CountAnswersAsync(service.Target(), 10)).Answers.Keys, servers => servers.SequenceEqual(["web-b"]));
        (await PodA.AskManyAsync(service.Target(), 20)).Keys.ShouldBe(["web-b"]);
    }
}
