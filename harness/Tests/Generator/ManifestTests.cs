using System.Text;
using Conformance.Generator.Decisions;
using Conformance.Generator.Model;
using Conformance.Generator.Sources;
using Conformance.Linux;

namespace Conformance.Tests.Generator;

/// <summary>What files are read as, and what is left out of them.</summary>
public sealed class ManifestTests
{
    private const string Good = """
        apiVersion: v1
        kind: Service
        metadata: { name: web, namespace: shop, creationTimestamp: "2026-01-31T12:00:00Z" }
        spec:
          type: LoadBalancer
          clusterIPs: [10.96.0.1, "fd00::1"]
          externalTrafficPolicy: Local
          healthCheckNodePort: 32000
          loadBalancerSourceRanges: [192.168.1.7/24]
          sessionAffinity: ClientIP
          ports:
            - { name: http, port: 80, nodePort: 30080 }
        status:
          loadBalancer:
            ingress: [ { ip: 203.0.113.1 }, { ip: 203.0.113.2, ipMode: Proxy }, { hostname: x.example } ]
        """;

    [TestCase("utf-16")]
    [TestCase("utf-16BE")]
    [TestCase("utf-8")]
    public void Text_with_a_byte_order_mark_is_read(string encoding)
    {
        var text = System.Text.Encoding.GetEncoding(encoding);

        var manifest = ManifestReader.Read("s.yaml",
            [.. text.GetPreamble(),
                .. text.GetBytes("apiVersion: v1\nkind: Service\nmetadata: { name: web }\n" +
                    "spec: { clusterIP: 10.96.0.1, ports: [{ port: 80 }] }\n")]);

        manifest.Problems.ShouldBeEmpty();
        manifest.Objects.ShouldHaveSingleItem();
    }

    [Test]
    public void A_node_name_that_is_none_is_explained()
    {
        var cluster = new Cluster();
        cluster.Put(new NodeObject("node-x", null, [], [System.Net.IPAddress.Parse("192.168.113.101")]));
        var options = new GeneratorOptions { HostnameOverride = "node1" };

        NodeStates.WhyNotOurs(options, cluster, [System.Net.IPAddress.Parse("192.168.113.101")])!.ShouldContain(
            "is --hostname-override node-x meant?");
        NodeStates.WhyNotOurs(options, cluster, [])!.ShouldContain("no Node is called node1");
        NodeStates.WhyNotOurs(options, new Cluster(), []).ShouldBeNull("where no Nodes are known nothing can be said");
        cluster.Put(new NodeObject("node1", null, [], []));
        NodeStates.WhyNotOurs(options, cluster, [System.Net.IPAddress.Parse("192.168.113.101")]).ShouldBeNull();
    }

    [TestCase("127.0.0.1", "", Description = "minikube tunnel")]
    [TestCase("\"\"", "", Description = "what some controllers write for none")]
    [TestCase("no-address", "")]
    [TestCase("10.096.005.001", "10.96.5.1")]
    [TestCase("\"::ffff:203.0.113.8\"", "203.0.113.8")]
    [TestCase("\"::ffff:203.0.113.008\"", "203.0.113.8")]
    [TestCase("169.254.1.1", "")]
    public void An_odd_address_takes_nothing_but_itself_away(string odd, string read)
    {
        var manifest = ManifestReader.Read("s.yaml", System.Text.Encoding.UTF8.GetBytes($$"""
            apiVersion: v1
            kind: Service
            metadata: { name: web }
            spec: { type: LoadBalancer, clusterIP: 10.96.0.1, externalIPs: [{{(odd == "\"\"" ? "203.0.113.2" : odd)}}, 203.0.113.1], ports: [{ port: 80 }] }
            status: { loadBalancer: { ingress: [{ ip: {{odd}} }, { ip: 203.0.113.9 }] } }
            """));

        var service = manifest.Objects.ShouldHaveSingleItem().ShouldBeOfType<Service>();
        service.LoadBalancerIPs.Select(a => a.ToString()).ShouldBe([.. read.Length > 0 ? new[] { read } : [], "203.0.113.9"]);
        service.ExternalIPs.Select(a => a.ToString()).ShouldContain("203.0.113.1");
        manifest.Problems.ShouldAllBe(p => p.Effect == ProblemEffect.WithoutValue);
        manifest.Problems.Any().ShouldBe(read.Length == 0 && odd != "\"\"");
    }

    [Test]
    public void An_odd_endpoint_node_address_or_range_takes_nothing_but_itself_away()
    {
        var manifest = ManifestReader.Read("s.yaml", """
            apiVersion: discovery.k8s.io/v1
            kind: EndpointSlice
            metadata: { name: web-1, labels: { kubernetes.io/service-name: web } }
            addressType: IPv4
            ports: [{ port: 80 }]
            endpoints: [{ addresses: [127.0.0.1] }, { addresses: [10.244.0.1], conditions: { ready: perhaps } }, { addresses: [10.244.000.002] }]
            ---
            apiVersion: v1
            kind: Node
            metadata: { name: node1 }
            spec: { podCIDRs: [10.244.0.0/24, none] }
            status: { addresses: [{ type: InternalIP, address: nowhere }, { type: InternalIP, address: 192.168.113.101 }] }
            ---
            apiVersion: v1
            kind: Service
            metadata: { name: web }
            spec: { type: LoadBalancer, clusterIP: 10.96.0.1, loadBalancerSourceRanges: [everybody], ports: [{ port: 80 }] }
            """u8.ToArray());

        manifest.Objects.OfType<EndpointSlice>().ShouldHaveSingleItem().Endpoints.Select(e => e.Address.ToString())
            .ShouldBe(["10.244.0.2"]);
        var node = manifest.Objects.OfType<NodeObject>().ShouldHaveSingleItem();
        node.InternalIPs.Select(a => a.ToString()).ShouldBe(["192.168.113.101"]);
        node.PodCidrs.Select(c => c.ToString()).ShouldBe(["10.244.0.0/24"]);
        manifest.Objects.OfType<Service>().ShouldHaveSingleItem().LoadBalancerSourceRanges.ShouldNotBeEmpty(
            "a firewall that cannot be read stays closed");
        manifest.Problems.Select(p => p.Field)
            .ShouldBe(["endpoints[0].addresses[0]", "endpoints[1].conditions.ready", "spec.podCIDRs[1]", "status.addresses[0].address",
                "spec.loadBalancerSourceRanges[0]"]);
    }

    [Test]
    public void A_service_is_read_with_the_defaults_of_the_api()
    {
        var service = (Service)Read(Good).Objects.ShouldHaveSingleItem();

        service.ShouldSatisfyAllConditions(
            s => s.Name.ShouldBe(new ObjectName("shop", "web")),
            s => s.CreatedAt.ShouldBe(new DateTimeOffset(2026, 1, 31, 12, 0, 0, TimeSpan.Zero)),
            s => s.ClusterIPs.Select(a => a.ToString()).ShouldBe(["10.96.0.1", "fd00::1"]),
            s => s.LoadBalancerIPs.Select(a => a.ToString()).ShouldBe(["203.0.113.1"], "ipMode Proxy and host names are not the proxy's"),
            s => s.LoadBalancerSourceRanges.Select(r => r.ToString()).ShouldBe(["192.168.1.0/24"]),
            s => s.AffinitySeconds.ShouldBe(10800),
            s => s.HealthCheckNodePort.ShouldBe((ushort)32000),
            s => s.ExternalPolicyIsLocal.ShouldBeTrue(),
            s => s.InternalPolicyIsLocal.ShouldBeFalse());
    }

    [Test]
    public void Yaml_json_lists_and_documents_are_read_alike()
    {
        const string service = """{"kind":"Service","apiVersion":"v1","metadata":{"name":"a"},"spec":{"clusterIP":"10.96.0.1","ports":[{"port":80}]}}""";
        const string slice = """{"kind":"EndpointSlice","apiVersion":"discovery.k8s.io/v1","metadata":{"name":"a-1","labels":{"kubernetes.io/service-name":"a"}},"addressType":"IPv4","ports":[{"port":8080}],"endpoints":[{"addresses":["10.1.1.1"]}]}""";

        foreach (var text in new[]
        {
            $"{{\"apiVersion\":\"v1\",\"items\":[{service},{slice}],\"kind\":\"List\"}}", $"{service}\n{slice}",
                $"---\n{service}\n---\n{slice}\n",
            $"apiVersion: v1\nitems:\n- {service}\n- {slice}\nkind: List\n",
        })
        {
            var manifest = Read(text);
            manifest.Problems.ShouldBeEmpty(text);
            manifest.Objects.Select(o => o.GetType().Name).ShouldBe(["Service", "EndpointSlice"], text);
            ((EndpointSlice)manifest.Objects[1]).Endpoints.ShouldHaveSingleItem()
                .ShouldSatisfyAllConditions(e => e.IsReady.ShouldBeTrue(), e => e.IsServing.ShouldBeTrue(),
                    e => e.IsTerminating.ShouldBeFalse());
        }
    }

    [TestCase("port: 80", "port: 0", 12, "spec.ports[0].port", "must be a number of 1 to 65535, not '0'")]
    [TestCase("port: 80", "port: \"80\"", 12, "spec.ports[0].port", "must be a number")]
    [TestCase("name: http,", "name: http, protocol: ICMP,", 12, "spec.ports[0].protocol", "must be one of TCP, UDP, SCTP, not 'ICMP'")]
    [TestCase("10.96.0.1", "10.96.0.256", 6, "spec.clusterIPs[0]", "must be an IP address")]
    [TestCase("10.96.0.1", "10.96.1", 6, "spec.clusterIPs[0]", "must be an IP address")]
    [TestCase("\"fd00::1\"", "\"::ffff:10.0.0.1\"", 6, "spec.clusterIPs", "must be one address, or one of each family")]
    [TestCase("10.96.0.1", "127.0.0.1", 6, "spec.clusterIPs[0]", "must not be a loopback")]
    [TestCase("type: LoadBalancer", "type: Balancer", 5, "spec.type", "must be one of")]
    [TestCase("name: web", "nome: web", 3, "metadata.name", "is required")]
    [TestCase("ClientIP", "[]", 10, "spec.sessionAffinity", "must be text")]
    public void Invalid_object_is_reported_with_line_and_field_and_skipped(string good, string bad, int line, string field,
        string words)
    {
        var manifest = Read($"{Good.Replace(good, bad, StringComparison.Ordinal)}\n---\n" +
            $"{Good.Replace("name: web", "name: other", StringComparison.Ordinal)}");

        var problem = manifest.Problems.ShouldHaveSingleItem();
        (problem.Line, problem.Field).ShouldBe((line, field));
        problem.Message.ShouldStartWith(words);
        ((Service)manifest.Objects.ShouldHaveSingleItem()).Name.Name.ShouldBe("other");
    }

    [Test]
    public void A_document_that_is_no_yaml_does_not_take_the_others_with_it()
    {
        var manifest = Read($"{Good}\n---\nkind: [Service\n---\n{Good.Replace("name: web", "name: other", StringComparison.Ordinal)}");

        manifest.Objects.Count.ShouldBe(2);
        manifest.IsTorn.ShouldBeTrue();
        manifest.Problems.ShouldHaveSingleItem().Line.ShouldBeInRange(16, 18);
    }

    [Test]
    public void A_port_of_a_slice_that_is_none_is_skipped_and_a_null_namespace_is_the_default()
    {
        var manifest = Read("""{"kind":"EndpointSlice","apiVersion":"discovery.k8s.io/v1","metadata":{"name":"a-1","labels":{"kubernetes.io/service-name":"a"}},"addressType":"IPv4","ports":[{"name":"x","port":0},{"name":"y","port":80}],"endpoints":[{"addresses":["240.1.1.1"]}]}""");
        ((EndpointSlice)manifest.Objects.ShouldHaveSingleItem())
            .ShouldSatisfyAllConditions(e => e.Ports.Select(p => p.Name).ShouldBe(["y"]), e => e.Endpoints.Count.ShouldBe(1));

        Read("kind: Service\napiVersion: v1\nmetadata: { name: a, namespace: }\n" +
            "spec: { clusterIP: 10.96.0.300, ports: [ { port: 80 } ] }\n").Invalid.ShouldBe(
                [new ObjectKey(ObjectKind.Service, new ObjectName("default", "a"))]);
    }

    [Test]
    public void What_begins_with_a_bracket_may_be_yaml_and_keys_may_be_long()
    {
        var text = $"{{kind: Service, apiVersion: v1, metadata: {{name: a, annotations: {{{new string('k', 3000)}: x}}}}, spec: " +
            $"{{clusterIP: 10.96.0.1, ports: [{{port: 80}}]}}}}\n";

        Read(text).ShouldSatisfyAllConditions(m => m.Problems.ShouldBeEmpty(), m => m.Objects.Count.ShouldBe(1));
        Read($"{text}---\n{text}").Objects.Count.ShouldBe(2);
        Read(text[..^40]).Torn.ShouldNotBeNull();
    }

    [Test]
    public void Skipped_documents_are_reported_by_kind()
    {
        var manifest = Read("kind: Deployment\napiVersion: apps/v1\nmetadata: {name: a}\n---\nkind: Deployment\napiVersion: " +
            "apps/v1\nmetadata: {name: b}\n---\nkind: service\napiVersion: v1\nmetadata: {name: c}\n---\nkind: " +
            "EndpointSlice\napiVersion: discovery.k8s.io/v1\nmetadata: {name: d}\naddressType: FQDN\n");

        manifest.Problems.Select(p => p.ToString()).ShouldBe(
        [
            "test:9: service c is left out: kind must be Service, not 'service'",
            "test:1: Deployment a is skipped: a service proxy needs Services, EndpointSlices and Nodes only, as are 1 more of its kind",
            "test:13: EndpointSlice d is skipped: its addresses are names (addressType FQDN)",
        ]);
    }

    [TestCase("name: web", "name: a..b", "metadata.name")]
    [TestCase("name: web", "name: a.b", "metadata.name")]
    [TestCase("name: web", "name: -a", "metadata.name")]
    [TestCase("namespace: shop", "namespace: a.b", "metadata.namespace")]
    [TestCase("name: web", "name: a123456789012345678901234567890123456789012345678901234567890123", "metadata.name")]
    [TestCase("name: http", "name: Http", "spec.ports[0].name")]
    [TestCase("name: http,", "", "spec.ports[0].name")]
    [TestCase("  clusterIPs:", "  clusterIP: 10.96.0.7\n  clusterIPs:", "spec.clusterIPs[0]")]
    [TestCase("[10.96.0.1, \"fd00::1\"]", "[None, 10.96.0.1]", "spec.clusterIPs")]
    [TestCase("type: LoadBalancer", "type: ClusterIP", "spec.ports[0].nodePort")]
    [TestCase("port: 80, nodePort: 30080", "port: 80", "spec.externalTrafficPolicy", "type: LoadBalancer", "type: ClusterIP")]
    [TestCase("port: 80", "port: 010", "spec.ports[0].port")]
    [TestCase("2026-01-31T12:00:00Z", "12:00", "metadata.creationTimestamp")]
    [TestCase("2026-01-31T12:00:00Z", "2026-01-31 12:00:00Z", "metadata.creationTimestamp")]
    [TestCase("2026-01-31T12:00:00Z", "2026-01-31T12:00:00", "metadata.creationTimestamp")]
    public void What_the_api_server_would_not_store_is_left_out(string good, string bad, string field, string alsoGood = "\0",
        string alsoBad = "")
    {
        var text = Good.Replace("    - { name: http, port: 80, nodePort: 30080 }",
            "    - { name: http, port: 80, nodePort: 30080 }\n    - { name: https, port: 443 }", StringComparison.Ordinal);
        Read(text).Problems.ShouldBeEmpty();

        var changed = text.Replace(good, bad, StringComparison.Ordinal).Replace(alsoGood, alsoBad, StringComparison.Ordinal);

        Read(changed).Problems.Select(p => p.Field).ShouldBe([field], changed);
    }

    [TestCase("2026-01-31T12:00:00Z")]
    [TestCase("2026-01-31T12:00:00.123456Z")]
    [TestCase("2026-01-31T14:00:00+02:00")]
    public void Times_are_those_of_rfc_3339(string time) =>
        ((Service)Read(Good.Replace("2026-01-31T12:00:00Z", time,
            StringComparison.Ordinal)).Objects.ShouldHaveSingleItem()).CreatedAt.UtcDateTime.Hour.ShouldBe(12);

    [Test]
    public void An_endpoint_whose_second_address_is_invalid_is_skipped()
    {
        var manifest = Read("""{"kind":"EndpointSlice","apiVersion":"discovery.k8s.io/v1","metadata":{"name":"a-1","labels":{"kubernetes.io/service-name":"a"}},"addressType":"IPv4","ports":[{"port":80}],"endpoints":[{"addresses":["10.1.1.1","x"]},{"addresses":["10.1.1.2"]}]}""");

        ((EndpointSlice)manifest.Objects.ShouldHaveSingleItem()).Endpoints.Select(e => e.Address.ToString()).ShouldBe(["10.1.1.2"]);
        manifest.Problems.ShouldHaveSingleItem().Field.ShouldBe("endpoints[0].addresses[1]");
    }

    [TestCase("""{"kind":"Service","apiVersion":"v1","metadata":{"name":"a"},"spec":{"clusterIP":"10.96.0.1","ports":[{"port":80,"port":81}]}}""", "port")]
    [TestCase("kind: Service\napiVersion: v1\nmetadata: { name: a }\nspec: { clusterIP: 10.96.0.1, ports: [ { port: 80 } ] }\nspec: { " +
        "<<: { type: NodePort }, clusterIP: 10.96.0.2 }\n", "spec")]
    [TestCase("kind: Service\napiVersion: v1\nmetadata: { name: a, labels: { a: a, b: a, c: a, d: a, e: a, f: a, g: a, h: a, i: a, j: " +
        "a, k: a, l: a, m: a, n: a, o: a, p: a, q: a, c: b } }\n", "c")]
    public void An_object_that_says_a_thing_twice_is_left_out(string text, string key)
    {
        var manifest = Read(text);

        manifest.Objects.ShouldBeEmpty();
        manifest.Problems.ShouldHaveSingleItem().Message.ShouldBe($"has the key {key} twice");
    }

    [Test]
    public void A_byte_order_mark_aliases_and_merge_keys_change_nothing([Values] bool hasMark)
    {
        const string service =
            "{ kind: Service, apiVersion: v1, metadata: { name: a }, spec: { clusterIP: 10.96.0.1, ports: [ { port: 80 } ] } }";
        foreach (var text in new[]
        {
            $"--- {service}", $"all: &all [ {service} ]\nkind: List\napiVersion: v1\nitems: *all\n",
            $"defaults: &d {{ ports: [ {{ port: 80 }} ], clusterIP: 10.96.0.9 }}\nkind: Service\napiVersion: v1\nmetadata: {{ name: a " +
            $"}}\nspec: {{ <<: *d, clusterIP: 10.96.0.1 }}\n",
            """{"kind":"Service","apiVersion":"v1","metadata":{"name":"a"},"spec":{"clusterIP":"10.96.0.1","ports":[{"port":80}]}}""",
            $"%YAML 1.1\n# a directive belongs to its document\n---\n{service}\n",
        })
        {
            var manifest = Read((hasMark ? "\uFEFF" : "") + text);
            manifest.Problems.ShouldBeEmpty(text);
            var read = (Service)manifest.Objects.ShouldHaveSingleItem(text);
            (read.ClusterIPs[0].ToString(), read.Ports[0].Port).ShouldBe(("10.96.0.1", (ushort)80), text);
        }
    }

    [TestCase("apiVersion: v1\n", "", "apiVersion", "is required")]
    [TestCase("apiVersion: v1\n", "apiVersion: v2\n", "apiVersion", "must be v1")]
    [TestCase("[10.96.0.1, \"fd00::1\"]", "[10.96.0.1, 10.96.0.9]", "spec.clusterIPs", "must be one address, or one of each family")]
    [TestCase("  sessionAffinity", "  ipFamilies: [IPv6, IPv4]\n  sessionAffinity", "spec.ipFamilies[0]",
        "must be the family of 10.96.0.1")]
    [TestCase("  type: LoadBalancer\n", "  type: LoadBalancer\n  <<: 5\n", "", "merges (<<) what is no mapping")]
    [TestCase("port: 80, nodePort: 30080 }", "port: 80, nodePort: 30080 }\n    - { name: https, port: 443, nodePort: 30080 }",
        "spec.ports[1].nodePort", "must be unique among the node ports of its protocol")]
    [TestCase("  ports:\n    - { name: http, port: 80, nodePort: 30080 }\n", "", "spec.ports", "is required")]
    public void Missing_fields_are_reported(string good, string bad, string field, string words)
    {
        var problem = Read($"{Good}\n".Replace(good, bad, StringComparison.Ordinal)).Problems.ShouldHaveSingleItem();

        problem.Field.ShouldBe(field);
        problem.Message.ShouldStartWith(words);
    }

    [Test]
    public void List_without_valid_items_is_reported() =>
        Read("kind: List\napiVersion: v1\nitems: {}\n").Problems.ShouldHaveSingleItem().Message.ShouldBe("must be a list");

    [TestCase("service.kubernetes.io/headless")]
    [TestCase("service.kubernetes.io/service-proxy-name")]
    public void Slice_of_another_proxy_is_ignored(string label)
    {
        var manifest = Read($$$"""{"kind":"EndpointSlice","apiVersion":"discovery.k8s.io/v1","metadata":{"name":"a-1","labels":{"kubernetes.io/service-name":"a","{{{label}}}":"x"}},"addressType":"IPv4","ports":[],"endpoints":[]}""");

        manifest.Objects.ShouldBeEmpty();
        manifest.Problems.ShouldHaveSingleItem().ToString().ShouldBe($"test:1: EndpointSlice a-1 is skipped: it has the label {label}");
    }

    [TestCase("topology-mode: Auto", true)]
    [TestCase("topology-mode: PreferZone", true)]
    [TestCase("topology-mode: Disabled", false)]
    [TestCase("topology-aware-hints: disabled, service.kubernetes.io/topology-mode: Auto", false)]
    [TestCase("topology-aware-hints: auto", true)]
    public void Hints_are_followed_as_kube_proxy_follows_them(string annotations, bool follows) =>
        ((Service)Read(Good.Replace("namespace: shop", $"namespace: shop, annotations: {{ service.kubernetes.io/{annotations} }}",
            StringComparison.Ordinal)).Objects.ShouldHaveSingleItem()).UsesTopologyHints.ShouldBe(follows);

    [Test]
    public void Words_of_an_object_never_reach_a_document()
    {
        const string evil = "x -j ACCEPT\\nCOMMIT\\n*nat";
        Read(Good.Replace("name: web", $"name: \"{evil}\"", StringComparison.Ordinal)).Problems.ShouldHaveSingleItem().ToString()
            .ShouldSatisfyAllConditions(
            message => message.ShouldContain("metadata.name must be of lower-case letters"),
            message => message.ShouldNotContain('\n', "one line, whatever the object says"));
        Read(Good.Replace("name: http", $"name: \"{evil}\"", StringComparison.Ordinal)).Problems.ShouldHaveSingleItem().ToString()
            .ShouldContain("spec.ports[0].name must be of lower-case letters");
        Read(Good.Replace("namespace: shop", $"namespace: shop, annotations: {{ {Service.SchedulerAnnotation}: \"rr\\n-C\" }}",
            StringComparison.Ordinal)).Problems.ShouldHaveSingleItem().Message.ShouldStartWith("must be the name of a scheduler");
    }

    private static Manifest Read(string text) => ManifestReader.Read("test", Encoding.UTF8.GetBytes(text));
}
