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

    private static string Service(string name) =>
        $"---\napiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\nspec: {{clusterIP: 10.96.0.1, ports: [{{port: 80}}]}}\n";
}
