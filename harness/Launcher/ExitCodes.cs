using Conformance.Linux;

namespace Conformance.Launcher;

/// <summary>What the launcher's exit code says.</summary>
internal static class ExitCodes
{
    internal const int Ok = 0;

    /// <summary>Something was violated, broken, or invalid.</summary>
    internal const int Violated = 1;

    /// <summary>Nothing ran: no test was selected.</summary>
    internal const int NothingRan = 2;

    /// <summary>This machine cannot run it.</summary>
    internal const int CannotRunHere = 3;

    /// <summary>The command line is wrong (EX_USAGE of sysexits.h).</summary>
    internal const int Usage = 64;

    /// <summary>A fault of the launcher itself (EX_SOFTWARE of sysexits.h).</summary>
    internal const int Fault = CrashReport.ExitCode;

    /// <summary>Interrupted by Ctrl-C.</summary>
    internal const int Interrupted = 130;
}
