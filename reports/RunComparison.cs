namespace Conformance.Reports;

/// <summary>A claim that differs between two runs.</summary>
public sealed record ClaimDifference(ClaimRecord Before, ClaimRecord After)
{
    public string Id => Before.Id;

    /// <summary>The outcome classes of the claim's flows in each run, where these differ and the verdicts do not; else empty.</summary>
    public string Outcomes => Before.Verdict != After.Verdict ? ""
        : $"{string.Join(", ", RunComparison.OutcomesOf(Before))} -> {string.Join(", ", RunComparison.OutcomesOf(After))}";
}

/// <summary>
/// What differs between two runs, of two proxies, two kernels or two days: verdicts, and the classes of outcomes that clients saw
/// (answered,
/// refused, silence) in the order of the flows of each test. Addresses, ports, times, repetitions and the choice among servers differ
/// between any two runs and do not count.
/// </summary>
public static class RunComparison
{
    /// <summary>The claims of both runs that differ, in the order of the first run.</summary>
    public static IReadOnlyList<ClaimDifference> Of(RunResults before, RunResults after)
    {
        var second = after.Claims.ToDictionary(c => c.Id, StringComparer.Ordinal);
        return [.. before.Claims.Where(c => second.ContainsKey(c.Id)).Select(c => new ClaimDifference(c, second[c.Id]))
            .Where(d => !AreAlike(d.Before, d.After))];
    }

    /// <summary>How many claims only one of the runs has.</summary>
    public static int CountInOneOnly(RunResults before, RunResults after) => before.Claims.Concat(after.Claims)
        .GroupBy(c => c.Id, StringComparer.Ordinal).Count(g => g.Count() == 1);

    internal static bool AreAlike(ClaimRecord a, ClaimRecord b) => a.Verdict == b.Verdict
        && OutcomesOf(a).SequenceEqual(OutcomesOf(b), StringComparer.Ordinal);

    /// <summary>The classes of outcomes that clients saw, without repetitions, in the order of the claim's tests.</summary>
    public static IReadOnlyList<string> OutcomesOf(ClaimRecord claim) =>
        [.. claim.Tests.OrderBy(t => t.Name, StringComparer.Ordinal)
            .SelectMany(t => WithoutRepetitions(t.Flows.Select(f => f.OutcomeClass)))];

    private static IEnumerable<string> WithoutRepetitions(IEnumerable<string> words)
    {
        string? last = null;
        foreach (var word in words)
        {
            if (word != last)
                yield return word;
            last = word;
        }
    }
}
