using Conformance.Clusters;
using Conformance.Labs;
using Conformance.Linux;
using Conformance.Reports;
using Conformance.Traffic;
using Conformance.Traffic.Assertions;

namespace Conformance.Suite.KubeProxy;

/// <summary>What a proxy by IPVS finds on a node when it starts, and what is left when it is taken away.</summary>
[Parallelizable(ParallelScope.Self)]
public sealed class RestartedNodes : ClusterFixture
{
    private const string ForeignAddress = "198.18.0.21";
    private const string StaleAddress = "10.96.255.21";
    private const string Foreign = $"{ForeignAddress}:80";

    protected override ClusterUse Use => ClusterUse.StopsProxies;

    protected override async Task RestoreAsync()
    {
        foreach (var endPoint in new[] { Foreign, $"{StaleAddress}:80" })
            await Node1.Command("ipvsadm", "-D", "-t", endPoint).TryAsync();
        await Node1.Command("ip", "route", "delete", "local", ForeignAddress).TryAsync();
        await Node1.Command("sh", "-c",
            "iptables-save -t filter | sed -n 's/^-A FORWARD -i nowhere/iptables -w -D FORWARD -i nowhere/p' | sh").TryAsync();
    }

    [Test, Claim("KP-21")]
    public async Task Virtual_server_in_an_excluded_network_survives()
    {
        // A stale one of the proxy's own, as far as anybody can tell, beside it.
        await Node1.AddAddressAsync($"{StaleAddress}/32", "kube-ipvs0");
        await Node1.Ipvs.AddAsync(VirtualServerSpec.Tcp($"{StaleAddress}:80").Masquerading("web-a:8080"));
        await Node1.RunAsync($"ip route add local {ForeignAddress} dev lo"); // no address of a device: node ports would be served there too
        await Node1.Ipvs.AddAsync(VirtualServerSpec.Tcp(Foreign).Masquerading("web-a:8080"));

        await Cluster.RestartProxyAsync(Node1);

        VirtualServerAt(Foreign).RealServers.ShouldHaveSingleItem();
        await (await PodA.AskAsync(Foreign)).ShouldBeAnsweredByAsync("web-a");
        Node1.IpvsTable().VirtualServers.ShouldNotContain(s => s.EndPoint!.Address.ToString() == StaleAddress, "what nobody asks for goes");
    }

    [Test, Claim("KP-26")]
    public async Task Weight_set_by_hand_is_reset_at_the_start()
    {
        var service = await ApplyAsync(NewService("web-a", "web-b"));
        await Cluster.StopProxyAsync(Node1);
        await Node1.RunAsync($"ipvsadm -e -t {service.Target()} -r {EndPointOf("web-a")} -m -w 0");
        (await PodA.AskManyAsync(service.Target(), 10)).Keys.ShouldBe(["web-b"]);

        await Cluster.StartProxyAsync(Node1);
        await Cluster.SettleAsync();

        VirtualServerAt(service.Target()).RealServers.Select(r => r.Weight).ShouldBe([1, 1]);
    }

    [Test, Claim("KP-23")]
    public async Task Cleanup_leaves_nothing()
    {
        var service = await ApplyAsync(WithNodePort(NewService("web-a")));
        await (await Client.AskAsync($"node1:{service.NodePort}")).ShouldBeAnsweredByAsync("web-a");
        await Cluster.StopProxyAsync(Node1);

        await Cluster.Proxy.CleanUpAsync(Node1);

        Node1.IpvsTable().VirtualServers.ShouldBeEmpty();
        Node1.Route.Links().ShouldNotContain(l => l.Name == "kube-ipvs0");
        var left = new List<string>();
        foreach (var dump in new[] { "iptables-save", "ip6tables-save", "ipset save" })
            left.AddRange((await Node1.RunAsync(dump)).Split('\n').Where(line => line.Contains("KUBE-", StringComparison.Ordinal))
                .Select(line => $"{dump}: {line}"));
        left.ShouldBeEmpty();
    }
    [Test, Claim("KP-28")]
    public async Task Cleanup_leaves_nothing_though_a_foreign_rule_jumps_to_it()
    {
        await ApplyAsync(WithNodePort(NewService("web-a")));
        await Cluster.StopProxyAsync(Node1);
        var chains = (await Node1.RunAsync("iptables-save -t filter")).Split('\n')
            .Where(l => l.StartsWith(":KUBE-", StringComparison.Ordinal)).Select(l => l[1..].Split(' ')[0]).ToList();
        chains.ShouldNotBeEmpty();
        await Node1.RunAsync($"iptables -w -A FORWARD -i nowhere -j {chains[0]}");

        await Cluster.Proxy.CleanUpAsync(Node1);

        (await Node1.RunAsync("iptables-save")).Split('\n').Where(l => l.Contains("KUBE-", StringComparison.Ordinal)).ShouldBeEmpty();
        Node1.IpvsTable().VirtualServers.ShouldBeEmpty();
    }
}
