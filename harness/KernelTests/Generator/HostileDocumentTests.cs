using System.Text;
using Conformance.Fuzzing;
using Conformance.Generator.Decisions;
using Conformance.Generator.Documents;
using Conformance.Generator.Model;
using Conformance.Generator.Sources;
using Conformance.Labs.Waiting;

namespace Conformance.KernelTests.Generator;

/// <summary>Whatever a manifest says: what is read of it becomes documents that the stock tools load.</summary>
public sealed class HostileDocumentTests : ProgramFixture
{
    private const int Rounds = 12;
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
        var served = 0;
        for (var round = 0; round < Rounds; round++)
        {
            Heartbeat.Beat();
            var cluster = new Cluster();
            for (var i = 0; i < InputsOfRound; i++)
            {
                var input = i % 2 == 0 && mutator.NextTree() is { } tree ? Encoding.UTF8.GetBytes(tree.ToJsonString()) : mutator.Next();
                foreach (var item in ManifestReader.Read("input", input).Objects)
                    cluster.Replace(ObjectKey.Of(item), item);
            }
            var world = new World(options, NodeStates.Of(options, cluster, [Node.Address]), cluster);
            DocumentSet.Of(world.Desired, world.Node).Write(Folder);

            var loaded = await Node.Command(Path.Combine(Folder, "apply.sh")).TryAsync();

            (loaded.ExitCode, loaded.StandardError).ShouldBe((0, ""), $"round {round}; the documents are in {Folder}");
            served += Node.IpvsTable().VirtualServers.Count;
        }
        served.ShouldBeGreaterThan(Rounds, "hostile manifests have good Services too");
    }
}
