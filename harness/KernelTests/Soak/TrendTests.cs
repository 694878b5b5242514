namespace Conformance.KernelTests.Soak;

/// <summary>What counts as growth of memory.</summary>
public sealed class TrendTests
{
    [Test]
    public void A_steady_growth_is_found_with_its_slope()
    {
        var trend = Trend.Of([.. Enumerable.Range(0, 120).Select(i => ((double)i, 100 + (2.0 * i)))]);

        trend.Slope.ShouldBe(2, 1e-9);
        trend.Margin.ShouldBe(0, 1e-6);
        trend.Mean.ShouldBe(219, 1e-9);
    }

    [Test]
    public void Noise_without_growth_is_no_growth()
    {
        var random = new Random(1);

        var trend = Trend.Of([.. Enumerable.Range(0, 600).Select(i => ((double)i, 100 + random.NextDouble()))]);

        Math.Abs(trend.Slope).ShouldBeLessThan(trend.Margin);
    }

    [Test]
    public void Too_few_samples_say_nothing() => Should.Throw<ArgumentException>(() => Trend.Of([(0, 1), (1, 2)]));
}
