using System.Collections.Concurrent;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using Conformance.Clusters;
using Conformance.Clusters.Kubernetes;
using Conformance.Labs;
using Conformance.Linux;
using Conformance.Traffic;

namespace Conformance.KernelTests.Soak;

/// <summary>A way to a Service that never changes, and what must come of it.</summary>
/// <param name="Via">The node whose tables send the packets on.</param>
/// <param name="Servers">The Service's endpoints.</param>
/// <param name="IsMasqueraded">Whether the server must not see the client's own address.</param>
internal sealed record SteadyPath(Node From, Node Via, IPEndPoint Target, TransportProtocol Protocol, IReadOnlyList<string> Servers,
    bool IsMasqueraded)
{
    /// <returns>What is wrong with an answer; null when nothing is.</returns>
    internal string? FaultOf(Answer answer) =>
        !Servers.Contains(answer.Server, StringComparer.Ordinal) ? $"misrouted to {answer.Server}"
        : From.Owns(answer.SeenPeer.Address) != IsMasqueraded ? null
        : IsMasqueraded ? "not masqueraded" : $"masqueraded as {answer.SeenPeer.Address}";

    public override string ToString() => $"{From.Name} -> {Protocol.Name()} {Target} through {Via.Name}";
}

/// <summary>
/// Connections to Services that never change, some as old as the run. None may be lost, none misrouted, none without its masquerade,
/// whatever happens to other Services and to the proxy.
/// </summary>
internal sealed class SteadyTraffic
{
    private const int Services = 20;
    private const int FirstTargetPort = 9200;
    private const int Kept = 20;

    /// <summary>TCP sends a lost packet again after 0.2 s, 0.4 s and so on: more than this means that no packet comes through.</summary>
    private static readonly TimeSpan s_limit = TimeSpan.FromSeconds(25);
    private static readonly TimeSpan s_udpLimit = TimeSpan.FromSeconds(1);
    private const int UdpTries = 12;
    private readonly List<SteadyPath> _paths = [];
    private readonly ConcurrentQueue<string> _violations = new();
    private readonly Func<string> _surroundings;
    private long _exchanges;
    private long _connections;
    private long _unjudged;
    private int _damages;

    /// <param name="surroundings">Says what is going on, for the description of a violation.</param>
    internal SteadyTraffic(Cluster cluster, Func<string> surroundings)
    {
        _surroundings = surroundings;
        for (var i = 0; i < Services; i++)
        {
            var (name, port) = ($"steady-{i}", FirstTargetPort + i);
            string[] pods = (i % 3) switch { 0 => ["web-a"], 1 => ["web-b"], _ => ["web-a", "web-b"] };
            var isUdp = i % 4 == 3;
            var protocol = isUdp ? TransportProtocol.Udp : TransportProtocol.Tcp;
            var isLocal = i % 6 == 5; // has endpoints on both nodes
            foreach (var pod in new[] { "web-a", "web-b" })
                cluster.Lab[pod].Serve(protocol, port); // its own port: another Service's answer would be a refusal
            var service = new ServiceSpec(name)
            {
                Type = "NodePort",
                ClusterIPs = [FormattableString.Invariant($"10.96.240.{1 + i}"), FormattableString.Invariant($"fd00:10:96::240:{1 + i}")],
                Ports = [new PortSpec(80, port, protocol, 31200 + i)],
                ExternalTrafficPolicy = isLocal ? "Local" : "Cluster",
                HasAffinity = i % 5 == 4,
                Endpoints = [.. pods.Select(p => new EndpointSpec(p))],
            };
            All.Add(service);
            foreach (var (from, via) in new[] { ("pod-a", "node1"), ("pod-c", "node2") })
            {
                foreach (var address in service.ClusterIPs)
                    Add(from, via, address, 80, isMasqueraded: false);
            }
            foreach (var (via, addresses) in cluster.Nodes.Select(n => (n.Name, n.Spec.Interfaces[0].Addresses)))
            {
                foreach (var address in addresses)
                    Add("client", via, address.ToString(), service.NodePort, isMasqueraded: !isLocal);
            }

            void Add(string from, string via, string address, int targetPort, bool isMasqueraded) => _paths.Add(new SteadyPath(
                cluster.Lab[from], cluster.Lab[via], new IPEndPoint(IPAddress.Parse(address), targetPort), protocol,
                isLocal && from == "client" ? [via == "node1" ? "web-a" : "web-b"] : pods, isMasqueraded));
        }
    }

    /// <summary>The Services that never change.</summary>
    internal List<ServiceSpec> All { get; } = [];

    /// <summary>What must not have happened, the first ones.</summary>
    internal IReadOnlyCollection<string> Violations => _violations;

    /// <summary>
    /// Somebody else damages a node's tables: until they are repaired, new connections are not judged. Those that only pass the node on
    /// their way from one that is whole may suffer as well, such as when all is masqueraded there.
    /// </summary>
    /// <returns>Disposed of when the node has been repaired.</returns>
    internal IDisposable Damaged()
    {
        Interlocked.Increment(ref _damages); // odd while one is damaged
        return new Repaired(() => Interlocked.Increment(ref _damages));
    }

    /// <summary>Asks until it is cancelled.</summary>
    /// <param name="seed">Decides which connections live how long.</param>
    internal async Task RunAsync(int seed, CancellationToken end)
    {
        var random = new Random(seed);
        var seeds = _paths.Select(_ => random.Next()).ToList();
        await Task.WhenAll(_paths.Zip(seeds, (path, own) => HoldAsync(path, new Random(own), end))
            .Append(ConnectAsync(new Random(random.Next()), end)));
    }

    /// <summary>What was asked, as a sentence.</summary>
    internal string Describe() => string.Create(CultureInfo.InvariantCulture,
        $"{_paths.Count} connections to {Services} Services were held, with {_exchanges} questions on them, and {_connections} new ones " +
        $"made ({_unjudged} not judged: somebody else had just damaged a node's tables): {_violations.Count} lost, misrouted, or " +
        $"without their masquerade.");

    /// <summary>One connection after another on a path. Half of the paths have one for the whole run.</summary>
    private async Task HoldAsync(SteadyPath path, Random random, CancellationToken end)
    {
        var isForWholeRun = random.Next(2) == 0;
        while (!end.IsCancellationRequested)
        {
            using var held = await OpenAsync(path, end);
            var until = DateTime.UtcNow + (isForWholeRun ? TimeSpan.FromDays(1) : TimeSpan.FromSeconds(random.Next(5, 60)));
            while (held is not null && DateTime.UtcNow < until && !end.IsCancellationRequested)
            {
                Interlocked.Increment(ref _exchanges);
                if (!await GoesOnAsync(path, held))
                {
                    Report($"lost: the connection that {held.Answer.Server} had answered, {path}");
                    break;
                }
                await PauseAsync(random.Next(500, 1500), end);
            }
        }
    }

    /// <summary>New connections on any path, one after another.</summary>
    private async Task ConnectAsync(Random random, CancellationToken end)
    {
        while (!end.IsCancellationRequested)
        {
            (await OpenAsync(_paths[random.Next(_paths.Count)], end))?.Dispose();
            await PauseAsync(50, end);
        }
    }

    /// <returns>Null when the path was not judged, or was reported.</returns>
    private async Task<Probe?> OpenAsync(SteadyPath path, CancellationToken end)
    {
        var before = Volatile.Read(ref _damages);
        var (probe, fault) = await TryOpenAsync(path);
        if (fault is null)
        {
            Interlocked.Increment(ref _connections);
            return probe;
        }
        probe?.Dispose();
        if (before % 2 != 0 || Volatile.Read(ref _damages) != before)
            Interlocked.Increment(ref _unjudged);
        else if (!end.IsCancellationRequested)
            Report($"{fault}: a new connection, {path}");
        await PauseAsync(1000, end);
        return null;
    }

    private static async Task<(Probe? Probe, string? Fault)> TryOpenAsync(SteadyPath path)
    {
        var isUdp = path.Protocol == TransportProtocol.Udp;
        for (var i = 0; ; i++)
        {
            try
            {
                var probe = await Probe.OpenAsync(path.From, path.Protocol, path.Target, isUdp ? s_udpLimit : s_limit);
                return (probe, path.FaultOf(probe.Answer));
            }
            catch (OperationCanceledException) when (isUdp && i < UdpTries)
            {
                // Nobody sends a lost datagram again but us.
            }
            catch (Exception e) when (e is OperationCanceledException or SocketException)
            {
                return (null, e is SocketException s ? $"refused ({s.SocketErrorCode})" : "not answered");
            }
        }
    }

    private static async Task<bool> GoesOnAsync(SteadyPath path, Probe held)
    {
        if (path.Protocol == TransportProtocol.Tcp)
            return await held.GoesOnAsync(s_limit);
        for (var i = 0; i < UdpTries; i++)
        {
            if (await held.GoesOnAsync(s_udpLimit))
                return true;
        }
        return false;
    }

    private void Report(string what)
    {
        if (_violations.Count < Kept)
            _violations.Enqueue($"{DateTime.UtcNow:HH:mm:ss.fff} {what}; {_surroundings()}");
    }

    private static async Task PauseAsync(int milliseconds, CancellationToken end) =>
        await Task.Delay(milliseconds, end).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);

    private sealed class Repaired(Action action) : IDisposable
    {
        public void Dispose() => action();
    }
}
