namespace Conformance.Labs.Waiting;

/// <summary>
/// Shows that a wait goes on. Every wait of the harness has a limit of its own and beats until then, so whoever watches the
/// tests can tell a long wait from a hang.
/// </summary>
public static class Heartbeat
{
    /// <summary>Called on any thread, often.</summary>
    public static Action Beaten { get; set; } = () => { };

    /// <summary>Reports that a wait goes on.</summary>
    public static void Beat() => Beaten();
}
