using System.Globalization;
using System.Net;
using System.Text;
using System.Text.Json.Nodes;
using Conformance.Generator.Input;
using Conformance.Linux;
using Conformance.Topologies;

namespace Conformance.Harness.Kubernetes;

/// <summary>Manifests as the API server would store them: as JSON, with the defaults of the API.</summary>
internal static class Manifests
{
    /// <param name="text">YAML or JSON; documents, and lists.</param>
    /// <exception cref="HarnessException">The text is neither.</exception>
    internal static IReadOnlyList<JsonObject> Read(string text)
    {
        var objects = new List<JsonObject>();
        try
        {
            if (text.AsSpan().TrimStart() is ['{', ..])
                JsonTrees.Read(Encoding.UTF8.GetBytes(text), (tree, _) => Add(tree));
            else
                foreach (var (line, document) in YamlTrees.Documents(text))
                    YamlTrees.Read(document, line, (tree, _) => Add(tree));
        }
        catch (SyntaxException e)
        {
            throw new HarnessException("The manifests cannot be read.", $"line {e.Line}: {e.Message}", "No object was taken.", "Correct the text.");
        }
        return objects;

        void Add(Tree tree)
        {
            if (tree.Kind == TreeKind.Mapping)
                objects.Add(WithDefaults(ToJson(tree)!.AsObject()));
        }
    }

    /// <summary>The addresses, protocols and ports of an EndpointSlice; nothing of other objects.</summary>
    internal static IEnumerable<(IPAddress Address, TransportProtocol Protocol, int Port)> EndpointsOf(JsonObject item)
    {
        if (item["kind"]?.GetValue<string>() != "EndpointSlice")
            yield break;
        foreach (var port in item["ports"]?.AsArray().OfType<JsonObject>() ?? [])
        {
            foreach (var text in (item["endpoints"]?.AsArray().OfType<JsonObject>() ?? []).SelectMany(e => e["addresses"]?.AsArray() ?? []).OfType<JsonValue>())
            {
                if (IPAddress.TryParse(text.ToString(), out var address) && int.TryParse(port["port"]?.ToString(), CultureInfo.InvariantCulture, out var number)
                    && Enum.TryParse<TransportProtocol>(port["protocol"]?.ToString(), ignoreCase: true, out var protocol))
                {
                    yield return (address, protocol, number);
                }
            }
        }
    }

    private static JsonNode? ToJson(Tree tree) => tree.Kind switch
    {
        TreeKind.Null => null,
        TreeKind.Text => JsonValue.Create(tree.Text),
        TreeKind.Plain => tree.Text is "true" or "false" || (tree.Text.Length > 0 && tree.Text.TrimStart('-').All(char.IsAsciiDigit)) ? JsonNode.Parse(tree.Text) : JsonValue.Create(tree.Text),
        TreeKind.Sequence => new JsonArray([.. tree.Items.Select(ToJson)]),
        TreeKind.Mapping => new JsonObject(tree.Members.Select(m => KeyValuePair.Create(m.Key, ToJson(m.Value)))),
        _ => throw new SyntaxException(tree.Line, tree.Text),
    };

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
        if (spec["ipFamilies"] is not null || spec["clusterIPs"] is not JsonArray { Count: > 0 } ips || ips[0]!.GetValue<string>() == "None")
            return;
        spec["ipFamilies"] = new JsonArray([.. ips.Select(i => JsonValue.Create(i!.GetValue<string>().Contains(':', StringComparison.Ordinal) ? "IPv6" : "IPv4"))]);
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
