using Conformance.Clusters;
using Conformance.Clusters.Kubernetes;
using Conformance.Labs;
using Conformance.Labs.Waiting;
using Conformance.Linux;
using Conformance.Packets;
using Conformance.Reports;
using Conformance.Traffic;
using Conformance.Traffic.Assertions;

namespace Conformance.Suite.Changes;

/// <summary>Settings that are switched on and off on a Service in use.</summary>
public sealed class LiveChanges : ClusterFixture
{
    [Test, Claim("CHANGE-14")]
    public async Task Session_affinity_can_be_switched_on_and_off()
    {
        var service = await ApplyAsync(NewService("web-a", "web-b", "web-c"));
        (await PodA.AskManyAsync(service.Target(), 30)).Count.ShouldBe(3);

        await ApplyAsync(service with { HasAffinity = true, AffinitySeconds = 60 });
        (await PodA.AskManyAsync(service.Target(), 30)).Count.ShouldBe(1);

        await ApplyAsync(service);
        (await PodA.AskManyAsync(service.Target(), 30)).Count.ShouldBe(3);
    }

    [Test, Claim("CHANGE-15")]
    public async Task Policy_changed_back_to_cluster_is_masqueraded_again()
    {
        var service = await ApplyAsync(WithNodePort(NewService("web-a", "web-b")) with { ExternalTrafficPolicy = "Local" });
        await (await Client.AskAsync($"node1:{service.NodePort}")).ShouldBeSeenByServerAsAsync("client");

        // of an endpoint here the client's address may stay
        await ApplyAsync(service with { ExternalTrafficPolicy = "Cluster", Endpoints = ["web-b"] });

        await (await Client.AskAsync($"node1:{service.NodePort}")).ShouldBeSeenByServerAsAddressOfAsync("node1");
    }

    [Test, Claim("CHANGE-16")]
    public async Task Removed_source_range_opens_the_load_balancer()
    {
        var service = NewService("web-a");
        service = await ApplyAsync(WithLoadBalancer(service) with { SourceRanges = ["198.51.100.0/24"] });
        var address = await ReachableAsync(OutsideAddress(service), via: Node1);
        await (await Client.AskAsync($"{address}:80")).ShouldBeMetWithSilenceAsync();

        await ApplyAsync(service with { SourceRanges = [] });

        await (await Client.AskAsync($"{address}:80")).ShouldBeAnsweredByAsync("web-a");
    }

    [Test, Claim("CHANGE-19")]
    public async Task External_connection_to_a_local_node_port_survives_its_endpoint()
    {
        var service = await ApplyAsync(WithNodePort(NewService("web-a", "web-b")) with { ExternalTrafficPolicy = "Local" });
        await using var flow = await Client.ConnectAsync($"node1:{service.NodePort}");
        await flow.ShouldBeAnsweredByAsync("web-a");

        await ApplyAsync(service with { Endpoints = ["web-b"] });

        await flow.ExchangeAsync(1000);
    }

    [Test, Claim("CHANGE-20")]
    public async Task Removed_endpoint_leaves_the_table_after_its_last_connection()
    {
        var service = await ApplyAsync(NewService("web-a", "web-b"));
        var flow = await PodA.ConnectAsync(service.Target());
        for (var i = 0; i < 50 && flow.Answer?.Server != "web-a"; i++)
        {
            await flow.ShouldBeAnsweredAsync();
            await flow.ResetAsync();
            flow = await PodA.ConnectAsync(service.Target());
        }
        await flow.ShouldBeAnsweredByAsync("web-a");
        await ApplyAsync(service with { Endpoints = ["web-b"] });
        VirtualServerAt(service.Target()).RealServers.Count.ShouldBe(2, "while the connection goes on");

        await flow.ResetAsync();

        // A reset connection stays for ten seconds, and kube-proxy looks once a minute.
        await Eventually.Async("the endpoint is gone", () => VirtualServerAt(service.Target()).RealServers.Select(
            r => r.EndPoint.ToString()).ToList(), there => there.SequenceEqual([EndPointOf("web-b")], StringComparer.Ordinal),
                TimeSpan.FromSeconds(90));
    }

    [Test, Claim("CHANGE-21")]
    public async Task Changing_service_passes_no_packet_to_the_node_or_unmasqueraded()
    {
        const int port = 9137;
        Lab["web-a"].Serve(TransportProtocol.Tcp, port);
        Lab["web-b"].Serve(TransportProtocol.Tcp, port);
        Node1.Serve(TransportProtocol.Tcp, port); // on every address, the Service's too if it is the node's
        var service = NewService("web-a");
        service = service with { Ports = [new PortSpec(port, TargetPort: port)], ExternalIPs = [OutsideAddress(service)] };
        var target = $"{await ReachableAsync(OutsideAddress(service), via: Node1)}:{port}";
        await ApplyAsync(service); // before the load: a question that nobody answers takes it so long that it asks no other meanwhile
        var answers = await Load.WhileAsync(Cluster, async () =>
        {
            var servers = new List<string>();
            foreach (var connecting in new[] { Client.ConnectAsync(target), PodA.ConnectAsync(service.Target(port)) })
            {
                await using var flow = await connecting; // it may be cut off at any moment, and is not asked to close well
                if (flow.Answer is { } answer)
                    servers.Add(answer.Server);
            }
            return servers;
        }, async () =>
        {
            for (var i = 0; i < (Cluster.Proxy.IsSlow ? 1 : 3); i++)
            {
                await (await Client.AskAsync(target)).ShouldBeAnsweredByAsync("web-a");
                await (await PodA.AskAsync(service.Target(port))).ShouldBeAnsweredByAsync("web-a");
                await ApplyAsync(service with { Endpoints = ["web-b"] });
                await (await Client.AskAsync(target)).ShouldBeSeenByServerAsAddressOfAsync("node1");
                Cluster.Delete(service);
                await Cluster.SettleAsync(service);
                await ApplyAsync(service);
            }
        });

        answers.SelectMany(a => a).Distinct(StringComparer.Ordinal).ShouldBeSubsetOf(["web-a", "web-b"]);
        // A first SYN that left by the default route, while there was no such Service, is tracked: the kernel asks the table nat nothing
        // about those that follow, so that no proxy can masquerade them.
        var before = Lab.Wire.Packets(Since).Where(p => p is { Node: "router", Packet.DestinationPort: port })
            .Select(p => p.Packet.SourcePort).ToHashSet();
        // What stays on the node may keep its client's address.
        UnmasqueradedAt("web-b", port, Since).Where(p => !before.Contains(p.Packet.SourcePort)).ShouldBeEmpty("unmasqueraded");
    }
}
