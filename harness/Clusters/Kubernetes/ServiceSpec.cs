using System.Net;
using System.Net.Sockets;
using System.Text.Json.Nodes;
using Conformance.Labs;
using Conformance.Linux;

namespace Conformance.Clusters.Kubernetes;

/// <summary>A port of a Service: where it listens, and the port of the endpoints that it stands for.</summary>
public sealed record PortSpec(int Port, int TargetPort = 8080, TransportProtocol Protocol = TransportProtocol.Tcp, int NodePort = 0)
{
    /// <summary>Names the port in Service and slices.</summary>
    public string Name => string.Create(System.Globalization.CultureInfo.InvariantCulture, $"{Protocol.Name()}-{Port}");
}

/// <summary>An endpoint of a Service: a pod of the lab, in one of the states that an EndpointSlice tells.</summary>
public sealed record EndpointSpec(string Pod, bool IsReady = true, bool IsServing = true, bool IsTerminating = false)
{
    /// <summary>The zone whose clients should use it (a topology hint); null for no hint.</summary>
    public string? ForZone { get; init; }

    /// <summary>The node whose clients should use it (hints.forNodes); null for no hint.</summary>
    public string? ForNode { get; init; }

    /// <summary>The pod's name in the endpoint's targetRef; another than the lab's where an earlier pod had its address.</summary>
    public string PodName { get; init; } = Pod;

    /// <summary>Which of the Service's slices it stands in; an API server divides a Service's endpoints as it likes.</summary>
    public int Slice { get; init; }

    /// <summary>A ready endpoint.</summary>
    public static implicit operator EndpointSpec(string pod) => new(pod);

    /// <summary>A pod that is being deleted and still answers.</summary>
    public static EndpointSpec Terminating(string pod) => new(pod, IsReady: false, IsServing: true, IsTerminating: true);

    /// <summary>A pod that is being deleted and answers no more.</summary>
    public static EndpointSpec Ended(string pod) => new(pod, IsReady: false, IsServing: false, IsTerminating: true);

    /// <summary>An endpoint that is neither ready nor serving.</summary>
    public static EndpointSpec NotReady(string pod) => new(pod, IsReady: false, IsServing: false);
}

/// <summary>A Service and its endpoints, as a test wants them; an immutable value, written with the API's names.</summary>
public sealed record ServiceSpec(string Name)
{
    /// <summary>spec.type: ClusterIP, NodePort, LoadBalancer or ExternalName.</summary>
    public string Type { get; init; } = "ClusterIP";

    /// <summary>spec.clusterIPs, one for each family.</summary>
    public IReadOnlyList<string> ClusterIPs { get; init; } = [];

    /// <summary>spec.ports.</summary>
    public IReadOnlyList<PortSpec> Ports { get; init; } = [new(80)];

    /// <summary>spec.externalIPs.</summary>
    public IReadOnlyList<string> ExternalIPs { get; init; } = [];

    /// <summary>status.loadBalancer.ingress[].ip.</summary>
    public IReadOnlyList<string> LoadBalancerIPs { get; init; } = [];

    /// <summary>spec.loadBalancerSourceRanges.</summary>
    public IReadOnlyList<string> SourceRanges { get; init; } = [];

    /// <summary>metadata.creationTimestamp (RFC 3339); null for none.</summary>
    public string? CreatedAt { get; init; }

    /// <summary>spec.externalTrafficPolicy: Cluster or Local.</summary>
    public string ExternalTrafficPolicy { get; init; } = "Cluster";

    /// <summary>spec.internalTrafficPolicy: Cluster or Local.</summary>
    public string InternalTrafficPolicy { get; init; } = "Cluster";

    /// <summary>Session affinity by the client's address.</summary>
    public bool HasAffinity { get; init; }

    /// <summary>How long the affinity lasts; 0 for the API's default.</summary>
    public int AffinitySeconds { get; init; }

    /// <summary>What a load balancer gives instead of an address; null for none.</summary>
    public string? LoadBalancerName { get; init; }

    /// <summary>trafficDistribution (KEP-4444); null for none.</summary>
    public string? TrafficDistribution { get; init; }

    /// <summary>ipMode of the load balancer's addresses: VIP, or Proxy for one that answers by itself (KEP-1860).</summary>
    public string LoadBalancerMode { get; init; } = "VIP";

    /// <summary>metadata.annotations.</summary>
    public IReadOnlyDictionary<string, string> Annotations { get; init; } = new Dictionary<string, string>(StringComparer.Ordinal);

    /// <summary>spec.healthCheckNodePort; 0 lets the API server allocate one.</summary>
    public int HealthCheckNodePort { get; init; }

    /// <summary>metadata.labels.</summary>
    public IReadOnlyDictionary<string, string> Labels { get; init; } = new Dictionary<string, string>(StringComparer.Ordinal);

    /// <summary>The endpoints of its slices.</summary>
    public IReadOnlyList<EndpointSpec> Endpoints { get; init; } = [];

    /// <summary>The first address, as a target of a flow.</summary>
    public string Target(int port = 80) => string.Create(System.Globalization.CultureInfo.InvariantCulture,
        $"{new IPEndPoint(IPAddress.Parse(ClusterIPs[0]), port)}");

    /// <summary>The node port of the first port.</summary>
    public int NodePort => Ports[0].NodePort;

    /// <summary>The Service as a manifest.</summary>
    internal string ServiceManifest() => new JsonObject
    {
        ["apiVersion"] = "v1",
        ["kind"] = "Service",
        ["metadata"] = new JsonObject
        {
            ["name"] = Name,
            ["creationTimestamp"] = CreatedAt,
            ["labels"] = Texts(Labels),
            ["annotations"] = Texts(Annotations)
        },
        ["spec"] = Spec(),
        ["status"] = new JsonObject { ["loadBalancer"] = new JsonObject { ["ingress"] = Ingress() } },
    }.ToJsonString();

    /// <summary>The slices: one for each family, and more where endpoints say so.</summary>
    internal IEnumerable<(string Name, string Manifest)> SliceManifests(Lab lab) =>
        from family in ClusterIPs.Select(a => IPAddress.Parse(a).AddressFamily).Distinct()
        from slice in Endpoints.Select(e => e.Slice).DefaultIfEmpty().Distinct()
        let type = family == AddressFamily.InterNetwork ? "IPv4" : "IPv6"
        let name = $"{Name}-{type[^1]}{(slice == 0 ? "" : $"-{slice}")}"
        select (name, new JsonObject
        {
            ["apiVersion"] = "discovery.k8s.io/v1",
            ["kind"] = "EndpointSlice",
            ["metadata"] = new JsonObject { ["name"] = name, ["labels"] = new JsonObject { ["kubernetes.io/service-name"] = Name } },
            ["addressType"] = type,
            ["ports"] = new JsonArray(
                [.. Ports.Select(p => new JsonObject { ["name"] = p.Name, ["port"] = p.TargetPort,
                    ["protocol"] = p.Protocol.UpperName() })]),
            ["endpoints"] = new JsonArray([.. Endpoints.Where(e => e.Slice == slice).Select(e => Endpoint(e, lab[e.Pod], family))]),
        }.ToJsonString());

    private static JsonObject Endpoint(EndpointSpec endpoint, Node pod, AddressFamily family)
    {
        var item = new JsonObject
        {
            ["addresses"] = new JsonArray(pod.Spec.Interfaces[0].Addresses.First(a => a.AddressFamily == family).ToString()),
            ["conditions"] = new JsonObject
            {
                ["ready"] = endpoint.IsReady,
                ["serving"] = endpoint.IsServing,
                ["terminating"] = endpoint.IsTerminating
            },
            ["nodeName"] = pod.Spec.Interfaces[0].Network.Host,
            ["targetRef"] = new JsonObject
            {
                ["kind"] = "Pod",
                ["namespace"] = "default",
                ["name"] = endpoint.PodName,
                ["uid"] = $"uid-{endpoint.PodName}"
            },
        };
        if (endpoint.ForZone is { } zone)
            item["hints"] = new JsonObject { ["forZones"] = new JsonArray(new JsonObject { ["name"] = zone }) };
        if (endpoint.ForNode is { } node)
            item["hints"] = new JsonObject
            {
                ["forZones"] = new JsonArray(new JsonObject { ["name"] = "zone-elsewhere" }),
                ["forNodes"] = new JsonArray(new JsonObject { ["name"] = node })
            };
        return item;
    }

    private JsonArray Ingress()
    {
        var ingress = LoadBalancerIPs.Select(ip => new JsonObject { ["ip"] = ip, ["ipMode"] = LoadBalancerMode });
        return new JsonArray([.. LoadBalancerName is null ? ingress : ingress.Append(new JsonObject { ["hostname"] = LoadBalancerName })]);
    }

    private JsonObject Spec()
    {
        var spec = new JsonObject
        {
            ["type"] = Type,
            ["clusterIPs"] = Strings(ClusterIPs),
            ["internalTrafficPolicy"] = InternalTrafficPolicy,
            ["ports"] = new JsonArray(
                [.. Ports.Select(p => new JsonObject { ["name"] = p.Name, ["port"] = p.Port, ["targetPort"] = p.TargetPort,
                    ["protocol"] = p.Protocol.UpperName(), ["nodePort"] = p.NodePort })]),
            ["sessionAffinity"] = HasAffinity ? "ClientIP" : "None",
        };
        if (HasAffinity && AffinitySeconds > 0)
            spec["sessionAffinityConfig"] = new JsonObject { ["clientIP"] = new JsonObject { ["timeoutSeconds"] = AffinitySeconds } };
        if (ExternalIPs.Count > 0)
            spec["externalIPs"] = Strings(ExternalIPs);
        if (Type != "ClusterIP" || ExternalIPs.Count > 0)
            spec["externalTrafficPolicy"] = ExternalTrafficPolicy;
        if (TrafficDistribution is not null)
            spec["trafficDistribution"] = TrafficDistribution;
        if (SourceRanges.Count > 0)
            spec["loadBalancerSourceRanges"] = Strings(SourceRanges);
        if (HealthCheckNodePort > 0)
            spec["healthCheckNodePort"] = HealthCheckNodePort;
        return spec;
    }

    private static JsonObject Texts(IReadOnlyDictionary<string, string> texts) =>
        new(texts.Select(t => KeyValuePair.Create(t.Key, (JsonNode?)t.Value)));

    private static JsonArray Strings(IEnumerable<string> texts) => new([.. texts.Select(t => JsonValue.Create(t))]);
}
