using System.Net.Sockets;
using Conformance.Clusters;
using Conformance.Clusters.Proxies;
using Conformance.Labs;
using Conformance.Labs.Waiting;
using Conformance.Linux;
using Conformance.Topologies;

namespace Conformance.KernelTests;

/// <summary>A failing proxy is reported soon, with its log; the drivers' arguments are right.</summary>
public sealed class ProxyTests
{
    private static readonly string s_generator = Path.Combine(AppContext.BaseDirectory, "ipvs-generator");

    [Test]
    public async Task Proxy_that_ends_is_reported_with_its_log()
    {
        var e = await Should.ThrowAsync<HarnessException>(() => StartAsync("echo 'no such flag' >&2; exit 7"));

        e.Message.ShouldContain("on node1 has ended");
        e.Message.ShouldContain("no such flag");
    }

    [Test]
    public async Task A_proxy_that_serves_nothing_is_put_under_test_all_the_same()
    {
        await using var cluster = await StartAsync("echo 'I do nothing'; exec sleep 1000");

        cluster.Unserved.ShouldBe(TrafficKind.All, ignoreOrder: true);
        await cluster.SettleAsync();
    }

    [Test]
    public async Task A_proxy_without_ipv6_is_waited_for_over_ipv4_alone()
    {
        // A generator that finds no ip6tables that works serves IPv4 alone.
        foreach (var name in new[] { "ip6tables", "ip6tables-legacy", "ip6tables-nft" })
            Script(Path.Combine("no-ipv6", name), "exit 1", isUnique: false);
        await using var cluster =
            await StartAsync($"PATH={RunFolder.Current}/no-ipv6:$PATH; exec {s_generator} watch -f . --hostname-override \"$2\"");

        await ServingAsync(cluster, isIPv6: false);
        cluster.Unserved.ShouldBe(TrafficKind.All.Where(k => k.IsIPv6), ignoreOrder: true);
    }

    [Test]
    public async Task A_program_that_goes_into_the_background_has_ended_and_leaves_nothing()
    {
        var e = await Should.ThrowAsync<HarnessException>(() => StartAsync("sleep 1000 & exit 0"));

        e.Message.ShouldContain("on node1 has ended");
    }

    [TestCase("Kubernetes v1.25.4", "", "", false, false, true)]
    [TestCase("Kubernetes v1.30.5", "", "", false, true, true)]
    [TestCase("Kubernetes v1.34.0-rc.1", "", "", true, true, true)]
    [TestCase("dirty", "", "", true, true, true)]
    [TestCase("Kubernetes v1.30.5", ":+traffic-distribution", "", true, true, true)]
    [TestCase("Kubernetes v1.34.0", "", "[--proxy-mode=nftables --v=4]", true, true, false)]
    public async Task Features_of_a_kube_proxy_follow_its_version_and_mode(string version, string features, string arguments,
        bool hasTrafficDistribution, bool hasNodeEligibility, bool hasIpvs)
    {
        var proxy = Proxy.Parse($"kube-proxy{features}{arguments}={Script("kube-proxy", $"echo '{version}'")}");
        (await proxy.VersionAsync()).ShouldBe(version);

        proxy.Features.Contains(ProxyFeature.TrafficDistribution).ShouldBe(hasTrafficDistribution);
        proxy.Features.Contains(ProxyFeature.NodeEligibility).ShouldBe(hasNodeEligibility);
        proxy.Features.Contains(ProxyFeature.Ipvs).ShouldBe(hasIpvs);
        Proxy.Parse(proxy.Name).Name.ShouldBe(proxy.Name, "its name is a specification");
    }

    [Test]
    public async Task A_real_kube_proxy_is_started_in_ipvs_mode_with_an_api_server_in_its_namespace()
    {
        var script = Script("kube-proxy",
            "[ \"$1\" = --version ] && echo 'Kubernetes v1.99.9' && exit; echo \"$@\"; curl --silent " +
            "http://127.0.0.1:8080/api/v1/nodes/node1; exit 1");
        var proxy = Proxy.Parse($"kube-proxy={script}");

        (await proxy.VersionAsync()).ShouldBe("Kubernetes v1.99.9");
        var e = await Should.ThrowAsync<HarnessException>(() => Cluster.StartAsync(proxy, Topology.Load("cluster")));

        e.Message.ShouldContain(
            "--master=http://127.0.0.1:8080 --kube-api-content-type=application/json --proxy-mode=ipvs --ipvs-sync-period=1h " +
            "--iptables-sync-period=1h --hostname-override=node1 --cluster-cidr=10.244.0.0/16,fd00:10:244::/48 " +
            "--ipvs-exclude-cidrs=198.18.0.0/15 --conntrack-max-per-core=0 --conntrack-min=0\n");
        e.Message.ShouldContain("\"podCIDRs\":[\"10.244.0.0/24\"", Case.Sensitive, "its Node is there");
    }

    [Test]
    public async Task Any_program_that_follows_a_folder_can_be_tested()
    {
        var script = Script("follower", $"exec {s_generator} watch -f \"$1\" --hostname-override \"$2\" --cluster-cidr 10.244.0.0/16");

        await using var cluster = await Cluster.StartAsync(Proxy.Parse($"command={script}"), Topology.Load("cluster"));

        cluster.Running.Count.ShouldBe(2);
    }

    [Test]
    public async Task Any_program_that_watches_an_api_server_can_be_tested()
    {
        var proxy = Proxy.Parse($"api={s_generator} watch --kubeconfig {{kubeconfig}} --hostname-override={{node}}");

        await using var cluster = await Cluster.StartAsync(proxy, Topology.Load("cluster"));

        await ServingAsync(cluster, isIPv6: false);
        proxy.Features.ShouldContain(ProxyFeature.ApiServer);
        Proxy.Parse(proxy.Name).Name.ShouldBe(proxy.Name);
        var server = cluster.Objects.Servers[0];
        server.Requests.ShouldContain(r => r.StartsWith("GET /api/v1/services?", StringComparison.Ordinal));
        using var http = new HttpClient(new SocketsHttpHandler
        {
            ConnectCallback = async (context, stop) =>
            {
                var socket = cluster.Lab["node1"].Namespace.Run(() => new Socket(SocketType.Stream, ProtocolType.Tcp));
                await socket.ConnectAsync(context.DnsEndPoint, stop);
                return new NetworkStream(socket, ownsSocket: true);
            }
        })
        { BaseAddress = server.Address };
        (await http.GetStringAsync(new Uri("api/v1/namespaces/default/endpoints/canary-tcp-4", UriKind.Relative)))
            .ShouldContain("\"addresses\":[{\"ip\":\"10.244.0.12\"");
        (await http.GetStringAsync(new Uri("api/v1/pods?limit=500", UriKind.Relative))).ShouldContain("\"podIP\":\"10.244.0.12\"");
        (await http.GetStringAsync(new Uri("api/v1/namespaces", UriKind.Relative))).ShouldContain("kube-system");
    }

    [Test]
    public async Task What_a_proxy_asked_the_api_server_in_vain_is_named()
    {
        var script = Script("seeker", "echo \"$@\"; curl --silent http://127.0.0.1:8080/apis/cilium.io/v2/ciliumnodes; exit 1");

        var e = await Should.ThrowAsync<HarnessException>(
            () => Cluster.StartAsync(Proxy.Parse($"api={script} {{node}} {{ip}} {{kubeconfig}}"),
            Topology.Load("cluster")));

        e.Message.ShouldContain("on node1 has ended");
        e.Message.ShouldContain("node1 192.168.113.101 ");
        e.Message.ShouldContain(".kubeconfig");
        e.Message.ShouldContain("The API server has no place for (404):\n  GET /apis/cilium.io/v2/ciliumnodes");
        var logs = Directory.GetFiles(Path.Combine(RunFolder.Current, "proxies"), "*.requests").Select(File.ReadAllText);
        logs.ShouldContain(l => l.Contains("404 GET /apis/cilium.io/v2/ciliumnodes", StringComparison.Ordinal));
    }

    [Test]
    public async Task Late_proxy_does_not_break_later_tests()
    {
        var hold = Path.Combine(RunFolder.Current, $"hold-{Guid.NewGuid():N}");
        var script = Script("late", $"while [ -e {hold} ]; do sleep 0.1; done; exec {s_generator} watch -f . --hostname-override \"$2\"");
        await using var cluster = await Cluster.StartAsync(Proxy.Parse($"command={script}"), Topology.Load("cluster"),
            limit: TimeSpan.FromSeconds(20));
        await ServingAsync(cluster, isIPv6: false);
        await ServingAsync(cluster, isIPv6: true);
        var node1 = cluster.Lab["node1"];
        await cluster.StopProxyAsync(node1);
        await File.WriteAllTextAsync(hold, "");
        await cluster.StartProxyAsync(node1);
        (await Should.ThrowAsync<HarnessException>(() => cluster.SettleAsync())).Message.ShouldContain(
            "on node1 programs nothing any more, or not all");

        File.Delete(hold);

        await cluster.SettleAsync();
        cluster.Started.Count.ShouldBe(3, "the one that was stopped has a log too");
    }

    [Test]
    public void Command_declares_its_features()
    {
        Proxy.Parse("command=true").Features.ShouldBe(CommandProxy.DefaultFeatures, ignoreOrder: true);
        Proxy.Parse("command:-ipv6,+ipvs,+scheduler-per-service=true --flag=x").ShouldSatisfyAllConditions(
            p => p.Features.ShouldBe([ProxyFeature.Sctp, ProxyFeature.HealthCheckNodePort, ProxyFeature.NodePortsOnAllAddresses,
                ProxyFeature.Ipvs,
                ProxyFeature.SchedulerPerService], ignoreOrder: true),
            p => p.Name.ShouldBe("command:-ipv6,+ipvs,+scheduler-per-service=true --flag=x"));
        Should.Throw<HarnessException>(() => Proxy.Parse("command:+api-server=true")).Message.ShouldContain("'+api-server' is no feature",
            Case.Sensitive, "of a command");
        Should.Throw<HarnessException>(() => Proxy.Parse("command:+ebpf=true")).Message.ShouldContain("'+ebpf' is no feature");
        Should.Throw<HarnessException>(() => Proxy.Parse("api=true {nodes}")).Message.ShouldContain("'{nodes}' stands for nothing");
        Should.Throw<HarnessException>(() => Proxy.Parse("kube-proxy=/no/such/file")).Message.ShouldContain("There is no /no/such/file");
    }

    [TestCase("kube-proxy")]
    [TestCase("generator=x")]
    [TestCase("cilium")]
    public void Unknown_proxy_is_reported(string text) =>
        Should.Throw<HarnessException>(() => Proxy.Parse(text)).Message.ShouldContain("Known are generator");

    private static Task<Cluster> StartAsync(string script) =>
        Cluster.StartAsync(Proxy.Parse($"command={Script("proxy", script)}"), Topology.Load("cluster"), limit: TimeSpan.FromSeconds(3));

    /// <summary>On a busy machine a proxy may start later than the few seconds for which these tests wait.</summary>
    private static Task<int> ServingAsync(Cluster cluster, bool isIPv6) => Eventually.Async("the proxy serves", async () =>
    {
        await cluster.SettleAsync();
        return cluster.Unserved.Count(k => k.IsIPv6 == isIPv6);
    }, unserved => unserved == 0, Timeouts.Start);

    private static string Script(string name, string text, bool isUnique = true)
    {
        var script = Path.Combine(RunFolder.Current, isUnique ? $"{name}-{Guid.NewGuid():N}" : name);
        Directory.CreateDirectory(Path.GetDirectoryName(script)!);
        File.WriteAllText(script, $"#!/bin/sh\n{text}\n");
        File.SetUnixFileMode(script, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
        return script;
    }
}
