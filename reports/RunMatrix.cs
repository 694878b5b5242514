using System.Globalization;
using System.Text;
using System.Text.RegularExpressions;

namespace Conformance.Reports;

/// <summary>A claim that does not do the same in every run of a matrix.</summary>
/// <param name="Id">The claim.</param>
/// <param name="Results">What each run says of it: its verdict, and the outcomes where these differ and the verdicts do not.</param>
/// <param name="Reasons">Why kernels differ in it, as far as the catalogue knows; empty when it does not.</param>
public sealed record MatrixRow(string Id, IReadOnlyList<string> Results, IReadOnlyList<string> Reasons);

/// <summary>The same claims on several kernels: which differ, and why.</summary>
public sealed partial class RunMatrix
{
    private RunMatrix(IReadOnlyList<RunResults> runs, IReadOnlyList<string> names, IReadOnlyList<string> absent,
        IReadOnlyList<MatrixRow> rows) => (Runs, Names, Absent, Rows) = (runs, names, absent, rows);

    public IReadOnlyList<RunResults> Runs { get; }

    /// <summary>The claims that differ, in the order of the first run.</summary>
    public IReadOnlyList<MatrixRow> Rows { get; }

    /// <summary>The kernels of the runs, each in a few words: as the command line named it, with its release.</summary>
    public IReadOnlyList<string> Names { get; }

    /// <summary>The kernels on which nothing ran, as the command line named them.</summary>
    public IReadOnlyList<string> Absent { get; }

    /// <param name="kernels">The kernels as the command line named them, each with its run; null where nothing ran.</param>
    public static RunMatrix Of(IReadOnlyList<(string Name, RunResults? Results)> kernels, Catalogue catalogue)
    {
        var runs = kernels.Select(k => k.Results).OfType<RunResults>().ToList();
        var byRun = runs.Select(r => r.Claims.ToDictionary(c => c.Id, StringComparer.Ordinal)).ToList();
        var rows = new List<MatrixRow>();
        foreach (var id in runs.SelectMany(r => r.Claims).Select(c => c.Id).Distinct(StringComparer.Ordinal))
        {
            var records = byRun.Select(r => r.GetValueOrDefault(id)).ToList();
            if (records.All(r => r is not null && RunComparison.AreAlike(r, records[0]!)))
                continue;
            var isVerdict = records.Select(r => r?.Verdict).Distinct().Count() > 1;
            rows.Add(new MatrixRow(id, [.. records.Select(r => r is null ? "not run" : isVerdict ? r.Verdict.Word()
                : $"{r.Verdict.Word()}: {string.Join(", ", RunComparison.OutcomesOf(r))}")],
                catalogue.Claims.TryGetValue(id, out var claim) ? [.. claim.Kernels.Where(k => Parts(k, runs))] : []));
        }
        return new RunMatrix(runs, [.. kernels.Where(k => k.Results is not null).Select(k => k.Results!.Kernel is { } kernel
            && !k.Name.Contains(kernel.Release, StringComparison.Ordinal) ? $"{k.Name} ({kernel.Release})" : k.Name)],
            [.. kernels.Where(k => k.Results is null).Select(k => k.Name)], rows);
    }

    /// <summary>
    /// Whether a reason such as <c>6.12+: …</c> has kernels of the matrix on both sides; one without such a beginning is for people to
    /// judge.
    /// </summary>
    private static bool Parts(string reason, IReadOnlyList<RunResults> runs)
    {
        if (FirstRelease().Match(reason) is not { Success: true } match)
            return true;
        var first = Version.Parse(match.Groups["release"].ValueSpan);
        return runs.Select(r => Release().Match(r.Kernel?.Release ?? "")).Where(m => m.Success)
            .Select(m => Version.Parse(m.ValueSpan) >= first).Distinct().Count() == 2;
    }

    [GeneratedRegex(@"^(?<release>\d+\.\d+)\+:", RegexOptions.ExplicitCapture, 1000)]
    private static partial Regex FirstRelease();

    [GeneratedRegex(@"^\d+\.\d+", RegexOptions.None, 1000)]
    private static partial Regex Release();

    /// <summary>The verdicts of each kernel, and the claims that differ.</summary>
    public string ToMarkdown()
    {
        var text = new StringBuilder("# Kernel matrix\n\n| kernel | run | seconds |");
        foreach (var verdict in Enum.GetValues<Verdict>())
            text.Append(CultureInfo.InvariantCulture, $" {verdict.Word()} |");
        text.Append("\n|---|---|---|").Append(string.Concat(Enum.GetValues<Verdict>().Select(_ => "---|"))).Append('\n');
        foreach (var (run, name) in Runs.Zip(Names))
        {
            text.Append(CultureInfo.InvariantCulture, $"| {name} | {run.Run.Run} | {run.Run.DurationMs / 1000:0} |");
            foreach (var verdict in Enum.GetValues<Verdict>())
                text.Append(CultureInfo.InvariantCulture, $" {run.Count(verdict)} |");
            text.Append('\n');
        }
        foreach (var name in Absent)
            text.Append(CultureInfo.InvariantCulture, $"| {name} | nothing ran |  |")
                .Append(string.Concat(Enum.GetValues<Verdict>().Select(_ => "  |"))).Append('\n');
        if (Rows.Count == 0)
            return text.Append(Runs.Count == 1 ? "\nOne kernel ran: there is nothing to compare.\n"
                : Absent.Count > 0 ? "\nNo claim differs between the kernels that ran.\n" : "\nNo claim differs.\n").ToString();
        text.Append(CultureInfo.InvariantCulture, $"\n## {Rows.Count} claims differ\n\n| claim | ");
        text.Append(string.Join(" | ", Names)).Append(" | why |\n|---|").Append(string.Concat(Runs.Select(_ => "---|")))
            .Append("---|\n");
        foreach (var row in Rows)
            text.Append(CultureInfo.InvariantCulture,
                $"| {row.Id} | {string.Join(" | ", row.Results)} | " +
                    $"{(row.Reasons.Count > 0 ? string.Join("; ", row.Reasons) : "not known")} |\n");
        return text.ToString();
    }
}
