using Conformance.Harness.Assertions;
using Conformance.Harness.Kubernetes;
using Conformance.Harness;
using Conformance.Harness.Proxies;

namespace Conformance.Suite.Services;

/// <summary>The port on which a load balancer asks whether a node has endpoints (KEP-27; kube-proxy's proxy/healthcheck).</summary>
public sealed class Health_checks : ClusterFixture
{
    private const int FirstPort = 32750;

    protected override IReadOnlyList<ProxyFeature> Needs => [ProxyFeature.HealthCheckNodePort];

    [Test, Claim("SM-87")]
    public async Task A_node_with_an_endpoint_says_200_and_how_many()
    {
        var service = await LoadBalancerAsync(FirstPort, "web-a");

        (await AskAsync("node1", service)).ShouldSatisfyAllConditions(a => a.ShouldContain("200 OK"), a => a.ShouldContain("\"localEndpoints\": 1"));
    }

    [Test, Claim("SM-88")]
    public async Task A_node_without_an_endpoint_says_503()
    {
        var service = await LoadBalancerAsync(FirstPort + 1, "web-a");

        (await AskAsync("node2", service)).ShouldContain("503");
    }

    [Test, Claim("SM-89")]
    public async Task What_a_node_says_follows_its_endpoints()
    {
        var service = await LoadBalancerAsync(FirstPort + 2, "web-a");
        (await AskAsync("node1", service)).ShouldContain("200 OK");

        await ApplyAsync(service with { Endpoints = ["web-b"] });

        await Eventually.Async("node1 says 503", () => AskAsync("node1", service).Result, answer => answer.Contains("503", StringComparison.Ordinal));
    }

    private async Task<ServiceSpec> LoadBalancerAsync(int port, params EndpointSpec[] endpoints)
    {
        var service = NewService(endpoints);
        service = await ApplyAsync(WithNodePort(service with { LoadBalancerIPs = [OutsideAddress(service)], ExternalTrafficPolicy = "Local", HealthCheckNodePort = port }, "LoadBalancer"));
        await Eventually.Async("the port is open", () => AskAsync("node1", service).Result, answer => answer.Length > 0);
        return service;
    }

    private async Task<string> AskAsync(string node, ServiceSpec service) =>
        (await Client.Command("curl", "--silent", "--include", "--max-time", "5", $"http://{Lab[node].Address}:{service.HealthCheckNodePort}/").TryAsync()).StandardOutput;
}
