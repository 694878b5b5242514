using System.Globalization;
using Conformance.Labs;
using Conformance.Linux.Namespaces;
using Conformance.Topologies;

namespace Conformance.KernelTests;

/// <summary>Containers as nodes, and in nodes: the article's flow, what they see, and what is left when they are gone.</summary>
[NonParallelizable]
public sealed class ContainerTests
{
    private static readonly string s_topologies = Path.Combine(RunFolder.Current, "container-tests");

    [OneTimeSetUp]
    public void RequireEngine()
    {
        if (!File.Exists("/usr/sbin/dockerd"))
            Assert.Ignore("not-testable: docker.io is not installed");
    }

    [Test]
    public async Task The_articles_flow_reaches_real_servers_that_are_containers()
    {
        await using var lab = await Lab.StartAsync(Topology.Load("containers"));
        var director = lab["director"];
        await director.AddAddressAsync("10.10.0.1/24");
        await lab["client"].AddRouteAsync("10.10.0.0/24", director);
        await director.Ipvs.AddAsync(VirtualServerSpec.Tcp("10.10.0.1:8410").Masquerading("rs1:8080", "rs2:8080"));
        await director.SetSysctlAsync("net.ipv4.vs.conntrack", "1");
        await director.Iptables.AddAsync(("nat", "-A POSTROUTING -m ipvs --ipvs -j MASQUERADE"));

        var answers = new List<string>();
        for (var i = 0; i < 4; i++)
            answers.Add((await lab["client"].RunAsync("curl --silent --show-error --max-time 5 http://10.10.0.1:8410/")).Split(':')[0]);

        // round robin, and the servers see the director
        answers.Order(StringComparer.Ordinal).ShouldBe(["rs1 192.168.113.101", "rs1 192.168.113.101", "rs2 192.168.113.101",
            "rs2 192.168.113.101"]);
    }

    [Test]
    public async Task A_container_is_in_its_nodes_network_and_has_files_and_processes_of_its_own()
    {
        await using var lab = await Lab.StartAsync(Topology.Load("containers"));
        var container = lab["rs1"].Container.ShouldNotBeNull();

        Namespace(container, "net").ShouldBe($"net:[{lab["rs1"].Namespace.Inode}]");
        Namespace(container, "net").ShouldNotBe(Namespace(lab["rs2"].Container!, "net"));
        Namespace(container, "mnt").ShouldNotBe(Namespace(null, "mnt"));
        Namespace(container, "pid").ShouldNotBe(Namespace(null, "pid"));
        var (exitCode, output) = await container.ExecuteAsync("nginx", "-v");
        exitCode.ShouldBe(0, output);
        output.ShouldContain("nginx version");

        static string Namespace(Container? of, string kind) => new FileInfo(of is null ? $"/proc/self/ns/{kind}"
            : string.Create(CultureInfo.InvariantCulture, $"/proc/{of.ProcessId}/ns/{kind}")).LinkTarget!;
    }

    [Test]
    public async Task A_frozen_container_is_silent_until_it_thaws()
    {
        await using var lab = await Lab.StartAsync(Topology.Load("containers"));
        var container = lab["rs1"].Container.ShouldNotBeNull();
        var ask = lab["client"].Command("curl", "--silent", "--max-time", "2", "http://192.168.113.99:8080/");

        (await ask.TryAsync()).ExitCode.ShouldBe(0);
        await container.FreezeAsync();
        (await ask.TryAsync()).ExitCode.ShouldBe(28, "curl's time-out: the kernel takes the connection, and nobody answers on it");
        await container.ThawAsync();
        (await ask.TryAsync()).ExitCode.ShouldBe(0);
        await container.SignalAsync("SIGKILL");
        (await container.EndAsync()).ShouldBe(137);
        container.HasEnded.ShouldBeTrue();
    }

    [Test]
    public async Task A_lab_that_is_gone_leaves_no_container()
    {
        int process;
        NetworkNamespace ns;
        await using (var lab = await Lab.StartAsync(Topology.Load("containers")))
            (process, ns) = (lab["rs1"].Container!.ProcessId, NetworkNamespace.Open("rs1", lab["rs1"].Namespace.Path));

        Directory.Exists(string.Create(CultureInfo.InvariantCulture, $"/proc/{process}")).ShouldBeFalse();
        using (ns)
            NamespaceUse.HoldersOf([ns]).ShouldBeEmpty();
    }

    [TestCase("program: /usr/sbin/nginx\n    command: [/nothere]", "was not started on one", "/nothere")]
    [TestCase("from: ./nowhere.tar", "There is no image './nowhere.tar'.")]
    [TestCase("program: nosuchprogram\n    command: [nosuchprogram]", "The program nosuchprogram is missing.")]
    [TestCase("program: nginx\n    command: [nothere]", "was not started on one", "nothere")]
    [TestCase("program: nginx\n    command: [nginx, -h]", "The container of one does not serve tcp/80.", "has ended", "Usage: nginx")]
    public async Task A_container_that_does_not_work_is_no_lab(string image, params string[] evidence)
    {
        Directory.CreateDirectory(s_topologies);
        var file = Path.Combine(s_topologies, "broken.yaml");
        await File.WriteAllTextAsync(file, $$"""
            name: broken
            networks:
              lan: {subnet: 10.0.0.0/24, device: eth0}
            images:
              bad:
                {{image}}
            nodes:
              one: {lan: 10.0.0.1, image: bad, serves: [tcp/80]}
            """);

        var e = await Should.ThrowAsync<HarnessException>(() => Lab.StartAsync(Topology.Load(file)));

        foreach (var words in evidence)
            e.Message.ShouldContain(words);
    }
}
