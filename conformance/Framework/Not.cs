using Conformance.Reports;

namespace Conformance.Suite;

/// <summary>The two ways in which a claim's test can end without saying holds or violated. The reason stands in every report.</summary>
public static class Not
{
    /// <summary>This kernel cannot show the claim.</summary>
    public static void Testable(string reason) => Assert.Ignore(Verdicts.NotTestablePrefix + reason);

    /// <summary>The implementation under test does not do this, and says so.</summary>
    public static void Supported(string reason) => Assert.Ignore(Verdicts.NotSupportedPrefix + reason);
}
