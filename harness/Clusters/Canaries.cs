using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using Conformance.Clusters.Kubernetes;
using Conformance.Clusters.Proxies;
using Conformance.Labs;
using Conformance.Labs.Waiting;
using Conformance.Linux;
using Conformance.Packets;
using Conformance.Traffic;

namespace Conformance.Clusters;

/// <summary>A family and a transport protocol. A proxy may have a part for each that knows nothing of the others.</summary>
public readonly record struct TrafficKind(bool IsIPv6, bool IsUdp)
{
    /// <summary>TCP and UDP over IPv4 and IPv6.</summary>
    public static IReadOnlyList<TrafficKind> All { get; } = [new(false, false), new(false, true), new(true, false), new(true, true)];

    /// <summary>The kinds of a Service's addresses and ports. SCTP counts as TCP: kernels may lack it.</summary>
    internal static IEnumerable<TrafficKind> Of(ServiceSpec service) =>
        (from address in service.ClusterIPs
         from port in service.Ports
         select new TrafficKind(address.Contains(':', StringComparison.Ordinal), port.Protocol == TransportProtocol.Udp)).Distinct();

    /// <summary>The kind of a flow.</summary>
    public static TrafficKind Of(Flow flow) => new(flow.Target.AddressFamily == AddressFamily.InterNetworkV6,
        flow.Protocol == TransportProtocol.Udp);

    /// <inheritdoc/>
    public override string ToString() => $"{(IsUdp ? "UDP" : "TCP")} over {(IsIPv6 ? "IPv6" : "IPv4")}";
}

/// <summary>
/// Shows from outside that a proxy has programmed a change: Services of the harness, one for each kind of traffic, that change
/// after the change of a test and are then asked on every node.
/// </summary>
internal sealed class Canaries(Cluster cluster)
{
    private const string Pod = "web-a";
    private const int FirstPort = 20000;

    /// <summary>The canaries' port on the pod. No test uses it, so that it marks packets of canaries.</summary>
    private const int TargetPort = 8079;
    private static readonly TimeSpan s_probe = TimeSpan.FromMilliseconds(200);

    /// <summary>
    /// A proxy that follows files may wait until a file is quiet: ours does for 100 ms, where the system does not report a rename into
    /// place as one event. A later file can be read before it.
    /// </summary>
    private static readonly TimeSpan s_quiet = TimeSpan.FromMilliseconds(200);

    /// <summary>
    /// Between two questions. A sync of a slow proxy takes seconds: asking more often would only take its time, and fill the captures.
    /// </summary>
    private readonly TimeSpan _pause = TimeSpan.FromMilliseconds(cluster.Proxy.IsSlow ? 300 : 10);

    private readonly HashSet<TrafficKind> _served = [];
    private readonly Lock _lock = new();
    private HashSet<TrafficKind> _unserved = [];
    private TimeSpan _longest;
    private int _generation;

    /// <summary>
    /// The kinds whose canary has never answered: of these a missing answer says nothing of when the proxy has read a change.
    /// </summary>
    internal IReadOnlySet<TrafficKind> Unserved
    {
        get
        {
            lock (_lock)
                return _unserved;
        }
    }

    /// <summary>The longest time from a change until its canary answered.</summary>
    internal TimeSpan Longest
    {
        get
        {
            lock (_lock)
                return _longest;
        }
    }

    /// <summary>Starts the canaries' servers, and leaves their packets out of the captures.</summary>
    internal void Prepare()
    {
        foreach (var protocol in new[] { TransportProtocol.Tcp, TransportProtocol.Udp })
            cluster.Lab[Pod].Serve(protocol, TargetPort);
        var addresses = TrafficKind.All.Select(k => IPAddress.Parse(AddressOf(k)).GetAddressBytes()).ToList();
        cluster.Lab.Wire.IsIgnored = frame => FrameHead.Has(frame.Span, TargetPort, addresses);
    }

    /// <summary>
    /// Waits until every node has everything that was put before. Each canary answers under a new port when everything before it
    /// was read, Services and slices alike. Then it changes once more: the answer under that port was programmed by a later sync
    /// than the one that read the change, and that one has ended.
    /// </summary>
    /// <exception cref="HarnessException">The proxy ended, or a canary that has answered before does not in time.</exception>
    internal async Task AwaitAsync(IReadOnlyCollection<TrafficKind> kinds)
    {
        var begun = Stopwatch.StartNew();
        for (var i = 0; i < 2; i++)
        {
            if (i > 0 && s_quiet - begun.Elapsed is { Ticks: > 0 } rest)
                await Task.Delay(rest);
            var port = FirstPort + Interlocked.Increment(ref _generation);
            foreach (var kind in kinds)
                cluster.Put(Canary(kind, port));
            using var limit = new Patience(cluster.Limit);
            var watch = Stopwatch.StartNew();
            foreach (var kind in kinds.Except(Unserved))
            {
                // A kind that it has never served, while it serves another, is not worth the patience of a start.
                using var shorter = _served.Count > 0 && !_served.Contains(kind) ? new Patience(cluster.Reaction) : null;
                foreach (var running in cluster.Running)
                {
                    if (await AwaitAsync(running, kind, port, (shorter ?? limit).Token))
                    {
                        RecordTime(watch.Elapsed);
                        continue;
                    }
                    GiveUp(running, kind, port);
                    break;
                }
                if (!Unserved.Contains(kind))
                    _served.Add(kind);
            }
            // One that comes late after all is waited for again.
            foreach (var kind in kinds.Intersect(Unserved))
            {
                if (cluster.Running is [var first, ..] && await AnswersAsync(ProberOn(first), kind, port))
                    SetUnserved(Unserved.Where(k => k != kind));
            }
        }
    }

    private static ServiceSpec Canary(TrafficKind kind, int port) => new($"canary-{(kind.IsUdp ? "udp" : "tcp")}-{(kind.IsIPv6 ? 6 : 4)}")
    {
        ClusterIPs = [AddressOf(kind)],
        Ports = [new PortSpec(port, TargetPort, kind.IsUdp ? TransportProtocol.Udp : TransportProtocol.Tcp)],
        Endpoints = [Pod],
    };

    private static string AddressOf(TrafficKind kind) => (kind.IsIPv6, kind.IsUdp) switch
    {
        (false, false) => "10.96.0.3",
        (false, true) => "10.96.0.4",
        (true, false) => "fd00:10:96:fffe::3",
        (true, true) => "fd00:10:96:fffe::4",
    };

    /// <summary>
    /// The pod of the node that asks. It needs least: a proxy that does not masquerade, say, is to be violated by the claims on that, and
    /// not to keep all others from being tested.
    /// </summary>
    private Node ProberOn(IRunningProxy running) => cluster.Lab.Nodes.First(n => n.Name != Pod
        && n.Spec.Interfaces[0].Network.Host == running.Node.Name);

    private async Task<bool> AwaitAsync(IRunningProxy running, TrafficKind kind, int port, CancellationToken limit)
    {
        var prober = ProberOn(running);
        while (true)
        {
            if (await AnswersAsync(prober, kind, port))
                return true;
            running.ThrowIfEnded(cluster.Proxy);
            if (limit.IsCancellationRequested)
                return false;
            await Task.Delay(_pause, CancellationToken.None);
        }
    }

    private void GiveUp(IRunningProxy running, TrafficKind kind, int port)
    {
        if (_served.Contains(kind))
        {
            throw new ProxyStalledException($"The proxy {cluster.Proxy.Name} on {running.Node.Name} programs nothing any more, or not all.",
                $"Its canary {new IPEndPoint(IPAddress.Parse(AddressOf(kind)), port)} ({kind}) did not answer within " +
                    $"{cluster.Limit.TotalSeconds} s. {running.Description} said:\n{running.Log}", "No claim can be tested on it.",
                    "See its log.");
        }
        SetUnserved(Unserved.Append(kind));
    }

    private void RecordTime(TimeSpan time)
    {
        lock (_lock)
            _longest = time > _longest ? time : _longest;
    }

    private void SetUnserved(IEnumerable<TrafficKind> kinds)
    {
        lock (_lock)
            _unserved = [.. kinds];
    }

    private static Task<bool> AnswersAsync(Node prober, TrafficKind kind, int port) => kind.IsUdp
        ? AnswersUdpAsync(prober, AddressOf(kind), port)
        : ConnectsAsync(prober, AddressOf(kind), port, s_probe);

    private static async Task<bool> AnswersUdpAsync(Node node, string address, int port)
    {
        var target = IPAddress.Parse(address);
        using var socket = node.Namespace.Run(() => new Socket(target.AddressFamily, SocketType.Dgram, ProtocolType.Udp));
        try
        {
            using var limit = new Patience(s_probe);
            await socket.ConnectAsync(target, port, limit.Token);
            await socket.SendAsync(new byte[] { (byte)'?' }, limit.Token);
            return await socket.ReceiveAsync(new byte[64], limit.Token) > 0;
        }
        catch (Exception e) when (e is SocketException or OperationCanceledException)
        {
            return false;
        }
    }

    /// <summary>Whether a TCP connection stands: a probe, of which no flow is kept.</summary>
    internal static async Task<bool> ConnectsAsync(Node node, string address, int port, TimeSpan within)
    {
        var target = IPAddress.Parse(address);
        using var socket = node.Namespace.Run(() => new Socket(target.AddressFamily, SocketType.Stream, ProtocolType.Tcp));
        socket.LingerState = new LingerOption(true, 0);
        try
        {
            using var limit = new Patience(within);
            await socket.ConnectAsync(target, port, limit.Token);
            return true;
        }
        catch (Exception e) when (e is SocketException or OperationCanceledException)
        {
            return false;
        }
    }
}
