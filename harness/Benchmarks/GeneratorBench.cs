using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Text;
using System.Text.RegularExpressions;
using CliWrap;
using Conformance.Generator.Decisions;
using Conformance.Generator.Documents;
using Conformance.Generator.Model;
using Conformance.Generator.Sources;
using Conformance.Generator.Sync;
using Conformance.Labs;
using Conformance.Linux;
using Conformance.Linux.Iptables;

namespace Conformance.Benchmarks;

/// <summary>The generator's part of <c>./lab bench</c>: the program itself, each time in a fresh namespace of the lab kernel.</summary>
internal static class GeneratorBench
{
    internal static async Task<List<Figure>> MeasureAsync()
    {
        var figures = new List<Figure>();
        await ApplyAsync(1, 1, barMs: 0); // loads the kernel's modules
        figures.AddRange(await ApplyAsync(1, 10, barMs: 150));
        figures.AddRange(await ApplyAsync(1_000, 3, barMs: 600));
        figures.AddRange(await ApplyAsync(10_000, 3, barMs: 2_000));
        figures.AddRange(await PreparedAsync(10_000, runs: 3));
        figures.AddRange(await WatchBench.MeasureAsync());
        return figures;
    }

    private static async Task<IEnumerable<Figure>> ApplyAsync(int services, int runs, int barMs)
    {
        var file = Path.Combine(RunFolder.Current, string.Create(CultureInfo.InvariantCulture, $"services-{services}.json"));
        await File.WriteAllTextAsync(file, BenchNode.Manifest(services));
        var stages = new Dictionary<string, List<double>>(StringComparer.Ordinal);
        for (var i = 0; i < runs; i++)
        {
            using var ns = BenchNode.NewNamespace();
            var watch = Stopwatch.StartNew();
            var said = new StringBuilder();
            await BenchNode.Generator(ns, "apply", "-f", file).WithStandardOutputPipe(PipeTarget.Null)
                .WithStandardErrorPipe(PipeTarget.ToStringBuilder(said)).ExecuteAsync();
            Add(string.Create(CultureInfo.InvariantCulture, $"total, process start to exit (bar {barMs})"),
                watch.Elapsed.TotalMilliseconds);
            foreach (Match stage in Regex.Matches(said.ToString(), @"(?<name>[a-z]+) (?<ms>\d+) ms", RegexOptions.ExplicitCapture,
                TimeSpan.FromSeconds(1)))
                Add(stage.Groups["name"].Value, double.Parse(stage.Groups["ms"].ValueSpan, CultureInfo.InvariantCulture));
            Add("peak MB", double.Parse(Regex.Match(said.ToString(), @"peak (?<mb>\d+) MB", RegexOptions.ExplicitCapture,
                TimeSpan.FromSeconds(1)).Groups["mb"].ValueSpan, CultureInfo.InvariantCulture));
        }
        return stages.Select(
            s => new Figure(string.Create(CultureInfo.InvariantCulture,
                $"ipvs-generator apply, {services} x {BenchNode.Endpoints}: {s.Key}"), s.Key == "peak MB" ? "MB" : "ms", s.Value));

        void Add(string name, double value)
        {
            if (!stages.TryGetValue(name, out var samples))
                stages[name] = samples = [];
            samples.Add(value);
        }
    }

    /// <summary>
    /// What the synchronizer makes of an empty namespace, reading and comparing included, beside the same messages and
    /// documents prepared in advance: what more it takes is our own work, not the kernel's.
    /// </summary>
    private static async Task<IEnumerable<Figure>> PreparedAsync(int services, int runs)
    {
        var options = new GeneratorOptions
        {
            HostnameOverride = "node1",
            ClusterCidr = [IPNetwork.Parse("10.244.0.0/15")],
            ConntrackMaxPerCore = 0
        };
        var cluster = new Cluster();
        foreach (var item in ManifestReader.Read("bench", Encoding.UTF8.GetBytes(BenchNode.Manifest(services))).Objects)
            Source.Put(cluster, item);
        var iptables = IptablesVariant.Choose();
        var (written, replayed) = (new List<double>(), new List<double>());
        for (var i = 0; i < runs; i++)
        {
            using (var ns = BenchNode.NewNamespace())
            using (var kernel = new KernelPort(ns, iptables))
            {
                var world = new World(options, NodeStates.Of(options, cluster, kernel.NodeAddresses()), cluster);
                var watch = Stopwatch.StartNew();
                var result = new Synchronizer(kernel).SyncAll(world.Desired, world.Node);
                written.Add(watch.Elapsed.TotalMilliseconds);
                if (!result.IsGood)
                    throw new HarnessException("The sync failed.", string.Join('\n', result.Errors), "No figures.", "See the evidence.");
            }
            using (var ns = BenchNode.NewNamespace())
            using (var kernel = new KernelPort(ns, iptables))
            {
                var world = new World(options, NodeStates.Of(options, cluster, kernel.NodeAddresses()), cluster);
                var difference = Difference.Of(world.Desired, kernel.Read(options), world.Node);
                var servers = difference.AddedServers.Select(kernel.Ipvs.Add)
                    .Concat(difference.AddedReals.Select(r => kernel.Ipvs.Add(r.Key, r.Real))).ToList();
                var watch = Stopwatch.StartNew();
                kernel.Route.AddDummy(DocumentSet.Device);
                foreach (var set in difference.CreatedSets)
                    kernel.Ipset.Create(set.Name, set.Definition.Type, set.IsIPv6);
                foreach (var (set, entries) in difference.AddedEntries)
                    kernel.Ipset.Add(set.Name, set.Definition.Type, entries);
                foreach (var rules in difference.Restored)
                    kernel.Restore(rules.IsIPv6, rules.Document);
                kernel.Ipvs.Execute(servers);
                kernel.Route.AddHostAddresses(DocumentSet.Device, difference.Bound, isSource: false);
                replayed.Add(watch.Elapsed.TotalMilliseconds);
            }
        }
        var name = string.Create(CultureInfo.InvariantCulture, $"{services} x {BenchNode.Endpoints} into an empty namespace");
        return [new($"{name}: read, compare and write", "ms", written),
            new($"{name}: prepared messages and documents alone", "ms", replayed)];
    }
}
