using System.Globalization;
using System.Text;
using System.Text.RegularExpressions;

namespace Conformance.Reports;

/// <summary>A run as a Markdown document, which CI systems show as a job's summary.</summary>
public static partial class MarkdownSummary
{
    private const int MaxReason = 3000;

    /// <summary>Counts, profiles, a table of the claims, errata, and the reason behind each claim that does not hold.</summary>
    public static string Of(RunResults results)
    {
        var run = results.Run;
        var text = new StringBuilder("# Conformance run\n\n");
        text.Append(CultureInfo.InvariantCulture, $"Run {run.Run}");
        if (results.Kernel is { } kernel)
            text.Append(CultureInfo.InvariantCulture, $", kernel {kernel.Release} ({kernel.Kind})");
        text.Append(string.Concat(run.Tools.Select(t => $", {t.Key} {t.Value}"))).Append(".\n\n");
        if (results.Implementations.Count > 0)
            text.Append(CultureInfo.InvariantCulture,
                $"Under test: {string.Join(", ", results.Implementations.Select(i => $"{i.Name} {i.Version}".Trim()))}.\n\n");
        text.Append(CultureInfo.InvariantCulture, $"{results.CountsInWords()}.\n");
        foreach (var fault in results.Faults)
            text.Append(CultureInfo.InvariantCulture, $"\nFault in the records: {fault}\n");

        text.Append("\n| profile | core | extended |\n|---|---|---|\n");
        foreach (var profile in Profile.Of(results))
            text.Append(CultureInfo.InvariantCulture, $"| {profile.Name} | {Cell(profile.Core)} | {Cell(profile.Extended)} |\n");

        text.Append("\n| claim | verdict | the article is | tested behaviour |\n|---|---|---|---|\n");
        foreach (var claim in results.Claims)
            text.Append(CultureInfo.InvariantCulture,
                $"| {claim.Id} | {claim.Verdict.Word()}{(claim.Provisional ? " (provisional)" : "")} | {claim.Article.Verdict.Word()} " +
                $"| {Cell(claim.Proved)} |\n");

        if (run.Facts.Count > 0)
            text.Append("\n## Facts of the proxy\n\n| observed | |\n|---|---|\n");
        foreach (var fact in run.Facts)
            text.Append(CultureInfo.InvariantCulture, $"| {Cell(fact.Title)} | {Cell(fact.Value)} |\n");

        text.Append("\n## Errata: where the article is not right\n\n");
        foreach (var claim in results.Claims.Where(c => c.Article.Verdict is ArticleVerdict.Imprecise or ArticleVerdict.Wrong))
        {
            text.Append(CultureInfo.InvariantCulture, $"- **{claim.Id}** ({claim.Article.Verdict.Word()}; here: {claim.Verdict.Word()}). ");
            text.Append(CultureInfo.InvariantCulture,
                $"The article: {claim.Article.En} 「{claim.Article.Zh}」 Correct: {claim.Article.Correct}\n");
        }
        foreach (var claim in results.Claims.Where(c => c.Verdict != Verdict.Holds))
            text.Append(CultureInfo.InvariantCulture,
                $"\n## {claim.Id}: {claim.Verdict.Word()}\n\n{claim.Proved}\n\n{Fenced(claim.Reason)}\n");
        return text.ToString();
    }

    /// <summary>As a block of code, whatever the text holds. CI systems cut a summary off at 1 MiB.</summary>
    private static string Fenced(string text)
    {
        var longest = Backticks().Matches(text).Select(m => m.Length).DefaultIfEmpty(0).Max();
        var fence = new string('`', Math.Max(3, longest + 1));
        return $"{fence}\n{(text.Length > MaxReason ? $"{text[..MaxReason]}\n…" : text)}\n{fence}";
    }

    [GeneratedRegex("`+", RegexOptions.None, 1000)]
    private static partial Regex Backticks();

    private static string Cell(ProfilePart part) => part.Count == 0 ? "" : string.Create(CultureInfo.InvariantCulture,
        $"{ConformanceReport.Word(part.Result)}: {part.Passed} of {part.Count}");

    private static string Cell(string text) => text.Replace("|", "\\|", StringComparison.Ordinal).ReplaceLineEndings(" ");
}
