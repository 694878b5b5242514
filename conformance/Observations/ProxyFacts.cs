using System.Diagnostics;
using System.Net;
using Conformance.Clusters.Kubernetes;
using Conformance.Clusters.Proxies;
using Conformance.Labs;
using Conformance.Reports;
using Conformance.Traffic;

namespace Conformance.Suite.Observations;

/// <summary>
/// What a proxy does where nothing says what is right, and what users would notice of another proxy all the same. These tests record facts
/// of the run, and fail only where nothing can be observed.
/// </summary>
public sealed class ProxyFacts : ClusterFixture
{
    private const int Connections = 12;
    private const int Changes = 5;

    [Test]
    public async Task Order_in_which_endpoints_get_connections()
    {
        string[] pods = ["web-a", "web-b", "web-c"];
        var service = await ApplyAsync(NewService([.. pods.Select(p => new EndpointSpec(p))]));

        var order = new List<string>();
        for (var i = 0; i < Connections; i++)
        {
            await using var flow = await PodC.AskAsync(service.Target());
            order.Add(flow.Answer?.Server ?? "none");
        }

        var isInTurn = order.Skip(pods.Length).Zip(order).All(p => p.First == p.Second) && order.Distinct().Count() == pods.Length;
        Record("order-of-endpoints", $"{Connections} connections of a client to {pods.Length} endpoints",
            isInTurn ? "each endpoint in turn" : order.Contains("none") ? "not all were answered" : "in no fixed order");
    }

    [Test]
    public async Task Who_answers_a_ping_of_a_cluster_ip()
    {
        var service = await ApplyAsync(NewService("web-a"));
        await ReachableAsync(service.ClusterIPs[0], Node1);

        foreach (var (id, from, words) in new[] { ("client", Client, "a client outside"), ("pod", PodA, "a pod"), ("node", Node1,
            "a node") })
        {
            var flow = await from.PingAsync(service.ClusterIPs[0]);
            Record($"ping-from-{id}", $"ping of a ClusterIP from {words}", Words(flow));
        }
    }

    [Test]
    public async Task Source_addresses_that_endpoints_see()
    {
        var service = await ApplyAsync(WithNodePort(NewService("web-a")));
        var ip = service.Target();
        await RecordSourceAsync("pod-here", "a pod of the endpoint's node to a ClusterIP", PodA, ip);
        await RecordSourceAsync("pod-elsewhere", "a pod of another node to a ClusterIP", PodC, ip);
        await RecordSourceAsync("node", "a node to a ClusterIP", Node2, ip);
        await RecordSourceAsync("itself", "an endpoint to itself through its ClusterIP", Lab["web-a"], ip);
        await RecordSourceAsync("client-by-node-port", "a client outside to a node port", Client, $"node2:{NodePortOf(service)}");

        var local = await ApplyAsync(WithLoadBalancer(NewService("web-a")) with { ExternalTrafficPolicy = "Local" });
        await ReachableAsync(OutsideAddress(local), Node1);
        await RecordSourceAsync("client-by-local-load-balancer", "a client outside to a load balancer with externalTrafficPolicy Local",
            Client, $"{OutsideAddress(local)}:80");
    }

    [Test]
    public async Task Addresses_and_ports_that_a_proxy_may_or_may_not_serve()
    {
        var service = await ApplyAsync(WithNodePort(NewService("web-a")));
        await RecordOutcomeAsync("unused-port", "a port that the Service does not have", PodA, service.Target(81));
        await RecordOutcomeAsync("node-port-on-loopback", "a node port on 127.0.0.1", Node1, $"127.0.0.1:{NodePortOf(service)}");
        await RecordOutcomeAsync("node-port-on-bridge", "a node port on the address of the node's pod bridge", PodA,
            $"{BridgeOfNode1}:{NodePortOf(service)}");
    }

    [Test]
    public async Task Policy_Local_without_an_endpoint_on_the_node()
    {
        var external = await ApplyAsync(WithLoadBalancer(NewService("web-c")) with { ExternalTrafficPolicy = "Local" });
        await ReachableAsync(OutsideAddress(external), Node1);
        var target = $"{OutsideAddress(external)}:80";
        await RecordOutcomeAsync("local-without-endpoint-from-outside",
            "externalTrafficPolicy Local, no endpoint on the node, from outside", Client, target);
        await RecordOutcomeAsync("local-without-endpoint-from-pod",
            "externalTrafficPolicy Local, no endpoint on the node, from a pod there", PodA, target);
        await RecordOutcomeAsync("local-without-endpoint-from-node",
            "externalTrafficPolicy Local, no endpoint on the node, from the node", Node1, target);

        var inside = await ApplyAsync(NewService("web-c") with { InternalTrafficPolicy = "Local" });
        await RecordOutcomeAsync("internal-local-without-endpoint",
            "internalTrafficPolicy Local, no endpoint on the node, from a pod there", PodA, inside.Target());
    }

    [Test]
    public async Task Time_until_a_change_of_endpoints_is_served()
    {
        var service = await ApplyAsync(NewService("web-a"));
        var times = new List<TimeSpan>();
        for (var i = 0; i < Changes; i++)
        {
            var pod = i % 2 == 0 ? "web-c" : "web-a";
            var watch = Stopwatch.StartNew();
            Cluster.Put(service with { Endpoints = [pod] });
            await ProgrammedAsync($"{service.Target()} leads to {pod}", async () =>
            {
                await using var flow = await PodA.AskAsync(service.Target());
                return flow.Answer?.Server;
            }, server => server == pod);
            times.Add(watch.Elapsed);
        }
        await ApplyAsync(service);
        Facts.Add(FactRecord.OfTime("time-to-converge",
            $"from a change of an endpoint to the first answer of the new one, median of {Changes}", times.Order().ElementAt(Changes / 2)));
    }

    private async Task RecordSourceAsync(string id, string title, Node from, string target)
    {
        await using var flow = await from.AskAsync(target);
        var seen = flow.Answer?.SeenPeer?.Address;
        Record($"source-of-{id}", $"source address of {title}", seen is null ? Words(flow)
            : from.Addresses.Contains(seen) ? "the client's own"
            : seen.Equals(flow.Target.Address) ? "the Service's address"
            : OwnerOf(seen) is { } owner ? $"an address of {owner}" : "another address");
    }

    private static async Task RecordOutcomeAsync(string id, string title, Node from, string target)
    {
        await using var flow = await from.AskAsync(target);
        Record(id, title, Words(flow));
    }

    /// <summary>The node that has an address, its overlay's address among them; null when none has it.</summary>
    private string? OwnerOf(IPAddress address) => Lab.Nodes.FirstOrDefault(n => n.Addresses.Contains(address))?.Name;

    private static string Words(Flow flow) => flow.Outcome switch
    {
        { Kind: OutcomeKind.Answered, By: { } by } => $"answered by {by}",
        { IsRefusal: true } => "refused",
        { Kind: OutcomeKind.Silence } => "silence",
        var other => other.Class,
    };

    private static void Record(string id, string title, string value) => Facts.Add(new FactRecord(id, title, value));
}
