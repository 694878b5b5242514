using Conformance.Clusters;
using Conformance.Reports;
using Conformance.Traffic;
using Conformance.Traffic.Assertions;

namespace Conformance.Suite.ClusterIp;

/// <summary>Where a proxy learns what to do.</summary>
public sealed class ApiServerWatch : ClusterFixture
{
    [Test, Claim("K-1")]
    public async Task A_proxy_watches_the_api_server_and_changes_the_kernel()
    {
        var service = await ApplyAsync(NewService("web-a"));

        await (await PodA.AskAsync(service.Target())).ShouldBeAnsweredByAsync("web-a");
        await ApplyAsync(service with { Endpoints = ["web-b"] });
        await (await PodA.AskAsync(service.Target())).ShouldBeAnsweredByAsync("web-b");

        Cluster.Objects.Servers.Count.ShouldBe(Cluster.Nodes.Count, "one for each node");
        foreach (var server in Cluster.Objects.Servers)
        {
            foreach (var resource in new[] { "/api/v1/services?", "/apis/discovery.k8s.io/v1/endpointslices?" })
                server.Requests.ShouldContain(r => r.StartsWith($"GET {resource}", StringComparison.Ordinal)
                    && r.Contains("watch=true", StringComparison.Ordinal), resource);
        }
    }
}
