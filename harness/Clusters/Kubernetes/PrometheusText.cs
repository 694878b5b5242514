using System.Globalization;

namespace Conformance.Clusters.Kubernetes;

/// <summary>Reads Prometheus' text format: https://prometheus.io/docs/instrumenting/exposition_formats/.</summary>
public static class PrometheusText
{
    /// <summary>The sum of the series of each metric. Lines that are no sample are skipped.</summary>
    public static IReadOnlyDictionary<string, double> Sums(string text)
    {
        var sums = new Dictionary<string, double>(StringComparer.Ordinal);
        foreach (var line in text.Split('\n', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries))
        {
            if (line[0] == '#')
                continue;
            // Label values may have spaces and braces: the sample stands behind the last brace.
            var labelsEnd = line.LastIndexOf('}');
            var nameEnd = line.IndexOfAny(['{', ' ', '\t']);
            var name = nameEnd < 0 ? line : line[..nameEnd];
            var rest = line[(labelsEnd >= 0 ? labelsEnd + 1 : name.Length)..].Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries);
            if (rest.Length > 0 && Value(rest[0]) is { } value)
                sums[name] = sums.GetValueOrDefault(name) + value;
        }
        return sums;
    }

    private static double? Value(string text) => text switch
    {
        "+Inf" or "Inf" => double.PositiveInfinity,
        "-Inf" => double.NegativeInfinity,
        "NaN" => double.NaN,
        _ => double.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out var value) ? value : null,
    };
}
