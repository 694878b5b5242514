using System.CommandLine;
using System.Diagnostics;
using System.Globalization;
using System.Text.Json;
using Conformance.Cli.Kernels;
using Conformance.Cli.Runner;
using Conformance.Harness.Labs;
using Conformance.Topologies;
using Spectre.Console;

namespace Conformance.Cli.Verbs;

/// <summary><c>./lab bench</c>: how fast it is, each figure as minimum, median and maximum of several runs.</summary>
internal static class BenchVerb
{
    /// <summary>Hidden: the measurements that are made inside the lab kernel.</summary>
    private const string InsideOption = "--inside";

    private const int Connections = 1000;

    internal static Command Create()
    {
        var kernel = LabKernels.CreateOption();
        var runs = new Option<int>("--runs") { Description = "Runs of each whole command.", DefaultValueFactory = _ => 3 };
        var format = Output.CreateOption();
        var inside = new Option<bool>(InsideOption) { Hidden = true };
        var verb = new Command("bench", "Measure boot, labs, connections, and the whole suite.") { kernel, runs, format, inside };
        verb.SetAction(async parsed =>
        {
            using var interrupt = new Interrupt();
            if (parsed.GetValue(inside))
                return await MeasureInsideAsync();
            return await RunAsync(await LabKernels.ChooseAsync(parsed.GetValue(kernel)!, interrupt.Token), parsed.GetValue(runs), parsed.GetValue(format)!, interrupt.Token);
        });
        return verb;
    }

    /// <summary>Samples in the unit named.</summary>
    private sealed record Figure(string Name, string Unit, IReadOnlyList<double> Samples)
    {
        internal double Median => Samples.Order().ElementAt(Samples.Count / 2);
    }

    private static async Task<int> RunAsync(LabKernel kernel, int runs, string format, CancellationToken cancellationToken)
    {
        var figures = new List<Figure>
        {
            await WholeAsync("boot, run 'true', halt", runs, folder => kernel.RunAsync(new LabCommand(["true"], folder), cancellationToken)),
            await WholeAsync("one trivial claim's test (VS-16)", runs, folder => SuiteAsync(kernel, folder, "VS-16", cancellationToken)),
            await WholeAsync("all claims", runs, folder => SuiteAsync(kernel, folder, "", cancellationToken)),
        };
        using var said = new MemoryStream();
        var inside = Runs.Start("bench");
        var measured = await kernel.RunAsync(
            new LabCommand([Programs.Dotnet, Programs.Cli, "bench", InsideOption], inside) { Variables = LabRun.RunVariables(kernel, inside), Output = said, Error = Console.OpenStandardError() },
            cancellationToken);
        if (measured.ExitCode != ExitCodes.Ok)
            return measured.ExitCode;
        figures.AddRange(JsonSerializer.Deserialize<List<Figure>>(said.ToArray(), Output.JsonOptions)!);

        if (format == Output.Json)
        {
            Console.WriteLine(JsonSerializer.Serialize(figures, Output.JsonOptions));
            return ExitCodes.Ok;
        }
        var table = new Table().Border(TableBorder.Minimal).AddColumns("figure", "min", "median", "max", "unit", "runs");
        foreach (var f in figures)
            table.AddRow(f.Name, Number(f.Samples.Min()), Number(f.Median), Number(f.Samples.Max()), f.Unit, Number(f.Samples.Count));
        Output.Console.Write(table);
        return ExitCodes.Ok;
    }

    private static string Number(double value) => value.ToString(value < 100 ? "0.##" : "0", CultureInfo.InvariantCulture);

    private static async Task<Figure> WholeAsync(string name, int runs, Func<string, Task> run)
    {
        var samples = new List<double>();
        for (var i = 0; i < runs; i++)
        {
            var folder = Runs.Start($"bench{i}");
            var watch = Stopwatch.StartNew();
            await run(folder);
            samples.Add(watch.Elapsed.TotalSeconds);
            Runs.Forget(folder);
        }
        return new Figure(name, "s", samples);
    }

    private static async Task SuiteAsync(LabKernel kernel, string folder, string filter, CancellationToken cancellationToken)
    {
        var exitCode = await new LabRun(kernel, folder).RunAsync(filter, [Programs.Suite], _ => { }, Stream.Null, cancellationToken);
        if (exitCode != ExitCodes.Ok)
            throw new Harness.HarnessException($"The suite ended with exit code {exitCode}.", "A benchmark of a failing suite says nothing.", "No figures.", "./lab run shows what fails.");
    }

    private static async Task<int> MeasureInsideAsync()
    {
        var figures = new List<Figure>
        {
            await RepeatAsync("article-nat up and down", "ms", 20, async () =>
            {
                await using var lab = await Lab.StartAsync(Topology.Load("article-nat"));
            }),
        };
        await using var routed = await Lab.StartAsync(Topology.Load("routed-nat"), capture: false);
        var (client, director) = (routed["client"], routed["director"]);
        await director.AddAddressAsync("10.10.0.1/24");
        await director.Ipvs.AddAsync(VirtualServer.Tcp("10.10.0.1:80").Masquerading("rs1:8080"));
        figures.Add(await RateAsync("TCP connections through the virtual server", client, "10.10.0.1:80"));
        // Another server: while IPVS remembers a client's port, it also rewrites that port's direct replies of rs1.
        figures.Add(await RateAsync("TCP connections to a server directly, for comparison", client, "rs2:8080"));
        figures.Add(await RepeatAsync("a command in a node (true)", "ms", 20, () => client.RunAsync("true")));
        Console.WriteLine(JsonSerializer.Serialize(figures, Output.JsonOptions));
        return ExitCodes.Ok;
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
