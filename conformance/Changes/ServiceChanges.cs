using Conformance.Clusters;
using Conformance.Clusters.Kubernetes;
using Conformance.Clusters.Proxies;
using Conformance.Labs;
using Conformance.Linux;
using Conformance.Packets;
using Conformance.Reports;
using Conformance.Traffic;
using Conformance.Traffic.Assertions;

namespace Conformance.Suite.Changes;

/// <summary>What a change of Services and endpoints does to traffic that is there, and to new traffic.</summary>
public sealed class ServiceChanges : ClusterFixture
{
    [Test, Claim("CHANGE-1")]
    public async Task Established_connection_continues_when_its_endpoint_is_removed()
    {
        var service = await ApplyAsync(NewService("web-a"));
        await using var flow = await PodA.ConnectAsync(service.Target());
        await flow.ShouldBeAnsweredByAsync("web-a");

        await ApplyAsync(service with { Endpoints = ["web-b"] });

        await flow.ExchangeAsync(1000);
        (await PodA.AskManyAsync(service.Target(), 10)).Keys.ShouldBe(["web-b"], "new connections");
    }

    [Test, Claim("CHANGE-2")]
    public async Task Endpoint_that_returns_gets_connections_again()
    {
        var service = await ApplyAsync(NewService("web-a", "web-b"));
        await using var first = await PodA.ConnectAsync(service.Target());
        await using var second = await PodA.ConnectAsync(service.Target());
        await first.ShouldBeAnsweredAsync();
        var remaining = first.Answer!.Server == "web-a" ? "web-b" : "web-a";
        await ApplyAsync(service with { Endpoints = [remaining] });

        await ApplyAsync(service);

        (await PodA.AskManyAsync(service.Target(), 20)).Keys.Order(StringComparer.Ordinal).ShouldBe(["web-a", "web-b"]);
        await first.ExchangeAsync(1000);
        await second.ExchangeAsync(1000);
    }

    [Test, Claim("CHANGE-12")]
    public async Task Last_endpoint_drains_and_new_connections_are_refused()
    {
        var service = await ApplyAsync(NewService("web-a"));
        await using var flow = await PodA.ConnectAsync(service.Target());
        await flow.ShouldBeAnsweredByAsync("web-a");

        await ApplyAsync(service with { Endpoints = [] });

        await (await PodA.AskAsync(service.Target())).ShouldBeRefusedAsync();
        await flow.ExchangeAsync(1000);
    }

    [Test, Claim("CHANGE-13")]
    public async Task Reused_source_port_is_served_without_delay()
    {
        var service = await ApplyAsync(NewService("web-a", "web-b"));
        for (var i = 0; i < 4; i++)
        {
            var flow = await PodA.AskAsync(service.Target(), sourcePort: 20099);

            await flow.ShouldBeAnsweredAsync();
            SynsOf(flow).ShouldBe(1, "no SYN had to be sent again (kubernetes/kubernetes#81775)");
        }
    }

    [Test, Claim("CHANGE-3")]
    public async Task Udp_client_reaches_another_endpoint_when_its_own_is_removed()
    {
        var service = await ApplyAsync(NewService("web-a") with { Ports = [new PortSpec(80, Protocol: TransportProtocol.Udp)] });
        await (await PodA.AskUdpAsync(service.Target(), sourcePort: 20057)).ShouldBeAnsweredByAsync("web-a");

        await ApplyAsync(service with { Endpoints = ["web-b"] });

        await (await PodA.AskUdpAsync(service.Target(), sourcePort: 20057)).ShouldBeAnsweredByAsync("web-b");
    }

    [Test, Claim("CHANGE-4")]
    public async Task Udp_client_reaches_a_first_endpoint_from_the_same_port()
    {
        var service = WithNodePort(NewService("web-b") with { Ports = [new PortSpec(80, Protocol: TransportProtocol.Udp)] });
        await (await Client.AskUdpAsync($"node1:{service.NodePort}", sourcePort: 20058)).ShouldNotBeAnsweredAsync();
        if (Has(ProxyFeature.Ipvs))
            Node1.Conntrack().ShouldContain(e => e.Original.SourcePort == 20058, "connection tracking remembers the way to nowhere");

        await ApplyAsync(service);

        await (await Client.AskUdpAsync($"node1:{service.NodePort}", sourcePort: 20058)).ShouldBeAnsweredByAsync("web-b");
    }

    [Test, Claim("CHANGE-5")]
    public async Task External_udp_client_reaches_another_endpoint()
    {
        var service = await ApplyAsync(
            WithNodePort(NewService("web-a") with { Ports = [new PortSpec(80, Protocol: TransportProtocol.Udp)] }));
        await (await Client.AskUdpAsync($"node1:{service.NodePort}", sourcePort: 20059)).ShouldBeAnsweredByAsync("web-a");
        if (Has(ProxyFeature.Ipvs))
            Node1.IpvsConnections().ShouldContain(c => c.Client.Port == 20059, "the connection that must not be followed any more");

        await ApplyAsync(service with { Endpoints = ["web-b"] });

        await (await Client.AskUdpAsync($"node1:{service.NodePort}", sourcePort: 20059)).ShouldBeAnsweredByAsync("web-b");
    }

    [Test, Claim("CHANGE-6")]
    public async Task Deleted_service_is_not_answered()
    {
        var service = await ApplyAsync(WithNodePort(NewService("web-a")));
        await (await PodA.AskAsync(service.Target())).ShouldBeAnsweredByAsync("web-a");

        await DeleteAsync(service);

        await (await PodA.AskAsync(service.Target())).ShouldNotBeAnsweredAsync();
        await (await Client.AskAsync($"node1:{service.NodePort}")).ShouldNotBeAnsweredAsync();
    }

    [Test, Claim("CHANGE-7")]
    public async Task Changed_port_is_served_and_the_old_one_is_not()
    {
        var service = await ApplyAsync(NewService("web-a"));
        await (await PodA.AskAsync(service.Target())).ShouldBeAnsweredByAsync("web-a");

        await ApplyAsync(service with { Ports = [new PortSpec(8081)] });

        await (await PodA.AskAsync(service.Target(8081))).ShouldBeAnsweredByAsync("web-a");
        await ShouldBeTurnedAwayAsync(await PodA.AskAsync(service.Target()), ProxyFeature.RefusesOtherPorts);
    }

    [Test, Claim("CHANGE-8")]
    public async Task Node_port_is_served_while_the_service_has_it()
    {
        var service = await ApplyAsync(NewService("web-a"));
        var withPort = WithNodePort(service);
        await (await Client.AskAsync($"node1:{withPort.NodePort}")).ShouldNotBeAnsweredAsync();

        await ApplyAsync(withPort);
        await (await Client.AskAsync($"node1:{withPort.NodePort}")).ShouldBeAnsweredByAsync("web-a");

        await ApplyAsync(service);
        await (await Client.AskAsync($"node1:{withPort.NodePort}")).ShouldNotBeAnsweredAsync();
    }

    [Test, Claim("CHANGE-9")]
    public async Task Change_of_traffic_policy_takes_effect()
    {
        var service = await ApplyAsync(WithNodePort(NewService("web-b")));
        await (await Client.AskAsync($"node1:{service.NodePort}")).ShouldBeSeenByServerAsAddressOfAsync("node1");

        await ApplyAsync(service with { ExternalTrafficPolicy = "Local", Endpoints = ["web-a"] });

        await (await Client.AskAsync($"node1:{service.NodePort}")).ShouldBeSeenByServerAsAsync("client");
    }

    [Test, Claim("CHANGE-10")]
    public async Task Connection_is_not_disturbed_by_changes_of_other_services()
    {
        var service = await ApplyAsync(WithNodePort(NewService("web-b")));
        await using var inside = await PodA.ConnectAsync(service.Target());
        await using var outside = await Client.ConnectAsync($"node1:{service.NodePort}");
        await inside.ShouldBeAnsweredAsync();
        await outside.ShouldBeAnsweredAsync();

        var other = NewService("web-a");
        await ApplyAsync(WithNodePort(other with { ExternalIPs = [OutsideAddress(other)] }));
        await ApplyAsync(other with { HasAffinity = true, AffinitySeconds = 60 });
        await DeleteAsync(other);

        await inside.ExchangeAsync(10_000);
        await outside.ExchangeAsync(10_000);
    }

    [Test, Claim("CHANGE-11")]
    public async Task Changes_of_other_services_disturb_no_new_connection()
    {
        Lab["web-b"].Serve(TransportProtocol.Tcp, 9065); // this port marks its packets
        var service = await ApplyAsync(WithNodePort(NewService("web-b") with { Ports = [new PortSpec(80, TargetPort: 9065)] }));
        // throws when one was not answered
        var answers = await Load.WhileAsync(Cluster, () => Client.AskManyAsync($"node1:{service.NodePort}", 5), async () =>
        {
            for (var i = 0; i < 5; i++)
            {
                var other = NewService("web-a");
                await ApplyAsync(WithNodePort(other with
                {
                    ExternalIPs = [OutsideAddress(other)],
                    ExternalTrafficPolicy = i % 2 == 0
                    ? "Cluster" : "Local"
                }));
                await DeleteAsync(other);
            }
        });

        answers.Sum(a => a.Values.Sum()).ShouldBeGreaterThan(50);
        answers.SelectMany(a => a.Keys).Distinct(StringComparer.Ordinal).ShouldBe(["web-b"]);
        // A late ACK or RST of a connection that was reset is invalid for connection tracking, and so never masqueraded: it opens nothing.
        UnmasqueradedAt("web-b", 9065, since: default).ShouldBeEmpty("unmasqueraded");
    }

    [Test, Claim("CHANGE-22")]
    public async Task Changed_policy_takes_effect_at_external_addresses()
    {
        var external = NewService("web-a");
        external = await ApplyAsync(external with { ExternalIPs = [OutsideAddress(external)] });
        var balanced = await ApplyAsync(WithLoadBalancer(NewService("web-a")));
        await SeeAsync("node1");

        await PolicyAsync("Local");
        await SeeAsync("client");

        await PolicyAsync("Cluster");
        await SeeAsync("node1");

        async Task PolicyAsync(string policy)
        {
            await ApplyAsync(external with { ExternalTrafficPolicy = policy });
            await ApplyAsync(balanced with { ExternalTrafficPolicy = policy });
        }

        async Task SeeAsync(string source)
        {
            foreach (var address in new[] { external.ExternalIPs[0], balanced.LoadBalancerIPs[0] })
            {
                var reachable = await ReachableAsync(address, via: Node1);
                await (await Client.AskAsync($"{reachable}:80")).ShouldBeSeenByServerAsAddressOfAsync(source);
            }
        }
    }

    [Test, Claim("CHANGE-23")]
    public async Task Client_that_falls_out_of_the_source_ranges_is_dropped()
    {
        var service = await ApplyAsync(WithLoadBalancer(NewService("web-a")) with { SourceRanges = ["192.168.113.0/24"] });
        var target = $"{await ReachableAsync(service.LoadBalancerIPs[0], via: Node1)}:80";
        await (await Client.AskAsync(target)).ShouldBeAnsweredByAsync("web-a");

        await ApplyAsync(service with { SourceRanges = ["198.51.100.0/24"] });

        await (await Client.AskAsync(target)).ShouldBeMetWithSilenceAsync();
    }

    [Test, Claim("CHANGE-24")]
    public async Task Node_that_gets_its_first_endpoint_serves_external_clients()
    {
        var service = await ApplyAsync(WithNodePort(NewService("web-b")) with { ExternalTrafficPolicy = "Local" });
        await (await Client.AskAsync($"node1:{service.NodePort}")).ShouldNotBeAnsweredAsync();

        await ApplyAsync(service with { Endpoints = ["web-a", "web-b"] });

        await (await Client.AskAsync($"node1:{service.NodePort}")).ShouldBeSeenByServerAsAsync("client");
    }

    [Test, Claim("CHANGE-25")]
    public async Task Connections_are_served_while_all_endpoints_are_replaced()
    {
        var service = await ApplyAsync(NewService("web-a"));

        var asked = await Load.WhileAsync(Cluster, async () =>
        {
            var flow = await PodA.AskAsync(service.Target());
            return (flow.Answer, Syns: SynsOf(flow));
        }, async () =>
        {
            for (var i = 0; i < (Cluster.Proxy.IsSlow ? 1 : 3); i++)
            {
                await ApplyAsync(service with { Endpoints = ["web-b"] });
                await ApplyAsync(service);
            }
        });

        asked.ShouldAllBe(a => a.Answer != null && a.Syns == 1, "no connection is refused, lost, or served late");
    }

    [Test, Claim("CHANGE-26")]
    public async Task Node_port_that_comes_and_goes_passes_no_unmasqueraded_packet()
    {
        const int port = 9138;
        Lab["web-b"].Serve(TransportProtocol.Tcp, port);
        var service = WithNodePort(NewService("web-b") with { Ports = [new PortSpec(80, TargetPort: port)] });

        await Load.WhileAsync(Cluster, async () =>
        {
            await using var flow = await Client.ConnectAsync($"node1:{service.NodePort}"); // it may be cut off at any moment
            return flow.Answer is not null;
        }, async () =>
        {
            for (var i = 0; i < (Cluster.Proxy.IsSlow ? 1 : 3); i++)
            {
                await ApplyAsync(service);
                await (await Client.AskAsync($"node1:{service.NodePort}")).ShouldBeSeenByServerAsAddressOfAsync("node1");
                Cluster.Delete(service);
                await Cluster.SettleAsync(service);
            }
        });

        UnmasqueradedAt("web-b", port, Since).ShouldBeEmpty("unmasqueraded");
    }

    /// <summary>How often a pod has sent the first packet of a connection.</summary>
    private static int SynsOf(Flow flow) =>
        flow.ReadStory().Steps.Count(s => s is { Captured: { Node: "pod-a", IsLeaving: true }, Packet.Tcp.Flags: TcpFlags.Syn });
}
