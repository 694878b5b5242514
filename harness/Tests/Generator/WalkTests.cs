using System.Net;
using Conformance.Generator.Decisions;
using Conformance.Generator.Explain;
using Conformance.Generator.Model;
using Conformance.Generator.Sources;
using Conformance.Labs;
using Conformance.Linux;
using Conformance.Linux.Ipvs;

namespace Conformance.Tests.Generator;

/// <summary>
/// The path that explain tells, for inputs whose real traffic was recorded (scenarios 38 and 42 of the recordings and their kin).
/// </summary>
public sealed class WalkTests
{
    private const string Outside = "192.168.113.50";
    private const string Pod = "10.244.0.11";
    private const string OwnNode = "192.168.113.101";

    [TestCase("02-clusterip-article", "10.108.113.237", 80, Outside, WalkEnd.Forwarded, true)]
    [TestCase("02-clusterip-article", "10.108.113.237", 80, Pod, WalkEnd.Forwarded, false)]
    [TestCase("02-clusterip-article", "10.108.113.237", 80, OwnNode, WalkEnd.Forwarded, true)]
    [TestCase("02-clusterip-article", "10.108.113.237", 81, Outside, WalkEnd.Refused, false)]
    [TestCase("02-clusterip-article", "10.108.113.237", 81, OwnNode, WalkEnd.Refused, false)]
    [TestCase("02-clusterip-article", "10.108.113.238", 80, Outside, WalkEnd.Routed, false)]
    [TestCase("03-clusterip-3ep-2local", null, 80, Pod, WalkEnd.Forwarded, true,
        Description = "hairpin: the first endpoint is the pod itself")]
    [TestCase("04-nodeport", OwnNode, 30080, Outside, WalkEnd.Forwarded, true)]
    [TestCase("04-nodeport", OwnNode, 30081, Outside, WalkEnd.DeliveredLocally, false)]
    [TestCase("05-nodeport-etp-local-with", OwnNode, null, Outside, WalkEnd.Forwarded, false)]
    [TestCase("12-lb-sourceranges-node-outside", "203.0.113.12", 80, Outside, WalkEnd.Dropped, false)]
    [TestCase("12-lb-sourceranges-node-outside", "203.0.113.12", 80, Pod, WalkEnd.Dropped, false)]
    [TestCase("12-lb-sourceranges-node-outside", "203.0.113.12", 80, OwnNode, WalkEnd.Dropped, false)]
    [TestCase("16-no-endpoints", null, 80, Outside, WalkEnd.Refused, false)]
    public void A_packet_goes_as_the_recorded_one_did(string scenario, string? address, int? port, string from, WalkEnd end,
        bool masqueraded)
    {
        var world = WorldOf(scenario);
        var key = world.Desired.Servers.Select(s => s.Key).OrderBy(k => k.ToString(), StringComparer.Ordinal)
            .First(k => (address is null ? world.Desired.IsBound(k.Address) : true) && k.Protocol == TransportProtocol.Tcp
                && (port ?? k.Port) >= 30000 == k.Port >= 30000);
        var target = new VirtualServerKey(TransportProtocol.Tcp, address is null ? key.Address : IPAddress.Parse(address),
            (ushort)(port ?? key.Port));

        var walk = Walk.Of(world, target, IPAddress.Parse(from));

        (walk.End, walk.IsMasqueraded).ShouldBe((end, masqueraded), string.Join('\n', walk.Steps));
    }

    [TestCaseSource(nameof(Scenarios))]
    public void Every_rule_of_every_recording_can_be_followed(string scenario)
    {
        var world = WorldOf(scenario);

        foreach (var key in world.Desired.ServerKeys)
        {
            foreach (var from in key.IsIPv6 ? new[] { "fd00:113::50", "fd00:10:244::11", "fd00:113::101" } : [Outside, Pod, OwnNode])
                Walk.Of(world, key, IPAddress.Parse(from)).Steps.ShouldNotBeEmpty();
        }
    }

    private static string Golden => Path.Combine(ProjectFolder.Root, "harness", "KernelTests", "Generator", "golden");

    private static IEnumerable<string> Scenarios => Directory.GetDirectories(Golden).Select(f => Path.GetFileName(f))
        .Order(StringComparer.Ordinal);

    private static World WorldOf(string scenario)
    {
        var options = new GeneratorOptions
        {
            CompatKubeProxy = true,
            HostnameOverride = "node1",
            ClusterCidr = [IPNetwork.Parse("10.244.0.0/16")]
        };
        var node = new NodeState("node1", [IPAddress.Parse(OwnNode), IPAddress.Parse("10.244.0.1"), IPAddress.Parse("fd00:113::101")],
            "zone-a", [], []);
        return new World(options, node, Source.Read([Path.Combine(Golden, scenario, "input.yaml")],
            problem => problem.Effect.ShouldBe(ProblemEffect.NotOurs, problem.ToString())));
    }
}
