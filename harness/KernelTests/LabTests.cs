using System.Net.Sockets;
using Conformance.Labs;
using Conformance.Labs.Waiting;
using Conformance.Linux;
using Conformance.Linux.Links;
using Conformance.Linux.Namespaces;
using Conformance.Linux.Sysctls;
using Conformance.Topologies;
using Conformance.Traffic;
using Conformance.Traffic.Assertions;

namespace Conformance.KernelTests;

public sealed class LabTests
{
    [Test]
    public async Task Labs_of_one_topology_stand_side_by_side()
    {
        await using var first = await Lab.StartAsync(Topology.Load("article-nat"));
        await using var second = await Lab.StartAsync(Topology.Load("article-nat"));
        await second["rs1"].StopServingAsync(TransportProtocol.Tcp, 8080);

        await (await first["client"].AskAsync("rs1:8080")).ShouldBeAnsweredByAsync("rs1");
        await (await second["client"].AskAsync("rs1:8080")).ShouldBeRefusedAsync(by: "rs1");
    }

    [Test, NonParallelizable]
    public async Task Nodes_start_from_the_same_sysctls_whatever_the_root_namespace_has()
    {
        if (!RunFolder.IsOnLabKernel)
            Assert.Ignore("not-testable: it would change the settings of this machine; it runs in a lab kernel");
        string[] changed = ["net.ipv4.ip_forward", "net.ipv4.conf.all.rp_filter", "net.ipv4.conf.default.rp_filter",
            "net.ipv4.conf.all.send_redirects", "net.ipv4.conf.default.arp_ignore", "net.ipv4.conf.all.accept_local"];
        var original = changed.ToDictionary(name => name, Sysctl.Read, StringComparer.Ordinal);
        var before = await SysctlsOfANodeAsync();
        try
        {
            foreach (var name in changed)
                Sysctl.Write(name, original[name] == "1" ? "0" : "1");

            (await SysctlsOfANodeAsync()).Except(before).ShouldBeEmpty();
        }
        finally
        {
            foreach (var (name, value) in original)
                Sysctl.Write(name, value);
        }
    }

    [Test, NonParallelizable]
    public async Task Only_nodes_that_need_them_have_the_tunnel_devices_of_the_kernel()
    {
        if (!RunFolder.IsOnLabKernel || File.Exists("/proc/modules"))
            Assert.Ignore("not-testable: this kernel makes them everywhere; it runs in a lab kernel without modules");

        await using var lab = await Lab.StartAsync(Topology.Load("tun"));

        LabNamespaces.SparesTunnels.ShouldBeTrue();
        lab["rs1"].Route.Links().Select(l => l.Name).ShouldContain("tunl0");
        lab["client"].Route.Links().Select(l => l.Name).ShouldBe(["lo", "ens34"], ignoreOrder: true);
        Sysctl.Read("net.core.fb_tunnels_only_for_init_net").ShouldBe("0");
    }

    [TestCase("nat-four")]
    [TestCase("cluster")]
    public async Task Every_port_forwards_when_a_lab_has_started(string topology)
    {
        for (var i = 0; i < 10; i++)
        {
            await using var lab = await Lab.StartAsync(Topology.Load(topology), capture: false);

            var ports = lab.Namespaces.SelectMany(PortsOf).ToList();
            ports.Count.ShouldBeGreaterThanOrEqualTo(lab.Nodes.Count);
            ports.Where(p => !p.IsOperational).ShouldBeEmpty();
        }

        static List<LinkInfo> PortsOf(NetworkNamespace ns)
        {
            using var route = new RouteSocket(ns);
            return [.. route.Links().Where(l => l.Master != 0)];
        }
    }

    [Test]
    public async Task Nothing_is_made_in_the_root_namespace()
    {
        var before = Directory.GetFileSystemEntries("/sys/class/net");

        await using var lab = await Lab.StartAsync(Topology.Load("routed-nat"));

        Directory.GetFileSystemEntries("/sys/class/net").ShouldBe(before, ignoreOrder: true);
        Directory.Exists("/run/netns").ShouldBeFalse();
    }

    [Test]
    public async Task A_socket_that_is_left_open_is_a_failure_that_names_it()
    {
        var lab = await Lab.StartAsync(Topology.Load("article-nat"));
        using var left = lab["client"].Namespace.Run(() => new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp));

        var failure = await Should.ThrowAsync<HarnessException>(async () => await lab.DisposeAsync());

        failure.Message.ShouldContain("article-nat is not gone");
        failure.Message.ShouldContain("socket ");
    }

    [Test]
    public async Task A_process_that_is_left_running_is_a_failure_that_names_it()
    {
        var lab = await Lab.StartAsync(Topology.Load("article-nat"));
        using var stop = new CancellationTokenSource();
        var sleeping = lab["client"].Command("sleep", "60").ToCliWrap().ExecuteAsync(stop.Token);
        await Eventually.Async("the process is in the namespace",
            () => NamespaceUse.HoldersOf([lab["client"].Namespace]), h =>
            h.Any(l => l.Contains("(sleep)", StringComparison.Ordinal)));

        (await Should.ThrowAsync<HarnessException>(async () => await lab.DisposeAsync())).Message.ShouldContain("(sleep)");

        await stop.CancelAsync();
        await Should.ThrowAsync<OperationCanceledException>(async () => await sleeping);
    }

    [Test]
    public async Task A_failed_command_explains_itself()
    {
        await using var lab = await Lab.StartAsync(Topology.Load("article-nat"));

        var failure = await Should.ThrowAsync<CommandFailedException>(() => lab["director"].RunAsync("ip link set nothing up"));
        failure.Message.ShouldBe("On director: 'ip link set nothing up' ended with exit code 1: Cannot find device \"nothing\"");
        (await Should.ThrowAsync<CommandFailedException>(() => lab["director"].RunAsync("no-such-program"))).Message.ShouldContain(
            "hint: the program is not installed");
    }

    [Test]
    public async Task A_command_that_takes_too_long_is_killed_with_all_that_it_has_started()
    {
        await using var lab = await Lab.StartAsync(Topology.Load("article-nat")); // its end looks for processes that are left
        var command = lab["client"].Command("sh", "-c", "setsid sleep 987 & wait").Within(TimeSpan.FromSeconds(1));

        (await Should.ThrowAsync<CommandFailedException>(() => command.TryAsync())).Message.ShouldContain("not ended within 1 s; killed");
    }

    [Test]
    public async Task Wrong_steps_are_reported()
    {
        await using var lab = await Lab.StartAsync(Topology.Load("article-nat"));

        (await Should.ThrowAsync<HarnessException>(() => lab["client"].AddAddressAsync("10.10.0.1"))).Message.ShouldContain(
            "is not an address with a prefix length");
        Should.Throw<HarnessException>(() => lab["directr"]).Message.ShouldContain("Did you mean 'director'?");
        Should.Throw<HarnessException>(() => lab["rs1"].Serve(TransportProtocol.Tcp, 8080)).Message.ShouldContain(
            "Something in the node has this port already");

    }

    private static async Task<IReadOnlyDictionary<string, string>> SysctlsOfANodeAsync()
    {
        await using var lab = await Lab.StartAsync(Topology.Load("article-nat"), capture: false);
        return lab["director"].Namespace.Run(() => new[] { "all", "default", "lo", "ens33" }
            .SelectMany(device => Directory.GetFiles($"/proc/sys/net/ipv4/conf/{device}"))
            .Append("/proc/sys/net/ipv4/ip_forward")
            .Where(File.Exists)
            .ToDictionary(f => f, f => File.ReadAllText(f).Trim(), StringComparer.Ordinal));
    }
}
