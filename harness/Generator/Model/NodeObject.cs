using System.Net;

namespace Conformance.Generator.Model;

/// <summary>What a proxy needs of its own v1 Node.</summary>
public sealed record NodeObject(string Name, string? Zone, IReadOnlyList<IPNetwork> PodCidrs, IReadOnlyList<IPAddress> InternalIPs)
{
    /// <summary>
    /// Whether it is being deleted, or the cluster's autoscaler is about to: load balancers should send it no new connections (KEP-3836).
    /// </summary>
    public bool IsLeaving { get; init; }
}
