using System.Net;
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
            new StringContent("{\"kind\":\"Event\"}"))).StatusCode.ShouldBe(HttpStatusCode.Created);

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
}
