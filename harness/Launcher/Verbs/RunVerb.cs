using System.CommandLine;
using System.Text.Json;
using Conformance.Clusters.Proxies;
using Conformance.Labs;
using Conformance.Launcher.LabKernels;
using Conformance.Launcher.Runner;
using Conformance.Linux;
using Conformance.Linux.Features;
using Conformance.Reports;
using Conformance.Traffic;
using Spectre.Console;

namespace Conformance.Launcher.Verbs;

/// <summary><c>./lab run</c>: proves the claims and says what came of each.</summary>
internal static class RunVerb
{
    private const string WithoutSlow = "-slow";

    internal static Command Create()
    {
        var kernel = KernelOption.CreateOption();
        var filter = new Option<string>(
            "--filter")
        {
            Description = "Claims (SNAT-1), chapters' claims (SNAT-*), or parts of tests' names, with commas.",
            DefaultValueFactory = _ => ""
        };
        var slow = new Option<bool>("--slow") { Description = "Also the claims on the kernel's own timers, which take two minutes." };
        var proxy = ProxyOption.Create("The proxy under test (default generator)");
        var keep = new Option<bool>("--keep") { Description = "Never clear this run's folder away (otherwise the newest 10 stay)." };
        var kernels = KernelOption.CreateCountOption();
        var part = new Option<string>("--part")
        {
            Description = "One of several parts of the tests, such as 2/4, for several machines.",
            DefaultValueFactory = _ => Part.All.ToString()
        };
        part.Validators.Add(result =>
        {
            try
            {
                Part.Parse(result.GetValueOrDefault<string>() ?? "");
            }
            catch (FormatException e)
            {
                result.AddError($"--part: {e.Message}");
            }
        });
        var record = new Option<bool>("--record-seconds")
        {
            Description = "Store how long each fixture took, by which parts are made.",
            Hidden = true
        };
        var format = Output.CreateOption();
        var verb = new Command("run", "Prove the claims, print and store a verdict with evidence for each.") { kernel, kernels, filter,
            slow, proxy, part, keep, record, format };
        verb.SetAction(async parsed =>
        {
            using var interrupt = new Interrupt();
            var wanted = new Wanted(parsed.GetValue(kernel)!, parsed.GetValue(kernels)!, parsed.GetValue(filter) is { Length: > 0 } chosen
                ? chosen : parsed.GetValue(slow) ? "" : WithoutSlow,
                Proxy.Parse(parsed.GetValue(proxy) ?? "generator").Name, // with full paths: the runner may have another working directory
                Part.Parse(parsed.GetValue(part)!), parsed.GetValue(keep), parsed.GetValue(record), parsed.GetValue(format)!);
            return await RunAsync(wanted, interrupt.Token);
        });
        return verb;
    }

    /// <summary>What the command line says.</summary>
    private sealed record Wanted(string Kernel, string Kernels, string Filter, string Proxy, Part Part, bool Keeps, bool RecordsSeconds,
        string Format);

    private static async Task<int> RunAsync(Wanted wanted, CancellationToken cancellationToken)
    {
        var kernel = await KernelOption.ChooseAsync(wanted.Kernel, cancellationToken);
        var folder = Runs.Start();
        if (wanted.Keeps)
            await File.WriteAllTextAsync(Path.Combine(folder, Runs.KeepMarker), "", cancellationToken);

        var catalogue = Catalogue.Load(Path.Combine(ProjectFolder.Root, "conformance"));
        var run = new LabRun(kernel, folder)
        {
            Proxy = wanted.Proxy,
            Kernels = wanted.RecordsSeconds ? 1 : KernelOption.CountOf(wanted.Kernels, kernel, wanted.Filter),
            IsSingle = wanted.RecordsSeconds,
            Part = wanted.Part,
        };
        using var progress = new RunProgress($"Proving claims on {kernel.Name}");
        var exitCode = await run.RunAsync(wanted.Filter, [Programs.Suite], progress.Show, Console.OpenStandardError(), cancellationToken);
        progress.Dispose();
        if (wanted.RecordsSeconds)
            await Part.StoreAsync(run.Tests, cancellationToken);

        var records = ClaimRecord.ReadAll(folder);
        var unknown = run.Claims.Where(c => !catalogue.Claims.ContainsKey(c)).ToList();
        var order = catalogue.Claims.Keys.ToList();
        var summary = Summary.Of(catalogue, run.Claims.Except(unknown, StringComparer.Ordinal).OrderBy(order.IndexOf), records);
        string? unwritten = null;
        try
        {
            await File.WriteAllTextAsync(Path.Combine(folder, "summary.md"), summary.ToMarkdown(records), cancellationToken);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            unwritten = Disk.Describe(e); // the table is printed all the same
        }
        if (wanted.Format == Output.Json)
            Console.WriteLine(JsonSerializer.Serialize(
                summary.Rows.Select(r => new
                {
                    claim = r.Claim.Id,
                    verdict = r.Verdict.Word(),
                    durationMs = r.DurationMs,
                    reason = r.Reason
                }), Output.JsonOptions));
        else
            Print(summary);

        foreach (var other in run.Tests.Where(t => !t.IsGood && t.Claims.Count == 0))
            Console.Error.WriteLine($"\n{other.Name}: {other.Outcome}\n{other.Message}");
        Console.Error.WriteLine(run.DescribeTimes());
        Console.Error.WriteLine(
            $"Records, captures, Allure results and summary.md: {Path.GetRelativePath(Environment.CurrentDirectory, folder)}");
        foreach (var fault in run.Faults.Append(unwritten ?? Disk.DescribeIfFull(folder)).OfType<string>()
            .Concat(run.UnmatchedWords.Select(Output.Unmatched)))
            Console.Error.WriteLine(fault);
        if (exitCode == ExitCodes.CannotRunHere)
            return exitCode;
        if (run.Selected == 0)
        {
            if (run.IsEmpty && wanted.Part.Count > 1 && run.UnmatchedWords.Count == 0)
            {
                Console.Error.WriteLine($"The part {wanted.Part} has no test.");
                return ExitCodes.Ok;
            }
            Console.Error.WriteLine("Nothing ran.");
            return run.IsEmpty ? ExitCodes.NothingRan : ExitCodes.Violated;
        }
        var isGood = exitCode == ExitCodes.Ok || (exitCode == ExitCodes.Violated && run.Faults.Count == 0
            && run.Tests.All(t => t.IsGood || IsProvisional(t, catalogue)));
        return isGood && unwritten is null && summary.IsGood && unknown.Count == 0 && run.UnmatchedWords.Count == 0 ? ExitCodes.Ok
            : ExitCodes.Violated;
    }

    /// <summary>Whether a test failed that tells only what a kernel or proxy happens to do.</summary>
    private static bool IsProvisional(RunnerEvent test, Catalogue catalogue) =>
        test is { Outcome: "failed", Claims.Count: > 0 } && test.Claims.All(c => catalogue.Claims.TryGetValue(c, out var claim)
            && claim.Provisional);

    private static void Print(Summary summary)
    {
        var table = new Table().Border(TableBorder.Minimal).AddColumns("claim", "verdict", "the article is", "what was tested");
        foreach (var row in summary.Rows)
        {
            var colour = row.Verdict switch
            {
                Verdict.Holds => "green",
                Verdict.Violated => "red",
                Verdict.Broken => "magenta",
                _ => "yellow"
            };
            table.AddRow(row.Claim.Id, $"[{colour}]{row.Verdict.Word()}[/]{(row.Claim.Provisional ? " (provisional)" : "")}",
                Summary.Word(row.Claim.Article), Markup.Escape(row.Claim.Proved));
        }
        Output.Console.Write(table);
        foreach (var row in summary.Rows.Where(r => r.Verdict != Verdict.Holds))
            Console.WriteLine($"{row.Claim.Id} {row.Verdict.Word()}: {row.Claim.Proved}\n{row.Reason}\n");
        Console.WriteLine(string.Join(", ", Enum.GetValues<Verdict>().Select(v => $"{summary.Count(v)} {v.Word()}")));
    }
}
