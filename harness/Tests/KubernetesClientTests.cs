using System.Globalization;
using System.Net;
using Conformance.Clusters.Kubernetes;
using Conformance.Generator.Model;
using Conformance.Labs.Waiting;
using Conformance.Linux;
using k8s;
using k8s.Models;

namespace Conformance.Tests;

/// <summary>Our API server as the official .NET client sees it.</summary>
[FixtureLifeCycle(LifeCycle.InstancePerTestCase)]
public sealed class KubernetesClientTests : IAsyncDisposable
{
    private static readonly IPEndPoint s_anyPort = new(IPAddress.Loopback, 0);
    private ApiServer _server = null!;
    private Kubernetes _client = null!;

    [SetUp]
    public async Task Start()
    {
        _server = await ApiServer.StartAsync(null, s_anyPort, new ApiServerOptions { BookmarkPeriod = TimeSpan.FromMilliseconds(100) });
        _client = new Kubernetes(new KubernetesClientConfiguration { Host = _server.Address.AbsoluteUri });
    }

    public async ValueTask DisposeAsync()
    {
        _client.Dispose();
        await _server.DisposeAsync();
    }

    [Test]
    public async Task Objects_are_got_and_listed_in_pages()
    {
        for (var i = 0; i < 25; i++)
            _server.Apply(Service($"s{i.ToString(CultureInfo.InvariantCulture)}"));
        _server.Apply("apiVersion: v1\nkind: Node\nmetadata: {name: node1}\nstatus: {addresses: [{type: InternalIP, address: " +
            "192.168.1.1}]}\n");

        (await _client.CoreV1.ReadNamespacedServiceAsync("s3", "default")).Spec.ClusterIP.ShouldBe("10.96.0.1");
        (await _client.CoreV1.ReadNodeAsync("node1")).Status.Addresses[0].Address.ShouldBe("192.168.1.1");
        var (names, pages, next) = (new List<string>(), 0, (string?)null);
        do
        {
            var page = await _client.CoreV1.ListServiceForAllNamespacesAsync(limit: 10, continueParameter: next);
            names.AddRange(page.Items.Select(s => s.Metadata.Name));
            next = page.Metadata.ContinueProperty;
            pages++;
        }
        while (!string.IsNullOrEmpty(next));
        (names.Distinct(StringComparer.Ordinal).Count(), pages).ShouldBe((25, 3));
    }

    [Test]
    public async Task Changes_are_watched_in_order_with_bookmarks()
    {
        var events = new List<string>();
        using var end = new CancellationTokenSource(Timeouts.Start);
        var list = await _client.CoreV1.ListServiceForAllNamespacesAsync();
        var watching = Task.Run(async () =>
        {
            await foreach (var (type, item) in _client.CoreV1.WatchListServiceForAllNamespacesAsync(allowWatchBookmarks: true,
                resourceVersion: list.Metadata.ResourceVersion, cancellationToken: end.Token))
            {
                events.Add($"{type} {item.Metadata.Name}");
                if (events.Contains("Deleted a") && type == WatchEventType.Bookmark)
                    return;
            }
        });
        await Eventually.Async("the watch is there", () => _server.Requests,
            requests => requests.Any(r => r.Contains("watch=true", StringComparison.Ordinal)));

        _server.Apply(Service("a"));
        _server.Apply(Service("a").Replace("10.96.0.1", "10.96.0.2", StringComparison.Ordinal));
        _server.Delete("Service", "default", "a").ShouldBeTrue();
        await watching;

        events.Where(e => !e.StartsWith("Bookmark", StringComparison.Ordinal)).ShouldBe(["Added a", "Modified a", "Deleted a"]);
    }

    [Test]
    public async Task Missing_and_expired_resources_get_the_status_of_the_api()
    {
        var missing = await Should.ThrowAsync<k8s.Autorest.HttpOperationException>(
            () => _client.CoreV1.ReadNamespacedServiceAsync("none", "default"));

        missing.Response.StatusCode.ShouldBe(HttpStatusCode.NotFound);
        KubernetesJson.Deserialize<V1Status>(missing.Response.Content).Reason.ShouldBe("NotFound");
    }

    [Test]
    public async Task What_the_server_has_is_discovered()
    {
        (await _client.Version.GetCodeAsync()).Major.ShouldBe("1");
        (await _client.Core.GetAPIVersionsAsync()).Versions.ShouldBe(["v1"]);
        (await _client.Apis.GetAPIVersionsAsync()).Groups.Select(g => g.Name)
            .ShouldBe(["discovery.k8s.io", "networking.k8s.io", "events.k8s.io", "coordination.k8s.io"]);
        var core = (await _client.CoreV1.GetAPIResourcesAsync()).Resources;
        core.Select(r => r.Name).ShouldBe(["services", "services/status", "nodes", "nodes/status", "endpoints", "namespaces",
            "namespaces/status", "pods", "pods/status", "configmaps", "events"]);
        core[0].ShouldSatisfyAllConditions(r => r.Kind.ShouldBe("Service"), r => r.Namespaced.ShouldBeTrue(),
            r => r.Verbs.ShouldBe(["create", "delete", "get", "list", "patch", "update", "watch"]));
        (await _client.NetworkingV1.GetAPIResourcesAsync()).Resources.Select(r => r.Name).ShouldBe(["servicecidrs", "networkpolicies"]);
        (await _client.NetworkingV1.ListNetworkPolicyForAllNamespacesAsync()).Items.ShouldBeEmpty();
    }

    [Test]
    public async Task A_lease_is_created_and_renewed_unless_another_was_first()
    {
        var lease = await _client.CoordinationV1.CreateNamespacedLeaseAsync(new V1Lease
        {
            Metadata = new V1ObjectMeta { Name = "leader" },
            Spec = new V1LeaseSpec { HolderIdentity = "node1", LeaseDurationSeconds = 15 },
        }, "kube-system");
        lease.Metadata.NamespaceProperty.ShouldBe("kube-system");

        lease.Spec.HolderIdentity = "node2";
        var renewed = await _client.CoordinationV1.ReplaceNamespacedLeaseAsync(lease, "leader", "kube-system");

        renewed.Spec.HolderIdentity.ShouldBe("node2");
        renewed.Uid().ShouldBe(lease.Uid());
        (await RefusedAsync(() => _client.CoordinationV1.ReplaceNamespacedLeaseAsync(lease, "leader", "kube-system")))
            .ShouldBe((HttpStatusCode.Conflict, "Conflict"));
        (await RefusedAsync(() => _client.CoordinationV1.CreateNamespacedLeaseAsync(new V1Lease
        {
            Metadata = new V1ObjectMeta { Name = "leader" }
        }, "kube-system"))).ShouldBe((HttpStatusCode.Conflict, "AlreadyExists"));
        await _client.CoordinationV1.DeleteNamespacedLeaseAsync("leader", "kube-system");
        (await RefusedAsync(() => _client.CoordinationV1.ReplaceNamespacedLeaseAsync(new V1Lease
        {
            Metadata = new V1ObjectMeta { Name = "leader" }
        }, "leader", "kube-system"))).ShouldBe((HttpStatusCode.NotFound, "NotFound"));
    }

    [TestCase(V1Patch.PatchType.StrategicMergePatch,
        """{"status":{"conditions":[{"type":"NetworkUnavailable","status":"False"}]},"spec":{"unschedulable":true}}""", 2)]
    [TestCase(V1Patch.PatchType.MergePatch, """{"status":{"conditions":[{"type":"NetworkUnavailable","status":"False"}]}}""", 1)]
    [TestCase(V1Patch.PatchType.JsonPatch,
        """[{"op":"test","path":"/metadata/name","value":"node1"},{"op":"add","path":"/status/conditions/-","value":{"type":"NetworkUnavailable","status":"False"}}]""", 2)]
    public async Task A_status_is_patched_and_nothing_else(V1Patch.PatchType form, string patch, int conditions)
    {
        _server.Apply("apiVersion: v1\nkind: Node\nmetadata: {name: node1}\nstatus: {conditions: [{type: Ready, status: 'True'}]}\n");

        var node = await _client.CoreV1.PatchNodeStatusAsync(new V1Patch(patch, form), "node1");

        node.Status.Conditions.Count.ShouldBe(conditions);
        node.Status.Conditions.ShouldContain(c => c.Type == "NetworkUnavailable" && c.Status == "False");
        node.Spec?.Unschedulable.ShouldBeNull();
        node = await _client.CoreV1.PatchNodeAsync(new V1Patch("""{"metadata":{"annotations":{"a":"b"}},"status":{"conditions":null}}""",
            V1Patch.PatchType.MergePatch), "node1");
        node.Annotations()["a"].ShouldBe("b");
        node.Status.Conditions.Count.ShouldBe(conditions, "a request about the object leaves its status");
    }

    [Test]
    public async Task A_strategic_patch_replaces_what_the_api_holds_for_one_value()
    {
        _server.Apply(Service("a"));
        foreach (var ip in new[] { "192.0.2.1", "192.0.2.2" })
            await _client.CoreV1.PatchNamespacedServiceStatusAsync(new V1Patch(
                $"{{\"status\":{{\"loadBalancer\":{{\"ingress\":[{{\"ip\":\"{ip}\"}}]}}}}}}", V1Patch.PatchType.StrategicMergePatch), "a",
                    "default");
        await _client.CoreV1.PatchNamespacedServiceAsync(new V1Patch(
            """{"metadata":{"finalizers":["x/a","x/b"],"$setElementOrder/finalizers":["x/a","x/b"]}}""",
            V1Patch.PatchType.StrategicMergePatch), "a", "default");

        var service = await _client.CoreV1.PatchNamespacedServiceAsync(new V1Patch(
            """{"metadata":{"$deleteFromPrimitiveList/finalizers":["x/a"]}}""", V1Patch.PatchType.StrategicMergePatch), "a", "default");

        service.Status.LoadBalancer.Ingress.ShouldHaveSingleItem().Ip.ShouldBe("192.0.2.2");
        service.Metadata.Finalizers.ShouldBe(["x/b"]);
    }

    [Test]
    public async Task A_patch_that_does_not_fit_is_refused()
    {
        _server.Apply("apiVersion: v1\nkind: Node\nmetadata: {name: node1}\n");

        (await RefusedAsync(() => _client.CoreV1.PatchNodeAsync(new V1Patch("""[{"op":"remove","path":"/spec/none"}]""",
            V1Patch.PatchType.JsonPatch), "node1"))).ShouldBe((HttpStatusCode.UnprocessableEntity, "Invalid"));
        (await RefusedAsync(() => _client.CoreV1.PatchNodeAsync(new V1Patch("{}", V1Patch.PatchType.ApplyPatch), "node1",
            fieldManager: "test"))).ShouldBe((HttpStatusCode.UnsupportedMediaType, "UnsupportedMediaType"));
        (await RefusedAsync(() => _client.CoreV1.PatchNodeAsync(new V1Patch("[]", V1Patch.PatchType.MergePatch), "node1")))
            .ShouldBe((HttpStatusCode.BadRequest, "BadRequest"));
    }

    private static async Task<(HttpStatusCode, string)> RefusedAsync(Func<Task> request)
    {
        var refused = await Should.ThrowAsync<k8s.Autorest.HttpOperationException>(request);
        return (refused.Response.StatusCode, KubernetesJson.Deserialize<V1Status>(refused.Response.Content).Reason);
    }

    private static string Service(string name) =>
        $"---\napiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\nspec: {{clusterIP: 10.96.0.1, ports: [{{port: 80}}]}}\n";
}
