using System.CommandLine;
using System.Diagnostics;
using System.Globalization;
using System.Text.Json;
using CliWrap;
using CliWrap.Buffered;
using Conformance.Harness;
using Conformance.Harness.Labs;
using Conformance.Launcher.LabKernels;
using Conformance.Launcher.Runner;
using Conformance.Linux;
using Conformance.Topologies;
using Spectre.Console;

namespace Conformance.Launcher.Verbs;

/// <summary><c>./lab bench</c>: how fast it is, each figure as minimum, median and maximum of several runs.</summary>
internal static class BenchVerb
{
    /// <summary>Hidden: the measurements that are made inside the lab kernel.</summary>
    private const string InsideOption = "--inside";

    private const int Connections = 1000;
    private static readonly string s_lab = Path.Combine(RunFolder.ProjectRoot(), "lab");

    internal static System.CommandLine.Command Create()
    {
        var kernel = KernelOption.CreateOption();
        var runs = new Option<int>("--runs") { Description = "Runs of each whole command.", DefaultValueFactory = _ => 3 };
        var format = Output.CreateOption();
        var inside = new Option<bool>(InsideOption) { Hidden = true };
        var verb = new System.CommandLine.Command("bench", "Measure boot, labs, connections, and the whole suite.") { kernel, runs, format, inside };
        verb.SetAction(async parsed =>
        {
            using var interrupt = new Interrupt();
            if (parsed.GetValue(inside))
                return await MeasureInsideAsync();
            var kernelName = parsed.GetValue(kernel)!;
            return await RunAsync(kernelName, await KernelOption.ChooseAsync(kernelName, interrupt.Token), parsed.GetValue(runs), parsed.GetValue(format)!, interrupt.Token);
        });
        return verb;
    }

    /// <summary>Samples in the unit named.</summary>
    internal sealed record Figure(string Name, string Unit, IReadOnlyList<double> Samples)
    {
        internal double Median => Samples.Order().ElementAt(Samples.Count / 2);
    }

    private static async Task<int> RunAsync(string kernelName, LabKernel kernel, int runs, string format, CancellationToken cancellationToken)
    {
        var figures = new List<Figure>
        {
            await WholeAsync(runs, cancellationToken, s_lab, "kernel", "--", "true"),
            await WholeAsync(runs, cancellationToken, s_lab, "run", "--kernel", kernelName, "--filter", "VS-16"),
            await WholeAsync(runs, cancellationToken, Programs.Dotnet, "test", "conformance", "--configuration", "Release", "--no-build", "--filter", "TestCategory=VS-16"),
            await WholeAsync(runs, cancellationToken, s_lab, "run", "--kernel", kernelName, "--filter", "VS-*,ADM-*,SNAT-*,CT-*,TRAP-*"),
            await WholeAsync(runs, cancellationToken, s_lab, "run", "--kernel", kernelName, "--filter", "K-*,F-*,HP-*,SVC-IP,BRIDGE-*,FLANNEL-*,NP-*,DNS-*,SM-*,KP-*"),
            await WholeAsync(runs, cancellationToken, s_lab, "run", "--kernel", kernelName),
        };
        using var said = new MemoryStream();
        var inside = Runs.Start("bench");
        var measured = await kernel.RunAsync(
            new LabCommand([Programs.Dotnet, Programs.Cli, "bench", InsideOption], inside) { Variables = LabRun.RunVariables(kernel, inside), Output = said, Error = Console.OpenStandardError() },
            cancellationToken);
        if (measured.ExitCode != ExitCodes.Ok)
        {
            throw new HarnessException($"The measurements inside the lab kernel ended with exit code {measured.ExitCode}.", System.Text.Encoding.UTF8.GetString(said.ToArray()).Trim(),
                "No figures: a benchmark of a failure says nothing.", $"See {inside}, and run ./lab bench again.");
        }
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

    /// <summary>A whole command as a person types it, process start and all.</summary>
    private static async Task<Figure> WholeAsync(int runs, CancellationToken cancellationToken, string program, params string[] arguments)
    {
        var name = $"{(program == s_lab ? "./lab" : "dotnet")} {string.Join(' ', arguments)}";
        var samples = new List<double>();
        for (var i = 0; i < runs; i++)
        {
            var result = await CliWrap.Cli.Wrap(program).WithArguments(arguments).WithWorkingDirectory(RunFolder.ProjectRoot())
                .WithValidation(CommandResultValidation.None).ExecuteBufferedAsync(cancellationToken);
            if (!result.IsSuccess)
            {
                throw new HarnessException($"'{name}' ended with exit code {result.ExitCode}.", (result.StandardOutput + result.StandardError).Trim(),
                    "No figures: a benchmark of a failure says nothing.", "Run that command and mend what it shows.");
            }
            samples.Add(result.RunTime.TotalSeconds);
        }
        return new Figure(name, "s", samples);
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
        figures.Add(await UpAsync("cluster up (bar 300)", "cluster", 20));
        await using var routed = await Lab.StartAsync(Topology.Load("routed-nat"), capture: false);
        var (client, director) = (routed["client"], routed["director"]);
        await director.AddAddressAsync("10.10.0.1/24");
        await director.Ipvs.AddAsync(VirtualServer.Tcp("10.10.0.1:80").Masquerading("rs1:8080"));
        figures.Add(await RateAsync("TCP connections through the virtual server", client, "10.10.0.1:80"));
        // Another server: while IPVS remembers a client's port, it also rewrites that port's direct replies of rs1.
        figures.Add(await RateAsync("TCP connections to a server directly, for comparison", client, "rs2:8080"));
        figures.Add(await RepeatAsync("a command in a node (true)", "ms", 20, () => client.RunAsync("true")));
        figures.AddRange(await GeneratorBench.MeasureAsync());
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
