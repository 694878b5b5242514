namespace Conformance.Reports;

/// <summary>A claim that differs between two runs; a record is null where the run does not have the claim.</summary>
public sealed record ClaimDifference(string Id, ClaimRecord? Before, ClaimRecord? After)
{
    /// <summary>The outcome classes of the claim's flows in each run, where these differ and the verdicts do not; else empty.</summary>
    public string Outcomes => Before is null || After is null || Before.Verdict != After.Verdict ? ""
        : $"{string.Join(", ", RunComparison.OutcomesOf(Before))} -> {string.Join(", ", RunComparison.OutcomesOf(After))}";
}

/// <summary>
/// What differs between two runs, of two proxies, two kernels or two days: verdicts, and the classes of outcomes that clients saw
/// (answered,
/// refused, silence). Addresses, ports, times and the choice among servers differ between any two runs and do not count.
/// </summary>
public static class RunComparison
{
    /// <summary>The claims that differ, in the order of the first run.</summary>
    public static IReadOnlyList<ClaimDifference> Of(RunResults before, RunResults after)
    {
        var second = after.Claims.ToDictionary(c => c.Id, StringComparer.Ordinal);
        var first = before.Claims.Select(c => c.Id).ToHashSet(StringComparer.Ordinal);
        return [.. before.Claims.Select(c => new ClaimDifference(c.Id, c, second.GetValueOrDefault(c.Id)))
            .Concat(after.Claims.Where(c => !first.Contains(c.Id)).Select(c => new ClaimDifference(c.Id, null, c)))
            .Where(d => !AreAlike(d.Before, d.After))];
    }

    internal static bool AreAlike(ClaimRecord? a, ClaimRecord? b) => a is not null && b is not null && a.Verdict == b.Verdict
        && OutcomesOf(a).SequenceEqual(OutcomesOf(b), StringComparer.Ordinal);

    internal static IReadOnlyList<string> OutcomesOf(ClaimRecord claim) =>
        [.. claim.Tests.SelectMany(t => t.Flows).Select(f => f.OutcomeClass).Distinct(StringComparer.Ordinal)
            .Order(StringComparer.Ordinal)];
}
