using System.Net;
using System.Text;
using Conformance.Generator.Decisions;
using Conformance.Generator.Documents;
using Conformance.Generator.Model;
using Conformance.Generator.Sources;
using Conformance.Linux;

namespace Conformance.Tests.Generator;

/// <summary>Where the generator does otherwise than kube-proxy, row by row of the table in its README.</summary>
public sealed class DifferenceTests
{
    private static readonly NodeState s_node = new("node1", [IPAddress.Parse("192.168.113.101")], "zone-a", [], []);

    [Test]
    public void Local_policy_without_an_endpoint_drops_clients_and_serves_pods()
    {
        const string service = "type: LoadBalancer\n  externalTrafficPolicy: Local";

        var (ours, theirs) = Both(service, "203.0.113.1", Endpoint("10.244.1.1", "node2"));

        ours.Ipvsadm.ShouldContain("-a -t 203.0.113.1:80 -r 10.244.1.1:8080 -m -w 1", Case.Sensitive,
            "pods and node reach everybody's endpoints");
        ours.Ipset.ShouldContain("add KUBE-NO-LOCAL-ENDPOINT 203.0.113.1,tcp:80 -exist");
        ours.Ipset.ShouldContain("add KUBE-NO-LOCAL-ENDPOINT 192.168.113.101,tcp:30080 -exist");
        ours.Iptables.ShouldContain(
            "-A KUBE-PROXY-FIREWALL ! -s 10.244.0.0/16 -m comment --comment \"Kubernetes service with externalTrafficPolicy=local and " +
            "no local endpoint\" -m conntrack --ctstate NEW -m set --match-set KUBE-NO-LOCAL-ENDPOINT dst,dst -m addrtype ! --src-type " +
            "LOCAL -j DROP");
        theirs.Iptables.ShouldNotContain("NO-LOCAL");
        // A pod of another node comes in at the node port: only by way of this node can it be answered.
        var rules = ours.Iptables.Split('\n').Where(l => l.StartsWith("-A KUBE-SERVICES ", StringComparison.Ordinal)).ToList();
        rules.FindIndex(r => r.EndsWith("--match-set KUBE-NO-LOCAL-ENDPOINT dst,dst -j KUBE-MARK-MASQ", StringComparison.Ordinal))
            .ShouldBeInRange(0, rules.FindIndex(r => r.EndsWith("-j KUBE-NODE-PORT", StringComparison.Ordinal)));

        Both(service, "203.0.113.1", Endpoint("10.244.0.1", "node1") + Endpoint("10.244.1.1", "node2")).Ours.ShouldSatisfyAllConditions(
            d => d.Ipset.ShouldNotContain("add KUBE-NO-LOCAL"),
            d => d.Ipvsadm.ShouldContain("-a -t 203.0.113.1:80 -r 10.244.0.1:8080"),
            d => d.Ipvsadm.ShouldNotContain("-a -t 203.0.113.1:80 -r 10.244.1.1:8080"));
    }

    [Test]
    public void Nothing_is_dropped_where_pods_cannot_be_recognized()
    {
        var world = new World(Options(compat: false) with { ClusterCidr = [] }, s_node,
            Read(ServiceText("x", "10.96.0.1", "type: LoadBalancer\n  externalTrafficPolicy: Local", "203.0.113.1", "")
            + SliceText("x", Endpoint("10.244.1.1", "node2"))));

        DocumentSet.Of(world.Desired, s_node).Iptables.ShouldNotContain(
            "KUBE-NO-LOCAL-ENDPOINT dst,dst -m addrtype ! --src-type LOCAL -j DROP");
    }

    [Test]
    public void External_ip_that_is_also_a_load_balancer_address_keeps_its_ranges()
    {
        var ours = Both("type: LoadBalancer\n  externalIPs: [203.0.113.1]\n  loadBalancerSourceRanges: [192.0.2.0/24]", "203.0.113.1",
            Endpoint("10.244.1.1", "node2")).Ours;

        ours.Ipset.ShouldContain("add KUBE-LOAD-BALANCER-FW 203.0.113.1,tcp:80 -exist");
        ours.Ipset.ShouldContain("add KUBE-EXTERNAL-IP 203.0.113.1,tcp:80 -exist");
    }

    [Test]
    public void Internal_policy_local_without_an_endpoint_here_is_refused_whatever_the_type()
    {
        var (ours, theirs) = Both("type: NodePort\n  internalTrafficPolicy: Local", null, Endpoint("10.244.1.1", "node2"));

        ours.Ipvsadm.ShouldContain("-A -t 10.96.0.1:80");
        ours.Ipvsadm.ShouldNotContain("-a -t 10.96.0.1:80", Case.Sensitive);
        ours.Ipvsadm.ShouldContain("-a -t 192.168.113.101:30080 -r 10.244.1.1:8080");
        theirs.Ipvsadm.ShouldContain("-a -t 10.96.0.1:80 -r 10.244.1.1:8080");
    }

    private const string Ready =
        "{ addresses: [10.244.0.1], nodeName: node1, conditions: { ready: true, serving: true, terminating: false } }, ";
    private const string Draining =
        "{ addresses: [10.244.0.1], nodeName: node1, conditions: { ready: false, serving: true, terminating: true } }, ";
    private const string Ended =
        "{ addresses: [10.244.0.1], nodeName: node2, conditions: { ready: false, serving: false, terminating: true } }, ";

    [TestCase(Ready, Ended)]
    [TestCase(Ended, Ready)]
    [TestCase(Ready, Draining)]
    [TestCase(Draining, Ready)]
    [TestCase(Ended, Draining)]
    [TestCase(Draining, Ended)]
    public void An_endpoint_that_stands_twice_has_its_better_state(string first, string second)
    {
        const string service = "type: NodePort\n  externalTrafficPolicy: Local\n  internalTrafficPolicy: Local";
        var twoSlices = ServiceText("x", "10.96.0.1", service, null, "") + SliceText("x", first) + SliceText("x", second)
            .Replace("x-1", "x-2", StringComparison.Ordinal);
        var documents = new[] { Both(service, null, first + second).Ours,
            DocumentSet.Of(new World(Options(compat: false), s_node, Read(twoSlices)).Desired, s_node) };

        foreach (var ours in documents)
        {
            ours.Ipvsadm.Split('\n').Count(l => l.Contains("-a -t 10.96.0.1:80 -r 10.244.0.1:8080", StringComparison.Ordinal))
                .ShouldBe(1, "served once");
            ours.Ipvsadm.ShouldContain("-a -t 192.168.113.101:30080 -r 10.244.0.1:8080", Case.Sensitive, "and local");
        }
    }

    [TestCase("forNodes: [ { name: node1 } ]", "forNodes: [ { name: node2 } ]", true, Description = "hinted for both nodes")]
    [TestCase("forNodes: [ { name: node2 } ]", "forNodes: [ { name: node2 } ]", false)]
    public void An_endpoint_that_stands_twice_has_the_hints_of_both(string first, string second, bool isForUs)
    {
        var twice = string.Concat(new[] { first, second }
            .Select(h => $"{{ addresses: [10.244.1.1], nodeName: node2, hints: {{ {h} }} }}, "));
        var ours = Both("type: ClusterIP\n  trafficDistribution: PreferSameNode", null,
            twice + "{ addresses: [10.244.0.1], nodeName: node1, hints: { forNodes: [ { name: node1 } ] } }").Ours;

        ours.Ipvsadm.Contains("-r 10.244.1.1:8080", StringComparison.Ordinal).ShouldBe(isForUs);
        ours.Ipvsadm.ShouldContain("-r 10.244.0.1:8080");
    }

    [TestCase("", "192.0.2.1 192.168.113.101 fd00:113::101")]
    [TestCase("192.168.113.0/24", "192.168.113.101 fd00:113::101",
        Description = "a family of which no network is named is served everywhere")]
    [TestCase("fd00:113::/64", "192.0.2.1 192.168.113.101 fd00:113::101")]
    [TestCase("10.0.0.0/8,fd00:113::/64", "fd00:113::101")]
    [TestCase("primary", "192.168.113.101 fd00:113::101")]
    public void Node_port_addresses_are_those_of_the_networks(string networks, string expected)
    {
        var node = new NodeState("node1", [.. new[] { "192.0.2.1", "192.168.113.101", "fd00:113::101" }.Select(IPAddress.Parse)], null,
            [], [IPAddress.Parse("192.168.113.101")]);
        var options = networks == "primary" ? Options(compat: false) with { NodePortsOnPrimaryAddress = true }
            : Options(compat: false) with
            {
                NodePortAddresses = [.. networks.Split(',', StringSplitOptions.RemoveEmptyEntries)
            .Select(n => IPNetwork.Parse(n))]
            };

        string.Join(' ', new[] { System.Net.Sockets.AddressFamily.InterNetwork, System.Net.Sockets.AddressFamily.InterNetworkV6 }
            .SelectMany(f => node.NodePortAddresses(options, f))).ShouldBe(expected);
    }

    [Test]
    public void No_node_port_is_served_in_an_excluded_network()
    {
        var node = s_node with { Addresses = [IPAddress.Parse("192.168.113.101"), IPAddress.Parse("198.18.0.1")] };
        var excluding = new GeneratorOptions { HostnameOverride = "node1", IpvsExcludeCidrs = [IPNetwork.Parse("198.18.0.0/15")] };

        node.NodePortAddresses(excluding, System.Net.Sockets.AddressFamily.InterNetwork).Select(a => a.ToString())
            .ShouldBe(["192.168.113.101"]);
        node.NodePortAddresses(excluding with { CompatKubeProxy = true }, System.Net.Sockets.AddressFamily.InterNetwork).Count()
            .ShouldBe(2, "as kube-proxy does");
    }

    [Test]
    public void Node_ports_match_address_and_port()
    {
        var (ours, theirs) = Both("type: NodePort", null, Endpoint("10.244.1.1", "node2"));

        ours.Ipset.ShouldContain("add KUBE-NODE-PORT 192.168.113.101,tcp:30080 -exist");
        ours.Iptables.ShouldContain("--match-set KUBE-NODE-PORT dst,dst -j KUBE-MARK-MASQ");
        theirs.Ipset.ShouldContain("add KUBE-NODE-PORT-TCP 30080 -exist");
    }

    [Test]
    public void The_source_range_of_everybody_lets_everybody_in()
    {
        var (ours, theirs) = Both("type: LoadBalancer\n  loadBalancerSourceRanges: [0.0.0.0/0]", "203.0.113.1",
            Endpoint("10.244.1.1", "node2"));

        ours.Ipset.ShouldContain("add KUBE-LOAD-BALANCER-SOURCE-CIDR 203.0.113.1,tcp:80,0.0.0.0/1 -exist");
        ours.Ipset.ShouldContain("add KUBE-LOAD-BALANCER-SOURCE-CIDR 203.0.113.1,tcp:80,128.0.0.0/1 -exist");
        theirs.Ipset.ShouldNotContain("add KUBE-LOAD-BALANCER-SOURCE-CIDR");
    }

    [Test]
    public void Traffic_of_the_node_to_a_local_policy_is_masqueraded()
    {
        var (ours, theirs) = Both("type: LoadBalancer\n  externalTrafficPolicy: Local", "203.0.113.1", Endpoint("10.244.0.1", "node1"));

        foreach (var (chain, set) in new[] { ("KUBE-LOAD-BALANCER", "KUBE-LOAD-BALANCER-LOCAL"),
            ("KUBE-NODE-PORT", "KUBE-NODE-PORT-LOCAL") })
        {
            var rules = ours.Iptables.Split('\n').Where(l => l.StartsWith($"-A {chain} ", StringComparison.Ordinal)
                && l.Contains($" {set} ", StringComparison.Ordinal)).ToList();
            rules.Select(r => r[(r.IndexOf("dst,dst ", StringComparison.Ordinal) + 8)..])
                .ShouldBe(["-m addrtype --src-type LOCAL -j KUBE-MARK-MASQ", "-j RETURN"]);
        }
        theirs.Iptables.ShouldNotContain("--src-type LOCAL -j KUBE-MARK-MASQ");
    }

    [Test]
    public void Forwarding_of_ipv6_is_switched_on() => Both("type: ClusterIP\n  clusterIPs: [10.96.0.1, \"fd00:96::1\"]", null, "")
        .ShouldSatisfyAllConditions(
        b => b.Ours.Sysctls.ShouldContain("net.ipv6.conf.all.forwarding = 1"),
        b => b.Theirs.Sysctls.ShouldNotContain("ipv6"));

    [TestCase("99", false)]
    [TestCase("100", true)]
    [TestCase("128", true, Description = "the kernel rounds up")]
    [TestCase("", false)]
    public void A_minimum_is_met_by_what_is_larger(string live, bool isMet)
    {
        new SysctlSetting("net.netfilter.nf_conntrack_buckets", "100", IsMinimum: true).IsMetBy(live).ShouldBe(isMet);
        new SysctlSetting("net.netfilter.nf_conntrack_max", "100").IsMetBy(live).ShouldBe(live == "100");
    }

    [Test]
    public void A_service_chooses_its_scheduler()
    {
        var ours = Both("type: ClusterIP", null, Endpoint("10.244.1.1", "node2"),
            $"annotations: {{ {Service.SchedulerAnnotation}: wlc }}").Ours;

        ours.Ipvsadm.ShouldContain("-A -t 10.96.0.1:80 -s wlc");
    }

    [Test]
    public void Hints_for_this_node_keep_traffic_on_it()
    {
        var (ours, theirs) = Both("type: ClusterIP\n  trafficDistribution: PreferSameNode", null,
            "{ addresses: [10.244.0.1], nodeName: node1, hints: { forNodes: [ { name: node1 } ] } }, { addresses: [10.244.1.1], " +
            "nodeName: node2, hints: { forNodes: [ { name: node2 } ] } }");

        ours.Ipvsadm.ShouldContain("-a -t 10.96.0.1:80 -r 10.244.0.1:8080");
        ours.Ipvsadm.ShouldNotContain("10.244.1.1");
        theirs.Ipvsadm.ShouldContain("10.244.1.1");
    }

    [Test]
    public void Older_of_two_services_keeps_a_shared_address()
    {
        var cluster = Read(ServiceText("young", "10.96.0.2", "externalIPs: [203.0.113.9]\n  type: ClusterIP", null,
            "creationTimestamp: \"2026-02-01T00:00:00Z\"") + SliceText("young", Endpoint("10.244.1.2", "node2"))
            + ServiceText("old", "10.96.0.3", "externalIPs: [203.0.113.9]\n  type: ClusterIP", null,
                "creationTimestamp: \"2026-01-01T00:00:00Z\"") + SliceText("old", Endpoint("10.244.1.3", "node2")));
        var world = new World(Options(compat: false), s_node, cluster);

        world.Desired.Servers.Single(s => s.Key.Address.ToString() == "203.0.113.9").RealServers.ShouldHaveSingleItem().ToString()
            .ShouldBe("10.244.1.3:8080");
        world.Desired.Servers.Select(s => s.Key.Address.ToString()).ShouldContain("10.96.0.2", "only the disputed port is left out");
        var dispute = world.Desired.Disputes.ShouldHaveSingleItem();
        (dispute.Holder.Name, dispute.Waiting.Name).ShouldBe(("old", "young"));

        cluster.RemoveService(new ObjectName("default", "old"));
        var touched = new Touched();
        world.Decide(new ObjectName("default", "old"), touched);

        world.Desired.Servers.Single(s => s.Key.Address.ToString() == "203.0.113.9").RealServers.ShouldHaveSingleItem().ToString()
            .ShouldBe("10.244.1.2:8080");
        touched.Servers.Select(k => k.Address.ToString()).ShouldBe(["203.0.113.9", "10.96.0.3"], ignoreOrder: true);
        touched.Members.ShouldNotContain(m => m.Set.Definition == Sets.IpvsIps && m.Entry.Address!.ToString() == "203.0.113.9",
            "the address stays bound");
    }

    [Test]
    public void What_one_change_touches_does_not_depend_on_how_many_services_there_are()
    {
        var (few, many) = (TouchedOf(20), TouchedOf(200));

        many.Servers.ShouldHaveSingleItem().ToString().ShouldBe("tcp 10.96.1.7:80");
        (many.Members.Count, many.Addresses.Count, many.Rules).ShouldBe((few.Members.Count, few.Addresses.Count, false));

        static Touched TouchedOf(int count)
        {
            var cluster = Read(string.Concat(Enumerable.Range(1, count)
                .Select(i => ServiceText($"s{i}", $"10.96.1.{i}", "type: ClusterIP", null, "")
                + SliceText($"s{i}", Endpoint($"10.244.1.{i}", "node2")))));
            var world = new World(Options(compat: false), s_node, cluster);
            foreach (var slice in Read(SliceText("s7", Endpoint("10.244.1.7", "node2") + Endpoint("10.244.2.7", "node2"))).Slices.Values)
                cluster.Put(slice);
            var touched = new Touched();
            world.Decide(new ObjectName("default", "s7"), touched);
            return touched;
        }
    }

    private static (DocumentSet Ours, DocumentSet Theirs) Both(string spec, string? ingress, string endpoints, string metadata = "")
    {
        var text = ServiceText("x", "10.96.0.1", spec, ingress, metadata) + SliceText("x", endpoints);
        return (Documents(compat: false), Documents(compat: true));

        DocumentSet Documents(bool compat) => DocumentSet.Of(new World(Options(compat), s_node, Read(text)).Desired, s_node);
    }

    private static GeneratorOptions Options(bool compat) =>
        new() { CompatKubeProxy = compat, HostnameOverride = "node1", ClusterCidr = [IPNetwork.Parse("10.244.0.0/16")] };

    private static Cluster Read(string text)
    {
        var manifest = ManifestReader.Read("test", Encoding.UTF8.GetBytes(text));
        manifest.Problems.ShouldBeEmpty();
        var cluster = new Cluster();
        foreach (var item in manifest.Objects)
            Source.Put(cluster, item);
        return cluster;
    }

    private static string ServiceText(string name, string address, string spec, string? ingress, string metadata) => $$"""
        ---
        apiVersion: v1
        kind: Service
        metadata:
          name: {{name}}
          {{metadata}}
        spec:
          clusterIP: {{address}}
          {{spec}}
          ports: [ { port: 80{{(spec.Contains("type: ClusterIP", StringComparison.Ordinal) ? "" : ", nodePort: 30080")}} } ]
        status: { loadBalancer: { ingress: [ {{(ingress is null ? "" : $"{{ ip: {ingress} }}")}} ] } }

        """;

    private static string SliceText(string service, string endpoints) => $$"""
        ---
        apiVersion: discovery.k8s.io/v1
        kind: EndpointSlice
        metadata: { name: {{service}}-1, labels: { kubernetes.io/service-name: {{service}} } }
        addressType: IPv4
        ports: [ { port: 8080 } ]
        endpoints: [ {{endpoints}} ]

        """;

    private static string Endpoint(string address, string node) => $"{{ addresses: [{address}], nodeName: {node} }}, ";
}
