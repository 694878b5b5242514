namespace Conformance.Reports;

/// <summary>The result of a profile's core or extended claims, as the Gateway API's reports have it.</summary>
public enum ProfileResult
{
    /// <summary>Every claim holds.</summary>
    Success,

    /// <summary>None is violated, and some could not be tested.</summary>
    Partial,

    /// <summary>Some are violated, or the harness failed.</summary>
    Failure,
}

/// <summary>The core or the extended claims of a profile. A claim that the implementation does not support counts nowhere.</summary>
public sealed class ProfilePart(IEnumerable<ClaimRecord> claims)
{
    private readonly List<ClaimRecord> _claims = [.. claims.Where(c => c.Verdict != Verdict.NotSupported)];

    /// <summary>How many claims count.</summary>
    public int Count => _claims.Count;

    public int Passed => _claims.Count(c => c.Verdict == Verdict.Holds);

    /// <summary>The ids of claims that are violated or broken.</summary>
    public IReadOnlyList<string> Failed => [.. _claims.Where(c => c.Verdict.IsBad()).Select(c => c.Id)];

    /// <summary>The ids of claims that this kernel cannot show.</summary>
    public IReadOnlyList<string> Skipped => [.. _claims.Where(c => c.Verdict == Verdict.NotTestable).Select(c => c.Id)];

    public ProfileResult Result => Failed.Count > 0 ? ProfileResult.Failure : Skipped.Count > 0 ? ProfileResult.Partial
        : ProfileResult.Success;
}

/// <summary>
/// A conformance profile of a run. Core claims apply to every implementation. Extended claims need a feature that an implementation may
/// lack. Provisional claims count in neither.
/// </summary>
public sealed record Profile(string Name, ProfilePart Core, ProfilePart Extended, IReadOnlyList<string> Features)
{
    /// <summary>The profiles of a run's claims, in the order of their first claims.</summary>
    public static IReadOnlyList<Profile> Of(RunResults results) =>
        [.. results.Claims.Where(c => c.Profile.Length > 0).GroupBy(c => c.Profile, StringComparer.Ordinal).Select(group =>
        {
            var claims = group.Where(c => !c.Provisional).ToList();
            return new Profile(group.Key, new ProfilePart(claims.Where(c => c.Features.Count == 0)),
                new ProfilePart(claims.Where(c => c.Features.Count > 0)),
                [.. group.SelectMany(c => c.Features).Distinct(StringComparer.Ordinal).Order(StringComparer.Ordinal)]);
        })];
}
