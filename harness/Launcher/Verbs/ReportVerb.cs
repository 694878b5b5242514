using System.CommandLine;
using System.CommandLine.Completions;
using System.Globalization;
using System.Text.Json;
using Conformance.Labs;
using Conformance.Reports;
using Spectre.Console;

namespace Conformance.Launcher.Verbs;

/// <summary><c>./lab report</c>: makes reports out of stored runs again, compares two runs, joins shards, lists all runs.</summary>
internal static class ReportVerb
{
    internal static Command Create()
    {
        var runs = new Argument<string[]>("RUN")
        {
            Description = "Folders of runs, or their names in artifacts/ (default: the newest).",
            Arity = ArgumentArity.ZeroOrMore
        };
        runs.CompletionSources.Add(_ => Stored().Select(f => new CompletionItem(Path.GetFileName(f))));
        var compare = new Option<bool>("--compare") { Description = "Print and draw the differences of two runs, claim by claim." };
        var merge = new Option<bool>("--merge") { Description = "Join the shards of one run into a run of its own." };
        var history = new Option<bool>("--history") { Description = "List runs by date: all in artifacts/, or those named." };
        var output = new Option<string>("--output")
        {
            Description = "Where the page of --compare (a file) or the joined run of --merge (a new folder) goes; default in artifacts/."
        };
        var organization = new Option<string>("--organization") { Description = "For report.yaml: who makes the implementation." };
        var project = new Option<string>("--project") { Description = "For report.yaml: the implementation's name." };
        var url = new Option<string>("--url") { Description = "For report.yaml: the implementation's page." };
        var contact = new Option<string[]>("--contact") { Description = "For report.yaml: whom to ask." };
        var format = Output.CreateOption();
        var verb = new Command("report", "Make the reports of a stored run again; compare runs, join shards, list runs.")
        {
            runs, compare, merge, history, output, organization, project, url, contact, format
        };
        verb.Validators.Add(result =>
        {
            var modes = new[] { compare, merge, history }.Count(result.GetValue);
            var count = result.GetValue(runs)?.Length ?? 0;
            if (modes > 1)
                result.AddError("--compare, --merge and --history exclude each other.");
            else if (result.GetValue(compare) && count != 2)
                result.AddError("--compare needs two runs.");
            else if (result.GetValue(merge) && count == 0)
                result.AddError("--merge needs the runs of the shards.");
            else if (result.GetValue(output) is not null && !result.GetValue(compare) && !result.GetValue(merge))
                result.AddError("--output goes with --compare and --merge.");
            else if ((result.GetValue(compare) || result.GetValue(history)) && (result.GetValue(organization) ?? result.GetValue(project)
                ?? result.GetValue(url) ?? result.GetValue(contact)?.FirstOrDefault()) is not null)
                result.AddError("The maker's names go into report.yaml, which --compare and --history do not write.");
        });
        verb.SetAction(parsed =>
        {
            var maker = new Maker(parsed.GetValue(organization) ?? "", parsed.GetValue(project) ?? "", parsed.GetValue(url) ?? "",
                parsed.GetValue(contact) ?? []);
            var named = parsed.GetValue(runs) ?? [];
            var isJson = parsed.GetValue(format) == Output.Json;
            if (parsed.GetValue(history))
                return PrintHistory(named.Length > 0 ? [.. named.Select(Find)] : [.. Stored()], isJson);
            var folders = named.Length > 0 ? named.Select(Find).ToList() : [Stored().FirstOrDefault() ?? throw NoRun("any run")];
            if (parsed.GetValue(compare))
                return Compare(RunResults.Load(folders[0]), RunResults.Load(folders[1]),
                    Path.GetFullPath(parsed.GetValue(output) ?? Path.Combine(Runs.Artifacts, "comparison.html")), isJson);
            if (parsed.GetValue(merge))
                folders = [Merge([.. folders.Select(f => RunResults.Load(f))], parsed.GetValue(output))];
            return folders.Select(f => Write(f, maker, isJson)).Max();
        });
        return verb;
    }

    private static int Write(string folder, Maker maker, bool isJson)
    {
        var results = RunResults.Load(folder);
        ReportFiles.Write(results, maker);
        foreach (var fault in results.Faults)
            Console.Error.WriteLine($"Fault in the records: {fault}");
        var files = ReportFiles.Names.Select(name => Path.GetRelativePath(Environment.CurrentDirectory, Path.Combine(folder, name)));
        if (isJson)
            Console.WriteLine(JsonSerializer.Serialize(new { run = Summary(results), faults = results.Faults, files }, Output.JsonOptions));
        else
            Console.WriteLine($"{results.CountsInWords()}\n{string.Join('\n', files)}");
        return results.Faults.Count == 0 ? ExitCodes.Ok : ExitCodes.Violated;
    }

    private static string Merge(IReadOnlyList<RunResults> shards, string? output)
    {
        var isOurs = output is null || !Directory.Exists(output);
        if (!isOurs && Directory.EnumerateFileSystemEntries(output!).Any())
            throw new HarnessException("The joined run was not written.", $"{output} exists and is not empty.", "No run was changed.",
                "Name a new folder with --output.");
        var folder = output is null ? Runs.Start(suffix: "merged") : Path.GetFullPath(output);
        try
        {
            RunMerge.Into(folder, shards);
            return folder;
        }
        catch (Exception e) when (e is FormatException or IOException or UnauthorizedAccessException)
        {
            if (isOurs && Directory.Exists(folder))
                Directory.Delete(folder, recursive: true);
            if (e is not FormatException)
                throw;
            throw new HarnessException("These runs are not shards of one run.", e.Message, "No run was written.",
                "Name the runs that --shard 1/N to N/N made. To see two runs side by side, use --compare.");
        }
    }

    private static int Compare(RunResults before, RunResults after, string page, bool isJson)
    {
        var differences = RunComparison.Of(before, after);
        File.WriteAllText(page, HtmlReport.Render(Path.GetDirectoryName(page)!, before, after));
        if (isJson)
        {
            Console.WriteLine(JsonSerializer.Serialize(differences.Select(d => new
            {
                claim = d.Id,
                before = d.Before.Verdict.Word(),
                after = d.After.Verdict.Word(),
                outcomes = d.Outcomes,
            }), Output.JsonOptions));
        }
        else
        {
            var table = new Table().Border(TableBorder.Minimal).AddColumns("claim", Markup.Escape(before.Run.Run),
                Markup.Escape(after.Run.Run), "outcomes", "behaviour");
            foreach (var difference in differences)
            {
                table.AddRow(difference.Id, Output.Coloured(difference.Before.Verdict), Output.Coloured(difference.After.Verdict),
                    Markup.Escape(difference.Outcomes), Markup.Escape(difference.After.Proved));
            }
            Output.Console.Write(table);
        }
        foreach (var (results, fault) in new[] { before, after }.SelectMany(r => r.Faults.Select(f => (r, f))))
            Console.Error.WriteLine($"Fault in the records of {results.Run.Run}: {fault}");
        Console.Error.WriteLine($"{differences.Count} claims differ, {RunComparison.CountInOneOnly(before, after)} are in one run only; " +
            $"side by side: {Path.GetRelativePath(Environment.CurrentDirectory, page)}");
        return before.Faults.Count + after.Faults.Count == 0 ? ExitCodes.Ok : ExitCodes.Violated;
    }

    private static int PrintHistory(IReadOnlyList<string> folders, bool isJson)
    {
        var runs = folders.Select(f => RunResults.Load(f)).OrderBy(r => r.Run.StartedAt).ToList();
        if (isJson)
        {
            Console.WriteLine(JsonSerializer.Serialize(runs.Select(Summary), Output.JsonOptions));
            return ExitCodes.Ok;
        }
        var table = new Table().Border(TableBorder.Minimal).AddColumns("started", "run", "under test", "kernel", "seconds")
            .AddColumns([.. Enum.GetValues<Verdict>().Select(v => v.Word())]);
        foreach (var run in runs)
        {
            table.AddRow([run.Run.StartedAt.ToString("yyyy-MM-dd HH:mm", CultureInfo.InvariantCulture), Markup.Escape(run.Run.Run),
                Markup.Escape($"{run.Run.Implementation?.Name} {run.Run.Implementation?.Version.Split('+')[0]}".Trim()),
                Markup.Escape($"{run.Kernel?.Release} {run.Kernel?.Kind}".Trim()),
                run.Run.DurationMs is { } ms ? (ms / 1000).ToString("0", CultureInfo.InvariantCulture) : "",
                .. Enum.GetValues<Verdict>().Select(v => run.Count(v).ToString(CultureInfo.InvariantCulture))]);
        }
        Output.Console.Write(table);
        return ExitCodes.Ok;
    }

    private static object Summary(RunResults results) => new
    {
        run = results.Run.Run,
        startedAt = results.Run.StartedAt,
        implementation = results.Run.Implementation,
        kernel = results.Kernel,
        durationMs = results.Run.DurationMs,
        verdicts = Enum.GetValues<Verdict>().ToDictionary(v => v.Word(), results.Count),
    };

    /// <summary>The runs below <c>artifacts/</c> that have ended, the newest first.</summary>
    private static IEnumerable<string> Stored() => Runs.Stored().Where(f => RunResults.IsRun(f) && !Runs.IsRunning(f));

    private static string Find(string name) => name.Length == 0 ? throw NoRun(name)
        : new[] { Path.GetFullPath(name), Path.Combine(Runs.Artifacts, name) }.FirstOrDefault(RunResults.IsRun) ?? throw NoRun(name);

    private static HarnessException NoRun(string name) => new($"There is no run '{name}'.",
        $"Stored in artifacts/ are {string.Join(", ", Stored().Select(Path.GetFileName).DefaultIfEmpty("none"))}.",
        "No report was written.", "Name a folder with run.json or claims/, or make one with ./lab run.");
}
