using System.Globalization;
using System.Text;
using System.Text.Json;
using Conformance.Labs;
using Conformance.Linux;
using Conformance.Reports;

namespace Conformance.Launcher.Mutation;

/// <summary>What came of a campaign: numbers, and everything that no claim saw.</summary>
internal sealed record MutationReport(DateTimeOffset At, string Commit, string Kernel, string Command, double Seconds,
    IReadOnlyList<MutantResult> Mutants)
{
    /// <summary>The file of a campaign's folder that has all of it.</summary>
    internal const string JsonFile = "mutants.json";

    private const string MarkdownFile = "mutants.md";

    internal int Count(MutantOutcome outcome) => Mutants.Count(m => m.Outcome == outcome);

    internal IReadOnlyList<MutantResult> Of(MutantOutcome outcome) => [.. Mutants.Where(m => m.Outcome == outcome)];

    /// <summary>Whether a claim saw every mutant that is not equivalent.</summary>
    internal bool IsGood => Count(MutantOutcome.Survived) == 0 && Count(MutantOutcome.Broken) == 0;

    /// <summary>One sentence.</summary>
    internal string Score => string.Create(CultureInfo.InvariantCulture,
        $"{Count(MutantOutcome.Killed)} of {Mutants.Count - Count(MutantOutcome.Equivalent)} mutants are killed, " +
        $"{Count(MutantOutcome.Survived)} survive, {Count(MutantOutcome.Broken)} only broke tests, " +
        $"{Count(MutantOutcome.Equivalent)} are equivalent; {Seconds:0} s.");

    internal string ToJson() => JsonSerializer.Serialize(this, JsonOptions);

    internal void Write(string folder)
    {
        WholeFile.Write(Path.Combine(folder, JsonFile), ToJson());
        WholeFile.Write(Path.Combine(folder, MarkdownFile), ToMarkdown());
    }

    /// <summary>What the campaign has shown, for the pages of runs.</summary>
    internal TrustRecord ToTrustRecord() => new("mutate", At, Commit, Kernel, Command, IsGood, Seconds, [Score, .. Mutants
        .Where(m => m.Outcome is MutantOutcome.Survived or MutantOutcome.Broken)
        .Select(m => $"{m.Id} {m.Outcome.ToString().ToLowerInvariant()}: {m.What}")]);

    internal string ToMarkdown()
    {
        var text = new StringBuilder();
        text.Append(CultureInfo.InvariantCulture,
            $"# Mutants of the generator\n\n{At:yyyy-MM-dd HH:mm} UTC, commit {Commit}, kernel {Kernel}. {Score}\n");
        Add("Survivors: no claim saw them", MutantOutcome.Survived, m => m.Reason + "\n\n" + (m.Difference.Count == 0
            ? "The state of a settled node is the generator's."
            : $"Nobody noticed this difference of a node's state:\n\n```\n{string.Join('\n', m.Difference)}\n```"));
        Add("Broken: tests could not be made on them, and no claim is violated", MutantOutcome.Broken, m => $"```\n{m.Reason}\n```");
        Add("Equivalent: no claim can see them", MutantOutcome.Equivalent, m => m.Reason);
        text.Append("\n## Killed\n\n| mutant | what is wrong with it | claim that saw it |\n|---|---|---|\n");
        foreach (var mutant in Of(MutantOutcome.Killed))
        {
            var what = mutant.What.Replace("|", @"\|", StringComparison.Ordinal);
            text.Append(CultureInfo.InvariantCulture, $"| {mutant.Id} | {what} | {mutant.KilledBy} |\n");
        }
        return text.ToString();

        void Add(string title, MutantOutcome outcome, Func<MutantResult, string> say)
        {
            if (Count(outcome) == 0)
                return;
            text.Append(CultureInfo.InvariantCulture, $"\n## {title}\n");
            foreach (var mutant in Of(outcome))
                text.Append(CultureInfo.InvariantCulture, $"\n### {mutant.Id}\n\n{mutant.What} {say(mutant)}\n");
        }
    }

    private static readonly JsonSerializerOptions JsonOptions = new(Output.JsonOptions)
    {
        Converters = { new System.Text.Json.Serialization.JsonStringEnumConverter(JsonNamingPolicy.CamelCase) },
    };
}
