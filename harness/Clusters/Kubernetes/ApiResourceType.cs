using System.Text.Json.Nodes;
using Conformance.Labs;

namespace Conformance.Clusters.Kubernetes;

/// <summary>A resource of the API: where it is, and what its objects are called.</summary>
internal sealed record ApiResourceType(string ApiVersion, string Kind, string Plural, bool IsNamespaced)
{
    private static readonly ApiResourceType[] s_all =
    [
        new("v1", "Service", "services", true),
        new("v1", "Node", "nodes", false),
        new("discovery.k8s.io/v1", "EndpointSlice", "endpointslices", true),
        new("networking.k8s.io/v1", "ServiceCIDR", "servicecidrs", false), // kube-proxy lists them since v1.33; a cluster may have none
        new("networking.k8s.io/v1beta1", "ServiceCIDR", "servicecidrs", false),
    ];

    /// <exception cref="HarnessException">It is a kind that this API server does not have.</exception>
    internal static ApiResourceType Of(JsonObject item) => Of(item["apiVersion"]?.GetValue<string>() ?? "",
        item["kind"]?.GetValue<string>() ?? "");

    /// <exception cref="HarnessException">It is a kind that this API server does not have.</exception>
    internal static ApiResourceType Of(string apiVersion, string kind) =>
        s_all.FirstOrDefault(t => t.ApiVersion == apiVersion && t.Kind == kind)
        ?? throw new HarnessException($"The API server has no {apiVersion} {kind}.",
            $"It has {string.Join(", ", s_all.Select(t => t.Kind).Distinct(StringComparer.Ordinal))}.", "The object was not taken.",
            "Leave it out: a service proxy does not read it.");

    internal static ApiResourceType OfKind(string kind) => s_all.First(t => t.Kind == kind);

    /// <summary>The resource, namespace and name that a path asks for; null when there is no such resource.</summary>
    internal static (ApiResourceType Type, string? Namespace, string? Name)? Find(string path)
    {
        var words = path.Split('/', StringSplitOptions.RemoveEmptyEntries);
        var (version, rest) = words switch
        {
            ["api", var v, ..] => (v, words[2..]),
            ["apis", var g, var v, ..] => ($"{g}/{v}", words[3..]),
            _ => ("", []),
        };
        var ns = rest is ["namespaces", var named, ..] ? named : null;
        if (ns is not null)
            rest = rest[2..];
        if (rest.Length is not (1 or 2) || s_all.FirstOrDefault(t => t.ApiVersion == version && t.Plural == rest[0]) is not { } type)
            return null;
        return (type, ns, rest.Length == 2 ? rest[1] : null);
    }
}
