using System.Globalization;
using System.Net;
using System.Text.Json;
using System.Text.Json.Nodes;
using Conformance.Labs;
using Conformance.Linux;
using YamlDotNet.Core;

namespace Conformance.Clusters.Kubernetes;

/// <summary>Manifests as the API server would store them: as JSON, with the defaults of the API.</summary>
internal static class Manifests
{
    /// <param name="text">YAML or JSON; documents, and lists.</param>
    /// <exception cref="HarnessException">The text is neither.</exception>
    internal static IReadOnlyList<JsonObject> Read(string text)
    {
        try
        {
            var documents = text.AsSpan().TrimStart() is ['{', ..] ? [JsonNode.Parse(text)] : YamlDocuments.Read(text);
            return [.. documents.OfType<JsonObject>().SelectMany(Items).Select(WithDefaults)];
        }
        catch (Exception e) when (e is YamlException or JsonException)
        {
            var line = e is YamlException yaml ? yaml.Start.Line : ((JsonException)e).LineNumber + 1;
            throw new HarnessException("The manifests cannot be read.", $"line {line}: {e.Message}", "No object was taken.",
                "Correct the text.");
        }
    }

    /// <summary>The objects of a list (<c>kubectl get -o yaml</c>), or the object itself.</summary>
    private static IEnumerable<JsonObject> Items(JsonObject document) =>
        document["kind"]?.ToString() is { } kind && kind.EndsWith("List", StringComparison.Ordinal) && document["items"] is JsonArray items
            ? items.OfType<JsonObject>().Select(i => i.DeepClone().AsObject())
            : [document];

    /// <summary>The addresses, protocols and ports of an EndpointSlice; nothing of other objects.</summary>
    internal static IEnumerable<(IPAddress Address, TransportProtocol Protocol, int Port)> EndpointsOf(JsonObject item)
    {
        if (item["kind"]?.GetValue<string>() != "EndpointSlice")
            yield break;
        foreach (var port in item["ports"]?.AsArray().OfType<JsonObject>() ?? [])
        {
            foreach (var text in (item["endpoints"]?.AsArray().OfType<JsonObject>() ?? []).SelectMany(e => e["addresses"]?.AsArray() ?? [])
                .OfType<JsonValue>())
            {
                if (IPAddress.TryParse(text.ToString(), out var address)
                    && int.TryParse(port["port"]?.ToString(), CultureInfo.InvariantCulture, out var number)
                    && TransportProtocols.Parse(port["protocol"]?.ToString() ?? "TCP") is { } protocol)
                {
                    yield return (address, protocol, number);
                }
            }
        }
    }

    /// <summary>What clients may rely on: pkg/apis/core/v1/defaults.go and pkg/apis/discovery/v1/defaults.go of Kubernetes.</summary>
    private static JsonObject WithDefaults(JsonObject item)
    {
        var type = ApiResourceType.Of(item);
        var metadata = Child(item, "metadata");
        if (type.IsNamespaced)
            Default(metadata, "namespace", "default");
        Default(metadata, "creationTimestamp", "2026-01-01T00:00:00Z");
        if (type.Kind == "Service")
            DefaultService(Child(item, "spec"));
        if (type.Kind == "EndpointSlice")
            DefaultPorts(item);
        return item;
    }

    private static void DefaultService(JsonObject spec)
    {
        Default(spec, "type", "ClusterIP");
        Default(spec, "sessionAffinity", "None");
        DefaultPorts(spec);
        foreach (var port in spec["ports"]?.AsArray().OfType<JsonObject>() ?? [])
        {
            if (port["targetPort"] is null && port["port"] is { } number)
                port["targetPort"] = number.DeepClone();
        }
        if (spec["type"]!.GetValue<string>() == "ExternalName")
            return;
        Default(spec, "internalTrafficPolicy", "Cluster");
        if (spec["type"]!.GetValue<string>() is "NodePort" or "LoadBalancer" || spec["externalIPs"] is JsonArray { Count: > 0 })
            Default(spec, "externalTrafficPolicy", "Cluster");
        if (spec["clusterIPs"] is not JsonArray { Count: > 0 } && spec["clusterIP"] is { } address)
            spec["clusterIPs"] = new JsonArray(address.DeepClone());
        if (spec["clusterIP"] is null && spec["clusterIPs"] is JsonArray { Count: > 0 } addresses)
            spec["clusterIP"] = addresses[0]!.DeepClone();
        if (spec["ipFamilies"] is not null || spec["clusterIPs"] is not JsonArray { Count: > 0 } ips
            || ips[0]!.GetValue<string>() == "None")
            return;
        spec["ipFamilies"] =
            new JsonArray([.. ips.Select(i => JsonValue.Create(i!.GetValue<string>().Contains(':', StringComparison.Ordinal) ? "IPv6"
            : "IPv4"))]);
        Default(spec, "ipFamilyPolicy", ips.Count > 1 ? "RequireDualStack" : "SingleStack");
        if (spec["sessionAffinity"]!.GetValue<string>() == "ClientIP" && spec["sessionAffinityConfig"] is null)
            spec["sessionAffinityConfig"] = new JsonObject { ["clientIP"] = new JsonObject { ["timeoutSeconds"] = 10800 } };
    }

    private static void DefaultPorts(JsonObject owner)
    {
        foreach (var port in owner["ports"]?.AsArray().OfType<JsonObject>() ?? [])
            Default(port, "protocol", "TCP");
    }

    private static void Default(JsonObject owner, string key, string value) => owner[key] ??= value;

    private static JsonObject Child(JsonObject owner, string key)
    {
        if (owner[key] is JsonObject child)
            return child;
        owner[key] = child = [];
        return child;
    }
}
