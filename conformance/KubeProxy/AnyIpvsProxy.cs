using System.Globalization;
using Conformance.Clusters;
using Conformance.Linux;
using Conformance.Linux.Sysctls;
using Conformance.Reports;
using Conformance.Traffic;
using Conformance.Traffic.Assertions;

namespace Conformance.Suite.KubeProxy;

/// <summary>What is so wherever Services are served by IPVS.</summary>
public sealed class AnyIpvsProxy : ClusterFixture
{
    [Test, Claim("KP-25")]
    public void Loopback_is_not_opened_to_the_network()
    {
        foreach (var node in Cluster.Nodes)
        {
            foreach (var device in node.Route.Links().Select(l => l.Name).Append("all"))
                // a device's name may have dots
                Sysctl.Read(node.Namespace, $"net/ipv4/conf/{device}/route_localnet").ShouldBe("0", $"{node.Name} {device}");
        }
    }

    [Test, Claim("KP-24")]
    public async Task Notrack_packets_are_not_masqueraded()
    {
        var service = await ApplyAsync(WithNodePort(NewService("web-a")));
        await (await Client.AskAsync($"node2:{service.NodePort}")).ShouldBeSeenByServerAsAddressOfAsync("node2");
        var rule = string.Create(CultureInfo.InvariantCulture, $"PREROUTING -i eth0 -p tcp --dport {service.NodePort} -j CT --notrack");
        await ChangeAsync(Node2, $"iptables -w -t raw -A {rule}", undo: $"iptables -w -t raw -D {rule}");
        var flow = await Client.AskAsync($"node2:{service.NodePort}");

        await flow.ShouldNotBeAnsweredAsync();
        await flow.ShouldBeSeenAsAsync(On("web-a").Arriving.Syn(from: "client", to: "web-a:8080"));
    }

}
