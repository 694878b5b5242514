using System.Globalization;

namespace Conformance.Reports;

/// <summary>
/// Something that a run has observed of a proxy and that is neither right nor wrong: who answers a ping, which source address a server
/// sees.
/// </summary>
/// <param name="Id">By it the facts of two runs are compared.</param>
/// <param name="Title">What was observed, in words.</param>
/// <param name="Value">What came of it, without names and ports that differ between any two runs.</param>
/// <param name="Milliseconds">Of a time, the time; two runs differ when one takes at least twice as long as the other.</param>
public sealed record FactRecord(string Id, string Title, string Value, double? Milliseconds = null)
{
    private const double MuchLonger = 2;
    private const double LeastMilliseconds = 50; // below that a time says more of the machine than of the proxy

    /// <summary>A time in words.</summary>
    public static FactRecord OfTime(string id, string title, TimeSpan time) => new(id, title,
        string.Create(CultureInfo.InvariantCulture, $"{time.TotalMilliseconds:0} ms"), Math.Round(time.TotalMilliseconds, 1));

    /// <summary>Whether users may notice a difference between the two.</summary>
    internal static bool AreAlike(FactRecord? a, FactRecord? b) => (a, b) switch
    {
        (null, _) or (_, null) => true, // one run has not looked
        ({ Milliseconds: { } first }, { Milliseconds: { } second }) =>
        Math.Max(first, second) < MuchLonger * Math.Max(Math.Min(first, second), LeastMilliseconds),
        _ => a.Value == b.Value,
    };
}

/// <summary>A fact in two runs; null where a run has not observed it.</summary>
public sealed record FactDifference(FactRecord? Before, FactRecord? After)
{
    /// <summary>The fact's id.</summary>
    public string Id => (After ?? Before)!.Id;

    /// <summary>What was observed, in words.</summary>
    public string Title => (After ?? Before)!.Title;

    /// <summary>Whether users may notice it.</summary>
    public bool Differs => !FactRecord.AreAlike(Before, After);

    /// <summary>The facts of two runs, by id.</summary>
    internal static IReadOnlyList<FactDifference> Of(RunRecord before, RunRecord after)
    {
        var (old, now) = (ById(before), ById(after));
        return [.. old.Keys.Union(now.Keys, StringComparer.Ordinal).Order(StringComparer.Ordinal)
            .Select(id => new FactDifference(old.GetValueOrDefault(id), now.GetValueOrDefault(id)))];

        static Dictionary<string, FactRecord> ById(RunRecord run) =>
            run.Facts.DistinctBy(f => f.Id, StringComparer.Ordinal).ToDictionary(f => f.Id, StringComparer.Ordinal);
    }
}
