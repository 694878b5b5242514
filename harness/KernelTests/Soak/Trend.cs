namespace Conformance.KernelTests.Soak;

/// <summary>A straight line through values over time, and how sure its slope is.</summary>
/// <param name="Mean">The mean of the values.</param>
/// <param name="Slope">Growth for each unit of time.</param>
/// <param name="Margin">The slope is within plus and minus this with a confidence of 95 %.</param>
internal sealed record Trend(double Mean, double Slope, double Margin)
{
    /// <summary>Neighbouring samples are much alike and would make any slope look sure, so the means of so many parts count.</summary>
    internal const int Parts = 12;

    /// <summary>Student's t for 95 % on two sides, with 10 degrees of freedom: the parts without the two values of a line.</summary>
    private const double T = 2.228;

    /// <summary>Least squares over the means of equal parts.</summary>
    /// <param name="samples">In the order of their times.</param>
    /// <exception cref="ArgumentException">Fewer samples than parts.</exception>
    internal static Trend Of(IReadOnlyList<(double Time, double Value)> samples)
    {
        if (samples.Count < Parts)
            throw new ArgumentException($"{samples.Count} samples are fewer than {Parts}.", nameof(samples));
        var parts = Enumerable.Range(0, Parts).Select(i => samples.Skip(i * samples.Count / Parts)
            .Take(((i + 1) * samples.Count / Parts) - (i * samples.Count / Parts)).ToList())
            .Select(p => (Time: p.Average(s => s.Time), Value: p.Average(s => s.Value))).ToList();
        var (time, value) = (parts.Average(p => p.Time), parts.Average(p => p.Value));
        var spread = parts.Sum(p => (p.Time - time) * (p.Time - time));
        var slope = parts.Sum(p => (p.Time - time) * (p.Value - value)) / spread;
        var rest = parts.Sum(p => Math.Pow(p.Value - value - (slope * (p.Time - time)), 2));
        return new Trend(value, slope, T * Math.Sqrt(rest / (Parts - 2) / spread));
    }
}
