using System.Diagnostics;
using Conformance.Labs;
using Conformance.Topologies;
using Conformance.Traffic.Assertions;

namespace Conformance.Benchmarks;

/// <summary>The part of <c>./lab bench</c> that runs inside the lab kernel: labs, connections, commands, and the generator.</summary>
public static class InsideBench
{
    private const int Connections = 1000;

    /// <summary>What rules and sets cost.</summary>
    public static async Task<IReadOnlyList<Figure>> MeasureSetsAsync() => await SetsBench.MeasureAsync();

    /// <summary>The generator alone.</summary>
    public static async Task<IReadOnlyList<Figure>> MeasureGeneratorAsync()
    {
        await Toolbox.PrepareAsync();
        return await GeneratorBench.MeasureAsync();
    }

    public static async Task<IReadOnlyList<Figure>> MeasureAllAsync()
    {
        var figures = new List<Figure>
        {
            await RepeatAsync("article-nat up and down", "ms", 20, async () =>
            {
                await using var lab = await Lab.StartAsync(Topology.Load("article-nat"));
            }),
        };
        figures.Add(await UpAsync("cluster up (bar 300)", "cluster", 20));
        await using var routed = await Lab.StartAsync(Topology.Load("routed-nat"), capture: false);
        var (client, director) = (routed["client"], routed["director"]);
        await director.AddAddressAsync("10.10.0.1/24");
        await director.Ipvs.AddAsync(VirtualServerSpec.Tcp("10.10.0.1:80").Masquerading("rs1:8080"));
        figures.Add(await RateAsync("TCP connections through the virtual server", client, "10.10.0.1:80"));
        // Another server: while IPVS remembers a client's port, it also rewrites that port's direct replies of rs1.
        figures.Add(await RateAsync("TCP connections to a server directly, for comparison", client, "rs2:8080"));
        figures.Add(await RepeatAsync("a command in a node (true)", "ms", 20, () => client.RunAsync("true")));
        figures.AddRange(await SetsBench.MeasureAsync());
        figures.AddRange(await GeneratorBench.MeasureAsync());
        return figures;
    }

    private static async Task<Figure> RateAsync(string name, Node client, string target)
    {
        await client.AskManyAsync(target, Connections); // warm up
        var samples = new List<double>();
        for (var i = 0; i < 5; i++)
        {
            var watch = Stopwatch.StartNew();
            await client.AskManyAsync(target, Connections);
            samples.Add(Connections / watch.Elapsed.TotalSeconds);
        }
        return new Figure(name, "1/s", samples);
    }

    /// <summary>A lab until it stands, servers and captures included; its end is not counted.</summary>
    private static async Task<Figure> UpAsync(string name, string topology, int runs)
    {
        var parsed = Topology.Load(topology);
        var samples = new List<double>();
        for (var i = 0; i <= runs; i++)
        {
            var watch = Stopwatch.StartNew();
            await using var lab = await Lab.StartAsync(parsed);
            if (i > 0) // the first one warms up
                samples.Add(watch.Elapsed.TotalMilliseconds);
        }
        return new Figure(name, "ms", samples);
    }

    private static async Task<Figure> RepeatAsync(string name, string unit, int runs, Func<Task> action)
    {
        await action(); // warm up
        var samples = new List<double>();
        for (var i = 0; i < runs; i++)
        {
            var watch = Stopwatch.StartNew();
            await action();
            samples.Add(watch.Elapsed.TotalMilliseconds);
        }
        return new Figure(name, unit, samples);
    }
}
