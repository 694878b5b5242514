using Conformance.Clusters.Kubernetes;

namespace Conformance.Tests;

public sealed class PrometheusTextTests
{
    [Test]
    public void Series_are_summed_and_odd_values_are_read()
    {
        var sums = PrometheusText.Sums("""
            # HELP a What it is.
            # TYPE a counter
            a{ip_family="IPv4"} 2
            a{ip_family="IPv6",text="a } 7"} 3 1700000000
            b +Inf
            c_bucket{le="+Inf"} 4
            d NaN
            e 1.5e+09
            no sample at all
            """);

        sums.ShouldSatisfyAllConditions(
            s => s["a"].ShouldBe(5), s => s["b"].ShouldBe(double.PositiveInfinity), s => s["c_bucket"].ShouldBe(4), s => s["d"]
                .ShouldBe(double.NaN), s => s["e"].ShouldBe(1.5e9), s => s.ContainsKey("no").ShouldBeFalse());
    }
}
