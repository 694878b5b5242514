using System.Net;
using Conformance.Linux;
using Conformance.Linux.Ipvs;

namespace Conformance.Generator.Model;

/// <summary>An object's namespace and name.</summary>
public readonly record struct ObjectName(string Namespace, string Name)
{
    /// <summary>By namespace, then name.</summary>
    internal static readonly IComparer<ObjectName> Order = Comparer<ObjectName>.Create((a, b) =>
        string.CompareOrdinal(a.Namespace, b.Namespace) is var order and not 0 ? order : string.CompareOrdinal(a.Name, b.Name));

    /// <inheritdoc/>
    public override string ToString() => $"{Namespace}/{Name}";
}

/// <summary>A port of a Service. NodePort is 0 where there is none; the name finds the endpoints' port.</summary>
public sealed record ServicePort(string Name, TransportProtocol Protocol, ushort Port, ushort NodePort);

/// <summary>
/// What a proxy needs of a v1 Service (Kubernetes API reference, Service). What it must not touch (headless,
/// ExternalName, another proxy's) is in <see cref="IsProxied"/>.
/// </summary>
public sealed record Service
{
    /// <summary>The annotation by which a Service chooses its scheduler; an extension of ours.</summary>
    public const string SchedulerAnnotation = "ipvs.conformance/scheduler";

    /// <summary>Session affinity without a time of its own: three hours (API default).</summary>
    public const int DefaultAffinitySeconds = 10800;

    /// <summary>Namespace and name.</summary>
    public required ObjectName Name { get; init; }

    /// <summary>When it was created; the older of two keeps what both claim. Earliest when the object does not say.</summary>
    public DateTimeOffset CreatedAt { get; init; } = DateTimeOffset.MinValue;

    /// <summary>
    /// Whether a service proxy serves it: it is neither headless, nor of type ExternalName, nor labelled for another proxy.
    /// </summary>
    public bool IsProxied { get; init; } = true;

    /// <summary>Whether the type is LoadBalancer; node ports and addresses speak for themselves.</summary>
    public bool IsLoadBalancer { get; init; }

    /// <summary>Whether the type admits an external traffic policy: LoadBalancer, NodePort, or ClusterIP with external IPs.</summary>
    public bool AcceptsExternalTraffic { get; init; }

    /// <summary>spec.clusterIPs.</summary>
    public IReadOnlyList<IPAddress> ClusterIPs { get; init; } = [];

    /// <summary>spec.externalIPs.</summary>
    public IReadOnlyList<IPAddress> ExternalIPs { get; init; } = [];

    /// <summary>The addresses of status.loadBalancer.ingress that the proxy serves: those whose ipMode is not Proxy (KEP-1860).</summary>
    public IReadOnlyList<IPAddress> LoadBalancerIPs { get; init; } = [];

    /// <summary>spec.loadBalancerSourceRanges.</summary>
    public IReadOnlyList<IPNetwork> LoadBalancerSourceRanges { get; init; } = [];

    /// <summary>spec.ports.</summary>
    public IReadOnlyList<ServicePort> Ports { get; init; } = [];

    /// <summary>Whether spec.externalTrafficPolicy is Local.</summary>
    public bool ExternalPolicyIsLocal { get; init; }

    /// <summary>Whether spec.internalTrafficPolicy is Local.</summary>
    public bool InternalPolicyIsLocal { get; init; }

    /// <summary>0 where there is none. Only a LoadBalancer with externalTrafficPolicy Local has one.</summary>
    public ushort HealthCheckNodePort { get; init; }

    /// <summary>Session affinity ClientIP in seconds; 0 for none.</summary>
    public int AffinitySeconds { get; init; }

    /// <summary>The Service's own scheduler; null for the configured one.</summary>
    public string? Scheduler { get; init; }

    /// <summary>Whether topology hints are to be followed (annotation topology-mode).</summary>
    public bool UsesTopologyHints { get; init; }

    /// <summary>Whether trafficDistribution asks for the same (KEP-4444), which kube-proxy v1.30 does not know.</summary>
    public bool PrefersCloseEndpoints { get; init; }
}
