using System.Text;
using Conformance.Generator.Model;
using Conformance.Generator.Preflight;
using Conformance.Generator.Sources;
using Conformance.Labs;
using Conformance.Reports;

namespace Conformance.Tests.Generator;

/// <summary>Services that depend on kube-proxy's IPVS mode are found, and no others.</summary>
[Parallelizable(ParallelScope.All)]
public sealed class PreflightTests
{
    private const string Nodes = """
        ---
        {kind: Node, apiVersion: v1, metadata: {name: node1}, status: {addresses: [{type: InternalIP, address: 192.168.113.101}]}}
        ---
        {kind: Node, apiVersion: v1, metadata: {name: node2}, status: {addresses: [{type: InternalIP, address: 192.168.113.102}]}}

        """;

    [TestCase("sessionAffinity: ClientIP", "session-affinity")]
    [TestCase("type: NodePort, externalTrafficPolicy: Local", "external-policy-local")]
    [TestCase("type: LoadBalancer, internalTrafficPolicy: Local", "internal-policy-local")]
    [TestCase("internalTrafficPolicy: Local", "", Description = "a ClusterIP alone has no way to other nodes in any mode")]
    [TestCase("externalIPs: [192.168.113.102]", "node-address")]
    [TestCase("externalIPs: [198.51.100.7]", "duplicate-address")]
    [TestCase("type: ClusterIP", "")]
    public void A_service_is_found_by_what_it_depends_on(string spec, string kind) =>
        KindsOf(Find(spec, onBothNodes: false)).ShouldBe(kind.Length == 0 ? [] : [kind]);

    [TestCase("type: NodePort, externalTrafficPolicy: Local")]
    [TestCase("type: LoadBalancer, internalTrafficPolicy: Local")]
    public void A_local_policy_is_no_matter_where_every_node_has_an_endpoint(string spec) =>
        Find(spec, onBothNodes: true).ShouldBeEmpty();

    [Test]
    public void Without_nodes_a_local_policy_cannot_be_judged_and_is_named()
    {
        var finding = Find("type: NodePort, externalTrafficPolicy: Local", onBothNodes: true, nodes: "").ShouldHaveSingleItem();

        finding.Evidence.ShouldContain("no Node objects were given");
    }

    [TestCase("loadBalancerSourceRanges: [0.0.0.0/0]", "source-range-of-everybody")]
    [TestCase("loadBalancerSourceRanges: [10.0.0.0/8]", "")]
    public void Source_ranges_are_found_by_their_families_and_sizes(string spec, string kind) =>
        KindsOf(Find($"type: LoadBalancer, {spec}", onBothNodes: true, ingress: "203.0.113.5")).ShouldBe(kind.Length == 0 ? [] : [kind]);

    [Test]
    public void Node_ports_matter_only_where_they_are_limited_to_networks()
    {
        var limited = new GeneratorOptions { NodePortAddresses = [System.Net.IPNetwork.Parse("192.168.0.0/16")] };

        KindsOf(Find("type: NodePort", onBothNodes: true, options: limited, port: ", nodePort: 30080")).ShouldBe(["node-port-addresses"]);
        Find("type: NodePort", onBothNodes: true, port: ", nodePort: 30080").ShouldBeEmpty();
    }

    [Test]
    public void An_endpoint_that_is_there_twice_in_two_states_is_found()
    {
        const string slice = """
            ---
            {kind: EndpointSlice, apiVersion: discovery.k8s.io/v1, metadata: {name: web-2, namespace: shop, labels: {kubernetes.io/service-name: web}},
             addressType: IPv4, ports: [{port: 80}], endpoints: [{addresses: [10.244.0.1], conditions: {ready: false}}]}
            """;

        KindsOf(Find("type: ClusterIP", onBothNodes: true, nodes: Nodes + slice)).ShouldBe(["endpoint-twice"]);
    }

    [Test]
    public void Every_claim_that_a_finding_names_is_in_the_catalogue()
    {
        var claims = Catalogue.Load(Path.Combine(ProjectFolder.Root, "conformance")).Claims;
        var sources = File.ReadAllText(Path.Combine(ProjectFolder.Root, "harness/Generator/Preflight/Checks.cs"));

        var named = System.Text.RegularExpressions.Regex.Matches(sources, "\"(?<id>[A-Z]+-[0-9]+)\"",
            System.Text.RegularExpressions.RegexOptions.ExplicitCapture, TimeSpan.FromSeconds(1)).Select(m => m.Groups["id"].Value)
                .ToList();

        named.Count.ShouldBeGreaterThan(8);
        named.Where(id => !claims.ContainsKey(id)).ShouldBeEmpty();
    }

    private static IEnumerable<string> KindsOf(IReadOnlyList<Finding> findings) =>
        findings.Where(f => f.Service.Name == "web").Select(f => f.Kind);

    private static IReadOnlyList<Finding> Find(string spec, bool onBothNodes, string nodes = Nodes, string ingress = "", string port = "",
        GeneratorOptions? options = null)
    {
        var status = ingress.Length == 0 ? "" : $", status: {{loadBalancer: {{ingress: [{{ip: {ingress}}}]}}}}";
        var second = onBothNodes ? ", {addresses: [10.244.1.1], nodeName: node2}" : "";
        var yaml = $$"""
            {kind: Service, apiVersion: v1, metadata: {name: web, namespace: shop},
             spec: {clusterIP: 10.96.0.1, ports: [{port: 80{{port}}}], {{spec}} }{{status}} }
            ---
            {kind: Service, apiVersion: v1, metadata: {name: other, namespace: shop}, spec: {clusterIP: 10.96.0.2, externalIPs: [198.51.100.7], ports: [{port: 80}]} }
            ---
            {kind: Service, apiVersion: v1, metadata: {name: none, namespace: shop}, spec: {clusterIP: None, sessionAffinity: ClientIP} }
            ---
            {kind: EndpointSlice, apiVersion: discovery.k8s.io/v1, metadata: {name: web-1, namespace: shop, labels: {kubernetes.io/service-name: web} },
             addressType: IPv4, ports: [{port: 80}], endpoints: [{addresses: [10.244.0.1], nodeName: node1}{{second}}]}
            {{nodes}}
            """;
        var cluster = new Cluster();
        var manifest = ManifestReader.Read("test", Encoding.UTF8.GetBytes(yaml));
        manifest.Problems.ShouldBeEmpty();
        foreach (var item in manifest.Objects)
            Source.Put(cluster, item);
        return Checks.Of(cluster, options ?? new GeneratorOptions());
    }
}
