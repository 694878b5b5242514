using System.Globalization;
using System.Text;

namespace Conformance.Reports;

/// <summary>One line of a run's table: a selected claim, its verdict and why.</summary>
public sealed record SummaryRow(Claim Claim, Verdict Verdict, string Reason, double DurationMs);

/// <summary>What a run came to: a row for every selected claim. One without a record is broken.</summary>
public sealed record Summary(IReadOnlyList<SummaryRow> Rows)
{
    public bool IsGood => !Rows.Any(r => r.Verdict.IsBad() && !(r.Claim.Provisional && r.Verdict == Verdict.Violated));

    public static Summary Of(Catalogue catalogue, IEnumerable<string> selected, IReadOnlyDictionary<string, ClaimRecord> records) =>
        new([.. from id in selected
                let claim = catalogue.Claims[id]
                let record = records.GetValueOrDefault(id)
                select record is null
                    ? new SummaryRow(claim, Verdict.Broken, "selected, but no test left a record", 0)
                    : new SummaryRow(claim, record.Verdict, ReasonOf(record), record.DurationMs)]);

    public int Count(Verdict verdict) => Rows.Count(r => r.Verdict == verdict);

    /// <summary>The summary as a Markdown document: counts, a table, errata, and the story behind everything that does not hold.</summary>
    public string ToMarkdown(IReadOnlyDictionary<string, ClaimRecord> records)
    {
        var text = new StringBuilder();
        var any = records.Values.FirstOrDefault();
        text.Append("# Conformance run\n\n");
        if (any is not null)
        {
            text.Append(CultureInfo.InvariantCulture, $"Run {any.Run}, kernel {any.Kernel.Release} ({any.Kernel.Kind}), ");
            text.Append(string.Join(", ", any.Tools.Select(t => $"{t.Key} {t.Value}"))).Append(".\n\nUnder test: ");
            text.Append(string.Join(", ", records.Values.SelectMany(r => r.Tests)
                .Select(t => $"{t.Implementation.Name} {t.Implementation.Version}".Trim()).Distinct(StringComparer.Ordinal)
                .Order(StringComparer.Ordinal))).Append(".\n\n");
        }
        text.Append(string.Join(", ", Enum.GetValues<Verdict>().Select(v => $"{Count(v)} {v.Word()}"))).Append(".\n\n");
        text.Append("| claim | verdict | the article is | what was proved |\n|---|---|---|---|\n");
        foreach (var row in Rows)
            text.Append(CultureInfo.InvariantCulture,
                $"| {row.Claim.Id} | {row.Verdict.Word()}{(row.Claim.Provisional ? " (provisional)" : "")} | {Word(row.Claim.Article)} " +
                $"| {Cell(row.Claim.Proved)} |\n");

        text.Append("\n## Errata: where the article is not right\n\n");
        foreach (var row in Rows.Where(r => r.Claim.Article is ArticleVerdict.Imprecise or ArticleVerdict.Wrong))
        {
            text.Append(CultureInfo.InvariantCulture, $"- **{row.Claim.Id}** ({Word(row.Claim.Article)}; here: {row.Verdict.Word()}). ");
            text.Append(CultureInfo.InvariantCulture, $"The article: {row.Claim.En} 「{row.Claim.Zh}」 Correct: {row.Claim.Correct}\n");
        }
        foreach (var row in Rows.Where(r => r.Verdict != Verdict.Holds))
            text.Append(CultureInfo.InvariantCulture,
                $"\n## {row.Claim.Id}: {row.Verdict.Word()}\n\n{row.Claim.Proved}\n\n```\n{row.Reason}\n```\n");
        return text.ToString();
    }

    public static string Word(ArticleVerdict verdict) => verdict.ToString().ToLowerInvariant();

    private static string ReasonOf(ClaimRecord record) => record.Tests.OrderByDescending(t => t.Verdict).First()
        is { Reason: { Length: > 0 } reason } ? reason : "";

    private static string Cell(string text) => text.Replace("|", "\\|", StringComparison.Ordinal).ReplaceLineEndings(" ");
}
