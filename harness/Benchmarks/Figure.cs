namespace Conformance.Benchmarks;

/// <summary>A measured figure: one sample for each run, in one unit.</summary>
public sealed record Figure(string Name, string Unit, IReadOnlyList<double> Samples)
{
    /// <summary>The curve that the figure is a point of; null for a figure that stands alone.</summary>
    public string? Curve { get; init; }

    /// <summary>The median; of an even number of samples the higher of the two in the middle.</summary>
    public double Median => Samples.Order().ElementAt(Samples.Count / 2);
}
