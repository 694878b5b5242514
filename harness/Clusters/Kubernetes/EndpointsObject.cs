using System.Text.Json.Nodes;

namespace Conformance.Clusters.Kubernetes;

/// <summary>
/// The Endpoints object of a Service, which the endpoints controller of a cluster makes and older proxies follow: the addresses of the
/// Service's first family, those that are not ready apart.
/// </summary>
internal static class EndpointsObject
{
    internal const string ServiceLabel = "kubernetes.io/service-name";

    /// <param name="slices">All EndpointSlices of the Service.</param>
    /// <param name="addressType">IPv4 or IPv6: the Service's first family.</param>
    internal static JsonObject Of(string ns, string name, IEnumerable<JsonObject> slices, string addressType) => new()
    {
        ["apiVersion"] = "v1",
        ["kind"] = "Endpoints",
        ["metadata"] = new JsonObject { ["namespace"] = ns, ["name"] = name, ["creationTimestamp"] = "2026-01-01T00:00:00Z" },
        ["subsets"] = new JsonArray([.. slices.Where(s => s["addressType"]?.ToString() == addressType).Select(Subset)]),
    };

    private static JsonObject Subset(JsonObject slice)
    {
        var endpoints = slice["endpoints"]?.AsArray().OfType<JsonObject>().ToList() ?? [];
        var subset = new JsonObject { ["ports"] = slice["ports"]?.DeepClone() ?? new JsonArray() };
        foreach (var (key, isReady) in new[] { ("addresses", true), ("notReadyAddresses", false) })
        {
            var addresses = endpoints.Where(e => (e["conditions"]?["ready"]?.GetValue<bool>() ?? true) == isReady).SelectMany(Addresses)
                .ToList();
            if (addresses.Count > 0)
                subset[key] = new JsonArray([.. addresses]);
        }
        return subset;
    }

    private static IEnumerable<JsonObject> Addresses(JsonObject endpoint)
    {
        foreach (var address in endpoint["addresses"]?.AsArray() ?? [])
        {
            var item = new JsonObject { ["ip"] = address!.ToString() };
            foreach (var key in new[] { "nodeName", "targetRef" })
            {
                if (endpoint[key] is { } value)
                    item[key] = value.DeepClone();
            }
            yield return item;
        }
    }
}
