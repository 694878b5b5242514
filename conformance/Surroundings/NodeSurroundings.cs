using System.Net;
using Conformance.Clusters;
using Conformance.Clusters.Kubernetes;
using Conformance.Linux;
using Conformance.Reports;
using Conformance.Traffic;
using Conformance.Traffic.Assertions;

namespace Conformance.Suite.Surroundings;

/// <summary>Services on nodes that have rules, policies, times and routes of their own.</summary>
[Parallelizable(ParallelScope.Self)]
public sealed class NodeSurroundings : ClusterFixture
{
    protected override ClusterUse Use => ClusterUse.ChangesNodes;

    [Test, Claim("NODE-1")]
    public async Task Services_are_served_with_forward_policy_drop()
    {
        var service = await ApplyAsync(WithNodePort(NewService("web-b")));
        await ChangeAsync(Node1, "iptables -w -P FORWARD DROP", undo: "iptables -w -P FORWARD ACCEPT");
        await (await PodA.AskAsync("web-b:8080")).ShouldBeMetWithSilenceAsync();
        await (await PodA.AskAsync(service.Target())).ShouldBeAnsweredByAsync("web-b");
        await (await Client.AskAsync($"node1:{service.NodePort}")).ShouldBeAnsweredByAsync("web-b");
    }

    [Test, Claim("NODE-3")]
    public async Task Host_port_does_not_catch_service_addresses()
    {
        var outside = NewService("web-a");
        await IsNotCaughtAsync("iptables", "node1:80", EndPointOf("pod-b"), await ApplyAsync(NewService("web-a")),
            await ApplyAsync(outside with { ExternalIPs = [OutsideAddress(outside)] }),
            await ApplyAsync(WithLoadBalancer(NewService("web-a"))));
    }

    [Test, Claim("NODE-7")]
    public async Task Host_port_does_not_catch_ipv6_service_addresses()
    {
        var outside = OverIPv6(NewService("web-a"));
        await IsNotCaughtAsync("ip6tables", "[fd00:113::101]:80", EndPoint6Of("pod-b"), await ApplyAsync(OverIPv6(NewService("web-a"))),
            await ApplyAsync(outside with { ExternalIPs = [OutsideAddressV6(outside)] }),
            await ApplyAsync(WithLoadBalancerV6(OverIPv6(NewService("web-a")))));
    }

    /// <summary>A rule as the CNI plugin portmap writes it: behind the proxy's rules, for every address that is the node's.</summary>
    private async Task IsNotCaughtAsync(string iptables, string hostPort, string pod, ServiceSpec inside, ServiceSpec external,
        ServiceSpec balanced)
    {
        var other = NewService("web-a");
        var isIPv6 = iptables == "ip6tables";
        var local = await ApplyAsync((isIPv6 ? OverIPv6(other) : other) with
        {
            ExternalIPs = [isIPv6 ? OutsideAddressV6(other) : OutsideAddress(other)],
            ExternalTrafficPolicy = "Local"
        });
        var rule = $"PREROUTING -p tcp --dport 80 -m addrtype --dst-type LOCAL -j DNAT --to-destination {pod}";
        await ChangeAsync(Node1, $"{iptables} -w -t nat -A {rule}", undo: $"{iptables} -w -t nat -D {rule}");

        await (await Client.AskAsync(hostPort)).ShouldBeAnsweredByAsync("pod-b");
        await (await PodA.AskAsync(inside.Target())).ShouldBeAnsweredByAsync("web-a");
        foreach (var address in new[] { external.ExternalIPs[0], local.ExternalIPs[0], balanced.LoadBalancerIPs[0] })
        {
            var target = new IPEndPoint(IPAddress.Parse(await ReachableAsync(address, via: Node1)), 80);
            await (await Client.AskAsync(target.ToString())).ShouldBeAnsweredByAsync("web-a");
            await (await PodA.AskAsync(target.ToString())).ShouldBeAnsweredByAsync("web-a");
        }
    }

    [Test, Claim("NODE-4")]
    public async Task Endpoint_learns_of_a_smaller_mtu()
    {
        var service = await ApplyAsync(WithNodePort(NewService("web-b")));
        await ChangeAsync(Node1, $"ip route add {Client.Address}/32 dev eth0 mtu lock 1300",
            undo: $"ip route delete {Client.Address}/32 dev eth0");
        await using var flow = await Client.ConnectAsync($"node1:{service.NodePort}");
        await flow.ShouldBeAnsweredByAsync("web-b");

        await flow.ExchangeAsync(100_000);

        await flow.ShouldBeSeenAsAsync(On("web-b").Arriving.Icmp(type: 3, code: 4));
    }
    [Test, Claim("NODE-2")]
    public async Task Ipv6_services_are_served_with_forward_policy_drop()
    {
        var service = NewService("web-b");
        service = await ApplyAsync(WithNodePort(OverIPv6(service)));
        await ChangeAsync(Node1, "ip6tables -w -P FORWARD DROP", undo: "ip6tables -w -P FORWARD ACCEPT");
        await (await PodA.AskAsync(EndPoint6Of("web-b"))).ShouldBeMetWithSilenceAsync();
        await (await PodA.AskAsync(service.Target())).ShouldBeAnsweredByAsync("web-b");
        await (await Client.AskAsync($"[fd00:113::101]:{service.NodePort}")).ShouldBeAnsweredByAsync("web-b");
    }

    // On nodes of its own: a proxy that binds 127.0.0.1 for it may cut itself off.
    [Test, Claim("NODE-5")]
    public async Task Invalid_status_address_does_not_interrupt_a_service()
    {
        var service = NewService("web-a");
        service = await ApplyAsync(WithLoadBalancer(service));
        // as minikube's tunnel and some controllers write them
        var odd = service with { LoadBalancerIPs = [OutsideAddress(service), "127.0.0.1", ""] };

        var asked = await Load.WhileAsync(Cluster, () => PodA.AskManyAsync(service.Target(), 5), () => ApplyAsync(odd));

        asked.SelectMany(a => a.Keys).Distinct(StringComparer.Ordinal).ShouldBe(["web-a"]);
        await (await PodA.AskAsync(service.Target())).ShouldBeAnsweredByAsync("web-a");
        await (await Client.AskAsync($"{await ReachableAsync(OutsideAddress(service), via: Node1)}:80")).ShouldBeAnsweredByAsync("web-a");
        await (await Client.AskAsync($"node1:{service.NodePort}")).ShouldBeAnsweredByAsync("web-a");

        var fromTheStart = await ApplyAsync(WithNodePort(NewService("web-a") with { LoadBalancerIPs = ["127.0.0.1"] }, "LoadBalancer"));
        await (await PodA.AskAsync(fromTheStart.Target())).ShouldBeAnsweredByAsync("web-a");
    }

    [Test, Claim("NODE-8")]
    public async Task Address_of_a_deleted_service_can_be_used_elsewhere()
    {
        var service = NewService("web-a");
        service = await ApplyAsync(service with { ExternalIPs = [OutsideAddress(service)] });
        var address = service.ExternalIPs[0];
        await (await PodA.AskAsync($"{address}:80")).ShouldBeAnsweredByAsync("web-a");

        await DeleteAsync(service);

        await ShouldBeUsableElsewhereAsync(address, 7153);
    }

    [Test, Claim("NODE-9")]
    public async Task Address_of_a_deleted_service_can_become_the_nodes_own()
    {
        var service = NewService("web-a");
        service = await ApplyAsync(service with { ExternalIPs = [OutsideAddress(service)] });
        var address = service.ExternalIPs[0];
        await (await PodA.AskAsync($"{address}:80")).ShouldBeAnsweredByAsync("web-a");

        await DeleteAsync(service);

        Node1.Serve(TransportProtocol.Tcp, 7154);
        await Node1.AddAddressAsync($"{address}/32", "lo");
        Undo(() => Node1.DeleteAddressAsync($"{address}/32", "lo"));
        await ProgrammedAsync($"{address} is the node's", async () => (await PodA.AskAsync($"{address}:7154")).Answer?.Server,
            server => server == "node1");
    }

    [Test, Claim("NODE-10")]
    public async Task Host_port_that_was_a_node_port_preserves_the_client_address()
    {
        var service = await ApplyAsync(WithNodePort(NewService("web-a")));
        await (await Client.AskAsync($"node1:{service.NodePort}")).ShouldBeSeenByServerAsAddressOfAsync("node1");

        await DeleteAsync(service);

        var rule = $"PREROUTING -p tcp --dport {service.NodePort} -m addrtype --dst-type LOCAL -j DNAT --to-destination " +
            EndPointOf("pod-b");
        await ChangeAsync(Node1, $"iptables -w -t nat -A {rule}", undo: $"iptables -w -t nat -D {rule}");
        await (await Client.AskAsync($"node1:{service.NodePort}")).ShouldBeSeenByServerAsAsync("client");
    }
}
