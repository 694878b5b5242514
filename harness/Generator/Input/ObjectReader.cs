using System.Globalization;
using System.Net;
using System.Net.Sockets;
using Conformance.Generator.Objects;
using Conformance.Kernel;

namespace Conformance.Generator.Input;

/// <summary>Turns a tree into the object that it describes, with the API's defaults.</summary>
internal static class ObjectReader
{
    private const string HeadlessLabel = "service.kubernetes.io/headless";
    private const string ProxyNameLabel = "service.kubernetes.io/service-proxy-name";
    private const string ServiceNameLabel = "kubernetes.io/service-name";
    private const string ZoneLabel = "topology.kubernetes.io/zone";

    /// <returns>A Service, EndpointSlice or NodeObject; null for a kind that is not a proxy's affair.</returns>
    /// <exception cref="InvalidFieldException">The object is not what the API says.</exception>
    internal static object? Read(Tree tree)
    {
        var root = new Field(tree, "", tree.Line);
        return (root["apiVersion"].Text, root["kind"].Text) switch
        {
            ("v1", "Service") => Read(ObjectKind.Service, tree),
            ("discovery.k8s.io/v1", "EndpointSlice") => Read(ObjectKind.EndpointSlice, tree),
            ("v1", "Node") => Read(ObjectKind.Node, tree),
            (_, null or "") => throw root["kind"].Invalid("is required"),
            _ => null,
        };
    }

    /// <summary>An object of a kind that is known: the items of an API server's lists do not tell theirs.</summary>
    /// <returns>Null for an EndpointSlice that is not a proxy's affair.</returns>
    /// <exception cref="InvalidFieldException">The object is not what the API says.</exception>
    internal static object? Read(ObjectKind kind, Tree tree)
    {
        var root = new Field(tree, "", tree.Line);
        return kind switch
        {
            ObjectKind.Service => ReadService(root),
            ObjectKind.EndpointSlice => ReadSlice(root),
            _ => ReadNode(root),
        };
    }

    /// <summary>The name of an object that may be invalid; null where there is none.</summary>
    internal static ObjectKey? KeyOf(ObjectKind kind, Tree tree)
    {
        var metadata = tree.Kind == TreeKind.Mapping ? tree["metadata"] : null;
        if (metadata?["name"] is not { Text.Length: > 0 } name)
            return null;
        return new ObjectKey(kind, new ObjectName(kind == ObjectKind.Node ? "" : metadata["namespace"]?.Text ?? "default", name.Text));
    }

    /// <summary>The kind and name of an object that may be invalid, for messages.</summary>
    internal static string Describe(Tree tree)
    {
        if (tree.Kind != TreeKind.Mapping)
            return "an object";
        var metadata = tree["metadata"];
        return $"{tree["kind"]?.Text ?? "an object"} {(metadata?["namespace"] is { } ns ? $"{ns.Text}/" : "")}{metadata?["name"]?.Text}".TrimEnd();
    }

    private static ObjectName NameOf(Field root) => new(root["metadata"]["namespace"].Text is { Length: > 0 } ns ? ns : "default", root["metadata"]["name"].RequiredText);

    private static Service ReadService(Field root)
    {
        var spec = root["spec"];
        var type = spec["type"].OneOf("ClusterIP", "NodePort", "LoadBalancer", "ExternalName");
        var labels = root["metadata"]["labels"];
        var annotations = root["metadata"]["annotations"];
        var clusterIPs = ClusterIPs(spec);
        var externalIPs = spec["externalIPs"].Items.Select(f => f.Address()).ToList();
        var acceptsExternal = type is "NodePort" or "LoadBalancer" || (type == "ClusterIP" && externalIPs.Count > 0);
        var externalIsLocal = spec["externalTrafficPolicy"].OneOf("Cluster", "Local") == "Local" && acceptsExternal;
        return new Service
        {
            Name = NameOf(root),
            CreatedAt = CreatedAt(root["metadata"]["creationTimestamp"]),
            IsProxied = type != "ExternalName" && clusterIPs is { Count: > 0 } && !labels[HeadlessLabel].IsThere && !labels[ProxyNameLabel].IsThere,
            IsLoadBalancer = type == "LoadBalancer",
            AcceptsExternalTraffic = acceptsExternal,
            ClusterIPs = clusterIPs ?? [],
            ExternalIPs = externalIPs,
            LoadBalancerIPs = [.. root["status"]["loadBalancer"]["ingress"].Items.Where(i => i["ip"].IsThere && i["ipMode"].OneOf("VIP", "Proxy") == "VIP").Select(i => i["ip"].Address())],
            LoadBalancerSourceRanges = [.. spec["loadBalancerSourceRanges"].Items.Select(f => f.Network())],
            Ports = Ports(spec["ports"]),
            ExternalPolicyIsLocal = externalIsLocal,
            InternalPolicyIsLocal = spec["internalTrafficPolicy"].OneOf("Cluster", "Local") == "Local",
            HealthCheckNodePort = type == "LoadBalancer" && externalIsLocal ? (ushort)(spec["healthCheckNodePort"].Integer(0, 65535) ?? 0) : (ushort)0,
            AffinitySeconds = spec["sessionAffinity"].OneOf("None", "ClientIP") == "ClientIP"
                ? spec["sessionAffinityConfig"]["clientIP"]["timeoutSeconds"].Integer(1, 86400) ?? Service.DefaultAffinitySeconds
                : 0,
            Scheduler = SchedulerOf(annotations[Service.SchedulerAnnotation]),
            UsesTopologyHints = annotations["service.kubernetes.io/topology-mode"].Text is "Auto" or "auto"
                || annotations["service.kubernetes.io/topology-aware-hints"].Text is "Auto" or "auto"
                || spec["trafficDistribution"].Text is "PreferClose" or "PreferSameZone" or "PreferSameNode",
        };
    }

    /// <summary>Null for a headless Service.</summary>
    private static List<IPAddress>? ClusterIPs(Field spec)
    {
        var fields = spec["clusterIPs"].Items.ToList();
        if (fields.Count == 0 && spec["clusterIP"].Text is { Length: > 0 })
            fields = [spec["clusterIP"]];
        return fields.Any(f => f.Text == "None") ? null : [.. fields.Select(f => f.Address())];
    }

    private static List<ServicePort> Ports(Field field)
    {
        var ports = new List<ServicePort>();
        foreach (var item in field.Items)
        {
            var port = new ServicePort(
                item["name"].Text ?? "", ProtocolOf(item["protocol"]), (ushort)(item["port"].Integer(1, 65535) ?? throw item["port"].Invalid("is required")),
                (ushort)(item["nodePort"].Integer(0, 65535) ?? 0));
            if (ports.Any(p => p.Name == port.Name))
                throw item["name"].Invalid("must be unique among the ports");
            if (ports.Any(p => p.Protocol == port.Protocol && p.Port == port.Port))
                throw item["port"].Invalid("must be unique among the ports of its protocol");
            ports.Add(port);
        }
        return ports;
    }

    private static IpProtocol ProtocolOf(Field field) => field.OneOf("TCP", "UDP", "SCTP") switch
    {
        "UDP" => IpProtocol.Udp,
        "SCTP" => IpProtocol.Sctp,
        _ => IpProtocol.Tcp,
    };

    private static string? SchedulerOf(Field field) =>
        field.Text is not { Length: > 0 } name ? null : Schedulers.IsName(name) ? name : throw field.Invalid("must be the name of a scheduler such as rr, wlc or mh");

    private static DateTimeOffset CreatedAt(Field field)
    {
        if (field.Text is not { Length: > 0 } text)
            return DateTimeOffset.MinValue;
        return DateTimeOffset.TryParse(text, CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal, out var time) ? time : throw field.Invalid("must be a time such as 2026-01-31T12:00:00Z");
    }

    private static EndpointSlice? ReadSlice(Field root)
    {
        var family = root["addressType"].OneOf("", "IPv4", "IPv6", "FQDN");
        if (family.Length == 0)
            throw root["addressType"].Invalid("is required");
        var service = root["metadata"]["labels"][ServiceNameLabel];
        if (family == "FQDN" || service.Text is not { Length: > 0 } serviceName)
            return null;
        var addressFamily = family == "IPv6" ? AddressFamily.InterNetworkV6 : AddressFamily.InterNetwork;
        var name = NameOf(root);
        return new EndpointSlice(
            name, name with { Name = serviceName }, family == "IPv6",
            [.. root["ports"].Items.Where(p => p["port"].IsThere).Select(p => new SlicePort(p["name"].Text ?? "", ProtocolOf(p["protocol"]), (ushort)p["port"].Integer(1, 65535)!))],
            [.. root["endpoints"].Items.SelectMany(e => Endpoints(e, addressFamily))]);
    }

    private static IEnumerable<Endpoint> Endpoints(Field item, AddressFamily family)
    {
        var conditions = item["conditions"];
        var ready = conditions["ready"].Bool ?? true;
        var serving = conditions["serving"].Bool ?? ready;
        var terminating = conditions["terminating"].Bool ?? false;
        var nodeName = item["nodeName"].Text;
        var (zones, nodes) = (Names(item["hints"]["forZones"]), Names(item["hints"]["forNodes"]));
        // The addresses of one endpoint are interchangeable; like kube-proxy we take the first.
        foreach (var address in item["addresses"].Items.Take(1))
            yield return new Endpoint(address.Address(family), ready, serving, terminating, nodeName, zones) { HintedNodes = nodes };

        static List<string>? Names(Field hints) => hints.IsThere ? [.. hints.Items.Select(h => h["name"].RequiredText)] : null;
    }

    private static NodeObject ReadNode(Field root)
    {
        var spec = root["spec"];
        var cidrs = spec["podCIDRs"].Items.Select(f => f.Network()).ToList();
        if (cidrs.Count == 0 && spec["podCIDR"].IsThere)
            cidrs = [spec["podCIDR"].Network()];
        return new NodeObject(
            root["metadata"]["name"].RequiredText, root["metadata"]["labels"][ZoneLabel].Text, cidrs,
            [.. root["status"]["addresses"].Items.Where(a => a["type"].Text == "InternalIP").Select(a => a["address"].Address())]);
    }
}
