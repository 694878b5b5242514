using System.Buffers;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using Conformance.Generator.Model;
using Conformance.Linux;
using Conformance.Linux.Ipvs;

namespace Conformance.Generator.Sources;

/// <summary>A valid object that a service proxy does not need.</summary>
internal sealed record NotOurs(string Reason);

/// <summary>Turns a tree into the object that it describes, with the API's defaults.</summary>
internal static class ObjectReader
{
    private const string HeadlessLabel = "service.kubernetes.io/headless";
    private const string ProxyNameLabel = "service.kubernetes.io/service-proxy-name";
    private const string ServiceNameLabel = "kubernetes.io/service-name";
    private const string ZoneLabel = "topology.kubernetes.io/zone";

    /// <summary>What the cluster's autoscaler puts on a node before it deletes it.</summary>
    private const string LeavingTaint = "ToBeDeletedByClusterAutoscaler";

    /// <summary>The characters of a label (RFC 1123).</summary>
    private static readonly SearchValues<char> s_ofLabels = SearchValues.Create("abcdefghijklmnopqrstuvwxyz0123456789-");

    /// <summary>RFC 3339, as metav1.Time has it.</summary>
    private static readonly string[] s_times = ["yyyy-MM-dd'T'HH:mm:ss'Z'", "yyyy-MM-dd'T'HH:mm:ss.FFFFFFF'Z'",
        "yyyy-MM-dd'T'HH:mm:sszzz", "yyyy-MM-dd'T'HH:mm:ss.FFFFFFFzzz"];

    /// <param name="problems">Takes the values that are invalid and were skipped, of an object that can be served without them.</param>
    /// <returns>A Service, EndpointSlice or NodeObject, or <see cref="NotOurs"/>.</returns>
    /// <exception cref="InvalidFieldException">The object is not what the API says.</exception>
    internal static object Read(Tree tree, List<InvalidFieldException> problems)
    {
        var root = new Field(tree);
        var (version, kind) = (root["apiVersion"], root["kind"].Text);
        return (version.Text, kind) switch
        {
            ("v1", "Service") => Read(ObjectKind.Service, tree, problems),
            ("discovery.k8s.io/v1", "EndpointSlice") => Read(ObjectKind.EndpointSlice, tree, problems),
            ("v1", "Node") => Read(ObjectKind.Node, tree, problems),
            (_, null or "") => throw root["kind"].Invalid("is required"),
            (null or "", _) => throw version.Invalid("is required"),
            // Other groups have kinds of these names too; another version of our own group is a mistake.
            ({ } other, "Service" or "Node") when !other.Contains('/', StringComparison.Ordinal) => throw version.Invalid("must be v1"),
            ({ } other, "EndpointSlice") when other.StartsWith("discovery.k8s.io/", StringComparison.Ordinal) =>
            throw version.Invalid("must be discovery.k8s.io/v1"),
            ("v1" or "discovery.k8s.io/v1", _) when Enum.GetNames<ObjectKind>()
            .FirstOrDefault(k => k.Equals(kind, StringComparison.OrdinalIgnoreCase)) is { } meant && meant != kind => throw root["kind"]
            .Invalid($"must be {meant}"),
            _ => new NotOurs("a service proxy needs Services, EndpointSlices and Nodes only"),
        };
    }

    /// <summary>The items of a list that was read whole (an alias stood for them); null for what is no list.</summary>
    /// <exception cref="InvalidFieldException">Its items are not a list.</exception>
    internal static IReadOnlyList<Tree>? ItemsOf(Tree tree)
    {
        if (tree.Kind != TreeKind.Mapping || tree["kind"]?.Text.EndsWith("List", StringComparison.Ordinal) != true)
            return null;
        var items = new Field(tree)["items"];
        return items.IsThere && items.Items.Any() ? tree["items"]!.Items : [];
    }

    /// <summary>An object of a kind that is known: the items of an API server's lists do not tell theirs.</summary>
    /// <inheritdoc cref="Read(Tree, List{InvalidFieldException})" path="/param"/>
    /// <returns>As above.</returns>
    /// <exception cref="InvalidFieldException">The object is not what the API says.</exception>
    internal static object Read(ObjectKind kind, Tree tree, List<InvalidFieldException> problems)
    {
        var root = new Field(tree);
        return kind switch
        {
            ObjectKind.Service => ReadService(root, problems),
            ObjectKind.EndpointSlice => ReadSlice(root, problems),
            _ => ReadNode(root, problems),
        };
    }

    /// <summary>The kind and name of an object that may be invalid; null for what is none of a proxy's kinds, or has no name.</summary>
    internal static ObjectKey? KeyOf(Tree tree) => tree.Kind == TreeKind.Mapping
        && Enum.TryParse<ObjectKind>(tree["kind"]?.Text, out var kind) ? KeyOf(kind, tree) : null;

    /// <summary>The name of an object that may be invalid; null where there is none.</summary>
    internal static ObjectKey? KeyOf(ObjectKind kind, Tree tree)
    {
        var metadata = tree.Kind == TreeKind.Mapping ? tree["metadata"] : null;
        if (metadata?["name"] is not { Text.Length: > 0 } name)
            return null;
        return new ObjectKey(kind, new ObjectName(kind == ObjectKind.Node ? "" : metadata["namespace"] is { Text.Length: > 0 } ns
            ? ns.Text : "default", name.Text));
    }

    /// <summary>The kind and name of an object that may be invalid, for messages.</summary>
    internal static string Describe(Tree tree)
    {
        if (tree.Kind != TreeKind.Mapping)
            return "an object";
        var metadata = tree["metadata"];
        var name = $"{(metadata?["namespace"] is { } ns ? $"{ns.Text}/" : "")}{metadata?["name"]?.Text}";
        return $"{tree["kind"]?.Text ?? "an object"} {name}".TrimEnd();
    }

    private static ObjectName NameOf(Field root, bool isLabel = false) =>
        new(root["metadata"]["namespace"].IsThere ? Label(root["metadata"]["namespace"]) : "default", isLabel
            ? Label(root["metadata"]["name"]) : NameIn(root["metadata"]["name"]));

    /// <summary>A name as most objects have it: labels with dots between (RFC 1123, subdomain).</summary>
    private static string NameIn(Field field)
    {
        var name = field.RequiredText;
        return name.Length <= 253 && AreLabels(name) ? name
            : throw field.Invalid(
            "must be of lower-case letters, digits, '-' and single '.', at most 253 characters, with a letter or digit at each end");
    }

    /// <summary>A name without dots, of at most 63 characters (RFC 1123, label), as namespaces, Services and their ports have it.</summary>
    private static string Label(Field field)
    {
        var name = field.RequiredText;
        return name.Length <= 63 && IsLabel(name) ? name
            : throw field.Invalid(
            "must be of lower-case letters, digits and '-', at most 63 characters, with a letter or digit at each end");
    }

    private static bool AreLabels(ReadOnlySpan<char> name)
    {
        foreach (var part in name.Split('.'))
        {
            if (!IsLabel(name[part]))
                return false;
        }
        return true;
    }

    private static bool IsLabel(ReadOnlySpan<char> name) => name.Length > 0 && name[0] != '-' && name[^1] != '-'
        && !name.ContainsAnyExcept(s_ofLabels);

    private static string PortName(Field field) => field.Text is { Length: > 0 } ? Label(field) : "";

    private static Service ReadService(Field root, List<InvalidFieldException> problems)
    {
        var spec = root["spec"];
        var type = spec["type"].OneOf("ClusterIP", "NodePort", "LoadBalancer", "ExternalName");
        var labels = root["metadata"]["labels"];
        var annotations = root["metadata"]["annotations"];
        var clusterIPs = ClusterIPs(spec);
        var ports = Ports(spec["ports"]);
        if (type != "ExternalName" && clusterIPs is not null && ports.Count == 0)
            throw spec["ports"].Invalid("is required");
        var externalIPs = spec["externalIPs"].Each(f => f.Address(), problems);
        var acceptsExternal = type is "NodePort" or "LoadBalancer" || (type == "ClusterIP" && spec["externalIPs"].Items.Any());
        var externalIsLocal = spec["externalTrafficPolicy"].OneOf("Cluster", "Local") == "Local";
        if (type == "ClusterIP" && spec["ports"].Items.FirstOrDefault(p => p["nodePort"].Text is not (null or "0"))
            is { IsThere: true } withNodePort)
            throw withNodePort["nodePort"].Invalid("must not be there in a Service of type ClusterIP");
        if (externalIsLocal && !acceptsExternal && type == "ClusterIP")
            throw spec["externalTrafficPolicy"].Invalid("may be Local only where the outside can reach the Service");
        externalIsLocal &= acceptsExternal;
        // An entry may have a name instead. An empty address is what some controllers write for none.
        List<IPAddress> loadBalancerIPs = [.. root["status"]["loadBalancer"]["ingress"]
            .Each(i => i["ip"].Text is { Length: > 0 } && i["ipMode"].OneOf("VIP", "Proxy") == "VIP" ? i["ip"].Address() : null, problems)
            .OfType<IPAddress>()];
        var servers = (long)ports.Count * ((clusterIPs?.Count ?? 0) + externalIPs.Count + loadBalancerIPs.Count);
        if (servers > Limits.VirtualServers)
            throw spec["ports"].Invalid(string.Create(CultureInfo.InvariantCulture,
                $"are {ports.Count} on {servers / ports.Count} addresses: more than {Limits.VirtualServers} virtual servers for one " +
                $"Service are not made"));
        return new Service
        {
            Name = NameOf(root, isLabel: true),
            CreatedAt = CreatedAt(root["metadata"]["creationTimestamp"]),
            IsProxied = type != "ExternalName" && clusterIPs is { Count: > 0 } && !labels[HeadlessLabel].IsThere
            && !labels[ProxyNameLabel].IsThere,
            IsLoadBalancer = type == "LoadBalancer",
            AcceptsExternalTraffic = acceptsExternal,
            ClusterIPs = clusterIPs ?? [],
            ExternalIPs = externalIPs,
            LoadBalancerIPs = loadBalancerIPs,
            LoadBalancerSourceRanges = SourceRanges(spec["loadBalancerSourceRanges"], problems),
            Ports = ports,
            ExternalPolicyIsLocal = externalIsLocal,
            InternalPolicyIsLocal = spec["internalTrafficPolicy"].OneOf("Cluster", "Local") == "Local",
            HealthCheckNodePort = type == "LoadBalancer" && externalIsLocal ? (ushort)(spec["healthCheckNodePort"].Integer(0, 65535) ?? 0)
            : (ushort)0,
            AffinitySeconds = spec["sessionAffinity"].OneOf("None", "ClientIP") == "ClientIP"
                ? spec["sessionAffinityConfig"]["clientIP"]["timeoutSeconds"].Integer(1, 86400) ?? Service.DefaultAffinitySeconds
                : 0,
            Scheduler = SchedulerOf(annotations[Service.SchedulerAnnotation]),
            UsesTopologyHints = UsesHints(annotations),
            PrefersCloseEndpoints = spec["trafficDistribution"].Text is "PreferClose" or "PreferSameZone" or "PreferSameNode",
        };
    }

    /// <summary>
    /// A range that cannot be read is skipped, but the firewall stays closed: of ranges that are all invalid one is made that nobody is in.
    /// </summary>
    private static List<IPNetwork> SourceRanges(Field field, List<InvalidFieldException> problems)
    {
        var ranges = field.Each(f => f.Network(), problems);
        return ranges.Count == 0 && field.Items.Any() ? [IPNetwork.Parse("255.255.255.255/32"), IPNetwork.Parse("100::/128")] : ranges;
    }

    /// <summary>
    /// Any word but "disabled" asks for hints, and the older annotation's word counts before the newer one's: kube-proxy's
    /// canUseTopology (pkg/proxy/topology.go) and HintsAnnotation of pkg/proxy/serviceport.go.
    /// </summary>
    private static bool UsesHints(Field annotations)
    {
        var word = annotations["service.kubernetes.io/topology-aware-hints"].Text
            ?? annotations["service.kubernetes.io/topology-mode"].Text;
        return word is { Length: > 0 } and not ("disabled" or "Disabled");
    }

    /// <summary>Null for a headless Service.</summary>
    private static List<IPAddress>? ClusterIPs(Field spec)
    {
        var fields = spec["clusterIPs"].Items.ToList();
        if (fields.Count == 0 && spec["clusterIP"].Text is { Length: > 0 })
            fields = [spec["clusterIP"]];
        if (spec["clusterIP"].Text is { Length: > 0 } first && fields[0].Text != first)
            throw fields[0].Invalid($"must be the clusterIP {first}");
        if (fields.Any(f => f.Text == "None"))
            return fields.Count == 1 ? null : throw spec["clusterIPs"].Invalid("must have no other value beside None");
        var addresses = fields.ConvertAll(f => f.Address());
        if (addresses.Count > 2 || addresses.DistinctBy(a => a.AddressFamily).Count() < addresses.Count)
            throw spec["clusterIPs"].Invalid("must be one address, or one of each family");
        foreach (var (family, index) in spec["ipFamilies"].Items.Select((f, i) => (f, i)))
        {
            if (index < addresses.Count && family.OneOf("IPv4", "IPv6") == "IPv6" != (
                addresses[index].AddressFamily == AddressFamily.InterNetworkV6))
                throw family.Invalid($"must be the family of {addresses[index]}");
        }
        return addresses;
    }

    private static List<ServicePort> Ports(Field field)
    {
        var ports = new List<ServicePort>();
        var (names, numbers, nodePorts) = (new HashSet<string>(StringComparer.Ordinal), new HashSet<(TransportProtocol, ushort)>(),
            new HashSet<(TransportProtocol, ushort)>());
        foreach (var item in field.Items)
        {
            var port = new ServicePort(
                PortName(item["name"]), ProtocolOf(item["protocol"]),
                    (ushort)(item["port"].Integer(1, 65535) ?? throw item["port"].Invalid("is required")),
                (ushort)(item["nodePort"].Integer(0, 65535) ?? 0));
            if (!names.Add(port.Name))
                throw item["name"].Invalid("must be unique among the ports");
            if (!numbers.Add((port.Protocol, port.Port)))
                throw item["port"].Invalid("must be unique among the ports of its protocol");
            if (port.NodePort != 0 && !nodePorts.Add((port.Protocol, port.NodePort)))
                throw item["nodePort"].Invalid("must be unique among the node ports of its protocol");
            ports.Add(port);
        }
        if (ports.Count > 1 && ports.FindIndex(p => p.Name.Length == 0) is >= 0 and var unnamed)
            throw field.Items.ElementAt(unnamed)["name"].Invalid("is required where there are several ports");
        return ports;
    }

    private static TransportProtocol ProtocolOf(Field field) => field.OneOf("TCP", "UDP", "SCTP") switch
    {
        "UDP" => TransportProtocol.Udp,
        "SCTP" => TransportProtocol.Sctp,
        _ => TransportProtocol.Tcp,
    };

    private static string? SchedulerOf(Field field) =>
        field.Text is not { Length: > 0 } name ? null : Scheduler.IsName(name) ? name
            : throw field.Invalid("must be the name of a scheduler such as rr, wlc or mh");

    private static DateTimeOffset CreatedAt(Field field)
    {
        if (field.Text is not { Length: > 0 } text)
            return DateTimeOffset.MinValue;
        return DateTimeOffset.TryParseExact(text, s_times, CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal, out var time)
            ? time : throw field.Invalid("must be a time such as 2026-01-31T12:00:00Z");
    }

    private static object ReadSlice(Field root, List<InvalidFieldException> problems)
    {
        var family = root["addressType"].OneOf("", "IPv4", "IPv6", "FQDN");
        if (family.Length == 0)
            throw root["addressType"].Invalid("is required");
        var labels = root["metadata"]["labels"];
        var service = labels[ServiceNameLabel];
        // What an API server does not tell a proxy of: its list is asked for without these labels.
        if (family == "FQDN")
            return new NotOurs("its addresses are names (addressType FQDN)");
        if ((labels[HeadlessLabel].IsThere ? HeadlessLabel : labels[ProxyNameLabel].IsThere ? ProxyNameLabel : null) is { } label)
            return new NotOurs($"it has the label {label}");
        if (service.Text is not { Length: > 0 } serviceName)
            return new NotOurs($"it has no label {ServiceNameLabel}, and so belongs to no Service");
        var addressFamily = family == "IPv6" ? AddressFamily.InterNetworkV6 : AddressFamily.InterNetwork;
        var name = NameOf(root);
        return new EndpointSlice(
            name, name with { Name = serviceName }, family == "IPv6",
            [.. root["ports"].Each(p => p["port"].IsThere ? new SlicePort(PortName(p["name"]), ProtocolOf(p["protocol"]), (ushort)p["port"]
            .Integer(1, 65535)!) : null, problems).OfType<SlicePort>()],
            [.. root["endpoints"].Each(e => EndpointOf(e, addressFamily), problems).OfType<Endpoint>()]);
    }

    /// <returns>Null where there is no address.</returns>
    private static Endpoint? EndpointOf(Field item, AddressFamily family)
    {
        var conditions = item["conditions"];
        var ready = conditions["ready"].Bool ?? true;
        var serving = conditions["serving"].Bool ?? ready;
        var terminating = conditions["terminating"].Bool ?? false;
        var nodeName = item["nodeName"].Text;
        var (zones, nodes) = (Names(item["hints"]["forZones"]), Names(item["hints"]["forNodes"]));
        // The addresses of one endpoint are interchangeable; like kube-proxy we take the first. All are to be valid.
        IPAddress? first = null;
        foreach (var address in item["addresses"].Items)
        {
            var parsed = address.Address(family);
            first ??= parsed;
        }
        return first is null ? null : new Endpoint(first, ready, serving, terminating, nodeName, zones) { HintedNodes = nodes };

        static List<string>? Names(Field hints) => hints.IsThere ? [.. hints.Items.Select(h => h["name"].RequiredText)] : null;
    }

    private static NodeObject ReadNode(Field root, List<InvalidFieldException> problems)
    {
        var spec = root["spec"];
        var cidrs = spec["podCIDRs"].Each(f => f.Network(), problems);
        if (cidrs.Count == 0 && spec["podCIDR"].Text is { Length: > 0 } && !spec["podCIDRs"].Items.Any())
            cidrs = [spec["podCIDR"].Network()];
        return new NodeObject(
            NameIn(root["metadata"]["name"]), root["metadata"]["labels"][ZoneLabel].Text, cidrs,
            [.. root["status"]["addresses"].Each(a => a["type"].Text == "InternalIP" ? a["address"].Address() : null, problems)
            .OfType<IPAddress>()])
        {
            IsLeaving = root["metadata"]["deletionTimestamp"].IsThere || spec["taints"].Items.Any(t => t["key"].Text == LeavingTaint),
        };
    }
}
