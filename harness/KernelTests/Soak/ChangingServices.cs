using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using Conformance.Clusters;
using Conformance.Clusters.Kubernetes;
using Conformance.Labs;
using Conformance.Labs.Waiting;
using Conformance.Linux;

namespace Conformance.KernelTests.Soak;

/// <summary>Services that change at random, and the time until every node does what they say.</summary>
internal sealed class ChangingServices(Cluster cluster, Random random, TimeSpan bound)
{
    private const int Count = 12;
    private const int Crowd = 40;
    private static readonly string[] s_pods = ["web-a", "pod-b", "web-b", "web-c"];
    private static readonly TimeSpan s_silence = TimeSpan.FromMilliseconds(500);
    private readonly Dictionary<string, ServiceSpec> _there = new(StringComparer.Ordinal);
    private readonly HashSet<string> _changed = new(StringComparer.Ordinal);
    private readonly List<double> _milliseconds = [];

    /// <summary>How many changes were made.</summary>
    internal int Changes { get; private set; }

    /// <summary>The Services that are there now, and have endpoints.</summary>
    internal IEnumerable<ServiceSpec> Served => _there.Values.Where(s => s.Endpoints.Any(e => e.IsReady));

    /// <summary>Makes one change, and does not wait.</summary>
    /// <returns>It in words.</returns>
    internal string Change()
    {
        Changes++;
        var name = string.Create(CultureInfo.InvariantCulture, $"changing-{random.Next(Count)}");
        switch (random.Next(10))
        {
            case 0 when _there.ContainsKey(name):
                return Delete(name);
            case 1:
                var node = cluster.Nodes[random.Next(cluster.Nodes.Count)];
                var isLeaving = random.Next(2) == 0;
                cluster.PutNode(node, isLeaving, zone: random.Next(2) == 0 ? "zone-other" : null);
                return $"{node.Name} {(isLeaving ? "is leaving" : "stays")}";
            case 2:
                for (var i = 0; i < Crowd; i++)
                    Put(NewService(string.Create(CultureInfo.InvariantCulture, $"crowd-{i}"), 100 + i));
                return $"{Crowd} Services are there";
            case 3 when _there.Keys.Where(n => n.StartsWith("crowd-", StringComparison.Ordinal)).ToList() is { Count: > 0 } crowd:
                crowd.ForEach(n => Delete(n));
                return $"{crowd.Count} Services are deleted";
            default:
                return Put(NewService(name, int.Parse(name.AsSpan(name.IndexOf('-', StringComparison.Ordinal) + 1),
                    CultureInfo.InvariantCulture)));
        }
    }

    /// <summary>Waits until every node does what the Services say that have changed.</summary>
    /// <param name="isMeasured">Whether nothing else happens meanwhile, so that the time is the proxy's own.</param>
    /// <exception cref="Shouldly.ShouldAssertException">Not within the bound.</exception>
    internal async Task AwaitAsync(bool isMeasured)
    {
        var watch = Stopwatch.StartNew();
        // All at once: nobody answers for a deleted Service, which takes each question its whole time.
        await Task.WhenAll(
            from name in _changed
            from node in cluster.Nodes
            select Eventually.Async<string?>($"{node.Name} does what {name} says ({Describe(_there.GetValueOrDefault(name))})",
                () => FaultAsync(node, name), fault => fault is null, bound));
        if (isMeasured && _changed.Count > 0)
            _milliseconds.Add(watch.Elapsed.TotalMilliseconds);
        _changed.Clear();
    }

    /// <summary>Deletes all, and does not wait.</summary>
    internal void DeleteAll()
    {
        foreach (var name in _there.Keys.ToList())
            Delete(name);
        foreach (var node in cluster.Nodes)
            cluster.PutNode(node);
    }

    /// <summary>What was changed, as a sentence.</summary>
    internal string Describe()
    {
        if (_milliseconds.Count == 0)
            return $"{Changes} changes were made.";
        var sorted = _milliseconds.Order().ToList();
        return string.Create(CultureInfo.InvariantCulture, $"{Changes} changes were made, each on both nodes within " +
            $"{bound.TotalSeconds:0} s; undisturbed, and with the questions that show it, " +
            $"{sorted[sorted.Count / 2]:0} ms in the median and {sorted[^1]:0} ms at worst of {sorted.Count}.");
    }

    private string Put(ServiceSpec service)
    {
        cluster.Put(service);
        _there[service.Name] = service;
        _changed.Add(service.Name);
        return $"{service.Name}: {Describe(service)}";
    }

    private string Delete(string name)
    {
        cluster.Delete(_there[name]);
        _there.Remove(name);
        _changed.Add(name);
        return $"{name} is deleted";
    }

    private ServiceSpec NewService(string name, int number)
    {
        var old = _there.GetValueOrDefault(name)?.Endpoints.Select(e => e.Pod).ToHashSet(StringComparer.Ordinal) ?? [];
        // Pods that it did not have before: an answer of theirs shows that the change is programmed.
        var pods = s_pods.Where(p => !old.Contains(p)).ToArray();
        random.Shuffle(pods);
        var hasNodePort = random.Next(2) == 0;
        return new ServiceSpec(name)
        {
            Type = hasNodePort ? "NodePort" : "ClusterIP",
            ClusterIPs = [AddressOf(number, isIPv6: false), AddressOf(number, isIPv6: true)],
            Ports = [new PortSpec(80, NodePort: hasNodePort ? 31500 + number : 0)],
            HasAffinity = random.Next(4) == 0,
            Endpoints = [.. pods.Take(random.Next(5)).Select((p, i) => new EndpointSpec(p) { Slice = i % 2 })],
        };
    }

    private static string AddressOf(int number, bool isIPv6) => string.Create(CultureInfo.InvariantCulture,
        $"{(isIPv6 ? "fd00:10:96::250:" : "10.96.250.")}{1 + number}");

    private static string Describe(ServiceSpec? service) => service is null ? "deleted"
        : $"{(service.NodePort > 0 ? $"node port {service.NodePort}, " : "")}" +
            (service.Endpoints.Count == 0 ? "no endpoint" : string.Join(' ', service.Endpoints.Select(e => e.Pod)));

    /// <returns>What a node does otherwise than a Service says; null when nothing.</returns>
    private async Task<string?> FaultAsync(Node node, string name)
    {
        var number = int.Parse(name.AsSpan(name.IndexOf('-', StringComparison.Ordinal) + 1), CultureInfo.InvariantCulture)
            + (name.StartsWith("crowd-", StringComparison.Ordinal) ? 100 : 0);
        var service = _there.GetValueOrDefault(name);
        var pod = cluster.Lab[node.Name == "node1" ? "pod-a" : "pod-c"];
        var faults = await Task.WhenAll(
            FaultAsync(pod, new IPEndPoint(IPAddress.Parse(AddressOf(number, isIPv6: false)), 80), service),
            FaultAsync(pod, new IPEndPoint(IPAddress.Parse(AddressOf(number, isIPv6: true)), 80), service),
            FaultAsync(cluster.Lab["client"], new IPEndPoint(node.Address, 31500 + number), service?.NodePort > 0 ? service : null));
        return faults.FirstOrDefault(f => f is not null);
    }

    /// <param name="service">Null where nobody must answer.</param>
    private static async Task<string?> FaultAsync(Node from, IPEndPoint target, ServiceSpec? service)
    {
        string? server = null;
        try
        {
            using var probe = await Probe.OpenAsync(from, TransportProtocol.Tcp, target, s_silence);
            server = probe.Answer.Server;
        }
        catch (Exception e) when (e is OperationCanceledException or SocketException)
        {
            // nobody
        }
        var wanted = service?.Endpoints.Select(e => e.Pod).ToList() ?? [];
        return server is null ? (wanted.Count == 0 ? null : $"{target} is not answered")
            : wanted.Contains(server, StringComparer.Ordinal) ? null : $"{target} is answered by {server}";
    }
}
