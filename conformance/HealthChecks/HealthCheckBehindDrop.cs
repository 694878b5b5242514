using System.Globalization;
using Conformance.Linux;
using Conformance.Reports;
using Conformance.Traffic;
using Conformance.Traffic.Assertions;

namespace Conformance.Suite.HealthChecks;

/// <summary>A health check on a node whose filter INPUT drops by default.</summary>
[Parallelizable(ParallelScope.Self)]
public sealed class HealthCheckBehindDrop : ClusterFixture
{
    protected override ClusterUse Use => ClusterUse.ChangesNodes;

    [Test, Claim("HEALTH-7")]
    public async Task Health_check_is_answered_with_input_policy_drop()
    {
        Node1.Serve(TransportProtocol.Tcp, 7149);
        var service = NewService("web-a");
        service = await ApplyAsync(WithLoadBalancer(service) with { ExternalTrafficPolicy = "Local", HealthCheckNodePort = 32749 });
        await ChangeAsync(Node1, "iptables -w -P INPUT DROP", undo: "iptables -w -P INPUT ACCEPT");
        await (await Client.AskAsync("node1:7149")).ShouldBeMetWithSilenceAsync();
        await ProgrammedAsync("node1 says 200",
            async () => (await Client.Command("curl", "--silent", "--include", "--max-time", "5", $"http://{Node1.Address}:32749/")
            .TryAsync()).StandardOutput,
            answer => answer.StartsWith("HTTP/1.1 200", StringComparison.Ordinal));
    }
}
