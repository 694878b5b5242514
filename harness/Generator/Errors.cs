using Conformance.Linux;

namespace Conformance.Generator;

/// <summary>An error for people: what, evidence, consequence, fix.</summary>
public sealed class GeneratorException(string what, string evidence, string consequence, string fix, int exitCode = ExitCodes.Failed)
    : FourPartException(what, evidence, consequence, fix)
{
    /// <summary>The exit code of the program.</summary>
    public int ExitCode { get; } = exitCode;
}

/// <summary>The exit codes of <c>ipvs-generator</c>, the same as the launcher's.</summary>
public static class ExitCodes
{
    /// <summary>Everything was done.</summary>
    public const int Ok = 0;

    /// <summary>Something failed, or <c>check</c> found drift, or a part of the input was left out.</summary>
    public const int Failed = 1;

    /// <summary>This machine cannot do it: no root, no IPVS, a missing tool.</summary>
    public const int CannotRunHere = 3;

    /// <summary>The command line is wrong (EX_USAGE of sysexits.h).</summary>
    public const int Usage = 64;

    /// <summary>Interrupted by Ctrl-C.</summary>
    public const int Interrupted = 130;
}
