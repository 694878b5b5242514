using System.Globalization;
using System.Text.Json;
using Conformance.Clusters.Kubernetes;
using Conformance.Labs;
using Conformance.Reports;
using Conformance.Traffic;

namespace Conformance.Suite.HealthChecks;

/// <summary>The port on which a load balancer asks whether a node has endpoints (KEP-27; kube-proxy's proxy/healthcheck).</summary>
public sealed class HealthCheckPorts : ClusterFixture
{
    private const int FirstPort = 32750;

    [Test, Claim("HEALTH-1")]
    public async Task Node_with_an_endpoint_answers_200()
    {
        var service = await LoadBalancerAsync(FirstPort, "web-a");

        LocalEndpoints(await SaysAsync("node1", service, 200)).ShouldBe(1);
    }

    [Test, Claim("HEALTH-2")]
    public async Task Node_without_an_endpoint_answers_503()
    {
        var service = await LoadBalancerAsync(FirstPort + 1, "web-a");

        LocalEndpoints(await SaysAsync("node2", service, 503)).ShouldBe(0);
    }

    [Test, Claim("HEALTH-3")]
    public async Task Health_check_follows_the_endpoints()
    {
        var service = await LoadBalancerAsync(FirstPort + 2, "web-a");
        await SaysAsync("node1", service, 200);

        await ApplyAsync(service with { Endpoints = ["web-b"] });

        await SaysAsync("node1", service, 503);
    }

    [Test, Claim("HEALTH-4")]
    public async Task Load_balancer_address_answers_the_health_check()
    {
        var service = await LoadBalancerAsync(FirstPort + 3, "web-a");
        var address = await ReachableAsync(OutsideAddress(service), via: Node1);
        await SaysAsync("node1", service, 200);

        (await GetAsync(address, service)).ShouldStartWith("HTTP/1.1 200");
    }

    [Test, Claim("HEALTH-5")]
    public async Task Weight_header_is_the_number_of_local_endpoints()
    {
        var service = await LoadBalancerAsync(FirstPort + 4, "web-a", "pod-b", "web-b");

        (await SaysAsync("node1", service, 200)).ShouldContain("X-Load-Balancing-Endpoint-Weight: 2");
        (await SaysAsync("node2", service, 200)).ShouldContain("X-Load-Balancing-Endpoint-Weight: 1");
    }

    [Test, Claim("HEALTH-6")]
    public async Task Node_with_unready_endpoints_answers_503()
    {
        var service = await LoadBalancerAsync(FirstPort + 5, EndpointSpec.NotReady("web-a"), "web-b");

        LocalEndpoints(await SaysAsync("node2", service, 200)).ShouldBe(1);
        LocalEndpoints(await SaysAsync("node1", service, 503)).ShouldBe(0);
    }

    [Test, Claim("HEALTH-10")]
    public async Task Ipv6_load_balancer_address_answers_the_health_check()
    {
        var service = WithLoadBalancerV6(OverIPv6(NewService("web-a"))) with
        {
            ExternalTrafficPolicy = "Local",
            HealthCheckNodePort = FirstPort + 6
        };
        await ApplyAsync(service);
        var address = await ReachableAsync(service.LoadBalancerIPs[0], via: Node1);
        await SaysAsync("node1", service, 200);

        (await GetAsync($"[{address}]", service)).ShouldStartWith("HTTP/1.1 200");
    }

    private async Task<ServiceSpec> LoadBalancerAsync(int port, params EndpointSpec[] endpoints)
    {
        var service = NewService(endpoints);
        return await ApplyAsync(WithLoadBalancer(service) with { ExternalTrafficPolicy = "Local", HealthCheckNodePort = port });
    }

    /// <summary>A proxy may open the port a moment after the Service serves, and before it knows the endpoints.</summary>
    private Task<string> SaysAsync(string node, ServiceSpec service, int status) => ProgrammedAsync(
        string.Create(CultureInfo.InvariantCulture, $"{node} says {status}"),
        () => GetAsync(Lab[node].Address.ToString(), service),
        answer => answer.StartsWith(string.Create(CultureInfo.InvariantCulture, $"HTTP/1.1 {status}"), StringComparison.Ordinal));

    private async Task<string> GetAsync(string host, ServiceSpec service) =>
        (await Client.Command("curl", "--silent", "--include", "--max-time", "5", $"http://{host}:{service.HealthCheckNodePort}/")
            .TryAsync()).StandardOutput;

    /// <summary>The number in the answer's JSON.</summary>
    private static int LocalEndpoints(string answer) =>
        JsonDocument.Parse(answer[answer.IndexOf('{', StringComparison.Ordinal)..]).RootElement.GetProperty("localEndpoints").GetInt32();
}
