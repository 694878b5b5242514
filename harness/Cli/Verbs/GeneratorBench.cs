using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Text;
using System.Text.RegularExpressions;
using CliWrap;
using CliWrap.Buffered;
using Conformance.Harness;
using Conformance.Kernel;
using Conformance.Kernel.Netlink;

namespace Conformance.Cli.Verbs;

/// <summary>The generator's part of <c>./lab bench</c>: the program itself, each time in a fresh namespace of the lab kernel.</summary>
internal static class GeneratorBench
{
    private const int Endpoints = 5;
    private const int Changes = 20;

    internal static async Task<List<BenchVerb.Figure>> MeasureAsync()
    {
        var figures = new List<BenchVerb.Figure>();
        await ApplyAsync(1, 1); // loads the kernel's modules
        foreach (var (services, runs) in new[] { (1_000, 3), (10_000, 3) })
            figures.AddRange(await ApplyAsync(services, runs));
        figures.Add(await EventAsync(5_000));
        return figures;
    }

    private static async Task<IEnumerable<BenchVerb.Figure>> ApplyAsync(int services, int runs)
    {
        var file = Path.Combine(RunFolder.Current, string.Create(CultureInfo.InvariantCulture, $"services-{services}.json"));
        await File.WriteAllTextAsync(file, Manifest(services));
        var stages = new Dictionary<string, List<double>>(StringComparer.Ordinal);
        for (var i = 0; i < runs; i++)
        {
            using var ns = NewNamespace();
            var watch = Stopwatch.StartNew();
            var result = await Generator(ns, "apply", "-f", file).ExecuteBufferedAsync();
            Add("total, process start to exit", watch.Elapsed.TotalMilliseconds);
            foreach (Match stage in Regex.Matches(result.StandardError, @"(?<name>[a-z]+) (?<ms>\d+) ms", RegexOptions.ExplicitCapture, TimeSpan.FromSeconds(1)))
                Add(stage.Groups["name"].Value, double.Parse(stage.Groups["ms"].ValueSpan, CultureInfo.InvariantCulture));
            Add("peak MB", double.Parse(Regex.Match(result.StandardError, @"peak (?<mb>\d+) MB", RegexOptions.ExplicitCapture, TimeSpan.FromSeconds(1)).Groups["mb"].ValueSpan, CultureInfo.InvariantCulture));
        }
        return stages.Select(s => new BenchVerb.Figure(string.Create(CultureInfo.InvariantCulture, $"ipvs-generator apply, {services} x {Endpoints}: {s.Key}"), s.Key == "peak MB" ? "MB" : "ms", s.Value));

        void Add(string name, double value)
        {
            if (!stages.TryGetValue(name, out var samples))
                stages[name] = samples = [];
            samples.Add(value);
        }
    }

    /// <summary>From the rename of a file with one slice, one endpoint less or more, to the kernel's list of real servers.</summary>
    private static async Task<BenchVerb.Figure> EventAsync(int services)
    {
        // A folder of the guest's own: user-mode Linux's hostfs is no folder for inotify.
        var folder = Directory.CreateTempSubdirectory("ipvs-generator-bench").FullName;
        using var stop = new CancellationTokenSource();
        try
        {
            await File.WriteAllTextAsync(Path.Combine(folder, "all.json"), Manifest(services));
            using var ns = NewNamespace();
            using var ipvs = new IpvsSocket(ns);
            var key = new IpvsKey(IpProtocol.Tcp, IPAddress.Parse("10.96.0.7"), 80);
            var watching = Generator(ns, "watch", "-f", folder, "--healthz-bind-address", "", "--metrics-bind-address", "").ExecuteAsync(stop.Token);
            await Eventually.Async("everything is there", () => ipvs.Services().Count, count => count == services, TimeSpan.FromMinutes(1));
            await WaitAsync(ipvs, key, Endpoints);
            var samples = new List<double>();
            for (var i = 0; i <= Changes; i++)
            {
                var endpoints = i % 2 == 0 ? Endpoints - 1 : Endpoints;
                await File.WriteAllTextAsync(Path.Combine(folder, ".new"), Slice(7, endpoints));
                var watch = Stopwatch.StartNew();
                File.Move(Path.Combine(folder, ".new"), Path.Combine(folder, "slice.json"), overwrite: true);
                await WaitAsync(ipvs, key, endpoints);
                if (i > 0) // the first one may meet the end of the first sync
                    samples.Add(watch.Elapsed.TotalMilliseconds);
            }
            await stop.CancelAsync();
            try
            {
                await watching;
            }
            catch (OperationCanceledException)
            {
                // as asked for
            }
            return new BenchVerb.Figure(string.Create(CultureInfo.InvariantCulture, $"ipvs-generator watch, one endpoint among {services} Services: rename to kernel"), "ms", samples);
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    private static Task WaitAsync(IpvsSocket ipvs, IpvsKey key, int endpoints) =>
        Eventually.Async("the change is in the kernel", () => ipvs.Destinations(key).Count, count => count == endpoints, TimeSpan.FromSeconds(30), pause: TimeSpan.FromMilliseconds(1));

    private static NetworkNamespace NewNamespace()
    {
        var ns = NetworkNamespace.Create("bench");
        using var route = new RouteSocket(ns);
        route.SetLink("lo");
        route.AddDummy("eth0");
        route.SetLink("eth0");
        route.AddAddress("eth0", IPAddress.Parse("192.168.113.101"), 24);
        return ns;
    }

    private static CliWrap.Command Generator(NetworkNamespace ns, params string[] arguments) => CliWrap.Cli.Wrap("nsenter")
        .WithArguments([$"--net={ns.Path}", "--", Programs.Generator, .. arguments, "--hostname-override", "node1", "--cluster-cidr", "10.244.0.0/15"]);

    /// <summary>A list as <c>kubectl get services,endpointslices -o json</c> prints it.</summary>
    private static string Manifest(int services)
    {
        var items = new StringBuilder();
        for (var i = 0; i < services; i++)
        {
            if (i > 0)
                items.Append(',');
            items.Append(CultureInfo.InvariantCulture, $$$"""
                {"apiVersion":"v1","kind":"Service","metadata":{"name":"s{{{i}}}","namespace":"default","creationTimestamp":"2026-01-01T00:00:00Z"},"spec":{"type":"ClusterIP","clusterIP":"10.96.{{{i >> 8}}}.{{{i & 255}}}","clusterIPs":["10.96.{{{i >> 8}}}.{{{i & 255}}}"],"selector":{"app":"s{{{i}}}"},"ports":[{"name":"http","port":80,"protocol":"TCP","targetPort":8080}]},"status":{"loadBalancer":{ } } },
                {{{Slice(i, Endpoints)}}}
                """);
        }
        return $$"""{"apiVersion":"v1","kind":"List","items":[{{items}}]}""";
    }

    private static string Slice(int service, int endpoints)
    {
        var list = Enumerable.Range(0, endpoints).Select(j => (service * Endpoints) + j).Select(k => string.Create(CultureInfo.InvariantCulture,
            $$$"""{"addresses":["10.{{{244 + (k >> 16)}}}.{{{(k >> 8) & 255}}}.{{{k & 255}}}"],"conditions":{"ready":true,"serving":true,"terminating":false},"nodeName":"node{{{1 + (k % Endpoints == 0 ? 0 : 1)}}}","targetRef":{"kind":"Pod","name":"p{{{k}}}","namespace":"default"}}"""));
        return string.Create(CultureInfo.InvariantCulture, $$$"""
            {"apiVersion":"discovery.k8s.io/v1","kind":"EndpointSlice","metadata":{"name":"s{{{service}}}-abc","namespace":"default","labels":{"kubernetes.io/service-name":"s{{{service}}}"}},"addressType":"IPv4","ports":[{"name":"http","port":8080,"protocol":"TCP"}],"endpoints":[{{{string.Join(',', list)}}}]}
            """);
    }
}
