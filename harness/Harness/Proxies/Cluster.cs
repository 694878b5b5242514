using System.Globalization;
using System.Net.Sockets;
using System.Text.Json.Nodes;
using Conformance.Harness.Kubernetes;
using Conformance.Harness.Labs;
using Conformance.Kernel;
using Conformance.Topologies;

namespace Conformance.Harness.Proxies;

/// <summary>
/// A lab with a proxy under test on each of its Kubernetes nodes. Whether a change has been programmed is seen from
/// outside: after it a canary Service changes, and answers from each node under its new port when everything before it
/// has been read, Services and slices alike. Then it changes once more: what answers under that port was programmed by a
/// later sync than the one that read the change, and that one has ended.
/// </summary>
public sealed class Cluster : IAsyncDisposable
{
    private static readonly string[] s_canaryAddresses = ["10.96.0.3", "fd00:10:96:fffe::3"];
    private const string CanaryPod = "web-a";
    private const int FirstCanaryPort = 20000;

    /// <summary>After so many canaries in a row that came to nothing no other is waited for: none of the tests to come could say anything.</summary>
    private const int MaxFailures = 2;
    private static readonly TimeSpan s_probe = TimeSpan.FromMilliseconds(200);
    private static readonly TimeSpan s_pause = TimeSpan.FromMilliseconds(10);
    private readonly List<IRunningProxy> _running = [];
    private readonly List<IRunningProxy> _stopped = [];
    private readonly Lock _lock = new();
    private Task _round = Task.CompletedTask;
    private Task? _nextRound;
    private readonly TimeSpan _limit;
    private int _generation;
    private int _failures;
    private HarnessException? _failure;

    private Cluster(Lab lab, Proxy proxy, TimeSpan limit) => (Lab, Proxy, _limit) = (lab, proxy, limit);

    public Lab Lab { get; }

    public Proxy Proxy { get; }

    public ClusterObjects Objects { get; } = new();

    /// <summary>The nodes that have pods.</summary>
    public IReadOnlyList<Node> Nodes => [.. Lab.Nodes.Where(n => n.Spec.Interfaces.Any(i => i.IsBridge))];

    /// <summary>The proxies that run, one on each node but for those that were stopped.</summary>
    public IReadOnlyList<IRunningProxy> Running
    {
        get
        {
            lock (_lock)
                return [.. _running];
        }
    }

    /// <summary>All proxies that have ever run, those that were stopped first.</summary>
    public IReadOnlyList<IRunningProxy> Started
    {
        get
        {
            lock (_lock)
                return [.. _stopped, .. _running];
        }
    }

    /// <summary>Until a change must have been programmed.</summary>
    public TimeSpan Limit => _limit;

    /// <summary>Builds the lab, starts the proxy on each node, and waits until it serves.</summary>
    /// <exception cref="HarnessException">The proxy ended, or programs nothing; its log is told.</exception>
    /// <param name="limit">How long to wait for the proxy each time; the proxy's own patience when it is not given.</param>
    public static async Task<Cluster> StartAsync(Proxy proxy, Topology topology, TimeSpan? limit = null)
    {
        var cluster = new Cluster(await Lab.StartAsync(topology), proxy, limit ?? proxy.Patience);
        try
        {
            foreach (var node in cluster.Nodes)
                cluster.PutNode(node);
            foreach (var node in cluster.Nodes)
                await cluster.StartProxyAsync(node);
            await cluster.SettleAsync();
            return cluster;
        }
        catch
        {
            await cluster.DisposeAsync();
            throw;
        }
    }

    /// <summary>Kills the proxy of a node. Nobody waits for this node until its proxy has been started again.</summary>
    public async Task StopProxyAsync(Node node)
    {
        var stopped = Running.Single(r => r.Node == node);
        lock (_lock)
        {
            _running.Remove(stopped);
            _stopped.Add(stopped);
        }
        await stopped.DisposeAsync();
    }

    /// <summary>Starts the proxy of a node, without waiting until it serves.</summary>
    public async Task StartProxyAsync(Node node)
    {
        var started = await Proxy.StartAsync(node, Objects);
        lock (_lock)
            _running.Add(started);
    }

    /// <summary>Creates or changes Services with their endpoints, and waits until every node has them.</summary>
    public async Task ApplyAsync(params IReadOnlyList<ServiceSpec> services)
    {
        foreach (var service in services)
            Put(service);
        await SettleAsync();
    }

    /// <summary>Creates or changes a Service without waiting.</summary>
    public void Put(ServiceSpec service)
    {
        foreach (var (_, manifest) in service.SliceManifests(Lab))
            Objects.Apply(manifest);
        Objects.Apply(service.ServiceManifest());
    }

    /// <summary>Creates or changes the object of a node, without waiting.</summary>
    /// <param name="isLeaving">Whether the cluster's autoscaler is about to delete it.</param>
    public void PutNode(Node node, bool isLeaving = false) => Objects.Apply(NodeManifest(node, isLeaving));

    /// <summary>Deletes a Service with its endpoints, without waiting.</summary>
    public void Delete(ServiceSpec service)
    {
        Objects.Delete("Service", "default", service.Name);
        foreach (var (name, _) in service.SliceManifests(Lab))
            Objects.Delete("EndpointSlice", "default", name);
    }

    /// <summary>Waits until every node has all that was put before. Of files that were deleted a proxy may learn a moment later.</summary>
    /// <exception cref="HarnessException">The proxy ended, or does not come to it; its log is told.</exception>
    public Task SettleAsync()
    {
        lock (_lock)
        {
            if (_failure is not null)
                return Task.FromException(_failure); // it will not come to it a minute later either
            // One round at a time, for all who wait: one that has not begun yet will show what this caller has put.
            return _nextRound ??= RunAfterAsync(_round);
        }
    }

    private async Task RunAfterAsync(Task before)
    {
        await before.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing | ConfigureAwaitOptions.ForceYielding);
        lock (_lock)
            (_round, _nextRound) = (_nextRound!, null);
        // A proxy may have a part for each family that knows nothing of the other's.
        var addresses = Proxy.Features.Contains(ProxyFeature.IPv6) && (await Toolbox.Iptables).HasIPv6 ? s_canaryAddresses : s_canaryAddresses[..1];
        try
        {
            for (var i = 0; i < 2; i++)
            {
                var port = FirstCanaryPort + ++_generation;
                Put(new ServiceSpec("canary") { ClusterIPs = addresses, Ports = [new PortSpec(port)], Endpoints = [CanaryPod] });
                foreach (var (running, address) in from r in Running from a in addresses select (r, a))
                    await AwaitCanaryAsync(running, address, port);
            }
            _failures = 0;
        }
        catch (HarnessException e)
        {
            lock (_lock)
            {
                if (++_failures == MaxFailures || Running.Any(r => r.HasEnded))
                    _failure = e;
            }
            throw;
        }
    }

    public async ValueTask DisposeAsync()
    {
        try
        {
            await Task.WhenAll(Running.Select(r => r.DisposeAsync().AsTask()));
        }
        finally
        {
            try
            {
                await Objects.DisposeAsync();
            }
            finally
            {
                await Lab.DisposeAsync();
            }
        }
    }

    /// <summary>
    /// Asked by a pod of the node, because that needs least: a proxy that does not masquerade, say, shall be violated by the
    /// claims on that, and not keep all others from being tested.
    /// </summary>
    private async Task AwaitCanaryAsync(IRunningProxy running, string address, int port)
    {
        var prober = Lab.Nodes.First(n => n.Name != CanaryPod && n.Spec.Interfaces[0].Network.Host == running.Node.Name);
        for (var end = Environment.TickCount64 + _limit.TotalMilliseconds; Environment.TickCount64 < end; await Task.Delay(s_pause))
        {
            if (await AnswersAsync(prober, address, port))
                return;
            if (running.HasEnded)
                throw Failed("has ended");
        }
        throw Failed($"programs nothing, or not all: its canary {new System.Net.IPEndPoint(System.Net.IPAddress.Parse(address), port)} did not answer within {_limit.TotalSeconds} s");

        HarnessException Failed(string what) => new($"The proxy {Proxy.Name} on {running.Node.Name} {what}.", $"{running.Description} said:\n{running.Log}", "No claim can be tested on it.", "See its log.");
    }

    /// <summary>Whether a TCP connection from a node stands: a probe, of which no flow is kept.</summary>
    /// <param name="isPatient">Whether no answer is to be a finding, and not only a reason to ask again.</param>
    public static async Task<bool> AnswersAsync(Node node, string address, int port, bool isPatient = false)
    {
        var target = System.Net.IPAddress.Parse(address);
        using var socket = node.Namespace.Run(() => new Socket(target.AddressFamily, SocketType.Stream, ProtocolType.Tcp));
        socket.LingerState = new LingerOption(true, 0);
        try
        {
            using var limit = new Patience(isPatient ? Timeouts.Silence : s_probe);
            await socket.ConnectAsync(target, port, limit.Token);
            return true;
        }
        catch (Exception e) when (e is SocketException or OperationCanceledException)
        {
            return false;
        }
    }

    private static string NodeManifest(Node node, bool isLeaving)
    {
        var bridge = node.Spec.Interfaces.First(i => i.IsBridge);
        var subnets = new[] { (System.Net.IPNetwork?)bridge.Network.Subnet, bridge.Network.Subnet6 }.OfType<System.Net.IPNetwork>().Select(s => s.ToString()).ToList();
        return new JsonObject
        {
            ["apiVersion"] = "v1",
            ["kind"] = "Node",
            ["metadata"] = new JsonObject { ["name"] = node.Name, ["labels"] = new JsonObject { ["topology.kubernetes.io/zone"] = $"zone-{node.Name}" } },
            ["spec"] = new JsonObject { ["podCIDR"] = subnets[0], ["podCIDRs"] = new JsonArray([.. subnets.Select(s => JsonValue.Create(s))]), ["taints"] = isLeaving ? new JsonArray(new JsonObject { ["key"] = "ToBeDeletedByClusterAutoscaler", ["effect"] = "NoSchedule" }) : [] },
            ["status"] = new JsonObject { ["addresses"] = new JsonArray([.. node.Spec.Interfaces[0].Addresses.Select(a => new JsonObject { ["type"] = "InternalIP", ["address"] = a.ToString() })]) },
        }.ToJsonString();
    }
}
