using System.CommandLine;
using System.Text.Json;
using Conformance.Clusters.Proxies;
using Conformance.Labs;
using Conformance.Launcher.LabKernels;
using Conformance.Linux;
using Conformance.Reports;

namespace Conformance.Launcher.Verbs;

/// <summary><c>./lab migrate</c>: what changes for users when one proxy takes the place of another.</summary>
internal static class MigrateVerb
{
    internal static Command Create()
    {
        var from = Side("--from", "The proxy that is used now");
        var to = Side("--to", "The proxy that takes its place");
        var kernel = KernelOption.CreateOption();
        var filter = new Option<string>("--filter")
        {
            Description = "Claims to test, as for ./lab run; of stored runs nothing is left out.",
            DefaultValueFactory = _ => ""
        };
        var output = new Option<string>("--output")
        {
            Description = "The report's file; the page with both stories beside it has its name with .html.",
            DefaultValueFactory = _ => Path.Combine(ProjectFolder.Root, "artifacts", "migration.md"),
        };
        var format = Output.CreateOption();
        var verb = new Command("migrate", "Compare two proxies, or stored runs of them, by what users will notice.")
        {
            from, to, kernel, filter, output, format
        };
        verb.SetAction(async parsed =>
        {
            using var interrupt = new Interrupt();
            var sides = new[] { parsed.GetValue(from)!, parsed.GetValue(to)! };
            foreach (var side in sides.Where(s => StoredRun(s) is null))
                _ = Proxy.Parse(side); // before the first has run for minutes
            var runs = new List<RunResults>();
            foreach (var side in sides)
            {
                runs.Add(StoredRun(side) is { } folder ? RunResults.Load(folder)
                    : await RunVerb.ProveAsync(Proxy.Parse(side).Name, parsed.GetValue(kernel)!, parsed.GetValue(filter)!,
                        interrupt.Token));
            }
            return Write(MigrationReport.Of(runs[0], runs[1]), Path.GetFullPath(parsed.GetValue(output)!),
                parsed.GetValue(format) == Output.Json);
        });
        return verb;
    }

    private static Option<string> Side(string name, string description)
    {
        var option = new Option<string>(name)
        {
            Description = $"{description}: as for --proxy, or the folder of a stored run.",
            Required = true
        };
        option.CompletionSources.Add("generator", "generator-compat", "kube-proxy=", "command=", "api=", "image=");
        return option;
    }

    /// <summary>The folder of a run that is named by its path, or by its name in artifacts/; null when it is none.</summary>
    private static string? StoredRun(string text) =>
        new[] { text, Path.Combine(ProjectFolder.Root, "artifacts", text) }.FirstOrDefault(RunResults.IsRun);

    private static int Write(MigrationReport report, string file, bool isJson)
    {
        Directory.CreateDirectory(Path.GetDirectoryName(file)!);
        var page = Path.ChangeExtension(file, ".html");
        WholeFile.Write(page, HtmlReport.Render(Path.GetDirectoryName(page)!, report.From, report.To));
        WholeFile.Write(file, report.ToMarkdown());
        Console.WriteLine(isJson ? ToJson(report) : report.ToMarkdown());
        Console.Error.WriteLine($"{report.Entries.Sum(e => e.Claims.Count)} claims differ: " +
            $"{Path.GetRelativePath(Environment.CurrentDirectory, file)}, side by side: " +
                $"{Path.GetRelativePath(Environment.CurrentDirectory, page)}");
        return report.From.Faults.Count + report.To.Faults.Count == 0 ? ExitCodes.Ok : ExitCodes.Violated;
    }

    private static string ToJson(MigrationReport report) => JsonSerializer.Serialize(report.Entries.Select(e => new
    {
        topic = e.Topic?.Title,
        notice = e.Topic?.Notice,
        check = e.Topic?.Check ?? [],
        lost = e.Lost,
        gained = e.Gained,
        facts = e.Facts.Select(f => new { fact = f.Id, observed = f.Title, before = f.Before!.Value, after = f.After!.Value }),
        claims = e.Claims.Select(c => new
        {
            claim = c.Id,
            behaviour = c.After.Proved,
            before = c.Before.Verdict.Word(),
            after = c.After.Verdict.Word(),
            sawBefore = RunComparison.OutcomesOf(c.Before),
            sawAfter = RunComparison.OutcomesOf(c.After),
        }),
    }), Output.JsonOptions);
}
