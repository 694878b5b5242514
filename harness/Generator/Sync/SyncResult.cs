namespace Conformance.Generator.Sync;

/// <summary>What a sync did.</summary>
/// <param name="Messages">Netlink messages and documents sent.</param>
/// <param name="IsBroken">
/// Whether more failed than single virtual servers, real servers or addresses: what a Service asks for and the kernel
/// refuses (a scheduler that it lacks) is logged and retried, but is no fault of this node's.
/// </param>
public sealed record SyncResult(int Messages, IReadOnlyCollection<Change> Changes, IReadOnlyList<string> Errors, bool IsBroken)
{
    /// <summary>Whether nothing failed.</summary>
    public bool IsGood => Errors.Count == 0 && !IsBroken;
}
