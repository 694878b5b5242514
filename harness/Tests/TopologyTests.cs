using Conformance.Labs;
using Conformance.Linux;
using Conformance.Suite;
using Conformance.Topologies;

namespace Conformance.Tests;

public sealed class TopologyTests
{
    [Test]
    public void Every_topology_of_the_project_loads([ValueSource(nameof(Names))] string name)
    {
        var topology = Topology.Load(name);

        topology.Name.ShouldBe(name);
        topology.Nodes.ShouldNotBeEmpty();
    }

    [Test]
    public void Every_topology_of_the_project_keeps_the_schema([ValueSource(nameof(Names))] string name)
    {
        var schema = Path.Combine(ProjectFolder.Root, "topologies", "topology.schema.json");
        var text = File.ReadAllText(Path.Combine(Topology.Folder, $"{name}.yaml"));

        Schemas.Validate(schema, Schemas.ToJson(text)).ShouldBeEmpty();
        Schemas.Validate(schema, Schemas.ToJson(text.Replace("subnet:", "subnett:", StringComparison.Ordinal))).ShouldNotBeEmpty();
    }

    [Test]
    public void Machines_of_the_article_have_its_addresses()
    {
        var topology = Topology.Load("article-nat");

        topology.Nodes.Select(n => $"{n.Name} {n.Interfaces[0].Device} {n.Interfaces[0].Address}").ShouldBe(
            ["client ens33 192.168.113.102", "director ens33 192.168.113.101", "rs1 ens33 192.168.113.99", "rs2 ens33 192.168.113.100"]);
        topology.Nodes.Where(n => n.Forwarding).Select(n => n.Name).ShouldBe(["director"]);
    }

    private const string Good = """
        name: t
        networks:
          lan: { subnet: 10.0.0.0/24, device: eth0 }
        nodes:
          a: { lan: 10.0.0.1, forwarding: true, serves: [tcp/80] }
          b: { lan: 10.0.0.2, gateway: 10.0.0.1 }
        """;

    [Test]
    public void A_good_document_is_read()
    {
        var topology = Read(Good);

        topology.Nodes[0].Serves.ShouldBe([new ServedPort(TransportProtocol.Tcp, 80)]);
        topology.Nodes[1].Gateway!.ToString().ShouldBe("10.0.0.1");
    }

    // What is replaced by what; where the error must point; what it must say.
    [TestCase("forwarding: true", "forwardng: true", "t.yaml:5:23", "Did you mean 'forwarding'?")]
    [TestCase("networks:", "network:", "t.yaml:2:1", "Did you mean 'networks'?")]
    [TestCase("lan: 10.0.0.1,", "lan: 10.0.1.1,", "t.yaml:5:13", "10.0.1.1 is outside the network lan")]
    [TestCase("lan: 10.0.0.1,", "lan: 10.0.0.300,", "t.yaml:5:13", "is not an IP address")]
    [TestCase("lan: 10.0.0.2", "lan: 10.0.0.1", "t.yaml:6:13", "b and a have the same address 10.0.0.1")]
    [TestCase("gateway: 10.0.0.1", "gateway: 10.9.0.1", "t.yaml:6:32", "b cannot reach its gateway 10.9.0.1")]
    [TestCase("tcp/80", "tcp/80000", "t.yaml:5:50", "a cannot serve 'tcp/80000'")]
    [TestCase("tcp/80", "http", "t.yaml:5:50", "a cannot serve 'http'")]
    [TestCase("10.0.0.0/24", "10.0.0.1/24", "t.yaml:3:18", "The subnet of lan is not a network")]
    [TestCase("device: eth0", "device: ethernet-number-zero", "t.yaml:3:39", "cannot be an interface's name")]
    [TestCase("forwarding: true", "forwarding: perhaps", "t.yaml:5:35", "It is true or false")]
    [TestCase("name: t", "name: other", "t.yaml:1:7", "The file is called 't'")]
    [TestCase("  b: {", "  a: {", "t.yaml:6", "Duplicate key")]
    [TestCase("networks:", "networks: [", "t.yaml:2:11", "The document is not YAML")]
    [TestCase("  b: {", "\tb: {", "t.yaml:6:1", "found invalid tab as indentation")]
    [TestCase("gateway: 10.0.0.1 }", "gateway: 10.0.0.1", "t.yaml:6:6", "The bracket or brace that opens here is not closed")]
    [TestCase("lan: 10.0.0.1,", "lan: 10.0.0.0,", "t.yaml:5:13", "It is the network address of 10.0.0.0/24")]
    [TestCase("lan: 10.0.0.1,", "lan: 10.0.0.255,", "t.yaml:5:13", "It is the broadcast address of 10.0.0.0/24")]
    [TestCase("device: eth0", "device: -e", "t.yaml:3:39", "'-e' cannot be an interface's name")]
    [TestCase("device: eth0", "device: lo", "t.yaml:3:39", "'lo' cannot be an interface's name")]
    [TestCase("gateway: 10.0.0.1", "gateway: 10.0.0.2", "t.yaml:6:32", "It is the node's own address")]
    [TestCase("gateway: 10.0.0.1", "gateway: 10.0.0.3", "t.yaml:6:32", "No node has this address")]
    [TestCase("device: eth0", "device: eth0, on: a, bridge: br0", "t.yaml:3:49", "which is on no other network")]
    [TestCase("device: eth0", "device: eth0, on: c, bridge: br0", "t.yaml:3:49", "which has no address in it")]
    [TestCase("name: t", "name: &t t", "t.yaml:1:7", "A topology has no anchors and aliases")]
    [TestCase("lan: 10.0.0.1, ", "lan: unnumbered, ", "t.yaml:5:13", "has no address to borrow")]
    [TestCase("lan: 10.0.0.1, ", "lan: unnumbered, loopback: 10.9.0.1, ", "t.yaml:5:13",
        "would borrow 10.9.0.1, which is outside the network")]
    [TestCase("lan: 10.0.0.1, ", "lan: unnumbered, loopback: 127.0.0.1, ", "t.yaml:5:35", "cannot be the loopback address of a")]
    [TestCase("lan: 10.0.0.1, ", "lan: unnumbered, loopback: 10.0.0.2, ", "t.yaml:6:13", "b and a have the same address 10.0.0.2")]
    [TestCase("gateway: 10.0.0.1", "routes: { 10.1.0.0/24: 10.9.0.1 }", "t.yaml:6:46", "b cannot reach its gateway 10.9.0.1")]
    [TestCase("gateway: 10.0.0.1", "routes: { 10.1.0.0/24: 10.0.0.9 }", "t.yaml:6:46", "No node has this address")]
    [TestCase("gateway: 10.0.0.1", "routes: { 10.1.0.0/24: 10.0.0.2 }", "t.yaml:6:46", "It is the node's own address")]
    [TestCase("gateway: 10.0.0.1", "routes: { 10.0.0.0/24: 10.0.0.1 }", "t.yaml:6:33", "b has a route to 10.0.0.0/24 already")]
    [TestCase("gateway: 10.0.0.1", "routes: { 10.1.0.1/24: 10.0.0.1 }", "t.yaml:6:33", "is not a network")]
    [TestCase("gateway: 10.0.0.1", "routes: [10.1.0.0/24]", "t.yaml:6:31", "routes of b is not a mapping")]
    public void Invalid_document_is_reported_with_place_and_fix(string good, string wrong, string place, string words)
    {
        var failure = Should.Throw<TopologyException>(() => Read(Good.Replace(good, wrong, StringComparison.Ordinal)));

        failure.Message.ShouldContain(place);
        failure.Message.ShouldContain(words);
        failure.Message.ShouldContain("fix: ");
    }

    [TestCase("[", 60_000)]
    [TestCase("{", 60_000)]
    [TestCase("- ", 100_000)]
    [TestCase("? ", 100_000)]
    [TestCase("a: {", 60_000)]
    [TestCase("a: &a [*a]\n", 1)]
    [TestCase("\0", 1000)]
    [TestCase("a: \"\\Uffffffff\"", 1)]
    [TestCase("a", 2_000_000)]
    public void A_hostile_document_is_refused_with_a_place(string text, int times) =>
        Should.Throw<TopologyException>(() => Read(string.Concat(Enumerable.Repeat(text, times)))).Message.ShouldContain("t.yaml:1:");

    [Test]
    public void Unknown_topology_is_reported_with_the_nearest_name() =>
        Should.Throw<TopologyException>(() => Topology.Load("article-net")).Message.ShouldContain("Did you mean 'article-nat'?");

    private static IReadOnlyList<string> Names() => Topology.Names();

    private static Topology Read(string document)
    {
        var folder = Directory.CreateTempSubdirectory("topology-test");
        try
        {
            var file = Path.Combine(folder.FullName, "t.yaml");
            File.WriteAllText(file, document);
            return Topology.Load(file);
        }
        finally
        {
            folder.Delete(recursive: true);
        }
    }

    [Test]
    public void Every_topology_is_drawn_with_its_nodes_and_addresses()
    {
        foreach (var topology in Topology.Names().Select(Topology.Load))
        {
            var texts = System.Xml.Linq.XDocument.Parse(TopologyDrawing.ToSvg(topology)).Descendants()
                .Where(e => e.Name.LocalName == "text").Select(e => e.Value).ToList();

            topology.Nodes.Select(n => n.Name).Concat(topology.Networks.Select(n => n.Name)).Except(texts).ShouldBeEmpty(topology.Name);
            topology.Nodes.SelectMany(n => n.Interfaces).Select(i => i.IsUnnumbered ? $"{i.Device} unnumbered" : $"{i.Device} {i.Address}")
                .Except(texts).ShouldBeEmpty(topology.Name);
        }
    }
}
