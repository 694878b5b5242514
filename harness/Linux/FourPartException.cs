namespace Conformance.Linux;

/// <summary>An error for people in four parts. Every program prints its message as it is.</summary>
/// <param name="what">What failed.</param>
/// <param name="evidence">The value, file or line that shows it.</param>
/// <param name="consequence">What was not done.</param>
/// <param name="fix">The next step; a command where there is one.</param>
public abstract class FourPartException(string what, string evidence, string consequence, string fix)
    : Exception($"{what}\n  evidence: {evidence}\n  consequence: {consequence}\n  fix: {fix}")
{
    /// <summary>What was seen.</summary>
    public string Evidence { get; } = evidence;
}
