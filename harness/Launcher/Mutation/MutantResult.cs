namespace Conformance.Launcher.Mutation;

/// <summary>The result of one mutant.</summary>
internal enum MutantOutcome
{
    /// <summary>A claim was violated.</summary>
    Killed,

    /// <summary>All claims that use a cluster ran, and none was violated.</summary>
    Survived,

    /// <summary>No claim was violated, but some tests could not run.</summary>
    Broken,

    /// <summary>It was not run: no claim can see it, for the reason in its row.</summary>
    Equivalent,
}

/// <summary>A mutant with what came of it.</summary>
/// <param name="KilledBy">The first claim that was violated.</param>
/// <param name="Reason">What that claim said, or what was broken, or why the mutant is equivalent.</param>
/// <param name="Ran">How many tests had ended by then.</param>
/// <param name="Difference">Of a survivor: how the kernel's state of a node differs from the generator's.</param>
internal sealed record MutantResult(string Id, string What, MutantOutcome Outcome, string? KilledBy, string Reason, int Ran,
    double Seconds, IReadOnlyList<string> Difference);
