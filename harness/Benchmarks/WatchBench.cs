using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Text;
using System.Text.RegularExpressions;
using CliWrap;
using Conformance.Clusters.Kubernetes;
using Conformance.Generator.Sources;
using Conformance.Labs;
using Conformance.Labs.Waiting;
using Conformance.Linux;
using Conformance.Linux.Ipvs;
using Conformance.Linux.Namespaces;
using Conformance.Topologies;
using Conformance.Traffic;
using Conformance.Traffic.Assertions;

namespace Conformance.Benchmarks;

/// <summary>The watching generator: how soon a change is in the kernel, what waiting costs, and what changes do to traffic.</summary>
internal static class WatchBench
{
    private const int Changes = 200;
    private const int RandomChanges = 100;
    private const int ConnectionsAtOnce = 20;
    private const int Seed = 20261124;
    private static readonly TimeSpan s_limit = TimeSpan.FromSeconds(30);
    private static readonly TimeSpan s_between = TimeSpan.FromMilliseconds(100);

    internal static async Task<IEnumerable<Figure>> MeasureAsync() =>
    [
        .. await EventAsync(500, byServer: false), .. await EventAsync(5_000, byServer: false), .. await EventAsync(5_000, byServer: true),
        .. await IdleAsync(10_000), await DriftAsync(10_000), .. await TrafficAsync(),
    ];

    /// <summary>
    /// From the rename of a file with one slice, one endpoint less or more, or from its change in the API server, to the
    /// kernel's list of real servers; and how many messages the generator sent for it.
    /// </summary>
    private static async Task<IEnumerable<Figure>> EventAsync(int services, bool byServer)
    {
        using var ns = BenchNode.NewNamespace();
        await using var server = byServer ? await ApiServer.StartAsync(ns, new IPEndPoint(IPAddress.Loopback, 8080)) : null;
        server?.Apply(BenchNode.Manifest(services));
        await using var watch = byServer ? Watching.Follow(ns, server!) : Watching.Start(ns, "all.json", BenchNode.Manifest(services));
        await watch.WholeAsync(services);
        var key = new VirtualServerKey(TransportProtocol.Tcp, IPAddress.Parse("10.96.0.7"), 80);
        var samples = new List<double>();
        for (var i = 0; i <= Changes; i++)
        {
            var endpoints = i % 2 == 0 ? BenchNode.Endpoints - 1 : BenchNode.Endpoints;
            var clock = Stopwatch.StartNew();
            if (server is null)
                await watch.PutAsync("slice.json", BenchNode.Slice(7, endpoints));
            else
                server.Apply(BenchNode.Slice(7, endpoints));
            // Asked all the time: the shortest sleep takes a tick of the clock, which is 10 ms on user-mode Linux.
            while (watch.Ipvs.Destinations(key).Count != endpoints)
            {
                if (clock.Elapsed > s_limit)
                    throw new HarnessException("A change did not come.", $"After {s_limit.TotalSeconds} s it was not in the kernel.",
                        "No figures.", "Run ./lab test, which shows why.");
                Thread.Yield();
            }
            if (i > 0) // the first one may meet the end of the first sync
                samples.Add(clock.Elapsed.TotalMilliseconds);
        }
        var name = string.Create(CultureInfo.InvariantCulture, $"ipvs-generator watch, one endpoint among {services} Services");
        return [new($"{name}: {(byServer ? "API server" : "rename")} to kernel (bar 4, worst 12)", "ms", samples),
            new($"{name}: messages sent for it", "", watch.MessagesOfChanges(Changes))];
    }

    private static async Task<IEnumerable<Figure>> IdleAsync(int services)
    {
        await using var watch = await Watching.StartAsync(services, "--ipvs-sync-period", "1h");
        await Task.Delay(TimeSpan.FromSeconds(5)); // the end of the first sync
        var samples = await SampleAsync(watch, TimeSpan.FromSeconds(5), count: 5);
        var name = string.Create(CultureInfo.InvariantCulture, $"ipvs-generator watch, {services} Services");
        return [new($"{name}: processor time in 5 s without an event (bar 0)", "ms", samples),
            new($"{name}: resident memory (bar 90)", "MB", [watch.ResidentBytes / (1024.0 * 1024)])];
    }

    private static async Task<List<double>> SampleAsync(Watching watch, TimeSpan period, int count)
    {
        var samples = new List<double>();
        for (var i = 0; i < count; i++)
        {
            var before = watch.ProcessorTime;
            await Task.Delay(period);
            samples.Add((watch.ProcessorTime - before).TotalMilliseconds);
        }
        return samples;
    }

    /// <summary>The processor time of whole periods, iptables-save's included, so that nothing of a check is forgotten.</summary>
    private static async Task<Figure> DriftAsync(int services)
    {
        var period = TimeSpan.FromSeconds(5);
        await using var watch = await Watching.StartAsync(services, "--ipvs-sync-period", "5s");
        await Task.Delay(2.5 * period); // the end of the first sync, and the first checks, which learn what is right
        var samples = await SampleAsync(watch, period, count: 10);
        return new Figure(string.Create(CultureInfo.InvariantCulture,
            $"ipvs-generator watch, {services} Services: processor time of a drift check, average of ten (bar 150)"), "ms",
                [samples.Average()]);
    }

    /// <summary>200 new connections a second to a Service that does not change, while others come, change and go.</summary>
    private static async Task<IEnumerable<Figure>> TrafficAsync()
    {
        await using var lab = await Lab.StartAsync(Topology.Load("routed-nat"), capture: false);
        var (client, director, server) = (lab["client"], lab["director"], lab["rs1"]);
        await using var watch = Watching.Start(director.Namespace, "none.yaml", "", "--ipvs-sync-period", "1s");
        await watch.PutAsync("web.yaml", Manifest("web", "10.10.0.1", server, "ClusterIP"));
        await Eventually.Async("the Service is there", () => watch.Ipvs.Services().Count, count => count == 1, TimeSpan.FromMinutes(1));
        await client.AskAsync("10.10.0.1:80");

        var (answered, lost, misrouted) = (0, 0, 0);
        using var end = new CancellationTokenSource();
        var load = Task.Run(async () =>
        {
            using var timer = new PeriodicTimer(s_between);
            while (!end.IsCancellationRequested && await timer.WaitForNextTickAsync())
            {
                try
                {
                    foreach (var (name, count) in await client.AskManyAsync("10.10.0.1:80", ConnectionsAtOnce))
                    {
                        answered += count;
                        misrouted += name == server.Name ? 0 : count;
                    }
                }
                catch (Shouldly.ShouldAssertException)
                {
                    lost += ConnectionsAtOnce; // one of them at least
                }
            }
        });
        var random = new Random(Seed);
        var clock = Stopwatch.StartNew();
        for (var i = 0; i < RandomChanges; i++)
        {
            var (name, number) = (string.Create(CultureInfo.InvariantCulture, $"other{random.Next(10)}"), random.Next(1, 250));
            if (random.Next(4) == 0)
                watch.Delete($"{name}.yaml");
            else
                await watch.PutAsync($"{name}.yaml", Manifest(name, string.Create(CultureInfo.InvariantCulture, $"10.11.0.{number}"),
                    lab["rs2"], random.Next(2) == 0 ? "ClusterIP" : "NodePort", 30000 + number));
            await Task.Delay(s_between);
        }
        await end.CancelAsync();
        await load;
        var seconds = clock.Elapsed.TotalSeconds;
        var bare = server.Servers.SelectMany(s => s.Peers).Count(p => p.Address.Equals(client.Address));
        var what = string.Create(CultureInfo.InvariantCulture,
            $"{RandomChanges} random changes of others (seed {Seed}) at 200 connections/s");
        return
        [
            new($"{what}: connections answered", "", [answered]),
            new($"{what}: connections a second", "", [answered / seconds]),
            new($"{what}: lost", "", [lost]),
            new($"{what}: misrouted", "", [misrouted]),
            new($"{what}: not masqueraded", "", [bare]),
        ];
    }

    private static string Manifest(string name, string address, Node endpoint, string type, int nodePort = 0) => string.Create(CultureInfo.InvariantCulture, $$$"""
        apiVersion: v1
        kind: Service
        metadata: {name: {{{name}}} }
        spec: {type: {{{type}}}, clusterIP: {{{address}}}, ports: [{name: http, port: 80, nodePort: {{{(type == "NodePort" ? nodePort : 0)}}} }]}
        ---
        apiVersion: discovery.k8s.io/v1
        kind: EndpointSlice
        metadata: {name: {{{name}}}-1, labels: {kubernetes.io/service-name: {{{name}}} } }
        addressType: IPv4
        ports: [{name: http, port: 8080}]
        endpoints: [{addresses: [{{{endpoint.Address}}}]}]
        """);

    /// <summary>A watching generator in a namespace, and the folder that it follows.</summary>
    private sealed class Watching : IAsyncDisposable
    {
        // A folder of the guest's own: user-mode Linux's hostfs is no folder for inotify.
        private readonly string? _folder;
        private readonly CancellationTokenSource _stop = new();
        private readonly NetworkNamespace? _owned;
        private readonly CommandTask<CommandResult> _running;
        private readonly StringBuilder _log = new();

        private Watching(NetworkNamespace ns, bool ownsNamespace, string? folder, string[] arguments)
        {
            _folder = folder;
            _owned = ownsNamespace ? ns : null;
            Ipvs = new IpvsSocket(ns);
            _running = BenchNode.Generator(ns, ["watch", "--healthz-bind-address", "", "--metrics-bind-address", "", .. arguments])
                .WithStandardErrorPipe(PipeTarget.ToStringBuilder(_log)).ExecuteAsync(_stop.Token);
        }

        /// <summary>How many messages each of the last changes took, as the log says.</summary>
        internal List<double> MessagesOfChanges(int count) =>
            [.. Regex.Matches(_log.ToString(), @"sync: (?!start|drift).*: (?<changes>[1-9]\d*) changes by (?<messages>\d+) messages",
                RegexOptions.ExplicitCapture, TimeSpan.FromSeconds(1))
                .Select(m => double.Parse(m.Groups["messages"].ValueSpan, CultureInfo.InvariantCulture)).TakeLast(count)];

        internal IpvsSocket Ipvs { get; }

        /// <summary>Of the program and of the children that it has waited for (proc_pid_stat(5)).</summary>
        internal TimeSpan ProcessorTime
        {
            get
            {
                var stat = File.ReadAllText(string.Create(CultureInfo.InvariantCulture, $"/proc/{_running.ProcessId}/stat"));
                var fields = stat[(stat.LastIndexOf(')') + 2)..].Split(' ');
                return TimeSpan.FromSeconds(fields[11..15].Sum(f => long.Parse(f, CultureInfo.InvariantCulture)) / 100.0); // USER_HZ
            }
        }

        /// <summary>VmRSS of proc_pid_status(5).</summary>
        internal long ResidentBytes => 1024 * long.Parse(
            File.ReadLines(string.Create(CultureInfo.InvariantCulture, $"/proc/{_running.ProcessId}/status"))
                .First(l => l.StartsWith("VmRSS:", StringComparison.Ordinal)).Split(' ', StringSplitOptions.RemoveEmptyEntries)[1],
            CultureInfo.InvariantCulture);

        /// <summary>Follows a folder, which has one file.</summary>
        internal static Watching Start(NetworkNamespace ns, string file, string manifest, params string[] arguments) =>
            Start(ns, ownsNamespace: false, file, manifest, arguments);

        internal static Watching Follow(NetworkNamespace ns, ApiServer server) =>
            new(ns, ownsNamespace: false, folder: null, ["--master", server.Address.AbsoluteUri]);

        /// <summary>Starts in a fresh namespace, and waits until everything is there.</summary>
        internal static async Task<Watching> StartAsync(int services, params string[] arguments)
        {
            var watching = Start(BenchNode.NewNamespace(), ownsNamespace: true, "all.json", BenchNode.Manifest(services), arguments);
            await watching.WholeAsync(services);
            return watching;
        }

        internal async Task WholeAsync(int services)
        {
            var last = new VirtualServerKey(TransportProtocol.Tcp, IPAddress.Parse("10.96.0.7"), 80);
            await Eventually.Async("everything is there", () => Ipvs.Services().Count, count => count == services, TimeSpan.FromMinutes(1));
            await Eventually.Async("the real servers are there", () => Ipvs.Destinations(last).Count,
                count => count == BenchNode.Endpoints, TimeSpan.FromMinutes(1));
        }

        private static Watching Start(NetworkNamespace ns, bool ownsNamespace, string file, string manifest, string[] arguments)
        {
            var folder = Directory.CreateTempSubdirectory("ipvs-generator-bench").FullName;
            File.WriteAllText(Path.Combine(folder, file), manifest);
            return new Watching(ns, ownsNamespace, folder, ["-f", folder, .. arguments]);
        }

        internal async Task PutAsync(string file, string text)
        {
            await File.WriteAllTextAsync(Path.Combine(_folder!, $".{file}"), text);
            File.Move(Path.Combine(_folder!, $".{file}"), Path.Combine(_folder!, file), overwrite: true);
        }

        internal void Delete(string file) => File.Delete(Path.Combine(_folder!, file));

        public async ValueTask DisposeAsync()
        {
            await _stop.CancelAsync();
            try
            {
                await _running;
            }
            catch (OperationCanceledException)
            {
                // as asked for
            }
            Ipvs.Dispose();
            _owned?.Dispose();
            _stop.Dispose();
            if (_folder is not null)
                Directory.Delete(_folder, recursive: true);
        }
    }
}
