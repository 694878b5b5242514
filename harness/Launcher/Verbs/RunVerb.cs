using System.CommandLine;
using System.Diagnostics;
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
    private const string Silent = ""; // as a format: no results on standard output

    internal static Command Create()
    {
        var kernel = KernelOption.CreateListOption();
        var filter = new Option<string>(
            "--filter")
        {
            Description = "Claims (SNAT-1), chapters' claims (SNAT-*), or parts of tests' names, with commas.",
            DefaultValueFactory = _ => ""
        };
        filter.CompletionSources.Add(Words.Claims);
        var slow = new Option<bool>("--slow") { Description = "Also the claims on the kernel's own timers, which take two minutes." };
        var proxy = ProxyOption.Create("The proxy under test (default generator)");
        var keep = new Option<bool>("--keep") { Description = "Never clear this run's folder away (otherwise the newest 10 stay)." };
        var kernels = KernelOption.CreateCountOption();
        var shard = new Option<string>("--shard")
        {
            Description = "One of several shards of the tests, such as 2/4, for several machines; ./lab report --merge joins them.",
            DefaultValueFactory = _ => Shard.All.ToString()
        };
        shard.Validators.Add(result =>
        {
            try
            {
                Shard.Parse(result.GetValueOrDefault<string>() ?? "");
            }
            catch (FormatException e)
            {
                result.AddError($"--shard: {e.Message}");
            }
        });
        var record = new Option<bool>("--record-seconds")
        {
            Description = "Store how long a test of each fixture takes, and its processor time, by which shards are made.",
            Hidden = true
        };
        var format = Output.CreateOption();
        var verb = new Command("run", "Prove the claims, print and store a verdict with evidence for each.") { kernel, kernels, filter,
            slow, proxy, shard, keep, record, format };
        verb.SetAction(async parsed =>
        {
            using var interrupt = new Interrupt();
            var wanted = new Wanted(parsed.GetValue(kernel)!, parsed.GetValue(kernels)!, parsed.GetValue(filter)!, parsed.GetValue(slow),
                Proxy.Parse(parsed.GetValue(proxy) ?? "generator").Name, // with full paths: the runner may have another working directory
                Shard.Parse(parsed.GetValue(shard)!), parsed.GetValue(keep), parsed.GetValue(record), parsed.GetValue(format)!);
            return wanted.Kernel.Contains(',', StringComparison.Ordinal) ? await RunMatrixAsync(wanted, interrupt.Token)
                : (await RunAsync(wanted, interrupt.Token)).ExitCode;
        });
        return verb;
    }

    /// <summary>Proves claims on a proxy, and prints nothing but progress and where the records are; the run stays.</summary>
    /// <exception cref="HarnessException">Nothing ran.</exception>
    internal static async Task<RunResults> ProveAsync(string proxy, string kernel, string filter, CancellationToken cancellationToken)
    {
        Console.Error.WriteLine($"\nProxy {proxy}:");
        var (_, results) = await RunAsync(new Wanted(kernel, "auto", filter, Slow: false, proxy, Shard.All, Keeps: true,
            RecordsSeconds: false, Format: Silent), cancellationToken);
        return results ?? throw new HarnessException($"No claim was tested on {proxy}.", "See the messages above.", "There is no report.",
            "Correct --filter, or see ./lab doctor.");
    }

    /// <summary>The same claims on several kernels, one after another, and one comparison.</summary>
    private static async Task<int> RunMatrixAsync(Wanted wanted, CancellationToken cancellationToken)
    {
        var kernels = wanted.Kernel.Split(',');
        foreach (var kernel in kernels) // a kernel that cannot be had is known before the first one has run for minutes
            await KernelOption.ChooseAsync(kernel, cancellationToken);
        var outcomes = new List<(string Kernel, int ExitCode, RunResults? Results)>();
        foreach (var kernel in kernels)
        {
            Console.Error.WriteLine($"\nKernel {kernel}:");
            var (exitCode, results) = await RunIfPossibleAsync(wanted with { Kernel = kernel }, cancellationToken);
            outcomes.Add((kernel, exitCode, results));
            if (results is null)
                Console.Error.WriteLine($"Nothing ran on {kernel}.");
        }
        var exit = outcomes.Any(o => o.ExitCode == ExitCodes.Violated) ? ExitCodes.Violated : outcomes.Max(o => o.ExitCode);
        if (outcomes.TrueForAll(o => o.Results is null))
            return exit;
        var matrix = RunMatrix.Of([.. outcomes.Select(o => (o.Kernel, o.Results))],
            Catalogue.Load(Path.Combine(ProjectFolder.Root, "conformance")));
        var page = Path.Combine(ProjectFolder.Root, "artifacts", matrix.Runs[^1].Run.Run, "matrix.md");
        WholeFile.Write(page, matrix.ToMarkdown());
        if (wanted.Format == Output.Json)
            Console.Error.WriteLine(matrix.ToMarkdown()); // standard output has one document for each kernel
        else
            PrintMatrix(matrix);
        Console.Error.WriteLine((matrix.Runs.Count > 1 ? $"{matrix.Rows.Count} claims differ between {matrix.Runs.Count} kernels"
            : $"Only {outcomes.Find(o => o.Results is not null).Kernel} ran, so there is nothing to compare") +
            $"{(matrix.Absent.Count > 0 ? $" (nothing ran on {string.Join(", ", matrix.Absent)})" : "")}: " +
            Path.GetRelativePath(Environment.CurrentDirectory, page));
        return exit;
    }

    /// <summary>A kernel that has gone meanwhile must not take the results of the others with it.</summary>
    private static async Task<(int ExitCode, RunResults? Results)> RunIfPossibleAsync(Wanted wanted, CancellationToken cancellationToken)
    {
        try
        {
            return await RunAsync(wanted, cancellationToken);
        }
        catch (CannotRunHereException e)
        {
            Console.Error.WriteLine(e.Message);
            return (ExitCodes.CannotRunHere, null);
        }
    }

    private static void PrintMatrix(RunMatrix matrix)
    {
        var table = new Table().Border(TableBorder.Minimal).AddColumn("claim")
            .AddColumns([.. matrix.Names.Select(Markup.Escape)]).AddColumn("why");
        foreach (var row in matrix.Rows)
            table.AddRow([row.Id, .. row.Results.Select(Markup.Escape),
                Markup.Escape(row.Reasons.Count > 0 ? string.Join("; ", row.Reasons) : "not known")]);
        Output.Console.Write(table);
    }

    /// <summary>What the command line says.</summary>
    private sealed record Wanted(string Kernel, string Kernels, string Filter, bool Slow, string Proxy, Shard Shard, bool Keeps,
        bool RecordsSeconds, string Format)
    {
        /// <summary>The words of the filter, where all but the slow tests is one.</summary>
        internal string Selection => Filter.Length > 0 ? Filter : Slow ? "" : SelectionFilter.WithoutSlow;

        /// <summary>How to run the same tests again.</summary>
        internal string Command => "./lab run" + (Filter.Length > 0 ? $" --filter '{Filter}'" : Slow ? " --slow" : "")
            + (Proxy == "generator" ? "" : $" --proxy '{Proxy.Replace("'", @"'\''", StringComparison.Ordinal)}'")
                + (Kernel == "auto" ? "" : $" --kernel {Kernel}")
            + (Shard.Count > 1 ? $" --shard {Shard}" : "");
    }

    /// <returns>The results are null where nothing ran.</returns>
    private static async Task<(int ExitCode, RunResults? Results)> RunAsync(Wanted wanted, CancellationToken cancellationToken)
    {
        var watch = Stopwatch.StartNew();
        var kernel = await KernelOption.ChooseAsync(wanted.Kernel, cancellationToken);
        if (wanted.Kernel == "auto")
            Console.Error.WriteLine($"Kernel: {kernel.Description}");
        var folder = Runs.Start();
        if (wanted.Keeps)
            await File.WriteAllTextAsync(Path.Combine(folder, Runs.KeepMarker), "", cancellationToken);

        var catalogue = Catalogue.Load(Path.Combine(ProjectFolder.Root, "conformance"));
        var begun = Begin(folder, catalogue, wanted);
        var run = new LabRun(kernel, folder)
        {
            Proxy = wanted.Proxy,
            Kernels = wanted.RecordsSeconds ? 1 : KernelOption.CountOf(wanted.Kernels, kernel, wanted.Selection),
            IsSingle = wanted.RecordsSeconds,
            Shard = wanted.Shard,
        };
        using var progress = new RunProgress($"Proving claims on {kernel.Name}");
        var exitCode = await run.RunAsync(wanted.Selection, [Programs.Suite], progress.Show, Console.OpenStandardError(),
            cancellationToken);
        progress.Dispose();
        if (wanted.RecordsSeconds)
            await Shard.StoreAsync(run.Tests, cancellationToken);

        var unknown = run.Claims.Where(c => !catalogue.Claims.ContainsKey(c)).ToList();
        var order = catalogue.Claims.Keys.ToList();
        var (results, unwritten) = Store(folder, catalogue, begun with
        {
            DurationMs = Math.Round(watch.Elapsed.TotalMilliseconds),
            Claims = [.. run.Claims.Except(unknown, StringComparer.Ordinal).OrderBy(order.IndexOf)],
            Faults = run.Faults,
        });
        if (wanted.Format == Output.Json)
            Console.WriteLine(JsonSerializer.Serialize(
                results.Claims.Select(c => new { claim = c.Id, verdict = c.Verdict.Word(), durationMs = c.DurationMs, reason = c.Reason }),
                Output.JsonOptions));
        else if (wanted.Format != Silent && exitCode != ExitCodes.CannotRunHere)
            Print(results);

        foreach (var other in run.Tests.Where(t => !t.IsGood && t.Claims.Count == 0))
            Console.Error.WriteLine($"\n{other.Name}: {other.Outcome}\n{other.Message}");
        Console.Error.WriteLine(run.DescribeTimes());
        Console.Error.WriteLine(
            $"Records, captures, Allure results and {ReportFiles.Html}: {Path.GetRelativePath(Environment.CurrentDirectory, folder)}");
        foreach (var fault in run.Faults.Append(unwritten ?? Disk.DescribeIfFull(folder)).OfType<string>()
            .Concat(run.UnmatchedWords.Select(Output.Unmatched)))
            Console.Error.WriteLine(fault);
        if (exitCode == ExitCodes.CannotRunHere)
            return (exitCode, null);
        if (run.Selected == 0)
        {
            if (run.IsEmpty && wanted.Shard.Count > 1 && run.UnmatchedWords.Count == 0)
            {
                Console.Error.WriteLine($"The shard {wanted.Shard} has no test.");
                return (ExitCodes.Ok, null);
            }
            Console.Error.WriteLine("Nothing ran.");
            return (run.IsEmpty ? ExitCodes.NothingRan : ExitCodes.Violated, null);
        }
        var isGood = exitCode == ExitCodes.Ok || (exitCode == ExitCodes.Violated && run.Faults.Count == 0
            && run.Tests.All(t => t.IsGood || IsProvisional(t, catalogue)));
        return (isGood && unwritten is null && results.IsGood && unknown.Count == 0 && run.UnmatchedWords.Count == 0 ? ExitCodes.Ok
            : ExitCodes.Violated, results);
    }

    /// <summary>Writes what is known of a run before it runs: of one that is killed there is something to read.</summary>
    private static RunRecord Begin(string folder, Catalogue catalogue, Wanted wanted)
    {
        var run = RunRecord.Of(folder) with
        {
            Command = wanted.Command,
            Shard = wanted.Shard.Count > 1 ? wanted.Shard.ToString() : null,
            CatalogueSize = catalogue.Claims.Count,
        };
        run.Write(folder);
        return run;
    }

    /// <summary>Whether a test failed that tells only what a kernel or proxy happens to do.</summary>
    private static bool IsProvisional(RunnerEvent test, Catalogue catalogue) =>
        test is { Outcome: "failed", Claims.Count: > 0 } && test.Claims.All(c => catalogue.Claims.TryGetValue(c, out var claim)
            && claim.Provisional);

    /// <summary>
    /// Completes the records of a run: with what the suite has said of it, and a record for each selected claim that has none. Makes the
    /// reports of them.
    /// </summary>
    /// <returns>The results, also where they could not be written, and then the reason.</returns>
    private static (RunResults Results, string? Unwritten) Store(string folder, Catalogue catalogue, RunRecord run)
    {
        try
        {
            var known = RunResults.Join(folder, run);
            known.Write(folder);
            foreach (var claim in known.Claims!.Where(id => !ClaimRecord.Exists(folder, id)).Select(id => catalogue.Claims[id]))
                ClaimRecord.Of(claim, catalogue.ChapterOf(claim), known.Kernel ?? new KernelRecord("", ""), known.Tools, known.Run,
                    known.StartedAt).Write(folder);
            var results = RunResults.Load(folder);
            ReportFiles.Write(results, Maker.Unknown);
            return (results, null);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return (RunResults.Load(folder, run), Disk.Describe(e));
        }
    }

    private static void Print(RunResults results)
    {
        var table = new Table().Border(TableBorder.Minimal).AddColumns("claim", "verdict", "the article is", "tested behaviour");
        foreach (var claim in results.Claims)
        {
            table.AddRow(claim.Id, Output.Coloured(claim.Verdict) + (claim.Provisional ? " (provisional)" : ""),
                claim.Article.Verdict.Word(),
                Markup.Escape(claim.Proved));
        }
        Output.Console.Write(table);
        foreach (var claim in results.Claims.Where(c => c.Verdict != Verdict.Holds))
            Console.WriteLine($"{claim.Id} {claim.Verdict.Word()}: {claim.Proved}\n{claim.Reason}\n");
        Console.WriteLine(results.CountsInWords());
    }
}
