using System.Globalization;
using Conformance.Clusters.Kubernetes;
using Conformance.Linux;
using Conformance.Linux.Ipvs;
using Conformance.Linux.Sysctls;
using Conformance.Reports;
using Conformance.Traffic;
using Conformance.Traffic.Assertions;

namespace Conformance.Suite.KubeProxy;

/// <summary>
/// What kube-proxy's IPVS mode keeps in the kernel beyond the article, and where it differs from the Service model.
/// </summary>
public sealed class LayoutAndFaults : ClusterFixture
{
    [Test, Claim("KP-1")]
    public async Task Cluster_ip_with_a_node_port_number_is_masqueraded()
    {
        var ported = await ApplyAsync(WithNodePort(NewService("web-a")));
        var service = await ApplyAsync(NewService("web-b") with { Ports = [new PortSpec(ported.NodePort)] });

        await (await PodA.AskAsync(service.Target(ported.NodePort))).ShouldBeSeenByServerAsAsync(OverlayOfNode1);
    }

    [Test, Claim("KP-2")]
    public async Task Local_external_policy_without_an_endpoint_falls_back()
    {
        var service = await ApplyAsync(WithNodePort(NewService("web-b")) with { ExternalTrafficPolicy = "Local" });

        VirtualServerAt(string.Create(CultureInfo.InvariantCulture, $"{Node1.Address}:{service.NodePort}")).RealServers.Select(
            r => r.EndPoint.ToString()).ShouldBe([EndPointOf("web-b")]);
        var flow = await Client.AskAsync($"node1:{service.NodePort}");
        // it gets there, unmasqueraded, and cannot be answered
        await flow.ShouldBeSeenAsAsync(On("web-b").Arriving.Syn(from: "client", to: "web-b:8080"));
    }

    [Test, Claim("KP-3")]
    public async Task Local_internal_policy_without_an_endpoint_falls_back()
    {
        var service = await ApplyAsync(WithNodePort(NewService("web-b") with { InternalTrafficPolicy = "Local" }));

        await (await PodA.AskAsync(service.Target())).ShouldBeAnsweredByAsync("web-b");
    }

    [Test, Claim("KP-4")]
    public async Task Source_range_of_all_addresses_closes_the_service()
    {
        var service = NewService("web-a");
        await ApplyAsync(WithLoadBalancer(service) with { SourceRanges = ["0.0.0.0/0"] });

        await (await Client.AskAsync($"{await ReachableAsync(OutsideAddress(service), via: Node1)}:80")).ShouldBeMetWithSilenceAsync();
    }

    [Test, Claim("KP-5")]
    public async Task Packet_to_the_virtual_address_itself_is_rejected()
    {
        var service = await ApplyAsync(NewService("web-a"));

        await (await Client.PingAsync(await ReachableAsync(service.ClusterIPs[0], via: Node1)))
            .ShouldMeetIcmpAsync(type: 3, code: 3, by: "node1");
    }

    [Test, Claim("KP-6")]
    public async Task Node_answers_arp_for_a_virtual_address()
    {
        var service = NewService("web-a");
        var address = NeighbourAddress(service, first: 200);
        await ApplyAsync(service with { ExternalIPs = [address] });

        await (await Client.AskAsync($"{address}:80")).ShouldBeAnsweredByAsync("web-a");
    }

    [Test, Claim("KP-7")]
    public async Task Node_port_is_served_on_every_address_except_loopback()
    {
        var service = await ApplyAsync(WithNodePort(NewService("web-b")));

        Node1.IpvsTable().VirtualServers.Where(s => s.EndPoint!.Port == service.NodePort).Select(s => s.EndPoint!.Address.ToString())
            .ShouldBe(["192.168.113.101", BridgeOfNode1, OverlayOfNode1], ignoreOrder: true);
    }

    [Test, Claim("KP-8")]
    public async Task Removed_endpoint_with_a_connection_stays_with_weight_0()
    {
        var service = await ApplyAsync(NewService("web-a", "web-b"));
        await using var first = await PodA.ConnectAsync(service.Target());
        await using var second = await PodA.ConnectAsync(service.Target());
        await first.ShouldBeAnsweredAsync();

        await ApplyAsync(service with { Endpoints = ["web-b"] });

        VirtualServerAt(service.Target()).RealServers.Select(r => (r.EndPoint.ToString(), r.Weight))
            .ShouldBe([(EndPointOf("web-a"), 0), (EndPointOf("web-b"), 1)], ignoreOrder: true);
    }

    [Test, Claim("KP-9")]
    public async Task Session_affinity_is_persistence_of_three_hours()
    {
        var service = await ApplyAsync(WithNodePort(NewService("web-a") with { HasAffinity = true }));

        using var ipvs = new IpvsSocket(Node1.Namespace);
        var servers = ipvs.Services()
            .Where(s => s.Key is { } key && (key.Port == service.NodePort || key.Address.ToString() == service.ClusterIPs[0])).ToList();
        servers.Count.ShouldBe(4, "the ClusterIP, and the node port on three addresses");
        servers.ShouldAllBe(s => s.PersistenceSeconds == 10_800);
    }

    [Test, Claim("KP-10")]
    public async Task Session_affinity_of_cluster_ip_and_node_port_is_separate()
    {
        var service = await ApplyAsync(WithNodePort(NewService("web-a", "web-b") with { HasAffinity = true }));
        await PodA.AskManyAsync(service.Target(), 1);
        await PodA.AskManyAsync($"node1:{service.NodePort}", 1);

        Node1.IpvsConnections().Where(c => c.Client.Port == 0 && c.Client.Address.Equals(PodA.Address)).Select(c => c.Virtual.ToString())
            .Where(v => v == service.Target() || v.EndsWith($":{service.NodePort.ToString(CultureInfo.InvariantCulture)}",
                StringComparison.Ordinal))
            .ShouldBe([service.Target(), $"192.168.113.101:{service.NodePort.ToString(CultureInfo.InvariantCulture)}"], ignoreOrder: true,
                "a template for each");
    }

    [Test, Claim("KP-11")]
    public async Task Connection_through_a_deleted_node_port_is_reset()
    {
        var service = await ApplyAsync(WithNodePort(NewService("web-a")));
        await using var flow = await Client.ConnectAsync($"node1:{service.NodePort}");
        await flow.ShouldBeAnsweredByAsync("web-a");

        await DeleteAsync(service);

        await flow.ShouldCarryNothingAsync();
        await flow.ShouldBeSeenAsAsync(On("client").Arriving.Reset(from: $"node1:{service.NodePort}", to: "client"));
    }

    [Test, Claim("KP-12")]
    public async Task Sctp_node_ports_are_in_a_set_with_the_node_addresses()
    {
        var service = WithNodePort(NewService("web-b"));
        await ApplyAsync(service with { Ports = [service.Ports[0] with { Protocol = TransportProtocol.Sctp }] });

        var set = await ListSetAsync("KUBE-NODE-PORT-SCTP-HASH");
        set.ShouldContain("Type: hash:ip,port");
        foreach (var address in Node1.Addresses.Where(a => a.AddressFamily == System.Net.Sockets.AddressFamily.InterNetwork))
            set.ShouldContain(string.Create(CultureInfo.InvariantCulture, $"{address},sctp:{service.NodePort}\n"));
        (await ListSetAsync("KUBE-NODE-PORT-TCP")).Split('\n').ShouldNotContain(service.NodePort.ToString(CultureInfo.InvariantCulture));
    }

    [Test, Claim("KP-13")]
    public void Sysctls_that_ipvs_needs_are_set()
    {
        foreach (var sysctl in new[] { "net.ipv4.vs.conntrack", "net.ipv4.vs.expire_nodest_conn", "net.ipv4.vs.expire_quiescent_template" })
        {
            Sysctl.Read(Node1.Namespace, sysctl).ShouldBe("1", sysctl);
            Sysctl.Read(Client.Namespace, sysctl).ShouldBe("0", $"{sysctl} of a namespace without a proxy");
        }
    }
}
