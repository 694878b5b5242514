using System.Collections.Concurrent;
using System.Globalization;
using Conformance.Harness.Kubernetes;
using Conformance.Harness.Proxies;
using Conformance.Reports;

namespace Conformance.Suite;

/// <summary>The clusters of a run, one for each implementation under test, started when the first test needs it and shared by all.</summary>
internal static class Clusters
{
    private static readonly ConcurrentDictionary<string, Lazy<Task<(Cluster Cluster, ImplementationRecord Implementation)>>> s_started = new(StringComparer.Ordinal);

    /// <summary>What the user has put under test; our generator when nothing is said.</summary>
    internal static Proxy Chosen { get; } = Proxy.Parse(Environment.GetEnvironmentVariable(Proxy.Variable) is { Length: > 0 } text ? text : "generator");

    internal static Task<(Cluster Cluster, ImplementationRecord Implementation)> GetAsync(Proxy proxy) =>
        s_started.GetOrAdd(proxy.Name, _ => new(() => StartAsync(proxy))).Value;

    internal static async Task EndAsync()
    {
        foreach (var started in s_started.Values)
        {
            if (started.Value is { IsCompletedSuccessfully: true } running)
                await (await running).Cluster.DisposeAsync();
        }
    }

    private static async Task<(Cluster, ImplementationRecord)> StartAsync(Proxy proxy)
    {
        var implementation = new ImplementationRecord(proxy.Name, await proxy.VersionAsync());
        var cluster = await Cluster.StartAsync(proxy, Topologies.Topology.Load("cluster"));
        await cluster.ApplyAsync(Residents());
        return (cluster, implementation);
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
                Ports = [new PortSpec(80, NodePort: kind.Type == "ClusterIP" ? 0 : 32700 + number), new PortSpec(80, Protocol: "UDP", NodePort: kind.Type == "ClusterIP" ? 0 : 32700 + number)],
                LoadBalancerIPs = kind.Type == "LoadBalancer" ? outside : [],
                ExternalIPs = kind.Type == "ClusterIP" ? outside : [],
                ExternalTrafficPolicy = policy,
                Endpoints = [.. pods.Select(p => new EndpointSpec(p))],
            });
        }
        return residents;
    }
}
