using Conformance.Clusters;
using Conformance.Clusters.Kubernetes;
using Conformance.Clusters.Proxies;
using Conformance.Linux;
using Conformance.Reports;
using Conformance.Traffic;
using Conformance.Traffic.Assertions;

namespace Conformance.Suite.Services;

/// <summary>Services on nodes that have rules, policies, times and routes of their own.</summary>
[Parallelizable(ParallelScope.Self)]
public sealed class Surroundings : ClusterFixture
{
    protected override ClusterUse Use => ClusterUse.ChangesNodes;

    [Test, Claim("SM-81")]
    public async Task Affinity_ends_when_the_time_without_a_datagram_has_passed()
    {
        // A scheduler that chooses at random chooses the same of four again in one of four cases: five times in a row in one of a thousand.
        // UDP, with a time-out shorter than the affinity: while a connection is there, the kernel prolongs the affinity by a minute.
        var service = await ApplyAsync(NewService("web-a", "web-b", "web-c", "pod-b") with { Ports = [new PortSpec(80, Protocol: TransportProtocol.Udp)], HasAffinity = true, AffinitySeconds = 3 });
        var servers = new HashSet<string>(StringComparer.Ordinal);
        await Node1.RunAsync("ipvsadm --set 0 0 1");
        try
        {
            for (var i = 0; i < 3; i++)
                servers.Add((await PodA.AskUdpAsync(service.Target())).Answer?.Server ?? "nobody");
            servers.Count.ShouldBe(1, "while it lasts");
            for (var i = 0; i < 5 && servers.Count < 2; i++)
            {
                await Task.Delay(TimeSpan.FromSeconds(5));
                var flow = await PodA.AskUdpAsync(service.Target());
                await flow.ShouldBeAnsweredAsync();
                servers.Add(flow.Answer!.Server);
            }
        }
        finally
        {
            await Node1.RunAsync("ipvsadm --set 0 0 300");
        }

        servers.Count.ShouldBe(2, "after a pause it is chosen anew, and sooner or later another");
    }

    [Test, Claim("SM-103")]
    public async Task Where_forward_drops_by_default_services_are_served()
    {
        Demand(ProxyFeature.Ipvs); // in other modes what is not masqueraded meets the policy
        var service = await ApplyAsync(WithNodePort(NewService("web-b")));
        await Node1.RunAsync("iptables -w -P FORWARD DROP");
        try
        {
            await (await PodA.AskAsync("web-b:8080")).ShouldBeMetWithSilenceAsync();
            await (await PodA.AskAsync(service.Target())).ShouldBeAnsweredByAsync("web-b");
            await (await Client.AskAsync($"node1:{service.NodePort}")).ShouldBeAnsweredByAsync("web-b");
        }
        finally
        {
            await Node1.RunAsync("iptables -w -P FORWARD ACCEPT");
        }
    }

    [Test, Claim("SM-104")]
    public async Task A_host_port_does_not_catch_what_is_for_a_service_s_address()
    {
        // As the CNI plugin portmap does it: behind the proxy's rules, for every address that is the node's.
        const string rule = "PREROUTING -p tcp --dport 80 -m addrtype --dst-type LOCAL -j DNAT --to-destination 10.244.0.13:8080";
        var inside = await ApplyAsync(NewService("web-a"));
        var outside = NewService("web-a");
        await ApplyAsync(outside with { ExternalIPs = [OutsideAddress(outside)] });
        var balanced = NewService("web-a");
        await ApplyAsync(WithLoadBalancer(balanced));
        await Node1.RunAsync($"iptables -w -t nat -A {rule}");
        try
        {
            await (await Client.AskAsync("node1:80")).ShouldBeAnsweredByAsync("pod-b");
            await (await PodA.AskAsync(inside.Target())).ShouldBeAnsweredByAsync("web-a");
            foreach (var address in new[] { OutsideAddress(outside), OutsideAddress(balanced) })
                await (await Client.AskAsync($"{await ReachableAsync(address, via: Node1)}:80")).ShouldBeAnsweredByAsync("web-a");
        }
        finally
        {
            await Node1.RunAsync($"iptables -w -t nat -D {rule}");
        }
    }

    [Test, Claim("SM-105")]
    public async Task An_endpoint_learns_of_a_smaller_mtu_behind_the_node()
    {
        var service = await ApplyAsync(WithNodePort(NewService("web-b")));
        await Node1.RunAsync($"ip route add {Client.Address}/32 dev eth0 mtu lock 1300");
        try
        {
            await using var flow = await Client.ConnectAsync($"node1:{service.NodePort}");
            await flow.ShouldBeAnsweredByAsync("web-b");

            await flow.ExchangeAsync(100_000);

            await flow.ShouldBeSeenAsAsync(On("web-b").Arriving.Icmp(type: 3, code: 4));
        }
        finally
        {
            await Node1.RunAsync($"ip route delete {Client.Address}/32 dev eth0");
        }
    }
    [Test, Claim("SM-148")]
    public async Task Where_forward_drops_ipv6_by_default_services_are_served()
    {
        Demand(ProxyFeature.IPv6);
        Demand(ProxyFeature.Ipvs); // in other modes what is not masqueraded meets the policy
        var service = NewService("web-b");
        service = await ApplyAsync(WithNodePort(OverIPv6(service)));
        await Node1.RunAsync("ip6tables -w -P FORWARD DROP");
        try
        {
            await (await PodA.AskAsync("[fd00:10:244:1::143]:8080")).ShouldBeMetWithSilenceAsync();
            await (await PodA.AskAsync(service.Target())).ShouldBeAnsweredByAsync("web-b");
            await (await Client.AskAsync($"[fd00:113::101]:{service.NodePort}")).ShouldBeAnsweredByAsync("web-b");
        }
        finally
        {
            await Node1.RunAsync("ip6tables -w -P FORWARD ACCEPT");
        }
    }

    [Test, Claim("SM-149")]
    public async Task Where_input_drops_by_default_a_health_check_is_answered()
    {
        Demand(ProxyFeature.HealthCheckNodePort);
        Demand(ProxyFeature.Ipvs); // a rule in another table could not let in what this policy drops
        Node1.Serve(TransportProtocol.Tcp, 7149);
        var service = NewService("web-a");
        service = await ApplyAsync(WithLoadBalancer(service) with { ExternalTrafficPolicy = "Local", HealthCheckNodePort = 32749 });
        await Node1.RunAsync("iptables -w -P INPUT DROP");
        try
        {
            await (await Client.AskAsync("node1:7149")).ShouldBeMetWithSilenceAsync();
            await ProgrammedAsync("node1 says 200", async () => (await Client.Command("curl", "--silent", "--include", "--max-time", "5", $"http://{Node1.Address}:32749/").TryAsync()).StandardOutput,
                answer => answer.StartsWith("HTTP/1.1 200", StringComparison.Ordinal));
        }
        finally
        {
            await Node1.RunAsync("iptables -w -P INPUT ACCEPT");
        }
    }

    [Test, Claim("SM-150")]
    public async Task A_node_that_comes_into_another_zone_follows_the_hints_for_that()
    {
        var service = await ApplyAsync(NewService(new EndpointSpec("web-a") { ForZone = "zone-node1" }, new EndpointSpec("web-b") { ForZone = "zone-node2" }) with
        {
            Annotations = new Dictionary<string, string>(StringComparer.Ordinal) { ["service.kubernetes.io/topology-mode"] = "Auto" },
        });
        (await PodA.AskManyAsync(service.Target(), 20)).Keys.ShouldBe(["web-a"]);
        try
        {
            Cluster.PutNode(Node1, zone: "zone-node2");
            // Nodes come by another watch than Services: no canary tells when.
            await ProgrammedAsync("the endpoint of the zone is used", () => PodA.AskManyAsync(service.Target(), 20), servers => servers.Keys.SequenceEqual(["web-b"], StringComparer.Ordinal));
        }
        finally
        {
            Cluster.PutNode(Node1);
        }
    }

    // On nodes of its own: a proxy that binds 127.0.0.1 for it may cut itself off.
    [Test, Claim("SM-134")]
    public async Task A_service_with_an_odd_status_address_is_served_without_interruption()
    {
        var service = NewService("web-a");
        service = await ApplyAsync(WithLoadBalancer(service));
        var odd = service with { LoadBalancerIPs = [OutsideAddress(service), "127.0.0.1", ""] }; // as minikube's tunnel and some controllers write them

        var asked = await Load.WhileAsync(Cluster, () => PodA.AskManyAsync(service.Target(), 5), () => ApplyAsync(odd));

        asked.SelectMany(a => a.Keys).Distinct(StringComparer.Ordinal).ShouldBe(["web-a"]);
        await (await PodA.AskAsync(service.Target())).ShouldBeAnsweredByAsync("web-a");
        await (await Client.AskAsync($"{await ReachableAsync(OutsideAddress(service), via: Node1)}:80")).ShouldBeAnsweredByAsync("web-a");
        await (await Client.AskAsync($"node1:{service.NodePort}")).ShouldBeAnsweredByAsync("web-a");

        var fromTheStart = await ApplyAsync(WithNodePort(NewService("web-a") with { LoadBalancerIPs = ["127.0.0.1"] }, "LoadBalancer"));
        await (await PodA.AskAsync(fromTheStart.Target())).ShouldBeAnsweredByAsync("web-a");
    }
}
