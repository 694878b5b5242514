using System.Net;
using System.Net.Http.Headers;
using System.Text.Json;
using Conformance.Clusters.Kubernetes;
using Conformance.Generator.Model;

namespace Conformance.Tests;

/// <summary>What kube-proxy v1.30.5 was recorded to ask of its API server, asked of ours.</summary>
public sealed class ApiServerTests
{
    [Test]
    public async Task Service_cidrs_are_an_empty_list([Values("v1", "v1beta1")] string version)
    {
        await using var server = await ApiServer.StartAsync(null, new IPEndPoint(IPAddress.Loopback, 0));
        using var http = new HttpClient { BaseAddress = server.Address };

        using var list = JsonDocument.Parse(
            await http.GetStringAsync(new Uri($"apis/networking.k8s.io/{version}/servicecidrs?limit=500&resourceVersion=0",
                UriKind.Relative)));

        list.RootElement.GetProperty("kind").GetString().ShouldBe("ServiceCIDRList");
        list.RootElement.GetProperty("apiVersion").GetString().ShouldBe($"networking.k8s.io/{version}");
        list.RootElement.GetProperty("items").GetArrayLength().ShouldBe(0);
    }

    [Test]
    public async Task Load_balancers_with_policy_local_get_a_health_check_node_port_each()
    {
        await using var server = await ApiServer.StartAsync(null, new IPEndPoint(IPAddress.Loopback, 0));
        server.Apply(Service("a", "LoadBalancer", "Local") + Service("b", "LoadBalancer", "Local")
            + Service("c", "LoadBalancer", "Cluster") + Service("d", "NodePort", "Local")
            + Service("e", "LoadBalancer", "Local", ", healthCheckNodePort: 32000"));
        using var http = new HttpClient { BaseAddress = server.Address };
        var before = await PortsAsync();
        server.Apply(Service("a", "LoadBalancer", "Local"));

        before.Values.ShouldBe([30000, 30001, 0, 0, 32000]);
        (await PortsAsync()).ShouldBe(before, "a change keeps the port");
        server.Delete("Service", "default", "a");
        server.Apply(Service("f", "LoadBalancer", "Local"));
        (await PortsAsync())["f"].ShouldBe(30000, "a port that is free again");

        async Task<SortedDictionary<string, int>> PortsAsync()
        {
            using var list = JsonDocument.Parse(await http.GetStringAsync(new Uri("api/v1/services", UriKind.Relative)));
            return new(list.RootElement.GetProperty("items").EnumerateArray().ToDictionary(
                s => s.GetProperty("metadata").GetProperty("name").GetString()!, s => s.GetProperty("spec")
                    .TryGetProperty("healthCheckNodePort", out var port) ? port.GetInt32() : 0, StringComparer.Ordinal),
                    StringComparer.Ordinal);
        }

        static string Service(string name, string type, string policy, string more = "") =>
            $"---\napiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\nspec: {{type: {type}, externalTrafficPolicy: {policy}, " +
                $"clusterIP: 10.96.0.1, ports: [{{port: 80}}]{more}}}\n";
    }

    private const string Labels = "labelSelector=%21service.kubernetes.io%2Fheadless%2C%21service.kubernetes.io%2Fservice-proxy-name";

    [Test]
    public async Task Each_request_of_a_real_kube_proxy_is_answered()
    {
        await using var server = await ApiServer.StartAsync(null, new IPEndPoint(IPAddress.Loopback, 0));
        server.Apply("apiVersion: v1\nkind: Node\nmetadata: {name: node1}\n---\napiVersion: v1\nkind: Service\nmetadata: {name: " +
            "web}\nspec: {clusterIP: 10.96.0.1, ports: [{port: 80}]}\n");
        using var http = new HttpClient { BaseAddress = server.Address };

        (await GetAsync("api/v1/nodes/node1")).GetProperty("metadata").GetProperty("name").GetString().ShouldBe("node1");
        (await GetAsync("api/v1/nodes?fieldSelector=metadata.name%3Dnode1&limit=500&resourceVersion=0")).GetProperty("items")
            .GetArrayLength().ShouldBe(1);
        var services = await GetAsync($"api/v1/services?{Labels}&limit=500&resourceVersion=0");
        services.GetProperty("kind").GetString().ShouldBe("ServiceList");
        var service = services.GetProperty("items")[0];
        service.TryGetProperty("kind", out _).ShouldBeFalse("items of lists do not tell their kind");
        service.GetProperty("spec").GetProperty("ports")[0].GetProperty("protocol").GetString().ShouldBe("TCP");
        service.GetProperty("spec").GetProperty("internalTrafficPolicy").GetString().ShouldBe("Cluster");
        (await GetAsync($"apis/discovery.k8s.io/v1/endpointslices?{Labels}&limit=500&resourceVersion=0")).GetProperty("items")
            .GetArrayLength().ShouldBe(0);
        (await http.PostAsync(new Uri("apis/events.k8s.io/v1/namespaces/default/events", UriKind.Relative),
            new StringContent("""{"kind":"Event","metadata":{"name":"node1.1"}}""", MediaTypeHeaderValue.Parse("application/json"))))
            .StatusCode.ShouldBe(HttpStatusCode.Created);

        var version = services.GetProperty("metadata").GetProperty("resourceVersion").GetString();
        using var watching =
            await http.GetAsync(new Uri(
            $"api/v1/services?allowWatchBookmarks=true&{Labels}&resourceVersion={version}&timeoutSeconds=300&watch=true",
            UriKind.Relative), HttpCompletionOption.ResponseHeadersRead);
        watching.Headers.TransferEncodingChunked.ShouldBe(true);
        using var lines = new StreamReader(await watching.Content.ReadAsStreamAsync());
        server.Delete("Service", "default", "web");
        using var deleted = JsonDocument.Parse((await lines.ReadLineAsync())!);
        deleted.RootElement.GetProperty("type").GetString().ShouldBe("DELETED");
        deleted.RootElement.GetProperty("object").GetProperty("kind").GetString().ShouldBe("Service");

        async Task<JsonElement> GetAsync(string path)
        {
            using var document = JsonDocument.Parse(await http.GetStringAsync(new Uri(path, UriKind.Relative)));
            return document.RootElement.Clone();
        }
    }

    /// <summary>
    /// Client-go asks for other forms first, and takes JSON where it names it: protobuf (kube-proxy), tables (kubectl), aggregated
    /// discovery (client-go's discovery), metadata only (controllers).
    /// </summary>
    [TestCase("application/vnd.kubernetes.protobuf,application/json", 200)]
    [TestCase("application/json;as=Table;v=v1;g=meta.k8s.io,application/json", 200)]
    [TestCase("application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json", 200)]
    [TestCase("*/*", 200)]
    [TestCase("application/vnd.kubernetes.protobuf", 406)]
    [TestCase("application/json;as=Table;v=v1;g=meta.k8s.io", 406)]
    [TestCase("application/vnd.kubernetes.protobuf;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1", 406)]
    [TestCase("text/html", 406)]
    public async Task Forms_other_than_json_are_refused_where_json_is_not_named(string accept, int status)
    {
        await using var server = await ApiServer.StartAsync(null, new IPEndPoint(IPAddress.Loopback, 0));
        using var http = new HttpClient { BaseAddress = server.Address };
        using var request = new HttpRequestMessage(HttpMethod.Get, "api/v1/services");
        request.Headers.TryAddWithoutValidation("Accept", accept);

        using var response = await http.SendAsync(request);

        ((int)response.StatusCode).ShouldBe(status);
        using var body = JsonDocument.Parse(await response.Content.ReadAsStringAsync());
        body.RootElement.GetProperty("kind").GetString().ShouldBe(status == 200 ? "ServiceList" : "Status");
    }

    [Test]
    public async Task A_body_of_protobuf_is_refused_by_name()
    {
        await using var server = await ApiServer.StartAsync(null, new IPEndPoint(IPAddress.Loopback, 0));
        using var http = new HttpClient { BaseAddress = server.Address };
        using var content = new ByteArrayContent([0x6b, 0x38, 0x73, 0]);
        content.Headers.ContentType = new MediaTypeHeaderValue("application/vnd.kubernetes.protobuf");

        using var response = await http.PostAsync(new Uri("api/v1/namespaces/default/events", UriKind.Relative), content);

        response.StatusCode.ShouldBe(HttpStatusCode.UnsupportedMediaType);
        (await response.Content.ReadAsStringAsync()).ShouldContain("application/vnd.kubernetes.protobuf");
    }

    [Test]
    public async Task A_watch_list_sends_all_objects_and_says_when_it_has()
    {
        await using var server = await ApiServer.StartAsync(null, new IPEndPoint(IPAddress.Loopback, 0));
        server.Apply("apiVersion: v1\nkind: Node\nmetadata: {name: node1}\n---\napiVersion: v1\nkind: Node\nmetadata: {name: node2}\n");
        using var http = new HttpClient { BaseAddress = server.Address };
        using var response = await http.GetAsync(new Uri("api/v1/nodes?allowWatchBookmarks=true&resourceVersionMatch=NotOlderThan&" +
            "sendInitialEvents=true&timeoutSeconds=300&watch=true", UriKind.Relative), HttpCompletionOption.ResponseHeadersRead);
        using var lines = new StreamReader(await response.Content.ReadAsStreamAsync());

        (await NextAsync()).ShouldBe(("ADDED", "node1", false));
        (await NextAsync()).ShouldBe(("ADDED", "node2", false));
        (await NextAsync()).ShouldBe(("BOOKMARK", null, true));
        server.Delete("Node", "", "node1");
        (await NextAsync()).ShouldBe(("DELETED", "node1", false));
        (await http.GetAsync(new Uri("api/v1/nodes?sendInitialEvents=true&watch=true", UriKind.Relative))).StatusCode
            .ShouldBe(HttpStatusCode.UnprocessableEntity, "without resourceVersionMatch");

        async Task<(string?, string?, bool)> NextAsync()
        {
            using var line = JsonDocument.Parse((await lines.ReadLineAsync())!);
            var metadata = line.RootElement.GetProperty("object").GetProperty("metadata");
            return (line.RootElement.GetProperty("type").GetString(),
                metadata.TryGetProperty("name", out var name) ? name.GetString() : null,
                metadata.TryGetProperty("annotations", out var notes) && notes.TryGetProperty("k8s.io/initial-events-end", out _));
        }
    }

    [Test]
    public async Task What_has_no_place_in_the_api_is_listed_and_a_missing_object_is_not()
    {
        await using var server = await ApiServer.StartAsync(null, new IPEndPoint(IPAddress.Loopback, 0));
        using var http = new HttpClient { BaseAddress = server.Address };

        foreach (var path in new[] { "apis/cilium.io/v2/ciliumnodes?limit=500", "apis/cilium.io/v2/ciliumnodes?limit=500",
            "api/v1/namespaces/default/services/none", "api/v1/secrets", "api/v1/namespaces/default/services/none/scale" })
            (await http.GetAsync(new Uri(path, UriKind.Relative))).StatusCode.ShouldBe(HttpStatusCode.NotFound, path);

        server.Unknown.ShouldBe(["GET /apis/cilium.io/v2/ciliumnodes", "GET /api/v1/secrets",
            "GET /api/v1/namespaces/default/services/none/scale"]);
        server.Answers[2].ShouldBe("404 GET /api/v1/namespaces/default/services/none");
    }
}
