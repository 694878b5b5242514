using System.Collections.Concurrent;
using System.Globalization;
using Conformance.Clusters;
using Conformance.Clusters.Kubernetes;
using Conformance.Clusters.Proxies;
using Conformance.Labs;
using Conformance.Linux;
using Conformance.Reports;
using Conformance.Topologies;

namespace Conformance.Suite;

/// <summary>What tests do with a cluster. Those that change it have it one at a time.</summary>
public enum ClusterUse
{
    /// <summary>They ask, side by side.</summary>
    Shared,

    /// <summary>They give nodes rules, routes and settings of their own.</summary>
    ChangesNodes,

    /// <summary>They stop the proxy.</summary>
    StopsProxies,
}

/// <summary>A cluster that tests share, with what only some of them need.</summary>
internal sealed record SharedCluster(Cluster Cluster, ImplementationRecord Implementation)
{
    private readonly ConcurrentDictionary<string, DateTime> _tests = new(StringComparer.Ordinal);

    /// <summary>A test begins to use the cluster.</summary>
    /// <param name="since">The time from which on it may ask for packets.</param>
    internal void Join(string test, DateTime since) => _tests[test] = since;

    /// <summary>A test has ended: packets that only it may have asked for are dropped.</summary>
    internal void Leave(string test)
    {
        _tests.TryRemove(test, out _);
        Cluster.Lab.Forget(test);
        Cluster.Lab.Wire.Forget(_tests.Values.Append(DateTime.UtcNow).Min());
    }

    /// <summary>The article's my-nginx: nginx in its pod.</summary>
    internal Lazy<Task> Nginx { get; } = new(() => Cluster.Lab["web-b"].StartNginxAsync(80));

    /// <summary>The cluster's DNS servers, which know the article's Services.</summary>
    internal Lazy<Task> Dns { get; } =
        new(() => Task.WhenAll(ArticleServices.Dns.Endpoints.Select(e => Cluster.Lab[e.Pod].StartDnsAsync(ArticleServices.All))));
}

/// <summary>The article's Services, with its own addresses and ports.</summary>
internal static class ArticleServices
{
    /// <summary>The Service of 2.1.</summary>
    internal static ServiceSpec MyNginx { get; } = new("my-nginx")
    {
        ClusterIPs = ["10.108.113.237"],
        Ports = [new PortSpec(80, TargetPort: 80)],
        Endpoints = ["web-b"]
    };

    /// <summary>The Service of 2.2 and 2.3.</summary>
    internal static ServiceSpec MyService { get; } = new("my-service")
    {
        Type = "NodePort",
        ClusterIPs = ["10.111.174.22"],
        Ports = [new PortSpec(80, TargetPort: 80, NodePort: 30080)],
        Endpoints = ["web-b"]
    };

    /// <summary>The cluster's DNS.</summary>
    internal static ServiceSpec Dns { get; } = new("kube-dns")
    {
        ClusterIPs = ["10.96.0.10"],
        Ports = [new PortSpec(53, TargetPort: 53, Protocol: TransportProtocol.Udp), new PortSpec(53, TargetPort: 53)],
        Endpoints = ["web-a", "web-c"]
    };

    internal static IReadOnlyList<ServiceSpec> All { get; } = [MyNginx, MyService, Dns];
}

/// <summary>
/// The clusters of a run, one for each implementation under test, use and topology, started when the first test needs it and shared by all.
/// </summary>
internal static class SharedClusters
{
    private const int SlowLanes = 4;
    private static int s_turns;
    private static readonly ConcurrentDictionary<(string Proxy, ClusterUse Use, string Topology, int Lane), Place> s_places = new();

    /// <summary>Held while a cluster of a slow proxy starts.</summary>
    private static readonly SemaphoreSlim s_starting = new(1);

    private static readonly ConcurrentDictionary<string, Lazy<Task<string>>> s_versions = new(StringComparer.Ordinal);

    /// <summary>What the user has put under test; our generator when nothing is said.</summary>
    internal static Proxy Chosen { get; } = Proxy.Parse(Environment.GetEnvironmentVariable(Proxy.Variable) is { Length: > 0 } text ? text
        : "generator");

    /// <summary>
    /// The cluster for a use, started by the first test that needs it. One whose nodes are changed is taken by one test at a time, and
    /// returned.
    /// </summary>
    internal static async Task<SharedCluster> TakeAsync(Proxy proxy, ClusterUse use, string topology)
    {
        // A claim that a slow proxy violates waits for minutes, with little to do for the machine: others go on beside it.
        var lane = use != ClusterUse.Shared && proxy.IsSlow ? Interlocked.Increment(ref s_turns) % SlowLanes : 0;
        var place = s_places.GetOrAdd((proxy.Name, use, topology, lane), _ => new Place(topology));
        if (use != ClusterUse.Shared)
            await place.Turn.WaitAsync();
        try
        {
            return await place.GetAsync(proxy);
        }
        catch when (use != ClusterUse.Shared)
        {
            place.Turn.Release();
            throw;
        }
    }

    /// <summary>Returns a cluster that was taken.</summary>
    /// <param name="isWhole">Whether the next test can use it; otherwise it is taken down, and the next test gets a new one.</param>
    internal static async Task ReturnAsync(SharedCluster cluster, bool isWhole)
    {
        var place = s_places.Values.Single(p => p.Has(cluster));
        try
        {
            if (!isWhole)
                await place.ClearAsync();
        }
        finally
        {
            place.Turn.Release();
        }
    }

    internal static Task EndAsync() => Task.WhenAll(s_places.Values.Select(p => p.ClearAsync())); // all, though one fails

    /// <summary>
    /// The proxy for a test: the chosen one. Our own generator makes kube-proxy's layout, and follows an API server, when a test needs it.
    /// </summary>
    internal static Proxy ProxyFor(IReadOnlySet<ProxyFeature> needs) => Chosen is not GeneratorProxy { Mutant: var mutant } ? Chosen
        : needs.Contains(ProxyFeature.ApiServer) ? new GeneratorProxy { FollowsApiServer = true, Mutant = mutant }
        : needs.Contains(ProxyFeature.KubeProxyLayout) || needs.Contains(ProxyFeature.CurrentChains)
            ? new GeneratorProxy { IsCompatible = true, Mutant = mutant }
        : Chosen;

    /// <summary>Whether the chosen proxy has a feature, in one of its variants.</summary>
    internal static bool Has(ProxyFeature feature) => ProxyFor(new HashSet<ProxyFeature> { feature }).Features.Contains(feature);

    /// <summary>The chosen proxy with its version; null while no test has started it. Our generator's variants are one program.</summary>
    internal static ImplementationRecord? Started => s_versions.Values
        .Where(v => v is { IsValueCreated: true, Value.IsCompletedSuccessfully: true })
        .Select(v => new ImplementationRecord(Chosen.Name, v.Value.Result)).FirstOrDefault();

    /// <summary>What is under test, with what it says of itself.</summary>
    internal static async Task<ImplementationRecord> ImplementationAsync(Proxy proxy) =>
        new(proxy.Name, await s_versions.GetOrAdd(proxy.Name, _ => new(proxy.VersionAsync)).Value);

    private static async Task<SharedCluster> StartAsync(Proxy proxy, string topology)
    {
        var implementation = await ImplementationAsync(proxy);
        if (!proxy.IsSlow)
            return await StartAsync(proxy, implementation, topology);
        await s_starting.WaitAsync();
        try
        {
            return await StartAsync(proxy, implementation, topology);
        }
        finally
        {
            s_starting.Release();
        }
    }

    private static async Task<SharedCluster> StartAsync(Proxy proxy, ImplementationRecord implementation, string topology)
    {
        var cluster = await Cluster.StartAsync(proxy, Topologies.Topology.Load(topology));
        try
        {
            await cluster.ApplyAsync([.. ArticleServices.All, .. Residents()]);
            return new SharedCluster(cluster, implementation);
        }
        catch
        {
            await cluster.DisposeAsync();
            throw;
        }
    }

    /// <summary>
    /// A cluster in use has Services of every kind. With these a proxy that writes a rule only where it has an entry for it
    /// need not rewrite its rules with every test, which would cost a process or two each time.
    /// </summary>
    private static List<ServiceSpec> Residents()
    {
        var kinds = new[]
        {
            new ServiceSpec("resident-node-port") { Type = "NodePort" },
            new ServiceSpec("resident-load-balancer") { Type = "LoadBalancer", SourceRanges = ["192.168.113.0/24", "fd00:113::/64"] },
            new ServiceSpec("resident-external-ip"),
        };
        var residents = new List<ServiceSpec>();
        foreach (var (kind, policy, pods) in from k in kinds
                                             from p in new[] { "Cluster", "Local" }
                                             from e in new[] { new[] { "web-a", "web-c" }, ["web-a"], ["web-c"] }
                                             where p == "Local" || e.Length == 2
                                             select (k, p, e))
        {
            var number = residents.Count + 1;
            var text = number.ToString(CultureInfo.InvariantCulture);
            string[] outside = [$"198.51.100.{text}", $"2001:db8::{text}"];
            residents.Add(kind with
            {
                Name = $"{kind.Name}-{text}",
                ClusterIPs = [$"10.96.0.{100 + number}", $"fd00:10:96:ffff::{text}"],
                Ports = [new PortSpec(80, NodePort: kind.Type == "ClusterIP" ? 0 : 32700 + number),
                    new PortSpec(80, Protocol: TransportProtocol.Udp, NodePort: kind.Type == "ClusterIP" ? 0 : 32700 + number)],
                LoadBalancerIPs = kind.Type == "LoadBalancer" ? outside : [],
                ExternalIPs = kind.Type == "ClusterIP" ? outside : [],
                ExternalTrafficPolicy = policy,
                Endpoints = [.. pods.Select(p => new EndpointSpec(p))],
            });
        }
        return residents;
    }

    /// <summary>The place of one cluster, which may be replaced.</summary>
    private sealed class Place(string topology)
    {
        private readonly Lock _lock = new();
        private Task<SharedCluster>? _cluster;

        /// <summary>Held by the test whose turn it is, where tests have the cluster one at a time.</summary>
        internal SemaphoreSlim Turn { get; } = new(1);

        internal bool Has(SharedCluster cluster) => _cluster is { IsCompletedSuccessfully: true } && _cluster.Result == cluster;

        internal Task<SharedCluster> GetAsync(Proxy proxy)
        {
            lock (_lock)
                return _cluster ??= StartAsync(proxy, topology);
        }

        internal async Task ClearAsync()
        {
            Task<SharedCluster>? cleared;
            lock (_lock)
                (cleared, _cluster) = (_cluster, null);
            if (cleared is { IsCompletedSuccessfully: true })
                await cleared.Result.Cluster.DisposeAsync();
        }
    }
}
