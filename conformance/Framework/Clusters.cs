using System.Collections.Concurrent;
using Conformance.Harness.Proxies;
using Conformance.Reports;

namespace Conformance.Suite;

/// <summary>The clusters of a run, one for each implementation under test, started when the first test needs it and shared by all.</summary>
internal static class Clusters
{
    /// <summary>Names the proxy under test to the processes of a run.</summary>
    internal const string Variable = "CONFORMANCE_PROXY";

    private static readonly ConcurrentDictionary<string, Lazy<Task<(Cluster Cluster, ImplementationRecord Implementation)>>> s_started = new(StringComparer.Ordinal);

    /// <summary>What the user has put under test; our generator when nothing is said.</summary>
    internal static Proxy Chosen { get; } = Proxy.Parse(Environment.GetEnvironmentVariable(Variable) is { Length: > 0 } text ? text : "generator");

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
        return (await Cluster.StartAsync(proxy, Topologies.Topology.Load("cluster")), implementation);
    }
}
