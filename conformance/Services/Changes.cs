using Conformance.Harness.Assertions;
using Conformance.Harness.Kubernetes;
using Conformance.Harness.Proxies;

namespace Conformance.Suite.Services;

/// <summary>What a change of Services and endpoints does to traffic that is there, and to new traffic.</summary>
public sealed class Changes : ClusterFixture
{
    [Test, Claim("SM-55")]
    public async Task An_established_connection_goes_on_when_its_endpoint_is_removed()
    {
        var service = await ApplyAsync(NewService("web-a"));
        await using var flow = await PodA.ConnectAsync(service.Target());
        flow.ShouldBeAnsweredBy("web-a");

        await ApplyAsync(service with { Endpoints = ["web-b"] });

        await flow.ExchangeAsync(1000);
        (await PodA.AskManyAsync(service.Target(), 10)).Keys.ShouldBe(["web-b"], "new connections");
    }

    [Test, Claim("SM-56")]
    public async Task An_endpoint_that_comes_back_gets_connections_again()
    {
        var service = await ApplyAsync(NewService("web-a", "web-b"));
        await using var first = await PodA.ConnectAsync(service.Target());
        await using var second = await PodA.ConnectAsync(service.Target());
        first.ShouldBeAnswered();
        var remaining = first.Answer!.Server == "web-a" ? "web-b" : "web-a";
        await ApplyAsync(service with { Endpoints = [remaining] });

        await ApplyAsync(service);

        (await PodA.AskManyAsync(service.Target(), 20)).Keys.Order(StringComparer.Ordinal).ShouldBe(["web-a", "web-b"]);
        await first.ExchangeAsync(1000);
        await second.ExchangeAsync(1000);
    }

    [Test, Claim("SM-98")]
    public async Task While_the_last_endpoint_drains_its_connections_go_on_and_new_ones_are_refused()
    {
        var service = await ApplyAsync(NewService("web-a"));
        await using var flow = await PodA.ConnectAsync(service.Target());
        flow.ShouldBeAnsweredBy("web-a");

        await ApplyAsync(service with { Endpoints = [] });

        (await PodA.AskAsync(service.Target())).ShouldBeRefused();
        await flow.ExchangeAsync(1000);
    }

    [Test, Claim("SM-99")]
    public async Task A_client_s_port_that_is_used_again_at_once_is_served_without_delay()
    {
        var service = await ApplyAsync(NewService("web-a", "web-b"));
        for (var i = 0; i < 4; i++)
        {
            var flow = await PodA.AskAsync(service.Target(), sourcePort: 20099);

            flow.ShouldBeAnswered();
            flow.Story.Steps.Count(s => s is { Captured: { Node: "pod-a", IsLeaving: true }, Packet.Tcp.Flags: Harness.Observation.TcpFlags.Syn }).ShouldBe(1, "no SYN had to be sent again (kubernetes/kubernetes#81775)");
        }
    }

    [Test, Claim("SM-57")]
    public async Task A_client_that_goes_on_with_datagrams_reaches_another_endpoint_when_its_own_is_removed()
    {
        var service = await ApplyAsync(NewService("web-a") with { Ports = [new PortSpec(80, Protocol: "UDP")] });
        (await PodA.AskUdpAsync(service.Target(), sourcePort: 20057)).ShouldBeAnsweredBy("web-a");

        await ApplyAsync(service with { Endpoints = ["web-b"] });

        (await PodA.AskUdpAsync(service.Target(), sourcePort: 20057)).ShouldBeAnsweredBy("web-b");
    }

    [Test, Claim("SM-58")]
    public async Task A_client_that_sent_datagrams_before_there_was_an_endpoint_reaches_it_from_the_same_port()
    {
        var service = WithNodePort(NewService("web-b") with { Ports = [new PortSpec(80, Protocol: "UDP")] });
        (await Client.AskUdpAsync($"node1:{service.NodePort}", sourcePort: 20058)).ShouldNotBeAnswered();
        if (Has(ProxyFeature.Ipvs))
            Node1.Conntrack().ShouldContain(e => e.Original.SourcePort == 20058, "connection tracking remembers the way to nowhere");

        await ApplyAsync(service);

        (await Client.AskUdpAsync($"node1:{service.NodePort}", sourcePort: 20058)).ShouldBeAnsweredBy("web-b");
    }

    [Test, Claim("SM-59")]
    public async Task A_client_outside_that_goes_on_with_datagrams_to_a_node_port_reaches_another_endpoint()
    {
        var service = await ApplyAsync(WithNodePort(NewService("web-a") with { Ports = [new PortSpec(80, Protocol: "UDP")] }));
        (await Client.AskUdpAsync($"node1:{service.NodePort}", sourcePort: 20059)).ShouldBeAnsweredBy("web-a");
        if (Has(ProxyFeature.Ipvs))
            Node1.IpvsConnections().ShouldContain(c => c.Client.Port == 20059, "the connection that must not be followed any more");

        await ApplyAsync(service with { Endpoints = ["web-b"] });

        (await Client.AskUdpAsync($"node1:{service.NodePort}", sourcePort: 20059)).ShouldBeAnsweredBy("web-b");
    }

    [Test, Claim("SM-60")]
    public async Task A_deleted_service_is_not_answered_any_more()
    {
        var service = await ApplyAsync(WithNodePort(NewService("web-a")));
        (await PodA.AskAsync(service.Target())).ShouldBeAnsweredBy("web-a");

        await DeleteAsync(service);

        (await PodA.AskAsync(service.Target())).ShouldNotBeAnswered();
        (await Client.AskAsync($"node1:{service.NodePort}")).ShouldNotBeAnswered();
    }

    [Test, Claim("SM-61")]
    public async Task A_changed_port_is_served_and_the_old_one_refused()
    {
        var service = await ApplyAsync(NewService("web-a"));
        (await PodA.AskAsync(service.Target())).ShouldBeAnsweredBy("web-a");

        await ApplyAsync(service with { Ports = [new PortSpec(8081)] });

        (await PodA.AskAsync(service.Target(8081))).ShouldBeAnsweredBy("web-a");
        (await PodA.AskAsync(service.Target())).ShouldBeRefused();
    }

    [Test, Claim("SM-62")]
    public async Task A_service_that_gets_a_node_port_is_served_there_and_no_longer_when_it_loses_it()
    {
        var service = await ApplyAsync(NewService("web-a"));
        var withPort = WithNodePort(service);
        (await Client.AskAsync($"node1:{withPort.NodePort}")).ShouldNotBeAnswered();

        await ApplyAsync(withPort);
        (await Client.AskAsync($"node1:{withPort.NodePort}")).ShouldBeAnsweredBy("web-a");

        await ApplyAsync(service);
        (await Client.AskAsync($"node1:{withPort.NodePort}")).ShouldNotBeAnswered();
    }

    [Test, Claim("SM-63")]
    public async Task A_change_of_policy_takes_effect()
    {
        var service = await ApplyAsync(WithNodePort(NewService("web-a")));
        (await Client.AskAsync($"node1:{service.NodePort}")).ShouldBeSeenByServerAsAddressOf("node1");

        await ApplyAsync(service with { ExternalTrafficPolicy = "Local" });

        (await Client.AskAsync($"node1:{service.NodePort}")).ShouldBeSeenByServerAs("client");
    }

    [Test, Claim("SM-64")]
    public async Task A_connection_does_not_notice_that_other_services_come_change_and_go()
    {
        var service = await ApplyAsync(WithNodePort(NewService("web-b")));
        await using var inside = await PodA.ConnectAsync(service.Target());
        await using var outside = await Client.ConnectAsync($"node1:{service.NodePort}");
        inside.ShouldBeAnswered();
        outside.ShouldBeAnswered();

        var other = NewService("web-a");
        await ApplyAsync(WithNodePort(other with { ExternalIPs = [OutsideAddress(other)] }));
        await ApplyAsync(other with { HasAffinity = true, AffinitySeconds = 60 });
        await DeleteAsync(other);

        await inside.ExchangeAsync(10_000);
        await outside.ExchangeAsync(10_000);
    }

    [Test, Claim("SM-65")]
    public async Task While_services_change_no_connection_to_another_is_lost_misrouted_or_unmasqueraded()
    {
        Lab["web-a"].Serve(Topologies.TransportProtocol.Tcp, 9065); // by this port its packets are told from other tests'
        var service = await ApplyAsync(WithNodePort(NewService("web-a") with { Ports = [new PortSpec(80, TargetPort: 9065)] }));
        var servers = await WhileAsync(() => Client.AskManyAsync($"node1:{service.NodePort}", 5), async () => // throws when one was not answered
        {
            for (var i = 0; i < 5; i++)
            {
                var other = NewService("web-b");
                await ApplyAsync(WithNodePort(other with { ExternalIPs = [OutsideAddress(other)], ExternalTrafficPolicy = i % 2 == 0 ? "Cluster" : "Local" }));
                await DeleteAsync(other);
            }
        });

        servers.Count.ShouldBeGreaterThan(50);
        servers.Distinct(StringComparer.Ordinal).ShouldBe(["web-a"]);
        // A late ACK or RST of a connection that was reset is invalid for connection tracking, and so never masqueraded: it opens nothing.
        Lab.Wire.Packets().Where(p => p is { Node: "web-a", IsLeaving: false, Packet: { DestinationPort: 9065, Tcp.Flags: Harness.Observation.TcpFlags.Syn } } && p.Packet.SourceAddress!.Equals(Client.Address)).ShouldBeEmpty("unmasqueraded");
    }
    [Test, Claim("SM-129")]
    public async Task Affinity_that_is_switched_on_and_off_takes_effect()
    {
        var service = await ApplyAsync(NewService("web-a", "web-b", "web-c"));
        (await PodA.AskManyAsync(service.Target(), 30)).Count.ShouldBe(3);

        await ApplyAsync(service with { HasAffinity = true, AffinitySeconds = 60 });
        (await PodA.AskManyAsync(service.Target(), 30)).Count.ShouldBe(1);

        await ApplyAsync(service);
        (await PodA.AskManyAsync(service.Target(), 30)).Count.ShouldBe(3);
    }

    [Test, Claim("SM-130")]
    public async Task A_policy_that_is_local_no_longer_is_masqueraded_again()
    {
        var service = await ApplyAsync(WithNodePort(NewService("web-a")) with { ExternalTrafficPolicy = "Local" });
        (await Client.AskAsync($"node1:{service.NodePort}")).ShouldBeSeenByServerAs("client");

        await ApplyAsync(service with { ExternalTrafficPolicy = "Cluster" });

        (await Client.AskAsync($"node1:{service.NodePort}")).ShouldBeSeenByServerAsAddressOf("node1");
    }

    [Test, Claim("SM-131")]
    public async Task A_source_range_that_is_taken_away_opens_the_load_balancer()
    {
        var service = NewService("web-a");
        service = await ApplyAsync(WithNodePort(service with { LoadBalancerIPs = [OutsideAddress(service)], SourceRanges = ["198.51.100.0/24"] }, "LoadBalancer"));
        var address = await ReachableAsync(OutsideAddress(service), via: Node1);
        (await Client.AskAsync($"{address}:80")).ShouldBeMetWithSilence();

        await ApplyAsync(service with { SourceRanges = [] });

        (await Client.AskAsync($"{address}:80")).ShouldBeAnsweredBy("web-a");
    }

    [Test, Claim("SM-132")]
    public async Task Of_two_services_with_one_address_and_port_the_older_one_is_served()
    {
        var younger = await ApplyAsync(NewService("web-a") with { CreatedAt = "2026-01-02T00:00:00Z" });
        (await PodA.AskAsync(younger.Target())).ShouldBeAnsweredBy("web-a");

        await ApplyAsync(NewService("web-b") with { ClusterIPs = younger.ClusterIPs, CreatedAt = "2026-01-01T00:00:00Z" });

        (await PodA.AskManyAsync(younger.Target(), 10)).Keys.ShouldBe(["web-b"]);
    }

    [Test, Claim("SM-133")]
    public async Task When_one_of_two_services_with_one_load_balancer_s_address_goes_the_other_is_served_throughout()
    {
        var kept = NewService("web-a");
        kept = await ApplyAsync(WithNodePort(kept with { LoadBalancerIPs = [OutsideAddress(kept)] }, "LoadBalancer"));
        var other = WithNodePort(NewService("web-b") with { LoadBalancerIPs = kept.LoadBalancerIPs, Ports = [new PortSpec(81)] }, "LoadBalancer");
        var address = await ReachableAsync(kept.LoadBalancerIPs[0], via: Node1);

        var asked = await WhileAsync(() => Client.AskManyAsync($"{address}:80", 5), async () =>
        {
            await ApplyAsync(other);
            (await Client.AskAsync($"{address}:81")).ShouldBeAnsweredBy("web-b");
            await DeleteAsync(other);
        });

        asked.Distinct(StringComparer.Ordinal).ShouldBe(["web-a"]);
    }

    [Test, Claim("SM-134")]
    public async Task A_service_with_an_odd_address_in_its_status_is_served_and_was_not_interrupted_when_it_came()
    {
        var service = NewService("web-a");
        service = await ApplyAsync(WithNodePort(service with { LoadBalancerIPs = [OutsideAddress(service)] }, "LoadBalancer"));
        var odd = service with { LoadBalancerIPs = [OutsideAddress(service), "127.0.0.1", ""] }; // as minikube's tunnel and some controllers write them

        var asked = await WhileAsync(() => PodA.AskManyAsync(service.Target(), 5), () => ApplyAsync(odd));

        asked.Distinct(StringComparer.Ordinal).ShouldBe(["web-a"]);
        (await PodA.AskAsync(service.Target())).ShouldBeAnsweredBy("web-a");
        (await Client.AskAsync($"{await ReachableAsync(OutsideAddress(service), via: Node1)}:80")).ShouldBeAnsweredBy("web-a");
        (await Client.AskAsync($"node1:{service.NodePort}")).ShouldBeAnsweredBy("web-a");

        var fromTheStart = await ApplyAsync(WithNodePort(NewService("web-a") with { LoadBalancerIPs = ["127.0.0.1"] }, "LoadBalancer"));
        (await PodA.AskAsync(fromTheStart.Target())).ShouldBeAnsweredBy("web-a");
    }

    [Test, Claim("SM-135")]
    public async Task A_connection_from_outside_to_a_local_node_port_goes_on_when_its_endpoint_is_removed()
    {
        var service = await ApplyAsync(WithNodePort(NewService("web-a", "web-b")) with { ExternalTrafficPolicy = "Local" });
        await using var flow = await Client.ConnectAsync($"node1:{service.NodePort}");
        flow.ShouldBeAnsweredBy("web-a");

        await ApplyAsync(service with { Endpoints = ["web-b"] });

        await flow.ExchangeAsync(1000);
    }

    [Test, Claim("SM-136")]
    public async Task A_removed_endpoint_leaves_the_table_when_its_last_connection_has_ended()
    {
        Demand(ProxyFeature.Ipvs);
        var service = await ApplyAsync(NewService("web-a", "web-b"));
        await using var first = await PodA.ConnectAsync(service.Target());
        await using var second = await PodA.ConnectAsync(service.Target());
        first.ShouldBeAnswered();
        await ApplyAsync(service with { Endpoints = ["web-b"] });
        VirtualServerAt(service.Target()).RealServers.Count.ShouldBe(2, "while the connection goes on");

        await first.ResetAsync();
        await second.ResetAsync();

        // A reset connection stays for ten seconds, and kube-proxy looks once a minute.
        await Harness.Eventually.Async("the endpoint is gone", () => VirtualServerAt(service.Target()).RealServers.Select(r => r.EndPoint.ToString()).ToList(), there => there is ["10.244.1.143:8080"], TimeSpan.FromSeconds(90));
    }

    [Test, Claim("SM-137")]
    public async Task A_service_that_comes_changes_and_goes_lets_no_packet_to_the_node_and_none_out_unmasqueraded()
    {
        const int port = 9137;
        Lab["web-a"].Serve(Topologies.TransportProtocol.Tcp, port);
        Lab["web-b"].Serve(Topologies.TransportProtocol.Tcp, port);
        Node1.Serve(Topologies.TransportProtocol.Tcp, port); // on every address, the Service's too if it is the node's
        var service = NewService("web-a");
        service = service with { Ports = [new PortSpec(port, TargetPort: port)], ExternalIPs = [OutsideAddress(service)] };
        var target = $"{await ReachableAsync(OutsideAddress(service), via: Node1)}:{port}";
        var servers = new System.Collections.Concurrent.ConcurrentBag<string>();

        await WhileAsync(async () =>
        {
            foreach (var connecting in new[] { Client.ConnectAsync(target), PodA.ConnectAsync(service.Target(port)) })
            {
                await using var flow = await connecting; // it may be cut off at any moment, and is not asked to close well
                if (flow.Answer is { } answer)
                    servers.Add(answer.Server);
            }
            return new Dictionary<string, int>(StringComparer.Ordinal);
        }, async () =>
        {
            for (var i = 0; i < 3; i++)
            {
                await ApplyAsync(service);
                await ApplyAsync(service with { Endpoints = ["web-b"] });
                Cluster.Delete(service);
                await Cluster.SettleAsync(service);
            }
        });

        servers.ShouldNotBeEmpty();
        servers.Distinct(StringComparer.Ordinal).ShouldBeSubsetOf(["web-a", "web-b"]);
        Lab.Wire.Packets(Since).Where(p => p is { Node: "web-a" or "web-b", IsLeaving: false, Packet: { DestinationPort: port, Tcp.Flags: Harness.Observation.TcpFlags.Syn } } && p.Packet.SourceAddress!.Equals(Client.Address)).ShouldBeEmpty("unmasqueraded");
    }

    /// <summary>Asks again and again while something is done.</summary>
    /// <returns>Who answered, each time.</returns>
    private async Task<IReadOnlyList<string>> WhileAsync(Func<Task<IReadOnlyDictionary<string, int>>> ask, Func<Task> act)
    {
        using var end = new CancellationTokenSource();
        var load = Task.Run(async () =>
        {
            var answered = new List<string>();
            while (!end.IsCancellationRequested)
            {
                foreach (var (server, count) in await ask())
                    answered.AddRange(Enumerable.Repeat(server, count));
                await Task.Delay(TimeSpan.FromMilliseconds(Cluster.Proxy.IsSlow ? 500 : 50)); // minutes of it would overflow the captures
            }
            return answered;
        });
        try
        {
            await act();
        }
        finally
        {
            await end.CancelAsync();
        }
        return await load;
    }
}
