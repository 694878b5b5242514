using System.Globalization;
using System.Text;
using YamlDotNet.Serialization;
using YamlDotNet.Serialization.NamingConventions;

namespace Conformance.Reports;

/// <summary>Something that users notice when another proxy serves; an entry of <c>migration.yaml</c>.</summary>
public sealed class MigrationTopic
{
    /// <summary>The heading.</summary>
    public string Title { get; set; } = "";

    /// <summary>The claims that show it.</summary>
    public List<string> Claims { get; set; } = [];

    /// <summary>The facts of runs that show it.</summary>
    public List<string> Facts { get; set; } = [];

    /// <summary>The features of proxies that it is about.</summary>
    public List<string> Features { get; set; } = [];

    /// <summary>What users notice.</summary>
    public string Notice { get; set; } = "";

    /// <summary>Commands that show on a live node or cluster whether somebody depends on it.</summary>
    public List<string> Check { get; set; } = [];

    /// <summary>All topics.</summary>
    public static IReadOnlyList<MigrationTopic> All { get; } = Load();

    private static List<MigrationTopic> Load()
    {
        using var reader = new StreamReader(typeof(MigrationTopic).Assembly.GetManifestResourceStream("migration.yaml")!);
        return new DeserializerBuilder().WithNamingConvention(CamelCaseNamingConvention.Instance).Build()
            .Deserialize<List<MigrationTopic>>(reader);
    }
}

/// <summary>A topic of a migration, with what shows it.</summary>
/// <param name="Topic">Null for claims that no topic explains.</param>
/// <param name="Claims">The claims that differ.</param>
/// <param name="Lost">Features that the old proxy declares, and the new one does not.</param>
/// <param name="Gained">Features of the new proxy alone.</param>
/// <param name="Facts">The facts that differ.</param>
public sealed record MigrationEntry(MigrationTopic? Topic, IReadOnlyList<ClaimDifference> Claims, IReadOnlyList<string> Lost,
    IReadOnlyList<string> Gained, IReadOnlyList<FactDifference> Facts)
{
    internal bool IsEmpty => Claims.Count + Lost.Count + Gained.Count + Facts.Count == 0;
}

/// <summary>What changes for users when one proxy takes the place of another: two runs of the suite, compared by topic.</summary>
public sealed record MigrationReport(RunResults From, RunResults To, IReadOnlyList<MigrationEntry> Entries)
{
    /// <summary>Compares two runs.</summary>
    public static MigrationReport Of(RunResults from, RunResults to)
    {
        var differences = RunComparison.Of(from, to);
        var lost = from.Run.SupportedFeatures.Except(to.Run.SupportedFeatures, StringComparer.Ordinal).ToList();
        var gained = to.Run.SupportedFeatures.Except(from.Run.SupportedFeatures, StringComparer.Ordinal).ToList();
        var facts = FactDifference.Of(from.Run, to.Run).Where(f => f.Differs).ToList();
        var entries = MigrationTopic.All.Select(topic => new MigrationEntry(topic,
            [.. differences.Where(d => topic.Claims.Contains(d.Id, StringComparer.Ordinal))],
            [.. lost.Intersect(topic.Features, StringComparer.Ordinal)], [.. gained.Intersect(topic.Features, StringComparer.Ordinal)],
            [.. facts.Where(f => topic.Facts.Contains(f.Id, StringComparer.Ordinal))])).Where(e => !e.IsEmpty).ToList();
        var other = new MigrationEntry(null, [.. differences.Where(d => !entries.Any(e => e.Claims.Contains(d)))],
            [.. lost.Where(f => !entries.Any(e => e.Lost.Contains(f, StringComparer.Ordinal)))],
            [.. gained.Where(f => !entries.Any(e => e.Gained.Contains(f, StringComparer.Ordinal)))],
            [.. facts.Where(f => !entries.Any(e => e.Facts.Contains(f)))]);
        return new MigrationReport(from, to, other.IsEmpty ? entries : [.. entries, other]);
    }

    /// <summary>The report as a document in Markdown.</summary>
    public string ToMarkdown()
    {
        var text = new StringBuilder();
        text.Append(CultureInfo.InvariantCulture, $"# From {NameOf(From)} to {NameOf(To)}\n\n");
        text.Append(CultureInfo.InvariantCulture, $"| | {Cell(NameOf(From))} | {Cell(NameOf(To))} |\n|---|---|---|\n");
        text.Append(CultureInfo.InvariantCulture, $"| run | {From.Run.Run} | {To.Run.Run} |\n");
        text.Append(CultureInfo.InvariantCulture, $"| kernel | {KernelOf(From)} | {KernelOf(To)} |\n");
        foreach (var verdict in Enum.GetValues<Verdict>())
            text.Append(CultureInfo.InvariantCulture, $"| {verdict.Word()} | {From.Count(verdict)} | {To.Count(verdict)} |\n");
        foreach (var fault in From.Faults.Concat(To.Faults))
            text.Append(CultureInfo.InvariantCulture, $"\nFault in the records: {fault}\n");
        var alone = RunComparison.CountInOneOnly(From, To);
        if (alone > 0)
            text.Append(CultureInfo.InvariantCulture, $"\n{alone} claims are in one run only and were not compared.\n");
        if (Entries.Count == 0 && From.Claims.Count + To.Claims.Count > alone)
            text.Append("\nNo claim differs, in verdict or in what clients saw, and no fact.\n");
        foreach (var entry in Entries)
            Append(text, entry);
        var facts = FactDifference.Of(From.Run, To.Run);
        if (facts.Count > 0)
            text.Append("\n## All facts of both runs\n\n| observed | before | after | differs |\n|---|---|---|---|\n");
        foreach (var fact in facts)
            text.Append(CultureInfo.InvariantCulture, $"| {Cell(fact.Title)} | {Cell(fact.Before?.Value ?? "not observed")} " +
                $"| {Cell(fact.After?.Value ?? "not observed")} | {(fact.Differs ? "yes" : "")} |\n");
        return text.ToString();
    }

    private static void Append(StringBuilder text, MigrationEntry entry)
    {
        text.Append(CultureInfo.InvariantCulture, $"\n## {entry.Topic?.Title ?? "Other differences"}\n\n");
        if (entry.Topic is { } topic)
            text.Append(CultureInfo.InvariantCulture, $"{topic.Notice}\n\n");
        foreach (var (words, features) in new[] { ("Only the old proxy", entry.Lost), ("Only the new proxy", entry.Gained) })
        {
            if (features.Count > 0)
                text.Append(CultureInfo.InvariantCulture, $"{words} declares: {string.Join(", ", features)}.\n\n");
        }
        if (entry.Claims.Count > 0)
            text.Append("| claim | before | after | clients saw | tested behaviour |\n|---|---|---|---|---|\n");
        foreach (var claim in entry.Claims)
        {
            text.Append(CultureInfo.InvariantCulture, $"| {claim.Id} | {claim.Before.Verdict.Word()} | {claim.After.Verdict.Word()} " +
                $"| {Cell(Seen(claim))} | {Cell(claim.After.Proved)} |\n");
        }
        if (entry.Facts.Count > 0)
            text.Append(CultureInfo.InvariantCulture,
                $"{(entry.Claims.Count > 0 ? "\n" : "")}| observed | before | after |\n|---|---|---|\n");
        foreach (var fact in entry.Facts)
            text.Append(CultureInfo.InvariantCulture,
                $"| {Cell(fact.Title)} | {Cell(fact.Before!.Value)} | {Cell(fact.After!.Value)} |\n");
        if (entry.Topic is { Check.Count: > 0 })
            text.Append(CultureInfo.InvariantCulture,
                $"{(entry.Claims.Count + entry.Facts.Count > 0 ? "\n" : "")}Does somebody depend on " +
                    $"it?\n\n{string.Concat(entry.Topic.Check.Select(c => $"    {c}\n"))}");
    }

    /// <summary>The classes of outcomes in both runs, where they differ; a claim that was not tested has none.</summary>
    private static string Seen(ClaimDifference claim)
    {
        var (before, after) = (RunComparison.OutcomesOf(claim.Before), RunComparison.OutcomesOf(claim.After));
        return before.SequenceEqual(after, StringComparer.Ordinal) ? ""
            : $"{Words(before)} → {Words(after)}";

        static string Words(IReadOnlyList<string> outcomes) => outcomes.Count == 0 ? "not asked" : string.Join(", ", outcomes);
    }

    private static string NameOf(RunResults run) => run.Run.Implementation is { } proxy ? $"{proxy.Name} {proxy.Version}".Trim()
        : run.Run.Run;

    private static string KernelOf(RunResults run) => run.Kernel is { } kernel ? $"{kernel.Release} ({kernel.Kind})" : "";

    private static string Cell(string text) => text.Replace("|", "\\|", StringComparison.Ordinal).ReplaceLineEndings(" ");
}
