using System.Globalization;
using Conformance.Labs;
using Conformance.Linux;
using Conformance.Traffic;

namespace Conformance.Suite;

/// <summary>What a test looked at, as lines of its record: flows with their outcome, tables, output of commands.</summary>
internal static class Observed
{
    private const int MaxFlows = 12;
    private const int MaxLines = 12;

    /// <param name="scope">The test's id.</param>
    internal static IReadOnlyList<string> Of(Lab lab, string scope)
    {
        var flows = lab.Nodes.SelectMany(n => n.Flows).Where(f => f.IsOf(scope)).OrderBy(f => f.StartedAt).Select(f => f.ToString())
            .ToList();
        return [.. Cut(flows, MaxFlows, "flows"), .. lab.Observations.Where(o => o.Scope == scope).Select(Describe)];
    }

    private static string Describe(Observation observation)
    {
        var lines = observation.Text.TrimEnd('\n').Split('\n').ToList();
        return $"{observation.Node}: {observation.Title}: " +
            $"{(observation.Text.Length == 0 ? "(empty)" : string.Join('\n', Cut(lines, MaxLines, "lines")))}";
    }

    private static IEnumerable<string> Cut(List<string> lines, int max, string what) => lines.Count <= max
        ? lines
        : lines.Take(max).Append(string.Create(CultureInfo.InvariantCulture, $"({lines.Count - max} more {what})"));
}
