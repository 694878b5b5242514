using System.Globalization;
using Conformance.Harness.Proxies;

namespace Conformance.Suite.Services;

/// <summary>What a proxy tells those who ask whether it works, and whether the node should get new connections (KEP-3836).</summary>
[Parallelizable(ParallelScope.Self)]
public sealed class Probes : ClusterFixture
{
    protected override bool IsAlone => true;

    protected override IReadOnlyList<ProxyFeature> Needs => [ProxyFeature.Healthz];

    [Test, Claim("SM-115")]
    public async Task A_node_that_is_about_to_be_deleted_says_503_at_healthz_and_200_at_livez()
    {
        (await StatusAsync("healthz")).ShouldBe(200);

        Cluster.PutNode(Node1, isLeaving: true);

        await ProgrammedAsync("/healthz says 503", () => StatusAsync("healthz"), status => status == 503);
        (await StatusAsync("livez")).ShouldBe(200, "the proxy itself works");
    }

    protected override Task RestoreAsync()
    {
        Cluster.PutNode(Node1);
        return Task.CompletedTask;
    }

    private async Task<int> StatusAsync(string path) => int.Parse(
        (await Client.Command("curl", "--silent", "--max-time", "5", "--output", "/dev/null", "--write-out", "%{http_code}", $"http://{Node1.Address}:10256/{path}").TryAsync()).StandardOutput, CultureInfo.InvariantCulture);
}
