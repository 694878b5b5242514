using System.Net;

namespace Conformance.Generator.Objects;

/// <summary>What a proxy needs of its own v1 Node.</summary>
public sealed record NodeObject(string Name, string? Zone, IReadOnlyList<IPNetwork> PodCidrs, IReadOnlyList<IPAddress> InternalIPs);
