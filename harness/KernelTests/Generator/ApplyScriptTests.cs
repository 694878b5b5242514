using Conformance.Generator.Model;
using Conformance.Labs;
using Conformance.Linux;
using Conformance.Traffic;

namespace Conformance.KernelTests.Generator;

/// <summary>The script of <c>generate</c>, on hosts in use and not.</summary>
public sealed class ApplyScriptTests : ProgramFixture
{
    [Test]
    public async Task Script_of_generate_is_additive_and_idempotent()
    {
        Put("one.yaml", Service("one", "10.96.0.1", 80, "type: NodePort", nodePort: 30080));
        await Node.RunAsync("iptables -A INPUT -p tcp --dport 22 -j ACCEPT");
        await Node.RunAsync("ipvsadm -A -t 172.30.5.5:80 -s wlc");
        await Generator("generate", "--node-addresses", "192.168.113.101", "-f", Path.Combine(Folder, "one.yaml"), "-o", Folder)
            .ExecuteAsync();

        (await Node.Command(Path.Combine(Folder, "apply.sh")).ExecuteAsync()).StandardError.ShouldBeEmpty();

        var once = await KernelState.ReadAsync(Node);
        once.Files["iptables-save.txt"].ShouldContain("-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT");
        once.Files["iptables-save.txt"].Count(l => l.StartsWith("-A INPUT", StringComparison.Ordinal)).ShouldBe(4);
        Servers().ShouldBe(["10.96.0.1:80", "172.30.5.5:80", "192.168.113.101:30080"]);
        (await Generator("plan", "-f", Path.Combine(Folder, "one.yaml"), "--ipvs-exclude-cidrs", "172.30.0.0/16")
            .ExecuteAsync()).StandardOutput.ShouldBeEmpty("the script and the program make the same state");

        await Node.RunAsync("ipset create KUBE-NEW-1 hash:net"); // as if it had been killed at that, and at its probe
        await Node.RunAsync("iptables -t nat -N KUBE-TRIAL");
        await Node.Command(Path.Combine(Folder, "apply.sh")).ExecuteAsync();
        (await KernelState.ReadAsync(Node)).Differences(once).ShouldBeEmpty();
    }

    [Test]
    public async Task The_script_of_generate_loads_every_kind_of_server_on_a_host_that_has_none()
    {
        Put("all.yaml", Service("tcp", "10.96.0.1", 80, "type: NodePort", nodePort: 30080)
            + Service("udp", "10.96.0.2", 53, "sessionAffinity: ClientIP")
                .Replace("    - port: 53", "    - protocol: UDP\n      port: 53", StringComparison.Ordinal)
            + Service("sctp", "10.96.0.3", 7, "type: ClusterIP")
                .Replace("    - port: 7", "    - protocol: SCTP\n      port: 7", StringComparison.Ordinal)
            + Service("six", "\"fd00:96::1\"", 80).Replace("IPv4", "IPv6", StringComparison.Ordinal)
                .Replace("[10.244.1.7]", "[\"fd00:244::7\"]", StringComparison.Ordinal));
        await Generator("generate", "--ipvs-scheduler", "mh", "--ipvs-udp-timeout", "100s", "--node-addresses", "192.168.113.101", "-f",
            Path.Combine(Folder, "all.yaml"), "-o", Folder).ExecuteAsync();

        for (var i = 0; i < 2; i++)
            (await Node.Command(Path.Combine(Folder, "apply.sh")).ExecuteAsync()).StandardError.ShouldBeEmpty();

        Servers().ShouldBe(["10.96.0.1:80", "10.96.0.2:53", "10.96.0.3:7", "192.168.113.101:30080", "[fd00:96::1]:80"]);
        (await Generator("plan", "--ipvs-scheduler", "mh", "--ipvs-udp-timeout", "100s", "-f", Path.Combine(Folder, "all.yaml"))
            .ExecuteAsync()).StandardOutput.ShouldBeEmpty("the script and the program make the same state");
    }

    [Test]
    public async Task State_missing_in_the_documents_goes_and_foreign_state_stays([Values("", "kube-proxy")] string compat)
    {
        string[] Generate(string file, params string[] more) =>
            ["generate", .. more, .. compat.Length == 0 ? Array.Empty<string>() : ["--compat", compat], "--node-addresses",
                "192.168.113.101", "-f", Path.Combine(Folder, file), "-o", Folder];
        const string two = "[10.244.1.7]\n  - addresses: [10.244.1.8]";
        Put("before.yaml", Service("kept", "10.96.0.5", 80).Replace("[10.244.1.7]", two, StringComparison.Ordinal) + Service("other-port",
            "10.96.0.6", 80)
            + Service("gone", "10.96.0.1", 80, "type: NodePort\n  externalIPs: [203.0.113.9]", nodePort: 30080)
            + Service("six", "\"fd00:96::1\"", 80).Replace("IPv4", "IPv6", StringComparison.Ordinal)
                .Replace("[10.244.1.7]", "[\"fd00:244::7\"]", StringComparison.Ordinal)
            + Service("idle", "10.96.0.7", 80).Replace("[10.244.1.7]", two, StringComparison.Ordinal));
        Put("after.yaml", Service("kept", "10.96.0.5", 80) + Service("other-port", "10.96.0.6", 81) + Service("idle", "10.96.0.7", 80));
        await Node.RunAsync("ipvsadm -A -t 172.30.5.5:30080 -s wlc");
        await Generator(Generate("before.yaml")).ExecuteAsync();
        (await Node.Command(Path.Combine(Folder, "apply.sh")).ExecuteAsync()).StandardError.ShouldBeEmpty();
        Servers().ShouldBe(["10.96.0.1:80", "10.96.0.5:80", "10.96.0.6:80", "10.96.0.7:80", "172.30.5.5:30080", "192.168.113.101:30080",
            "203.0.113.9:80", "[fd00:96::1]:80"]);
        foreach (var address in new[] { "10.244.1.7", "10.244.1.8" })
            await Node.AddAddressAsync($"{address}/32", "lo");
        Node.Serve(TransportProtocol.Tcp, 8080);
        await using var first = await Node.ConnectAsync("10.96.0.5:80"); // a connection to each of its real servers
        await using var second = await Node.ConnectAsync("10.96.0.5:80");
        (first.Answer, second.Answer).ShouldSatisfyAllConditions(a => a.Item1.ShouldNotBeNull(), a => a.Item2.ShouldNotBeNull());

        await Node.RunAsync("ip address add 10.96.0.99/32 dev kube-ipvs0"); // of a run that did not take away what went
        await Node.RunAsync("ipvsadm -A -t 10.96.0.99:80 -s rr");

        await Generator(Generate("after.yaml")).ExecuteAsync();
        (await Node.Command(Path.Combine(Folder, "apply.sh")).ExecuteAsync()).StandardError.ShouldBeEmpty();

        Servers().ShouldBe(["10.96.0.5:80", "10.96.0.6:81", "10.96.0.7:80", "172.30.5.5:30080"]);
        (await Node.RunAsync("ip -o address show dev kube-ipvs0")).Split('\n', StringSplitOptions.RemoveEmptyEntries).Length.ShouldBe(3);
        var table = await Node.RunAsync("ipvsadm -Sn");
        table.ShouldContain("-a -t 10.96.0.5:80 -r 10.244.1.8:8080 -m -w 0", Case.Sensitive, "its connection goes on, no new one comes");
        table.ShouldNotContain("10.96.0.7:80 -r 10.244.1.8", Case.Sensitive, "it has no connection to wait for");
        (await Node.Command(Path.Combine(Folder, "apply.sh")).ExecuteAsync()).StandardError.ShouldBeEmpty();
        (await Node.RunAsync("ipvsadm -Sn")).ShouldBe(table, "run again, it changes nothing");

        await Node.RunAsync("ip address add 172.30.5.5/32 dev kube-ipvs0");
        await Generator(Generate("after.yaml", "--ipvs-exclude-cidrs", "172.30.0.0/16")).ExecuteAsync();
        (await Node.Command(Path.Combine(Folder, "apply.sh")).ExecuteAsync()).StandardError.ShouldBeEmpty();
        (await Node.RunAsync("ip -o address show dev kube-ipvs0")).ShouldContain("172.30.5.5/32");
        (await Node.RunAsync("ipvsadm -Sn")).ShouldBe(table);
    }

    [Test]
    public async Task The_script_of_generate_serves_ipv4_alone_where_ip6tables_does_not_work()
    {
        var shims = Shims("exit 3", "ip6tables", "ip6tables-legacy", "ip6tables-nft");
        await Node.SetSysctlAsync("net.ipv6.conf.all.forwarding", "0");
        Put("both.yaml", Service("four", "10.96.0.1", 80)
            + Service("six", "\"fd00:96::1\"", 80).Replace("IPv4", "IPv6", StringComparison.Ordinal)
                .Replace("[10.244.1.7]", "[\"fd00:244::7\"]", StringComparison.Ordinal));
        await Generator("generate", "--node-addresses", "192.168.113.101", "-f", Path.Combine(Folder, "both.yaml"), "-o", Folder)
            .ExecuteAsync();

        var loaded = await Node.Command("sh", "-c", $"PATH={shims}:$PATH exec {Folder}/apply.sh").TryAsync();

        (loaded.ExitCode, loaded.StandardError.Trim()).ShouldBe((0, "IPv6, or ip6tables, does not work here: IPv4 alone is served."));
        Servers().ShouldBe(["10.96.0.1:80"]);
        (await Node.RunAsync("sysctl -n net.ipv6.conf.all.forwarding")).Trim().ShouldBe("0", "nobody is served who needs it");
    }

    [Test]
    public async Task Refused_state_is_reported_and_reaches_no_socket()
    {
        const string refused = ", annotations: { ipvs.conformance/scheduler: nosuch } }\nspec";
        Put("one.yaml", Service("good", "10.96.0.1", 80) + Service("half", "10.96.0.1", 81)
            .Replace(" }\nspec", refused, StringComparison.Ordinal) + Service("bad", "10.96.0.2", 80)
            .Replace(" }\nspec", refused, StringComparison.Ordinal)
            + Service("six", "\"fd00:96::2\"", 80).Replace(" }\nspec", refused, StringComparison.Ordinal)
                .Replace("IPv4", "IPv6", StringComparison.Ordinal).Replace("[10.244.1.7]", "[\"fd00:244::7\"]", StringComparison.Ordinal));
        await Generator("generate", "--node-addresses", "192.168.113.101", "-f", Path.Combine(Folder, "one.yaml"), "-o", Folder)
            .ExecuteAsync();

        var script = await Node.Command(Path.Combine(Folder, "apply.sh")).TryAsync();
        (script.ExitCode, script.StandardError.Contains("-A -t 10.96.0.2:80 -s nosuch", StringComparison.Ordinal))
            .ShouldBe((1, true), script.StandardError);
        (await Passing()).ShouldBe(["10.96.0.1,tcp:80"]);
        (await Bound()).ShouldBe(["10.96.0.1/32"]);
        await Node.RunAsync("ip address add 10.96.0.2/32 dev kube-ipvs0 scope host"); // as if it had been served before
        await Node.Command(Path.Combine(Folder, "apply.sh")).TryAsync();
        (await Bound()).ShouldBe(["10.96.0.1/32"]);
        var program = await Generator("apply", "-f", Path.Combine(Folder, "one.yaml")).TryAsync();

        program.ExitCode.ShouldBe(1);
        program.StandardError.ShouldSatisfyAllConditions(
            e => e.ShouldContain("evidence: "), e => e.ShouldContain("add the virtual server tcp 10.96.0.2:80"), e =>
                e.ShouldContain("consequence: what is named is not served, everything else is"), e => e.ShouldContain("fix: "));
        program.StandardOutput.ShouldNotContain("+ virtual server tcp 10.96.0.2:80", Case.Sensitive, "it was not made");
        Servers().ShouldBe(["10.96.0.1:80"]);
        (await Passing()).ShouldBe(["10.96.0.1,tcp:80"], "the program withholds the same");
        (await Bound()).ShouldBe(["10.96.0.1/32"]);

        async Task<string[]> Passing() => [.. (await Node.RunAsync("ipset save")).Split('\n')
            .Where(l => l.StartsWith("add ", StringComparison.Ordinal) && l.Contains("CLUSTER-IP", StringComparison.Ordinal))
            .Select(l => l.Split(' ')[2])];
        async Task<string[]> Bound() => [.. (await Node.RunAsync("ip -o address show dev kube-ipvs0")).Split('\n')
            .Where(l => l.Length > 0 && !l.Contains("fe80", StringComparison.Ordinal))
            .Select(l => l.Split(' ', StringSplitOptions.RemoveEmptyEntries)[3])];
    }
}
