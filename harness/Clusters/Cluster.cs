using System.Collections.Concurrent;
using System.Globalization;
using System.Text.Json.Nodes;
using Conformance.Clusters.Kubernetes;
using Conformance.Clusters.Proxies;
using Conformance.Labs;
using Conformance.Labs.Waiting;
using Conformance.Linux;
using Conformance.Topologies;

namespace Conformance.Clusters;

/// <summary>
/// A lab with a proxy under test on each of its Kubernetes nodes. Canaries show from outside when a change has been programmed.
/// </summary>
public sealed class Cluster : IAsyncDisposable
{
    /// <summary>
    /// After so many canaries in a row that came to nothing no other is waited for: none of the tests to come could say anything.
    /// </summary>
    private const int MaxFailures = 2;

    private const int ReactionFactor = 4;
    private static readonly TimeSpan s_leastReaction = Timeouts.Command; // 30 s: as often as proxies look for drift
    private readonly List<IRunningProxy> _running = [];
    private readonly List<IRunningProxy> _stopped = [];
    private readonly Lock _lock = new();
    private Task _round = Task.CompletedTask;
    private Task? _nextRound;
    private readonly ConcurrentDictionary<string, ServiceSpec> _put = new(StringComparer.Ordinal);
    private HashSet<TrafficKind> _nextKinds = [];
    private IReadOnlyList<TrafficKind> _kinds = [];
    private readonly Canaries _canaries;
    private int _failures;
    private HarnessException? _failure;

    private Cluster(Lab lab, Proxy proxy, TimeSpan limit)
    {
        (Lab, Proxy, Limit) = (lab, proxy, limit);
        _canaries = new Canaries(this);
    }

    /// <summary>The lab of the cluster.</summary>
    public Lab Lab { get; }

    /// <summary>The proxy under test.</summary>
    public Proxy Proxy { get; }

    /// <summary>The objects that the proxies follow.</summary>
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
    public TimeSpan Limit { get; }

    /// <summary>
    /// Until what the proxy has read must show in the kernel: several times the longest time that a change has taken in this cluster. A
    /// claim that is violated waits so long, and not for all the patience that a start needs.
    /// </summary>
    public TimeSpan Reaction => new[] { Limit, new[] { s_leastReaction, ReactionFactor * _canaries.Longest }.Max() }.Min();

    /// <summary>
    /// The kinds of traffic that the proxy has never served: a flow of such a kind without an answer proves nothing but that.
    /// </summary>
    public IReadOnlySet<TrafficKind> Unserved => _canaries.Unserved;

    /// <summary>
    /// Builds the lab, starts the proxy on each node, and waits until it serves. What it does not serve in time is in <see
    /// cref="Unserved"/>.
    /// </summary>
    /// <exception cref="HarnessException">The proxy ended; the message has its log.</exception>
    /// <param name="limit">How long to wait for the proxy each time; the proxy's own patience when it is not given.</param>
    public static async Task<Cluster> StartAsync(Proxy proxy, Topology topology, TimeSpan? limit = null) =>
        await StartAsync(proxy, await Lab.StartAsync(topology), limit);

    /// <summary>Makes a lab that is up a cluster, which from then on owns the lab.</summary>
    /// <exception cref="HarnessException">The proxy ended; the message has its log.</exception>
    public static async Task<Cluster> StartAsync(Proxy proxy, Lab lab, TimeSpan? limit = null)
    {
        var cluster = new Cluster(lab, proxy, limit ?? proxy.Patience);
        try
        {
            var hasIPv6 = proxy.Features.Contains(ProxyFeature.IPv6) && Toolbox.Iptables.HasIPv6;
            cluster._kinds = [.. TrafficKind.All.Where(k => hasIPv6 || !k.IsIPv6)];
            cluster._canaries.Prepare();
            foreach (var node in cluster.Nodes)
                cluster.PutNode(node);
            cluster.ShowNamespacesAndPods();
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
    public async Task StartProxyAsync(Node node, ProxySettings? settings = null)
    {
        var started = await Proxy.StartAsync(node, Objects, settings);
        lock (_lock)
            _running.Add(started);
    }

    /// <summary>Kills the proxy of a node, starts another, and waits until it has everything.</summary>
    public async Task RestartProxyAsync(Node node, ProxySettings? settings = null)
    {
        await StopProxyAsync(node);
        await StartProxyAsync(node, settings);
        await SettleAsync();
    }

    /// <summary>Creates or changes Services with their endpoints, and waits until every node has them.</summary>
    public async Task ApplyAsync(params IReadOnlyList<ServiceSpec> services)
    {
        // a family or protocol that it loses changes as well
        var before = services.Select(s => _put.GetValueOrDefault(s.Name)).OfType<ServiceSpec>().ToList();
        foreach (var service in services)
            Put(service);
        await SettleAsync([.. services, .. before]);
    }

    /// <summary>
    /// Creates or changes objects of manifests (YAML or JSON), starts a server for each endpoint that is a pod without one, and waits until
    /// every node has them.
    /// </summary>
    /// <exception cref="HarnessException">The text is no manifest, or the proxy ended.</exception>
    public async Task ApplyAsync(string manifests)
    {
        Objects.Apply(manifests);
        foreach (var (address, protocol, port) in Manifests.Read(manifests).SelectMany(Manifests.EndpointsOf))
        {
            if (Lab.OwnerOf(address) is { } pod && !pod.Servers.Any(s => s.Port == port && s.Protocol == protocol))
                pod.Serve(protocol, port);
        }
        await SettleAsync();
    }

    /// <summary>Creates or changes a Service without waiting.</summary>
    public void Put(ServiceSpec service)
    {
        var slices = service.SliceManifests(Lab).ToList();
        foreach (var (_, manifest) in slices)
            Objects.Apply(manifest);
        Objects.Apply(service.ServiceManifest());
        foreach (var (gone, _) in _put.GetValueOrDefault(service.Name)?.SliceManifests(Lab)
            .ExceptBy(slices.Select(s => s.Name), s => s.Name) ?? [])
            Objects.Delete("EndpointSlice", "default", gone);
        _put[service.Name] = service;
    }

    /// <summary>Creates or changes the object of a node, without waiting.</summary>
    /// <param name="isLeaving">Whether the cluster's autoscaler is about to delete it.</param>
    /// <param name="zone">The node's zone; null for the one of its own.</param>
    public void PutNode(Node node, bool isLeaving = false, string? zone = null) =>
        Objects.Apply(NodeManifest(node, isLeaving, zone ?? $"zone-{node.Name}"));

    /// <summary>Deletes a Service with its endpoints, without waiting.</summary>
    public void Delete(ServiceSpec service)
    {
        Objects.Delete("Service", "default", service.Name);
        foreach (var (name, _) in service.SliceManifests(Lab))
            Objects.Delete("EndpointSlice", "default", name);
    }

    /// <summary>Waits until every node has all changes that were put before.</summary>
    /// <param name="changed">The Services that were changed: only canaries of their families and protocols are waited for; all, when none
    /// is named.</param>
    /// <exception cref="HarnessException">The proxy ended, or serves no longer; the message has its log.</exception>
    public Task SettleAsync(params IReadOnlyList<ServiceSpec> changed)
    {
        lock (_lock)
        {
            if (_failure is not null)
                return Task.FromException(_failure); // it will not come to it a minute later either
            _nextKinds.UnionWith((changed.Count == 0 ? _kinds : changed.SelectMany(TrafficKind.Of)).Intersect(_kinds));
            // One round at a time, for all who wait: one that has not begun yet will show what this caller has put.
            return _nextRound ??= RunAfterAsync(_round);
        }
    }

    private async Task RunAfterAsync(Task before)
    {
        await before.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing | ConfigureAwaitOptions.ForceYielding);
        HashSet<TrafficKind> kinds;
        lock (_lock)
        {
            (_round, _nextRound) = (_nextRound!, null);
            (kinds, _nextKinds) = (_nextKinds, []);
        }
        try
        {
            await _canaries.AwaitAsync(kinds);
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

    /// <inheritdoc/>
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
    /// Whether a TCP connection from a node stands: a probe, of which no flow is kept. A missing answer counts after the time of a flow's
    /// silence.
    /// </summary>
    public static Task<bool> AnswersAsync(Node node, string address, int port) =>
        Canaries.ConnectsAsync(node, address, port, Timeouts.Silence);

    /// <summary>Agents of networks ask for these; a proxy's Services do not depend on them.</summary>
    private void ShowNamespacesAndPods()
    {
        foreach (var name in new[] { "default", "kube-system" })
            Objects.Show(new JsonObject
            {
                ["apiVersion"] = "v1",
                ["kind"] = "Namespace",
                ["metadata"] = new JsonObject { ["name"] = name, ["labels"] = new JsonObject { ["kubernetes.io/metadata.name"] = name } },
                ["status"] = new JsonObject { ["phase"] = "Active" },
            });
        foreach (var pod in Lab.Nodes.Where(n => n.Spec.Interfaces[0].Network.Host is not null && !Nodes.Contains(n)))
            Objects.Show(new JsonObject
            {
                ["apiVersion"] = "v1",
                ["kind"] = "Pod",
                ["metadata"] = new JsonObject { ["namespace"] = "default", ["name"] = pod.Name },
                ["spec"] = new JsonObject { ["nodeName"] = pod.Spec.Interfaces[0].Network.Host, ["containers"] = new JsonArray() },
                ["status"] = new JsonObject
                {
                    ["phase"] = "Running",
                    ["podIP"] = pod.Address.ToString(),
                    ["podIPs"] = new JsonArray(
                        [.. pod.Spec.Interfaces[0].Addresses.Select(a => new JsonObject { ["ip"] = a.ToString() })]),
                },
            });
    }

    private static string NodeManifest(Node node, bool isLeaving, string zone)
    {
        var bridge = node.Spec.Interfaces.First(i => i.IsBridge);
        var subnets = new[] { (System.Net.IPNetwork?)bridge.Network.Subnet, bridge.Network.Subnet6 }.OfType<System.Net.IPNetwork>()
            .Select(s => s.ToString()).ToList();
        return new JsonObject
        {
            ["apiVersion"] = "v1",
            ["kind"] = "Node",
            ["metadata"] = new JsonObject { ["name"] = node.Name, ["labels"] = new JsonObject { ["topology.kubernetes.io/zone"] = zone } },
            ["spec"] = new JsonObject
            {
                ["podCIDR"] = subnets[0],
                ["podCIDRs"] = new JsonArray([.. subnets.Select(s => JsonValue.Create(s))]),
                ["taints"] = isLeaving
                ? new JsonArray(new JsonObject { ["key"] = "ToBeDeletedByClusterAutoscaler", ["effect"] = "NoSchedule" }) : []
            },
            ["status"] = new JsonObject
            {
                ["addresses"] = new JsonArray(
                [.. node.Spec.Interfaces[0].Addresses.Select(
                a => new JsonObject { ["type"] = "InternalIP", ["address"] = a.ToString() })])
            },
        }.ToJsonString();
    }
}
