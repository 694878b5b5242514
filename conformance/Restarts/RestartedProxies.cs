using Conformance.Clusters;
using Conformance.Clusters.Kubernetes;
using Conformance.Clusters.Proxies;
using Conformance.Labs;
using Conformance.Labs.Waiting;
using Conformance.Linux;
using Conformance.Reports;
using Conformance.Traffic;
using Conformance.Traffic.Assertions;

namespace Conformance.Suite.Restarts;

/// <summary>A proxy that is killed and started again: nothing that it has programmed goes, and what it missed is made up for.</summary>
[Parallelizable(ParallelScope.Self)]
public sealed class RestartedProxies : ClusterFixture
{
    private bool _isStartedOtherwise;

    protected override ClusterUse Use => ClusterUse.StopsProxies;

    [Test, Claim("RESTART-1")]
    public async Task Services_are_served_while_the_proxy_is_down()
    {
        var service = await ApplyAsync(WithNodePort(NewService("web-a", "web-b")));

        await Cluster.StopProxyAsync(Node1);

        (await PodA.AskManyAsync(service.Target(), 30)).Count.ShouldBe(2);
        var outside = await Client.AskAsync($"node1:{service.NodePort}");
        await outside.ShouldBeAnsweredAsync();
        outside.Answer!.SeenPeer.Address.ShouldNotBe(Client.Address, "masqueraded as before");
    }

    [Test, Claim("RESTART-2")]
    public async Task Connection_survives_a_restart_of_the_proxy()
    {
        var service = await ApplyAsync(WithNodePort(NewService("web-b")));
        await using var inside = await PodA.ConnectAsync(service.Target());
        await using var outside = await Client.ConnectAsync($"node1:{service.NodePort}");
        await inside.ShouldBeAnsweredAsync();
        await outside.ShouldBeAnsweredAsync();

        await Cluster.StopProxyAsync(Node1);
        await inside.ExchangeAsync(1000);
        await Cluster.StartProxyAsync(Node1);
        await Cluster.SettleAsync();

        await inside.ExchangeAsync(1000);
        await outside.ExchangeAsync(1000);
    }

    [Test, Claim("RESTART-3")]
    public async Task Missed_changes_are_made_after_the_start()
    {
        var changed = await ApplyAsync(NewService("web-a"));
        var deleted = await ApplyAsync(NewService("web-a"));
        await (await PodA.AskAsync(changed.Target())).ShouldBeAnsweredByAsync("web-a");

        await Cluster.StopProxyAsync(Node1);
        Cluster.Put(changed with { Endpoints = ["web-b"] });
        Cluster.Delete(deleted);
        await Cluster.StartProxyAsync(Node1);
        await Cluster.SettleAsync();

        (await PodA.AskManyAsync(changed.Target(), 5)).Keys.ShouldBe(["web-b"]);
        await ProgrammedAsync($"node1 does not answer for {deleted.Target()}",
            () => Cluster.AnswersAsync(PodA, deleted.ClusterIPs[0], 80), answers => !answers);
    }

    [Test, Claim("RESTART-11")]
    public async Task Policy_that_changed_meanwhile_takes_effect_after_the_start()
    {
        var service = await ApplyAsync(WithNodePort(NewService("web-a")) with { ExternalTrafficPolicy = "Local" });
        await (await Client.AskAsync($"node1:{service.NodePort}")).ShouldBeSeenByServerAsAsync("client");

        await Cluster.StopProxyAsync(Node1);
        Cluster.Put(service with { ExternalTrafficPolicy = "Cluster", Endpoints = ["web-b"] });
        await Cluster.StartProxyAsync(Node1);
        await Cluster.SettleAsync();

        await ProgrammedAsync("the client is masqueraded", async () => (await Client.AskAsync($"node1:{service.NodePort}")).Answer?.Server,
            server => server == "web-b");
    }

    [Test, Claim("RESTART-12")]
    public async Task Address_of_a_service_that_was_deleted_meanwhile_can_be_used_elsewhere()
    {
        var service = NewService("web-a");
        service = await ApplyAsync(service with { ExternalIPs = [OutsideAddress(service)] });
        var address = service.ExternalIPs[0];
        await (await PodA.AskAsync($"{address}:80")).ShouldBeAnsweredByAsync("web-a");

        await Cluster.StopProxyAsync(Node1);
        Cluster.Delete(service);
        await Cluster.StartProxyAsync(Node1);
        await Cluster.SettleAsync();

        await ShouldBeUsableElsewhereAsync(address, 7156);
    }

    [Test, Claim("RESTART-13")]
    public async Task Start_on_a_clean_node_passes_no_unmasqueraded_packet()
    {
        const int port = 9139;
        Lab["web-b"].Serve(TransportProtocol.Tcp, port);
        var service = await ApplyAsync(WithNodePort(NewService("web-b") with { Ports = [new PortSpec(80, TargetPort: port)] }));
        await (await Client.AskAsync($"node1:{service.NodePort}")).ShouldBeSeenByServerAsAddressOfAsync("node1");
        await Cluster.StopProxyAsync(Node1);
        await Cluster.Proxy.CleanUpAsync(Node1);
        var since = DateTime.UtcNow;

        await Load.WhileAsync(Cluster, async () =>
        {
            await using var flow = await Client.ConnectAsync($"node1:{service.NodePort}");
            return flow.Answer is not null;
        }, async () =>
        {
            await Cluster.StartProxyAsync(Node1);
            await Cluster.SettleAsync();
        });

        await (await Client.AskAsync($"node1:{service.NodePort}")).ShouldBeSeenByServerAsAddressOfAsync("node1");
        UnmasqueradedAt("web-b", port, since).ShouldBeEmpty("unmasqueraded");
    }

    [Test, Claim("RESTART-4")]
    public async Task Leftover_rules_of_iptables_mode_do_not_reject_a_node_port()
    {
        var service = await ApplyAsync(WithNodePort(NewService("web-a")));
        await Cluster.StopProxyAsync(Node1);
        // What kube-proxy v1.30 has in its table filter for a node port without endpoints (kubernetes/kubernetes#102314).
        await Node1.RunAsync("iptables -w -N KUBE-EXTERNAL-SERVICES");
        await Node1.RunAsync(
            $"iptables -w -A KUBE-EXTERNAL-SERVICES -p tcp -m addrtype --dst-type LOCAL -m tcp --dport {service.NodePort} -j REJECT");
        foreach (var chain in new[] { "INPUT", "FORWARD" })
            await Node1.RunAsync($"iptables -w -I {chain} 1 -m conntrack --ctstate NEW -j KUBE-EXTERNAL-SERVICES");
        Undo(async () =>
        {
            foreach (var chain in new[] { "INPUT", "FORWARD" })
                await Node1.Command("iptables", "-w", "-D", chain, "-m", "conntrack", "--ctstate", "NEW", "-j", "KUBE-EXTERNAL-SERVICES")
                    .TryAsync();
            await Node1.Command("iptables", "-w", "-F", "KUBE-EXTERNAL-SERVICES").TryAsync();
            await Node1.Command("iptables", "-w", "-X", "KUBE-EXTERNAL-SERVICES").TryAsync();
        });
        await (await Client.AskAsync($"node1:{service.NodePort}")).ShouldBeRefusedAsync();

        await Cluster.StartProxyAsync(Node1);
        await Cluster.SettleAsync();

        await (await Client.AskAsync($"node1:{service.NodePort}")).ShouldBeAnsweredByAsync("web-a");
    }

    [Test, Claim("RESTART-5")]
    public async Task Health_check_answers_only_on_node_port_addresses()
    {
        var service = NewService("web-a");
        service = await ApplyAsync(WithLoadBalancer(service) with { ExternalTrafficPolicy = "Local", HealthCheckNodePort = 32748 });

        await RestartAsync(new ProxySettings(NodePortAddresses: "192.168.113.0/24"));

        await ProgrammedAsync("node1 answers on its node-port address", () => Cluster.AnswersAsync(Client, "192.168.113.101", 32748),
            answers => answers);
        await (await PodA.AskAsync($"{BridgeOfNode1}:32748")).ShouldBeRefusedAsync();
    }

    [Test, Claim("RESTART-6")]
    public async Task Node_port_addresses_of_one_family_leave_the_other_open()
    {
        var service = NewService("web-a");
        service = await ApplyAsync(WithNodePort(OverBoth(service)));

        await RestartAsync(new ProxySettings(NodePortAddresses: "192.168.113.0/24"));

        await (await Client.AskAsync($"node1:{service.NodePort}")).ShouldBeAnsweredByAsync("web-a");
        await (await PodA.AskAsync($"{BridgeOfNode1}:{service.NodePort}")).ShouldNotBeAnsweredAsync();
        await (await Client.AskAsync($"[fd00:113::101]:{service.NodePort}")).ShouldBeAnsweredByAsync("web-a");
        await (await PodA.AskAsync($"[{Bridge6OfNode1}]:{service.NodePort}")).ShouldBeAnsweredByAsync("web-a");
    }

    [Test, Claim("RESTART-7")]
    public async Task Wiped_tables_are_complete_again_within_the_sync_period()
    {
        var service = await ApplyAsync(WithNodePort(NewService("web-b")));
        await RestartAsync(new ProxySettings(SyncPeriod: TimeSpan.FromSeconds(2)));

        await Node1.RunAsync("ipvsadm -C");
        await Node1.RunAsync("iptables -w -t nat -F");
        if (Node1.Route.Addresses().FirstOrDefault(a => a.Address.ToString() == service.ClusterIPs[0]) is { } bound)
            await Node1.RunAsync($"ip address flush dev {Node1.Route.Links().First(l => l.Index == bound.LinkIndex).Name}");

        var limit = Cluster.Proxy.IsSlow ? Cluster.Limit : TimeSpan.FromSeconds(15); // far below a period that nobody has set
        await Eventually.Async("the ClusterIP is served", async () => (await PodA.AskAsync(service.Target())).Answer, answer => answer
            is { Server: "web-b" }, limit);
        await Eventually.Async("the node port is served, masqueraded",
            async () => (await Client.AskAsync($"node1:{service.NodePort}")).Answer, answer => answer is { Server: "web-b" }
            && Node1.Addresses.Contains(answer.SeenPeer.Address), limit);
    }

    [Test, Claim("RESTART-8")]
    public async Task Deleted_node_port_is_not_answered_in_an_excluded_network()
    {
        const string excluded = "198.18.0.22";
        await Node1.AddAddressAsync($"{excluded}/32", "lo");
        Node1.Serve(TransportProtocol.Tcp, 7155);
        Undo(() => Node1.DeleteAddressAsync($"{excluded}/32", "lo"));
        await Cluster.RestartProxyAsync(Node1);
        await (await Client.AskAsync($"{await ReachableAsync(excluded, via: Node1)}:7155")).ShouldBeAnsweredByAsync("node1");
        var service = await ApplyAsync(WithNodePort(NewService("web-a")));
        await (await Client.AskAsync($"node1:{service.NodePort}")).ShouldBeAnsweredByAsync("web-a");

        await DeleteAsync(service);

        await (await Client.AskAsync($"{excluded}:{service.NodePort}")).ShouldNotBeAnsweredAsync();
    }

    [Test, Claim("RESTART-9")]
    public async Task Node_forwards_ipv4_when_the_proxy_serves()
    {
        var service = NewService("web-b");
        service = await ApplyAsync(
            WithNodePort(service with
            {
                ClusterIPs = Has(ProxyFeature.IPv6) ? [service.ClusterIPs[0], AddressV6(service)]
            : service.ClusterIPs
            }));
        await Cluster.StopProxyAsync(Node1);
        await Node1.SetSysctlAsync("net.ipv4.ip_forward", "0");
        Undo(() => Node1.SetSysctlAsync("net.ipv4.ip_forward", "1"));
        await (await PodA.AskAsync(service.Target())).ShouldNotBeAnsweredAsync();

        await Cluster.StartProxyAsync(Node1); // no canary answers on a node that does not forward

        await ProgrammedAsync("the ClusterIP is served", async () => (await PodA.AskAsync(service.Target())).Answer?.Server,
            server => server == "web-b");
        await ProgrammedAsync("the node port is served", async () => (await Client.AskAsync($"node1:{service.NodePort}")).Answer?.Server,
            server => server == "web-b");
    }

    [Test, Claim("RESTART-10")]
    public async Task Node_forwards_ipv6_when_the_proxy_serves()
    {
        var service = NewService("web-b");
        service = await ApplyAsync(WithNodePort(OverIPv6(service)));
        await Cluster.StopProxyAsync(Node1);
        await Node1.SetSysctlAsync("net.ipv6.conf.all.forwarding", "0");
        Undo(() => Node1.SetSysctlAsync("net.ipv6.conf.all.forwarding", "1"));
        await (await PodA.AskAsync(service.Target())).ShouldNotBeAnsweredAsync();

        await Cluster.StartProxyAsync(Node1);
        await Cluster.SettleAsync(NewService()); // over IPv4: over IPv6 no canary would answer on a node that does not forward

        await Eventually.Async("the ClusterIP is served over IPv6", async () => (await PodA.AskAsync(service.Target())).Answer?.Server,
            server => server == "web-b", TimeSpan.FromSeconds(Cluster.Proxy.IsSlow ? 20 : 10));
    }

    private async Task RestartAsync(ProxySettings settings)
    {
        Demand(ProxyFeature.Settings);
        _isStartedOtherwise = true;
        await Cluster.RestartProxyAsync(Node1, settings);
    }

    /// <summary>Gives the node a proxy as the others have it.</summary>
    protected override async Task RestoreAsync()
    {
        if (!_isStartedOtherwise)
            return;
        await Cluster.RestartProxyAsync(Node1);
    }
}
