using YamlDotNet.Serialization;
using YamlDotNet.Serialization.NamingConventions;

namespace Conformance.Reports;

/// <summary>Who makes the implementation under test; what is empty is not known.</summary>
public sealed record Maker(string Organization, string Project, string Url, IReadOnlyList<string> Contact)
{
    public static Maker Unknown { get; } = new("", "", "", []);
}

/// <summary>
/// A run as a <c>ConformanceReport</c> in YAML: the shape of the Gateway API's reports (its GEP-1709), with our own group, kernel and lists
/// of provisional claims. <c>schema/conformance-report.schema.json</c> describes it.
/// </summary>
public static class ConformanceReport
{
    public const string ApiVersion = "ipvs.conformance/v1alpha1";

    public static string ToYaml(RunResults results, Maker maker)
    {
        var implementation = results.Run.Implementation;
        var report = new
        {
            ApiVersion,
            Kind = "ConformanceReport",
            Date = results.Run.StartedAt.UtcDateTime.ToString("yyyy-MM-dd'T'HH:mm:ss'Z'",
            System.Globalization.CultureInfo.InvariantCulture),
            SuiteVersion = results.Run.Suite,
            Claims = new { Selected = results.Claims.Count, Catalogue = results.Run.CatalogueSize },
            Kernel = new { results.Kernel?.Kind, results.Kernel?.Release },
            Implementation = new
            {
                maker.Organization,
                Project = maker.Project.Length > 0 ? maker.Project : implementation?.Name ?? "",
                maker.Url,
                Version = implementation?.Version ?? "",
                maker.Contact,
            },
            Profiles = Profile.Of(results).Select(profile => new
            {
                profile.Name,
                Summary = SummaryOf(profile),
                Core = PartOf(profile.Core, [], []),
                Extended = PartOf(profile.Extended, [.. profile.Features.Intersect(results.Run.SupportedFeatures, StringComparer.Ordinal)],
                    [.. profile.Features.Intersect(results.Run.UnsupportedFeatures, StringComparer.Ordinal)]),
            }).ToList(),
            SucceededProvisionalTests = NullIfEmpty(Provisional(results, c => c.Verdict == Verdict.Holds)),
            FailedProvisionalTests = NullIfEmpty(Provisional(results, c => c.Verdict.IsBad())),
        };
        return new SerializerBuilder().WithNamingConvention(CamelCaseNamingConvention.Instance)
            .ConfigureDefaultValuesHandling(DefaultValuesHandling.OmitNull).DisableAliases().WithIndentedSequences().Build()
            .Serialize(report);
    }

    /// <summary>The result as the report writes it: success, partial or failure.</summary>
    public static string Word(ProfileResult result) => result.ToString().ToLowerInvariant();

    private static string SummaryOf(Profile profile) => $"Core claims: {Words(profile.Core)}."
        + (profile.Extended.Count == 0 ? "" : $" Extended claims: {Words(profile.Extended)}.");

    private static string Words(ProfilePart part) => part.Count == 0 ? "none" : part.Result switch
    {
        ProfileResult.Success => $"all {part.Count} hold",
        ProfileResult.Partial => $"{part.Passed} of {part.Count} hold, {part.Skipped.Count} could not be tested",
        _ => $"{part.Passed} of {part.Count} hold, {part.Failed.Count} failed",
    };

    /// <returns>Null, which is left out, for a part without claims that count.</returns>
    private static object? PartOf(ProfilePart part, IReadOnlyList<string> supported, IReadOnlyList<string> unsupported) =>
        part.Count == 0 ? null : new
        {
            Result = Word(part.Result),
            Statistics = new Dictionary<string, int>(StringComparer.Ordinal)
            {
                ["Failed"] = part.Failed.Count,
                ["Passed"] = part.Passed,
                ["Skipped"] = part.Skipped.Count,
            },
            FailedTests = NullIfEmpty(part.Failed),
            SkippedTests = NullIfEmpty(part.Skipped),
            SupportedFeatures = NullIfEmpty(supported),
            UnsupportedFeatures = NullIfEmpty(unsupported),
        };

    private static List<string> Provisional(RunResults results, Func<ClaimRecord, bool> isSo) =>
        [.. results.Claims.Where(c => c.Provisional && isSo(c)).Select(c => c.Id)];

    private static IReadOnlyList<string>? NullIfEmpty(IReadOnlyList<string> list) => list.Count == 0 ? null : list;
}
