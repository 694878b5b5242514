using System.Text;
using System.Text.Json.Nodes;
using Conformance.Fuzzing;
using Conformance.Generator.Decisions;
using Conformance.Generator.Documents;
using Conformance.Generator.Model;
using Conformance.Generator.Sources;
using Conformance.Labs;
using Conformance.Labs.Waiting;

namespace Conformance.KernelTests.Generator;

/// <summary>Whatever a manifest says: what is read of it becomes documents that the stock tools load.</summary>
public sealed class HostileDocumentTests : ProgramFixture
{
    private const int UsualInputs = 960;
    private const int InputsOfRound = 80;

    [Test]
    public async Task Stock_tools_load_the_documents_of_any_manifest([Values] bool isCompatible)
    {
        var random = new Random(unchecked((int)Seeded.Seed()));
        var mutator = new Mutator(Target.All(scratch: "").Single(t => t.Name == "manifest").Corpus, random);
        var options = new GeneratorOptions
        {
            CompatKubeProxy = isCompatible,
            HostnameOverride = "node1",
            ClusterCidr = [System.Net.IPNetwork.Parse("10.244.0.0/16"), System.Net.IPNetwork.Parse("fd00:10:244::/56")],
        };
        var (served, rounds) = (0, (int)Math.Ceiling((RunFolder.Number(RunFolder.InputsVariable) ?? UsualInputs) / InputsOfRound));
        for (var round = 0; round < rounds; round++)
        {
            Heartbeat.Beat();
            var cluster = new Cluster();
            for (var i = 0; i < InputsOfRound; i++)
            {
                var tree = i % 3 > 0 ? mutator.NextTree() : null;
                // With a name of its own it takes no other's place; where it has the addresses of others, the older one is served.
                if (tree is JsonObject named && named["metadata"] is JsonObject metadata)
                    metadata["name"] = $"web-{i}";
                var input = tree is null ? mutator.Next() : Encoding.UTF8.GetBytes(tree.ToJsonString());
                foreach (var item in ManifestReader.Read("input", input).Objects)
                    cluster.Replace(ObjectKey.Of(item), item);
            }
            var world = new World(options, NodeStates.Of(options, cluster, [Node.Address]), cluster);
            DocumentSet.Of(world.Desired, world.Node).Write(Folder);

            var loaded = await Node.Command(Path.Combine(Folder, "apply.sh")).TryAsync();

            (loaded.ExitCode, loaded.StandardError).ShouldBe((0, ""), $"round {round}; the documents are in {Folder}");
            served += Node.IpvsTable().VirtualServers.Count;
        }
        var layout = isCompatible ? " in kube-proxy's layout" : "";
        RunFolder.WriteFindings($"documents-{isCompatible}", $"documents{layout}: ipset, iptables, ipvsadm, ip and sysctl " +
            $"loaded what was made of {rounds * InputsOfRound} manifests: {served} virtual servers.");
        served.ShouldBeGreaterThan(rounds, "hostile manifests have good Services too");
    }
}
