using System.CommandLine;
using System.Diagnostics;
using System.Globalization;
using System.Text.Json;
using CliWrap;
using CliWrap.Buffered;
using Conformance.Benchmarks;
using Conformance.Labs;
using Conformance.Launcher.LabKernels;
using Conformance.Launcher.Runner;
using Conformance.Linux;
using Spectre.Console;

namespace Conformance.Launcher.Verbs;

/// <summary><c>./lab bench</c>: how fast it is, each figure as minimum, median and maximum of several runs.</summary>
internal static class BenchVerb
{
    /// <summary>Hidden: the measurements that are made inside the lab kernel.</summary>
    private const string InsideOption = "--inside";

    private const string All = "all";
    private const string Sets = "sets";
    private const string Generator = "generator";
    private static readonly string s_lab = Path.Combine(ProjectFolder.Root, "lab");

    internal static System.CommandLine.Command Create()
    {
        var kernel = KernelOption.CreateOption();
        var runs = new Option<int>("--runs") { Description = "Runs of each whole command.", DefaultValueFactory = _ => 3 };
        var selftest = new Option<FileInfo>("--selftest")
        {
            Description = "Path of the kernel's own ipvs.sh (tools/testing/selftests/net/netfilter), to be measured beside the suite. " +
                "It needs socat."
        };
        selftest.AcceptExistingOnly();
        var format = Output.CreateOption();
        var inside = new Option<bool>(InsideOption) { Hidden = true };
        var part = new Argument<string>("part")
        {
            Description = "all; sets: what many rules cost, and one rule with a set; generator: the generator alone.",
            DefaultValueFactory = _ => All
        };
        part.AcceptOnlyFromAmong(All, Sets, Generator);
        var verb = new System.CommandLine.Command("bench", "Measure boot, labs, connections, and the whole suite.") { part, kernel, runs,
            selftest, format, inside };
        verb.SetAction(async parsed =>
        {
            using var interrupt = new Interrupt();
            if (parsed.GetValue(inside))
            {
                Console.WriteLine(JsonSerializer.Serialize(await (parsed.GetValue(part) switch
                {
                    Sets => InsideBench.MeasureSetsAsync(),
                    Generator => InsideBench.MeasureGeneratorAsync(),
                    _ => InsideBench.MeasureAllAsync(),
                }), Output.JsonOptions));
                return ExitCodes.Ok;
            }
            var kernelName = parsed.GetValue(kernel)!;
            var chosen = await KernelOption.ChooseAsync(kernelName, interrupt.Token);
            var figures = parsed.GetValue(part) == All ? await MeasureCommandsAsync(kernelName, parsed.GetValue(runs),
                parsed.GetValue(selftest), interrupt.Token)
                : [];
            figures.AddRange(await MeasureInsideAsync(chosen, parsed.GetValue(part)!, interrupt.Token));
            Print(figures, parsed.GetValue(format)!);
            return ExitCodes.Ok;
        });
        return verb;
    }

    private static async Task<List<Figure>> MeasureCommandsAsync(string kernelName, int runs, FileInfo? selftest,
        CancellationToken cancellationToken) =>
    [
        .. selftest is null ? [] : new[] { await SelftestAsync(kernelName, runs, selftest, cancellationToken) },
        await WholeAsync(runs, s_lab, ["kernel", "--", "true"], cancellationToken),
        await WholeAsync(runs, s_lab, ["run", "--kernel", kernelName, "--filter", "VS-16"], cancellationToken),
        await WholeAsync(runs, Programs.Dotnet, ["test", "conformance", "--configuration", "Release", "--no-build",
            "--filter", "TestCategory=VS-16"], cancellationToken),
        await WholeAsync(runs, s_lab, ["run", "--kernel", kernelName, "--filter", "IPS-*,VS-*,DR-*,TUN-*,SCH-*,PERSIST-*,SYSCTL-*," +
            "ICMP-*,LINK-*,HA-*"], cancellationToken),
        await WholeAsync(runs, s_lab, ["run", "--kernel", kernelName, "--filter",
            "K-*,F-*,NP-*,DNS-*,ADDR-*,POLICY-*,CHANGE-*,KP-*"], cancellationToken),
        await WholeAsync(runs, s_lab, ["run", "--kernel", kernelName], cancellationToken),
        await WholeAsync(runs, s_lab, ["report"], cancellationToken), // of that run, all claims
    ];

    /// <summary>
    /// The three checks of the kernel's own test of IPVS, on the same kernel; where that is the host's, which a test may not change, on
    /// Debian's user-mode one.
    /// </summary>
    private static async Task<Figure> SelftestAsync(string kernelName, int runs, FileInfo selftest, CancellationToken cancellationToken)
    {
        string[] kernel = KernelOption.Resolve(kernelName) is var name and not "host" ? ["--kernel", name] : [];
        var figure = await WholeAsync(runs, s_lab, ["kernel", .. kernel, "--", "sh", "-c",
            "cd \"$1\" && bash \"$2\"", "sh", selftest.DirectoryName!, selftest.Name], cancellationToken);
        return figure with { Name = "ipvs.sh, the kernel's own selftest: 3 checks" };
    }

    private static async Task<List<Figure>> MeasureInsideAsync(LabKernel kernel, string part, CancellationToken cancellationToken)
    {
        using var said = new MemoryStream();
        var inside = Runs.Start("bench");
        var measured = await kernel.RunAsync(
            new LabCommand([Programs.Dotnet, Programs.Cli, "bench", part, InsideOption],
                inside)
            { Variables = LabRun.RunVariables(kernel, inside), Output = said, Error = Console.OpenStandardError() },
            cancellationToken);
        if (measured.ExitCode != ExitCodes.Ok)
        {
            throw new HarnessException($"The measurements inside the lab kernel ended with exit code {measured.ExitCode}.",
                System.Text.Encoding.UTF8.GetString(said.ToArray()).Trim(),
                "No figures: a benchmark of a failure says nothing.", $"See {inside}, and run ./lab bench again.");
        }
        return JsonSerializer.Deserialize<List<Figure>>(said.ToArray(), Output.JsonOptions)!;
    }

    private static void Print(List<Figure> figures, string format)
    {
        if (format == Output.Json)
        {
            Console.WriteLine(JsonSerializer.Serialize(figures, Output.JsonOptions));
            return;
        }
        var table = new Table().Border(TableBorder.Minimal).AddColumns("figure", "min", "median", "max", "unit", "runs");
        foreach (var f in figures)
            table.AddRow(f.Name, Number(f.Samples.Min()), Number(f.Median), Number(f.Samples.Max()), f.Unit, Number(f.Samples.Count));
        Output.Console.Write(table);
        foreach (var curve in figures.Where(f => f.Curve is not null).GroupBy(f => f.Curve!))
        {
            Output.Console.Write(new BarChart().Label(curve.Key).LeftAlignLabel().Width(100)
                .AddItems(curve, f => new BarChartItem(f.Name, Math.Round(f.Median))));
        }
    }

    private static string Number(double value) => value.ToString(value < 100 ? "0.##" : "0", CultureInfo.InvariantCulture);

    /// <summary>A whole command as a person types it, process start and all.</summary>
    private static async Task<Figure> WholeAsync(int runs, string program, string[] arguments, CancellationToken cancellationToken)
    {
        var name = $"{(program == s_lab ? "./lab" : "dotnet")} {string.Join(' ', arguments)}";
        var samples = new List<double>();
        for (var i = 0; i < runs; i++)
        {
            var result = await CliWrap.Cli.Wrap(program).WithArguments(arguments).WithWorkingDirectory(ProjectFolder.Root)
                .WithValidation(CommandResultValidation.None).ExecuteBufferedAsync(cancellationToken);
            if (!result.IsSuccess)
            {
                throw new HarnessException($"'{name}' ended with exit code {result.ExitCode}.",
                    (result.StandardOutput + result.StandardError).Trim(),
                    "No figures: a benchmark of a failure says nothing.", "Run that command and fix the reported problem.");
            }
            samples.Add(result.RunTime.TotalSeconds);
        }
        return new Figure(name, "s", samples);
    }
}
