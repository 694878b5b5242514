using System.Globalization;
using Conformance.Clusters;
using Conformance.Clusters.Proxies;
using Conformance.Linux;
using Conformance.Linux.Sysctls;
using Conformance.Reports;
using Conformance.Traffic;
using Conformance.Traffic.Assertions;

namespace Conformance.Suite.ClusterIP;

/// <summary>What is so wherever Services are served by IPVS.</summary>
public sealed class By_ipvs : ClusterFixture
{
    protected override IReadOnlyList<ProxyFeature> Needs => [ProxyFeature.Ipvs];

    [Test, Claim("KP-25")]
    public void The_nodes_loopback_is_not_opened_to_the_network()
    {
        foreach (var node in Cluster.Nodes)
        {
            foreach (var device in node.Route.Links().Select(l => l.Name).Append("all"))
                Sysctl.Read(node.Namespace, $"net/ipv4/conf/{device}/route_localnet").ShouldBe("0", $"{node.Name} {device}"); // a device's name may have dots
        }
    }

    [Test, Claim("KP-24")]
    public async Task What_connection_tracking_is_told_to_ignore_is_not_masqueraded()
    {
        var service = await ApplyAsync(WithNodePort(NewService("web-a")));
        await (await Client.AskAsync($"node2:{service.NodePort}")).ShouldBeSeenByServerAsAddressOfAsync("node2");
        var rule = string.Create(CultureInfo.InvariantCulture, $"PREROUTING -i eth0 -p tcp --dport {service.NodePort} -j CT --notrack");
        await Node2.RunAsync($"iptables -w -t raw -A {rule}");
        try
        {
            var flow = await Client.AskAsync($"node2:{service.NodePort}");

            await flow.ShouldNotBeAnsweredAsync();
            await flow.ShouldBeSeenAsAsync(On("web-a").Arriving.Syn(from: "client", to: "web-a:8080"));
        }
        finally
        {
            await Node2.RunAsync($"iptables -w -t raw -D {rule}");
        }
    }

    [Test, Claim("NP-5")]
    public async Task A_node_port_is_not_served_on_loopback()
    {
        var service = await ApplyAsync(WithNodePort(NewService("web-a")));
        await (await Node1.AskAsync($"node1:{service.NodePort}")).ShouldBeAnsweredByAsync("web-a");

        await (await Node1.AskAsync($"127.0.0.1:{service.NodePort}")).ShouldNotBeAnsweredAsync();
    }
}
