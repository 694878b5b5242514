using System.Globalization;
using Conformance.Clusters;
using Conformance.Clusters.Kubernetes;
using Conformance.Clusters.Proxies;
using Conformance.Linux.Sysctls;
using Conformance.Reports;
using Conformance.Traffic;
using Conformance.Traffic.Assertions;

namespace Conformance.Suite.Services;

/// <summary>
/// What a proxy tells those who ask whether it works, and whether the node should get new connections (KEP-3836). That a node
/// is about to go changes nothing for its Services, so that no other test notices.
/// </summary>
public sealed class Probes : ClusterFixture
{
    private bool _isLeaving;

    protected override IReadOnlyList<ProxyFeature> Needs => [ProxyFeature.Healthz];

    [Test, Claim("SM-115")]
    public async Task A_node_that_is_about_to_be_deleted_says_503_at_healthz_and_200_at_livez()
    {
        Demand(ProxyFeature.NodeEligibility);
        (await StatusAsync("healthz")).ShouldBe(200);

        _isLeaving = true;
        Cluster.PutNode(Node1, isLeaving: true);

        await ProgrammedAsync("/healthz says 503", () => StatusAsync("healthz"), status => status == 503);
        (await StatusAsync("livez")).ShouldBe(200, "the proxy itself works");
    }

    [Test, Claim("KP-27")]
    public async Task Syncs_and_what_they_meet_are_told_in_kube_proxy_s_metrics()
    {
        string[] names =
        [
            "kubeproxy_sync_proxy_rules_duration_seconds_count", "kubeproxy_sync_proxy_rules_last_timestamp_seconds", "kubeproxy_sync_proxy_rules_last_queued_timestamp_seconds",
            "kubeproxy_sync_proxy_rules_endpoint_changes_total", "kubeproxy_sync_proxy_rules_service_changes_total",
        ];
        var before = await MetricsAsync();
        await ApplyAsync(NewService("web-a"));

        var after = await MetricsAsync();

        foreach (var name in names)
            after.GetValueOrDefault(name).ShouldBeGreaterThan(before.GetValueOrDefault(name), name);
    }

    [Test, Claim("SM-159")]
    public async Task Tracked_connections_have_kube_proxy_s_time_outs()
    {
        Demand(ProxyFeature.ConntrackTimeouts);
        var service = await ApplyAsync(NewService("web-b"));
        await using var flow = await PodA.ConnectAsync(service.Target());
        await flow.ShouldBeAnsweredByAsync("web-b");

        var entry = Node1.Conntrack().Where(e => e is { Protocol: "tcp", State: "ESTABLISHED" } && e.Original.SourcePort == flow.Local.Port && e.Original.Source.Equals(PodA.Address)).ShouldHaveSingleItem();
        entry.SecondsLeft.ShouldBeInRange(86_400 - 60, 86_400, "24 hours without a packet");
        Sysctl.Read(Node1.Namespace, "net.netfilter.nf_conntrack_tcp_timeout_close_wait").ShouldBe("3600", "an hour after the other side's FIN");
    }

    protected override Task RestoreAsync()
    {
        if (_isLeaving) // not while another test's node is about to go
            Cluster.PutNode(Node1);
        return Task.CompletedTask;
    }

    private async Task<int> StatusAsync(string path) => int.Parse(
        (await Client.Command("curl", "--silent", "--max-time", "5", "--output", "/dev/null", "--write-out", "%{http_code}", $"http://{Node1.Address}:10256/{path}").TryAsync()).StandardOutput, CultureInfo.InvariantCulture);

    /// <summary>The sums of each metric's series: kube-proxy tells some by family since v1.33.</summary>
    private async Task<IReadOnlyDictionary<string, double>> MetricsAsync() =>
        PrometheusText.Sums((await Node1.Command("curl", "--silent", "--max-time", "5", "http://127.0.0.1:10249/metrics").TryAsync()).StandardOutput);
}
