using Conformance.Labs;

namespace Conformance.Clusters;

/// <summary>
/// A proxy that has served programs nothing any more. Whether a test is to blame depends on who else changes the cluster.
/// </summary>
public sealed class ProxyStalledException(string what, string evidence, string consequence, string fix)
    : HarnessException(what, evidence, consequence, fix);
