using System.Globalization;
using Conformance.Clusters;
using Conformance.Clusters.Kubernetes;
using Conformance.Reports;
using Conformance.Traffic;

namespace Conformance.Suite.HealthChecks;

/// <summary>
/// What a proxy tells those who ask whether it works, and whether the node should get new connections (KEP-3836). That a node
/// is about to go changes nothing for its Services, so that no other test notices.
/// </summary>
public sealed class Probes : ClusterFixture
{
    private bool _isLeaving;

    [Test, Claim("HEALTH-8")]
    public async Task Node_about_to_be_deleted_is_unhealthy_and_live()
    {
        (await StatusAsync("healthz")).ShouldBe(200);

        _isLeaving = true;
        Cluster.PutNode(Node1, isLeaving: true);

        await ProgrammedAsync("/healthz says 503", () => StatusAsync("healthz"), status => status == 503);
        (await StatusAsync("livez")).ShouldBe(200, "the proxy itself works");
    }

    [Test, Claim("HEALTH-9")]
    public async Task Metrics_count_syncs_and_objects()
    {
        string[] names =
        [
            "kubeproxy_sync_proxy_rules_duration_seconds_count", "kubeproxy_sync_proxy_rules_last_timestamp_seconds",
                "kubeproxy_sync_proxy_rules_last_queued_timestamp_seconds",
            "kubeproxy_sync_proxy_rules_endpoint_changes_total", "kubeproxy_sync_proxy_rules_service_changes_total",
        ];
        var before = await MetricsAsync();
        await ApplyAsync(NewService("web-a"));

        var after = await MetricsAsync();

        foreach (var name in names)
            after.GetValueOrDefault(name).ShouldBeGreaterThan(before.GetValueOrDefault(name), name);
    }

    protected override Task RestoreAsync()
    {
        if (_isLeaving) // not while another test's node is about to go
            Cluster.PutNode(Node1);
        return Task.CompletedTask;
    }

    private async Task<int> StatusAsync(string path) => int.Parse(
        (await Client.Command("curl", "--silent", "--max-time", "5", "--output", "/dev/null", "--write-out", "%{http_code}",
            $"http://{Node1.Address}:10256/{path}").TryAsync()).StandardOutput, CultureInfo.InvariantCulture);

    /// <summary>The sums of each metric's series: kube-proxy tells some by family since v1.33.</summary>
    private async Task<IReadOnlyDictionary<string, double>> MetricsAsync() =>
        PrometheusText.Sums((await Node1.Command("curl", "--silent", "--max-time", "5", "http://127.0.0.1:10249/metrics")
            .TryAsync()).StandardOutput);
}
