using System.Globalization;
using Conformance.Clusters.Kubernetes;
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
        var service = NewService("web-a");
        await IsAnsweredAsync(WithLoadBalancer(service) with { HealthCheckNodePort = 32749 }, "iptables", Node1.Address.ToString(), 7149);
    }

    [Test, Claim("HEALTH-11")]
    public Task Ipv6_health_check_is_answered_with_input_policy_drop() => IsAnsweredAsync(
        WithLoadBalancerV6(OverIPv6(NewService("web-a"))) with { HealthCheckNodePort = 32748 }, "ip6tables", "[fd00:113::101]", 7148);

    [Test, Claim("HEALTH-12")]
    public async Task Health_check_port_is_closed_when_its_service_is_gone()
    {
        var service = await ApplyAsync(WithLoadBalancer(NewService("web-a")) with
        {
            ExternalTrafficPolicy = "Local",
            HealthCheckNodePort = 32747
        });
        await ProgrammedAsync("node1 answers", () => Clusters.Cluster.AnswersAsync(Client, Node1.Address.ToString(), 32747),
            answers => answers);

        await DeleteAsync(service);

        await DropAsync("iptables");
        await (await Client.AskAsync("node1:32747")).ShouldBeMetWithSilenceAsync();
    }

    /// <param name="closed">A port of the node that nobody opens: the policy is at work.</param>
    private async Task IsAnsweredAsync(ServiceSpec service, string iptables, string address, int closed)
    {
        Node1.Serve(TransportProtocol.Tcp, closed);
        await ApplyAsync(service with { ExternalTrafficPolicy = "Local" });
        await DropAsync(iptables);
        await (await Client.AskAsync(string.Create(CultureInfo.InvariantCulture, $"{address}:{closed}"))).ShouldBeMetWithSilenceAsync();
        await ProgrammedAsync("node1 says 200",
            async () => (await Client.Command("curl", "--silent", "--include", "--max-time", "5", string.Create(
                CultureInfo.InvariantCulture, $"http://{address}:{service.HealthCheckNodePort}/")).TryAsync()).StandardOutput,
            answer => answer.StartsWith("HTTP/1.1 200", StringComparison.Ordinal));
    }

    /// <summary>Lets filter INPUT drop by default, but for the packets by which IPv6 finds its neighbours.</summary>
    private async Task DropAsync(string iptables)
    {
        if (iptables == "ip6tables")
            await ChangeAsync(Node1, "ip6tables -w -A INPUT -p ipv6-icmp -j ACCEPT", undo: "ip6tables -w -D INPUT -p ipv6-icmp -j ACCEPT");
        await ChangeAsync(Node1, $"{iptables} -w -P INPUT DROP", undo: $"{iptables} -w -P INPUT ACCEPT");
    }
}
