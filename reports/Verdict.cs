using System.Text.Json.Serialization;

namespace Conformance.Reports;

/// <summary>What a run says of a claim, from best to worst: the verdict of a claim is the worst of its tests'.</summary>
[JsonConverter(typeof(WordsConverter<Verdict>))]
public enum Verdict
{
    [JsonStringEnumMemberName("holds")]
    Holds,

    /// <summary>The implementation does not do this, and says so.</summary>
    [JsonStringEnumMemberName("not-supported")]
    NotSupported,

    /// <summary>This kernel cannot show it, for the reason given.</summary>
    [JsonStringEnumMemberName("not-testable")]
    NotTestable,

    [JsonStringEnumMemberName("violated")]
    Violated,

    /// <summary>The harness failed, which says nothing about the claim.</summary>
    [JsonStringEnumMemberName("broken")]
    Broken,
}

/// <summary>What we say of the article's statement.</summary>
[JsonConverter(typeof(WordsConverter<ArticleVerdict>))]
public enum ArticleVerdict
{
    [JsonStringEnumMemberName("right")]
    Right,
    [JsonStringEnumMemberName("imprecise")]
    Imprecise,
    [JsonStringEnumMemberName("wrong")]
    Wrong,

    /// <summary>The article does not say it.</summary>
    [JsonStringEnumMemberName("silent")]
    Silent,
}

public static class Verdicts
{
    /// <summary>Starts the reason of a skipped test whose claim is not testable on this kernel.</summary>
    public const string NotTestablePrefix = "not-testable: ";

    /// <summary>Starts the reason of a skipped test whose claim the implementation does not support.</summary>
    public const string NotSupportedPrefix = "not-supported: ";

    private const string SetUpPrefix = "SetUp : ";

    /// <summary>The verdict that NUnit's result of a test stands for.</summary>
    /// <param name="status">NUnit's TestStatus: Passed, Skipped, Failed, Inconclusive or Warning.</param>
    /// <param name="label">What NUnit adds to a failure that is not an assertion's (Error, Cancelled, Invalid); else empty.</param>
    /// <param name="reason">The test's message. A skip without one of the two reasons that a claim can have hides something: it is
    /// <see cref="Verdict.Broken"/>.</param>
    public static Verdict Of(string status, string? label, string? reason) => (status, label) switch
    {
        ("Passed", _) => Verdict.Holds,
        ("Skipped", _) when WithoutPlace(reason ?? "").StartsWith(NotTestablePrefix, StringComparison.Ordinal) => Verdict.NotTestable,
        ("Skipped", _) when WithoutPlace(reason ?? "").StartsWith(NotSupportedPrefix, StringComparison.Ordinal) => Verdict.NotSupported,
        ("Failed", null or "") => Verdict.Violated,
        _ => Verdict.Broken,
    };

    /// <summary>NUnit says so when the reason was found while a test was set up.</summary>
    private static string WithoutPlace(string reason) => reason.StartsWith(SetUpPrefix, StringComparison.Ordinal)
        ? reason[SetUpPrefix.Length..] : reason;

    /// <summary>The verdict's word in reports: holds, violated, not-supported, not-testable, broken.</summary>
    public static string Word(this Verdict verdict) => verdict switch
    {
        Verdict.Holds => "holds",
        Verdict.NotSupported => "not-supported",
        Verdict.NotTestable => "not-testable",
        Verdict.Violated => "violated",
        _ => "broken",
    };

    /// <summary>The word in reports: right, imprecise, wrong, silent.</summary>
    public static string Word(this ArticleVerdict verdict) => verdict.ToString().ToLowerInvariant();

    /// <summary>Whether the verdict makes a run fail.</summary>
    public static bool IsBad(this Verdict verdict) => verdict is Verdict.Violated or Verdict.Broken;
}
