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
internal sealed class ChangingServices(Cluster cluster, Random random, TimeSpan bound, Journal journal)
{
    private const int Count = 12;
    private const int Crowd = 40;
    private const int FirstOfCrowd = 100;
    private const int FirstNodePort = 31500;
    private static readonly string[] s_pods = ["web-a", "pod-b", "web-b", "web-c"];
    private static readonly TimeSpan s_silence = TimeSpan.FromMilliseconds(500);

    /// <summary>By their numbers, of which their names, addresses and node ports are made.</summary>
    private readonly Dictionary<int, ServiceSpec> _there = [];
    private readonly HashSet<int> _changed = [];
    private readonly List<double> _milliseconds = [];

    /// <summary>How many changes were made.</summary>
    internal int Changes { get; private set; }

    /// <summary>The Services that are there now, and have endpoints.</summary>
    internal IEnumerable<ServiceSpec> Served => _there.Values.Where(s => s.Endpoints.Any(e => e.IsReady));

    /// <summary>Makes one change, and does not wait.</summary>
    internal void Change()
    {
        Changes++;
        var number = random.Next(Count);
        switch (random.Next(10))
        {
            case 0 when _there.ContainsKey(number):
                Delete(number);
                break;
            case 1:
                var node = cluster.Nodes[random.Next(cluster.Nodes.Count)];
                var (isLeaving, zone) = (random.Next(2) == 0, random.Next(2) == 0 ? "zone-other" : null);
                cluster.PutNode(node, isLeaving, zone);
                journal.Write($"{node.Name}: {(isLeaving ? "leaving" : "staying")}, in {zone ?? "its own zone"}");
                break;
            case 2:
                for (var i = 0; i < Crowd; i++)
                    Put(FirstOfCrowd + i);
                break;
            case 3 when _there.Keys.Where(n => n >= FirstOfCrowd).ToList() is { Count: > 0 } crowd:
                crowd.ForEach(Delete);
                break;
            default:
                Put(number);
                break;
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
            from number in _changed
            from node in cluster.Nodes
            select Eventually.Async<string?>($"{node.Name} does what Service {number} says ({Describe(_there.GetValueOrDefault(number))})",
                () => FaultAsync(node, number), fault => fault is null, bound));
        if (isMeasured && _changed.Count > 0)
            _milliseconds.Add(watch.Elapsed.TotalMilliseconds);
        _changed.Clear();
    }

    /// <summary>Deletes all, and does not wait.</summary>
    internal void DeleteAll()
    {
        foreach (var number in _there.Keys.ToList())
            Delete(number);
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

    private void Put(int number)
    {
        _there[number] = NewService(number);
        cluster.Put(_there[number]);
        Note(number);
        _changed.Add(number);
    }

    private void Delete(int number)
    {
        cluster.Delete(_there[number]);
        _there.Remove(number);
        Note(number);
        _changed.Add(number);
    }

    private void Note(int number) => journal.Write($"Service {number}: {Describe(_there.GetValueOrDefault(number))}");

    private ServiceSpec NewService(int number)
    {
        var old = _there.GetValueOrDefault(number)?.Endpoints.Select(e => e.Pod).ToHashSet(StringComparer.Ordinal) ?? [];
        // Pods that it did not have before: an answer of theirs shows that the change is programmed.
        var pods = s_pods.Where(p => !old.Contains(p)).ToArray();
        random.Shuffle(pods);
        var hasNodePort = random.Next(2) == 0;
        return new ServiceSpec(string.Create(CultureInfo.InvariantCulture, $"changing-{number}"))
        {
            Type = hasNodePort ? "NodePort" : "ClusterIP",
            ClusterIPs = [AddressOf(number, isIPv6: false), AddressOf(number, isIPv6: true)],
            Ports = [new PortSpec(80, NodePort: hasNodePort ? FirstNodePort + number : 0)],
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
    private async Task<string?> FaultAsync(Node node, int number)
    {
        var service = _there.GetValueOrDefault(number);
        var pod = cluster.Lab[node.Name == "node1" ? "pod-a" : "pod-c"];
        var faults = await Task.WhenAll(
            FaultAsync(pod, new IPEndPoint(IPAddress.Parse(AddressOf(number, isIPv6: false)), 80), service),
            FaultAsync(pod, new IPEndPoint(IPAddress.Parse(AddressOf(number, isIPv6: true)), 80), service),
            FaultAsync(cluster.Lab["client"], new IPEndPoint(node.Address, FirstNodePort + number),
                service?.NodePort > 0 ? service : null));
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
