using System.Globalization;
using System.Text.Json.Nodes;
using Conformance.Clusters.Kubernetes;
using Conformance.Generator.Model;
using Conformance.Linux;

namespace Conformance.KernelTests.Generator.Flows;

/// <summary>The objects of a case as manifests, which any proxy reads.</summary>
internal static class FlowManifests
{
    private const int FirstHealthCheckPort = 31900;

    /// <summary>Each object with its kind and name.</summary>
    internal static IEnumerable<(string Kind, string Name, string Manifest)> Of(FlowCase value) =>
        value.Slices.Select(s => ("EndpointSlice", s.Name.Name, Of(s)))
            .Concat(value.Services.Select(s => ("Service", s.Name.Name, Of(s))));

    private static string Of(Service service) => new ServiceSpec(service.Name.Name)
    {
        Type = service.IsLoadBalancer ? "LoadBalancer" : service.Ports.Any(p => p.NodePort != 0) ? "NodePort" : "ClusterIP",
        CreatedAt = service.CreatedAt.ToString("yyyy-MM-dd'T'HH:mm:ss'Z'", CultureInfo.InvariantCulture),
        ClusterIPs = [.. service.ClusterIPs.Select(a => a.ToString())],
        ExternalIPs = [.. service.ExternalIPs.Select(a => a.ToString())],
        LoadBalancerIPs = [.. service.LoadBalancerIPs.Select(a => a.ToString())],
        SourceRanges = [.. service.LoadBalancerSourceRanges.Select(r => r.ToString())],
        Ports = [.. service.Ports.Select(p => new PortSpec(p.Port, FlowCase.PodPort, p.Protocol, p.NodePort))],
        ExternalTrafficPolicy = service.ExternalPolicyIsLocal ? "Local" : "Cluster",
        InternalTrafficPolicy = service.InternalPolicyIsLocal ? "Local" : "Cluster",
        HasAffinity = service.AffinitySeconds > 0,
        AffinitySeconds = service.AffinitySeconds,
        HealthCheckNodePort = FirstHealthCheckPort + service.Name.Name[0], // one that is allocated could be what a flow asks for
        Annotations = service.UsesTopologyHints
            ? new Dictionary<string, string>(StringComparer.Ordinal) { ["service.kubernetes.io/topology-mode"] = "Auto" } : [],
    }.ServiceManifest();

    private static string Of(EndpointSlice slice) => new JsonObject
    {
        ["apiVersion"] = "discovery.k8s.io/v1",
        ["kind"] = "EndpointSlice",
        ["metadata"] = new JsonObject
        {
            ["name"] = slice.Name.Name,
            ["labels"] = new JsonObject { ["kubernetes.io/service-name"] = slice.Service.Name },
        },
        ["addressType"] = slice.IsIPv6 ? "IPv6" : "IPv4",
        // A Service's port finds its endpoints by its name.
        ["ports"] = new JsonArray([.. FlowCase.Ports.Select(p => new JsonObject
        {
            ["name"] = new PortSpec(p.Port, p.Port, p.Protocol).Name,
            ["port"] = FlowCase.PodPort,
            ["protocol"] = p.Protocol.UpperName(),
        })]),
        ["endpoints"] = new JsonArray([.. slice.Endpoints.Select(Of)]),
    }.ToJsonString();

    private static JsonObject Of(Endpoint endpoint)
    {
        var item = new JsonObject
        {
            ["addresses"] = new JsonArray(endpoint.Address.ToString()),
            ["conditions"] = new JsonObject
            {
                ["ready"] = endpoint.IsReady,
                ["serving"] = endpoint.IsServing,
                ["terminating"] = endpoint.IsTerminating,
            },
            ["nodeName"] = endpoint.NodeName,
        };
        if (endpoint.HintedZones is { } zones)
            item["hints"] = new JsonObject { ["forZones"] = new JsonArray([.. zones.Select(z => new JsonObject { ["name"] = z })]) };
        return item;
    }
}
