using System.Text.Json.Nodes;
using Conformance.Labs;

namespace Conformance.Clusters.Kubernetes;

/// <summary>A resource of the API: where it is, and what its objects are called.</summary>
/// <param name="HasStatus">Whether its status is a resource of its own, behind <c>/status</c>.</param>
internal sealed record ApiResourceType(string ApiVersion, string Kind, string Plural, bool IsNamespaced, bool HasStatus = false)
{
    /// <summary>
    /// What programs that follow a cluster's Services ask for; proxies watch the first ones, and agents of networks the others.
    /// </summary>
    internal static IReadOnlyList<ApiResourceType> All { get; } =
    [
        new("v1", "Service", "services", true, HasStatus: true),
        new("v1", "Node", "nodes", false, HasStatus: true),
        new("discovery.k8s.io/v1", "EndpointSlice", "endpointslices", true),
        new("networking.k8s.io/v1", "ServiceCIDR", "servicecidrs", false), // kube-proxy lists them since v1.33; a cluster may have none
        new("networking.k8s.io/v1beta1", "ServiceCIDR", "servicecidrs", false),
        new("v1", "Endpoints", "endpoints", true),
        new("v1", "Namespace", "namespaces", false, HasStatus: true),
        new("v1", "Pod", "pods", true, HasStatus: true),
        new("v1", "ConfigMap", "configmaps", true),
        new("v1", "Event", "events", true),
        new("events.k8s.io/v1", "Event", "events", true),
        new("networking.k8s.io/v1", "NetworkPolicy", "networkpolicies", true),
        new("coordination.k8s.io/v1", "Lease", "leases", true),
    ];

    /// <summary>The name of its group; empty for the core.</summary>
    internal string Group => ApiVersion.Contains('/', StringComparison.Ordinal) ? ApiVersion[..ApiVersion.IndexOf('/')] : "";

    /// <exception cref="HarnessException">It is a kind that this API server does not have.</exception>
    internal static ApiResourceType Of(JsonObject item) => Of(item["apiVersion"]?.GetValue<string>() ?? "",
        item["kind"]?.GetValue<string>() ?? "");

    /// <exception cref="HarnessException">It is a kind that this API server does not have.</exception>
    internal static ApiResourceType Of(string apiVersion, string kind) =>
        All.FirstOrDefault(t => t.ApiVersion == apiVersion && t.Kind == kind)
        ?? throw new HarnessException($"The API server has no {apiVersion} {kind}.",
            $"It has {string.Join(", ", All.Select(t => t.Kind).Distinct(StringComparer.Ordinal))}.", "The object was not taken.",
            "Leave it out: a service proxy does not read it.");

    internal static ApiResourceType OfKind(string kind) => All.First(t => t.Kind == kind);

    /// <summary>What a path asks for; null when there is no such resource.</summary>
    internal static ApiTarget? Find(string path)
    {
        var words = path.Split('/', StringSplitOptions.RemoveEmptyEntries);
        var (version, rest) = words switch
        {
            ["api", var v, ..] => (v, words[2..]),
            ["apis", var g, var v, ..] => ($"{g}/{v}", words[3..]),
            _ => ("", []),
        };
        var isInNamespace = rest is ["namespaces", _, not "status", ..];
        var ns = isInNamespace ? rest[1] : null;
        if (isInNamespace)
            rest = rest[2..];
        if (rest.Length is 0 or > 3 || All.FirstOrDefault(t => t.ApiVersion == version && t.Plural == rest[0]) is not { } type
            || (isInNamespace && !type.IsNamespaced) || (rest.Length == 3 && !(rest[2] == "status" && type.HasStatus))
            || (rest.Length > 1 && type.IsNamespaced && !isInNamespace))
        {
            return null;
        }
        return new ApiTarget(type, ns, rest.Length > 1 ? rest[1] : null, rest.Length == 3);
    }
}

/// <summary>What a request is about.</summary>
/// <param name="Namespace">Null for all namespaces, and for resources that are in none.</param>
/// <param name="Name">Null for a collection.</param>
/// <param name="IsStatus">Whether it is about the object's status only.</param>
internal sealed record ApiTarget(ApiResourceType Type, string? Namespace, string? Name, bool IsStatus);
