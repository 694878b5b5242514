using System.Globalization;
using System.Net;
using Allure.NUnit;
using Conformance.Clusters;
using Conformance.Clusters.Kubernetes;
using Conformance.Clusters.Proxies;
using Conformance.Labs;
using Conformance.Labs.Waiting;
using Conformance.Linux;
using Conformance.Linux.Features;
using Conformance.Linux.Ipvs;
using Conformance.Packets;
using Conformance.Reports;
using Conformance.Topologies;
using Conformance.Traffic;
using Conformance.Traffic.Assertions;
using NUnit.Framework.Interfaces;
using NUnit.Framework.Internal;

namespace Conformance.Suite;

/// <summary>
/// A fixture whose tests share the cluster with the proxy under test. Each test makes Services of its own, with
/// addresses and ports that nobody else has, and sees only its own flows.
/// </summary>
[AllureNUnit]
[Parallelizable(ParallelScope.All)]
[FixtureLifeCycle(LifeCycle.InstancePerTestCase)]
[Requires(Feature.Ipvs, Feature.Ipset, Feature.IpvsMatch, Feature.IpvsConntrack, Feature.ConntrackNetlink)]
public abstract class ClusterFixture
{
    private readonly List<ServiceSpec> _services = [];
    private readonly Stack<Func<Task>> _undo = new();
    private readonly HashSet<string> _reachable = new(StringComparer.Ordinal);
    private SharedCluster? _shared;
    private long _droppedBefore;
    private bool _hasIPv6;

    protected Cluster Cluster => Shared.Cluster;

    /// <summary>When the test began.</summary>
    protected DateTime Since { get; } = DateTime.UtcNow;

    protected Lab Lab => Cluster.Lab;

    private SharedCluster Shared => _shared ?? throw new InvalidOperationException("The cluster is not up.");

    /// <summary>Outside the cluster; its way to the Service network, where it has one, is node1.</summary>
    protected Node Client => Lab["client"];

    protected Node Node1 => Lab["node1"];

    protected Node Node2 => Lab["node2"];

    /// <summary>A pod on node1 that only asks.</summary>
    protected Node PodA => Lab["pod-a"];

    /// <summary>A pod on node2 that only asks.</summary>
    protected Node PodC => Lab["pod-c"];

    /// <summary>What its tests do with the cluster: those that change it have another than all others, one test at a time.</summary>
    protected virtual ClusterUse Use => ClusterUse.Shared;

    /// <summary>The topology of its cluster: nodes and pods have the same names and addresses in each.</summary>
    protected virtual string Topology => "cluster";

    /// <summary>The address of node1's pod bridge.</summary>
    protected const string BridgeOfNode1 = "10.244.0.1";

    /// <summary>The IPv6 address of node1's pod bridge.</summary>
    protected const string Bridge6OfNode1 = "fd00:10:244::1";

    /// <summary>The address of node1 on the overlay network: the source of its masqueraded packets to pods of other nodes.</summary>
    protected const string OverlayOfNode1 = "10.244.0.0";

    /// <summary>The IPv4 end point of a pod's server, as tables print it.</summary>
    protected string EndPointOf(string pod, int port = 8080) => new IPEndPoint(Lab[pod].Address, port).ToString();

    /// <summary>The IPv6 end point of a pod's server, as tables print it.</summary>
    protected string EndPoint6Of(string pod, int port = 8080) => new IPEndPoint(Lab[pod].Spec.Interfaces[0].Address6!, port).ToString();

    protected static PacketPattern.Place On(string node) => PacketPattern.On(node);

    [SetUp]
    public async Task JoinCluster()
    {
        var test = TestExecutionContext.CurrentContext.CurrentTest;
        AllureResults.Describe(test);
        var needs = Claims.Of(test).SelectMany(c => c.Features).Select(FeatureChange.Parse).ToHashSet();
        var proxy = SharedClusters.ProxyFor(needs);
        Evidence.Expect(test, new ImplementationRecord(proxy.Name, "")); // its version may be what fails
        Evidence.Expect(test, await SharedClusters.ImplementationAsync(proxy));
        _hasIPv6 = Toolbox.Iptables.HasIPv6;
        foreach (var feature in needs)
            Demand(proxy, feature);
        _shared = await SharedClusters.TakeAsync(proxy, Use, Topology);
        _shared.Join(test.Id, Since);
        _droppedBefore = Lab.Wire.Dropped;
    }

    [TearDown]
    public async Task LeaveCluster()
    {
        if (_shared is null)
            return;
        var outcome = TestContext.CurrentContext.Result.Outcome.Status;
        var isWhole = false;
        try
        {
            var test = TestExecutionContext.CurrentContext.CurrentTest;
            await Evidence.TakeAsync(Cluster, Shared.Implementation, test, Since, outcome == TestStatus.Failed);
            await UndoAsync();
            isWhole = outcome != TestStatus.Failed;
        }
        finally
        {
            Shared.Leave(TestExecutionContext.CurrentContext.CurrentTest.Id);
            // A test that failed may have left the nodes as no other expects them.
            if (Use != ClusterUse.Shared)
                await SharedClusters.ReturnAsync(Shared, isWhole);
        }
        if (Lab.Wire.Dropped > _droppedBefore)
            throw new InvalidOperationException(
                $"{Lab.Wire.Dropped - _droppedBefore} packets were not captured because the buffer was full: the evidence is incomplete.");
        if (outcome == TestStatus.Passed)
            DemandControls();
    }

    /// <summary>The flow gets no answer; of a proxy that has the feature it is refused.</summary>
    protected Task ShouldBeTurnedAwayAsync(Flow flow, ProxyFeature refusal) =>
        Cluster.Proxy.Features.Contains(refusal) ? flow.ShouldBeRefusedAsync() : flow.ShouldNotBeAnsweredAsync();

    /// <summary>Runs a command in a node, and the opposite command when the test has ended.</summary>
    protected async Task ChangeAsync(Node node, string command, string undo)
    {
        await node.RunAsync(command);
        Undo(() => node.RunAsync(undo));
    }

    /// <summary>Runs an action when the test has ended and its evidence has been taken; the latest first.</summary>
    protected void Undo(Func<Task> action) => _undo.Push(action);

    /// <inheritdoc cref="Undo(Func{Task})"/>
    protected void Undo(Action action) => _undo.Push(() =>
    {
        action();
        return Task.CompletedTask;
    });

    private async Task UndoAsync()
    {
        while (_undo.TryPop(out var undo))
            await undo();
        foreach (var service in _services)
            Cluster.Delete(service);
        foreach (var address in _reachable)
            Client.Route.DeleteRoute(HostNetwork(address));
        var withoutProxy = Cluster.Nodes.Except(Cluster.Running.Select(r => r.Node)).ToList();
        foreach (var node in withoutProxy)
            await Cluster.StartProxyAsync(node);
        if (withoutProxy.Count > 0)
            await Cluster.SettleAsync(); // the next test may begin with what the proxy makes
        await RestoreAsync();
    }

    /// <summary>On a proxy that serves nothing at all, every claim that something is not answered would hold.</summary>
    private void DemandControls()
    {
        var test = TestExecutionContext.CurrentContext.CurrentTest.Id;
        var unproven = Lab.Nodes.SelectMany(n => n.Flows).FirstOrDefault(f => f.IsOf(test) && f.Answer is null
            && Cluster.Unserved.Contains(TrafficKind.Of(f)));
        if (unproven is not null)
        {
            throw new HarnessException(
                $"The proxy {Cluster.Proxy.Name} has never served the harness's own Service over the family and protocol of a flow.",
                $"{unproven}. Not served are {string.Join(", ", Cluster.Unserved)}.", "A missing answer proves nothing here.",
                "See the proxy's log.");
        }
    }

    /// <summary>Undoes what the test did to nodes, when its evidence has been taken and every node has its proxy again.</summary>
    protected virtual Task RestoreAsync() => Task.CompletedTask;

    /// <summary>Whether the proxy under test declares a feature, for checks of anything but packets.</summary>
    protected bool Has(ProxyFeature feature) => Cluster.Proxy.Features.Contains(feature) && (feature != ProxyFeature.IPv6 || _hasIPv6);

    /// <summary>
    /// Ends the test as not supported where the proxy under test does not declare a feature that it alone of its fixture needs.
    /// </summary>
    protected void Demand(ProxyFeature feature) => Demand(Cluster.Proxy, feature);

    /// <summary>Waits for what the proxy under test is to do.</summary>
    protected Task<T> ProgrammedAsync<T>(string what, Func<Task<T>> read, Func<T, bool> isSo) => Eventually.Async(
        what,
        () =>
        {
            foreach (var running in Cluster.Running)
                running.ThrowIfEnded(Cluster.Proxy); // it will not do it any more
            return read();
        },
        isSo, Cluster.Reaction, pause: TimeSpan.FromMilliseconds(Cluster.Proxy.IsSlow ? 500 : 50));

    /// <summary>Starts nginx where the article's Services lead, when no other test has done so before.</summary>
    protected Task StartNginxAsync() => Shared.Nginx.Value;

    /// <summary>Starts the cluster's DNS servers, when no other test has done so before.</summary>
    protected Task StartDnsAsync() => Shared.Dns.Value;

    /// <summary>A Service with addresses and node ports of its own, not yet in the cluster.</summary>
    protected static ServiceSpec NewService(params EndpointSpec[] endpoints)
    {
        var name = AddressPlan.NextName();
        return new ServiceSpec(name) { ClusterIPs = [AddressPlan.ClusterIP(name)], Endpoints = endpoints };
    }

    /// <summary>The Service's IPv6 address in the Service network.</summary>
    protected static string AddressV6(ServiceSpec service) => AddressPlan.ClusterIP6(service.Name);

    /// <summary>The first of the Service's own node ports.</summary>
    protected static int NodePortOf(ServiceSpec service) => AddressPlan.NodePort(service.Name);

    /// <summary>The Service's own external IP or load-balancer address.</summary>
    protected static string OutsideAddress(ServiceSpec service) => AddressPlan.Outside(service.Name);

    /// <summary>The Service's own IPv6 external IP or load-balancer address.</summary>
    protected static string OutsideAddressV6(ServiceSpec service) => AddressPlan.Outside6(service.Name);

    /// <summary>An unused address in the nodes' own network for the Service: one of fifty.</summary>
    /// <param name="first">The last byte of the first of the fifty.</param>
    protected static string NeighbourAddress(ServiceSpec service, int first) => AddressPlan.Neighbour(service.Name, first);

    /// <summary>Makes a Service with node ports.</summary>
    protected static ServiceSpec WithNodePort(ServiceSpec service, string type = "NodePort") =>
        service with { Type = type, Ports = [.. service.Ports.Select((p, i) => p with { NodePort = NodePortOf(service) + i })] };

    /// <summary>Makes a Service one of a load balancer, with node ports and an address that belongs to it alone.</summary>
    protected static ServiceSpec WithLoadBalancer(ServiceSpec service) =>
        WithNodePort(service with { LoadBalancerIPs = [OutsideAddress(service)] }, "LoadBalancer");

    /// <inheritdoc cref="WithLoadBalancer"/>
    protected static ServiceSpec WithLoadBalancerV6(ServiceSpec service) =>
        WithNodePort(service with { LoadBalancerIPs = [OutsideAddressV6(service)] }, "LoadBalancer");

    /// <summary>Makes a Service one of IPv6 alone.</summary>
    protected static ServiceSpec OverIPv6(ServiceSpec service) => service with { ClusterIPs = [AddressV6(service)] };

    /// <summary>Makes a Service one of both families.</summary>
    protected static ServiceSpec OverBoth(ServiceSpec service) => service with { ClusterIPs = [service.ClusterIPs[0], AddressV6(service)] };

    /// <summary>Puts Services into the cluster and waits until every node has them.</summary>
    protected async Task<ServiceSpec> ApplyAsync(ServiceSpec service)
    {
        _services.Add(service); // every version: each may have slices that the others have not
        await ProgrammedByProxyAsync(Cluster.ApplyAsync(service));
        return service;
    }

    /// <summary>Where nobody else changes the cluster, a proxy that stalls over a change shows what it does with that change.</summary>
    private async Task ProgrammedByProxyAsync(Task settled)
    {
        try
        {
            await settled;
        }
        catch (ProxyStalledException e) when (Use != ClusterUse.Shared)
        {
            throw new ShouldAssertException(e.Message, e);
        }
    }

    /// <summary>Deletes a Service and waits until no node answers for it.</summary>
    protected async Task DeleteAsync(ServiceSpec service)
    {
        Cluster.Delete(service);
        await ProgrammedByProxyAsync(Cluster.SettleAsync(service));
        foreach (var node in Cluster.Nodes)
            await ProgrammedAsync($"{node.Name} does not answer for {service.ClusterIPs[0]}",
                () => Cluster.AnswersAsync(node, service.ClusterIPs[0], service.Ports[0].Port), answers => !answers);
    }

    /// <summary>The virtual server of node1 at an address and port of a Service.</summary>
    /// <exception cref="ShouldAssertException">There is none, which is a finding.</exception>
    protected VirtualServerEntry VirtualServerAt(string endPoint)
    {
        var server = Node1.IpvsTable().VirtualServers.SingleOrDefault(s => s.EndPoint!.ToString() == endPoint);
        server.ShouldNotBeNull($"{endPoint} has a virtual server");
        return server;
    }

    /// <summary>A set of node1 as ipset(8) lists it; empty where there is none, which is a finding.</summary>
    protected async Task<string> ListSetAsync(string name) => (await Node1.Command("ipset", "list", name).TryAsync()).StandardOutput;

    /// <summary>The client takes an address, and node1 reaches it there: it is no address of node1 any more.</summary>
    /// <param name="port">A port of the client that no other test uses.</param>
    protected async Task ShouldBeUsableElsewhereAsync(string address, int port)
    {
        Client.Serve(TransportProtocol.Tcp, port);
        await Client.AddAddressAsync($"{address}/32", "lo");
        Undo(() => Client.DeleteAddressAsync($"{address}/32", "lo"));
        await ChangeAsync(Node1, $"ip route add {address}/32 via {Client.Address}", undo: $"ip route delete {address}/32");
        await ProgrammedAsync($"{address} is the client's",
            async () => (await Node1.AskAsync(new IPEndPoint(IPAddress.Parse(address), port).ToString())).Answer?.Server,
            server => server == "client");
    }

    /// <summary>First packets of connections that came to a pod's port with the client's own address as source.</summary>
    protected IEnumerable<CapturedPacket> UnmasqueradedAt(string pod, int port, DateTime since) => Lab.Wire.Packets(since)
        .Where(p => p.Node == pod && !p.IsLeaving && p.Packet.DestinationPort == port && p.Packet.Tcp?.Flags == TcpFlags.Syn
            && p.Packet.SourceAddress!.Equals(Client.Address));

    /// <summary>Adds the way to an address of the cluster that only somebody outside needs: the client sends it to this node.</summary>
    /// <returns>The address.</returns>
    protected Task<string> ReachableAsync(string address, Node via)
    {
        var host = HostNetwork(address);
        if (_reachable.Add(address))
            Client.Route.AddRoute(host, via.Addresses.First(a => a.AddressFamily == host.BaseAddress.AddressFamily));
        return Task.FromResult(address);
    }

    private void Demand(Proxy proxy, ProxyFeature feature)
    {
        if (feature == ProxyFeature.IPv6 && !_hasIPv6)
            Not.Testable($"ip6tables does not work on the kernel {KernelFeatures.Current.Release}");
        if (!proxy.Features.Contains(feature))
            Not.Supported($"{proxy.Name} does not declare the feature {feature}");
    }

    private static IPNetwork HostNetwork(string address)
    {
        var host = IPAddress.Parse(address);
        return new IPNetwork(host, host.GetAddressBytes().Length * 8);
    }
}
