using System.Net;
using System.Text;
using Conformance.Generator.Decisions;
using Conformance.Generator.Model;
using Conformance.Generator.Sources;

namespace Conformance.Tests.Generator;

/// <summary>What valid objects do that nobody will have meant.</summary>
[Parallelizable(ParallelScope.All)]
public sealed class WarningTests
{
    private const string Nodes = """
        ---
        {kind: Node, apiVersion: v1, metadata: {name: node1}, status: {addresses: [{type: InternalIP, address: 192.168.113.101}]}}
        ---
        {kind: Node, apiVersion: v1, metadata: {name: node2}, status: {addresses: [{type: InternalIP, address: 192.168.113.102}, {type: ExternalIP, address: 198.51.100.2}]}}

        """;

    [TestCase("externalIPs: [192.168.113.102]", "")]
    [TestCase("type: LoadBalancer", "192.168.113.102")]
    public void Address_of_another_node_is_reported_and_can_be_refused(string spec, string ingress)
    {
        var (warnings, addresses) = Decide(spec, ingress, refuses: false);
        warnings.ShouldHaveSingleItem().ShouldSatisfyAllConditions(w => w.ShouldContain("Service shop/web: 192.168.113.102"),
            w => w.ShouldContain("InternalIP of Node node2"), w => w.ShouldContain("--refuse-node-addresses"));
        addresses.ShouldContain("192.168.113.102");

        (warnings, addresses) = Decide(spec, ingress, refuses: true);
        warnings.ShouldHaveSingleItem().ShouldContain("192.168.113.102 is not served, since it is the InternalIP of Node node2");
        addresses.ShouldBe(["10.96.0.1"]);
    }

    [TestCase("externalIPs: [192.168.113.101]", "", Description = "the node's own")]
    [TestCase("externalIPs: [198.51.100.2]", "", Description = "no InternalIP")]
    public void Other_addresses_are_served_without_a_word(string spec, string ingress)
    {
        var (warnings, addresses) = Decide(spec, ingress, refuses: true);

        warnings.ShouldBeEmpty();
        addresses.Count.ShouldBe(2);
    }

    [Test]
    public void A_cluster_ip_is_served_whatever_a_node_says_of_its_addresses() =>
        Decide("type: ClusterIP", "", refuses: true, Nodes.Replace("192.168.113.102", "10.96.0.1",
            StringComparison.Ordinal)).Addresses.ShouldBe(["10.96.0.1"]);

    [TestCase("10.0.0.0/8", "IPv6")]
    [TestCase("\"fd00::/8\"", "IPv4")]
    [TestCase("10.0.0.0/8, \"fd00::/8\"", null)]
    public void Source_ranges_that_leave_a_family_open_are_reported(string ranges, string? open)
    {
        var (warnings, _) = Decide($"type: LoadBalancer\n  loadBalancerSourceRanges: [{ranges}]", "203.0.113.1 }, { ip: \"fd00:113::1\"",
            refuses: false);

        if (open is null)
            warnings.ShouldBeEmpty();
        else
            warnings.ShouldHaveSingleItem()
                .ShouldBe($"Service shop/web: loadBalancerSourceRanges has no range of {open}: its load-balancer addresses of {open} " +
                    $"are open to everybody");
    }

    private static (IReadOnlyList<string> Warnings, IReadOnlyList<string> Addresses) Decide(string spec, string ingress, bool refuses,
        string nodes = Nodes)
    {
        var manifest = ManifestReader.Read("test", Encoding.UTF8.GetBytes($$"""
            {{nodes}}
            ---
            kind: Service
            apiVersion: v1
            metadata: { namespace: shop, name: web }
            spec:
              clusterIP: 10.96.0.1
              ports: [ { port: 80 } ]
              {{spec}}
            status: { loadBalancer: { ingress: [ {{(ingress.Length == 0 ? "" : $"{{ ip: {ingress} }}")}} ] } }
            """.Replace("\n            ", "\n", StringComparison.Ordinal)));
        manifest.Problems.ShouldBeEmpty();
        var cluster = new Cluster();
        foreach (var item in manifest.Objects)
            Source.Put(cluster, item);
        var options = new GeneratorOptions { HostnameOverride = "node1", RefuseNodeAddresses = refuses };
        var world = new World(options, NodeStates.Of(options, cluster, [IPAddress.Parse("192.168.113.101")]), cluster);
        return ([.. world.Warnings], [.. world.Desired.Servers.Select(s => s.Key.Address.ToString()).Distinct()]);
    }
}
