using Conformance.Generator.Model;

namespace Conformance.Generator.Preflight;

/// <summary>A Service whose clients will notice when another proxy, or another mode of kube-proxy, takes over from the IPVS mode.</summary>
/// <param name="Kind">What it depends on, in a word: session-affinity, external-policy-local, …</param>
/// <param name="Service">The Service.</param>
/// <param name="Claims">The ids of the claims that show the difference.</param>
/// <param name="Evidence">What in the objects says so.</param>
/// <param name="Effect">What will be noticed.</param>
public sealed record Finding(string Kind, ObjectName Service, IReadOnlyList<string> Claims, string Evidence, string Effect)
{
    /// <inheritdoc/>
    public override string ToString() => $"Service {Service}: {Kind} ({string.Join(", ", Claims)})\n    {Evidence}\n    {Effect}";
}
