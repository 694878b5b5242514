using CliWrap;
using CliWrap.Buffered;
using Conformance.Labs;

namespace Conformance.Tests;

/// <summary>The verbs that work in the shell of a lab, in that shell, on the kernel that a user without IPVS gets.</summary>
[NonParallelizable]
public sealed class LabShellTests
{
    [Test]
    public async Task Commands_of_the_article_work_and_every_verb_shows_their_effect()
    {
        var shell = await ShellAsync(["up", "article-nat"], """
            lab exec director -- ip addr add 10.10.0.1/24 dev ens33
            lab exec director -- ipvsadm -A -t 10.10.0.1:8410 -s rr
            lab exec director -- ipvsadm -a -t 10.10.0.1:8410 -r rs1:8080 -m
            lab exec client -- ip route add 10.10.0.0/16 via 192.168.113.101
            lab exec director -- iptables -t nat -A POSTROUTING -m ipvs --vaddr 10.10.0.1 --vport 8410 -j MASQUERADE
            lab exec director -- sysctl -q net.ipv4.vs.conntrack=1
            echo "exec: $(lab exec client -- curl --silent --show-error http://10.10.0.1:8410/)"
            echo "greeting: $(lab exec client -- bash -c 'read -r line </dev/tcp/rs2/8080; echo "$line"')"
            echo "shell: $(echo hostname | lab shell rs2)"
            echo "inspect: $(lab inspect | grep -c 'virtual server')"
            lab explain client 10.10.0.1:8410 | sed 's/^/explain: /'
            lab capture client -w capture.pcap -c 2 2>/dev/null & capturing=$!
            for i in 1 2 3; do sleep 1; lab exec client -- curl --silent http://10.10.0.1:8410/ >/dev/null; done
            wait "$capturing"; echo "capture: $(tcpdump -n -r capture.pcap 2>/dev/null | wc -l)"
            lab exec cleint -- true; echo "mistyped: $?"
            lab explain client nobody:80; echo "mistyped target: $?"
            lab graph article-nat | sed -n '1s/^/graph: /p'
            lab down; echo "down: $?"
            """);

        shell.ExitCode.ShouldBe(0, shell.StandardError);
        shell.StandardOutput.ShouldSatisfyAllConditions(
            text => text.ShouldContain("exec: rs1 192.168.113.101:"),
            text => text.ShouldContain("greeting: rs2 192.168.113.102:"),
            text => text.ShouldContain("shell: rs2\n"),
            text => text.ShouldContain("inspect: 1\n"),
            text => text.ShouldContain(
            "explain:   nat    POSTROUTING              -m ipvs --vaddr 10.10.0.1 --vport 8410 -j MASQUERADE   ["),
            text => text.ShouldMatch(
            @"explain: IPVS of director: TCP 192\.168\.113\.102:\d+ -> 10\.10\.0\.1:8410 -> 192\.168\.113\.99:8080"),
            text => text.ShouldContain("capture: 2\n"),
            text => text.ShouldContain("mistyped: 1\n"),
            text => text.ShouldContain("mistyped target: 1\n"),
            text => text.ShouldContain("graph: graph LR\n"),
            text => text.ShouldContain("down: 1\n"));
        shell.StandardError.ShouldContain("Did you mean 'client'?");
        shell.StandardError.ShouldNotContain("   at ", Case.Sensitive, "an error for people has no stack");
    }

    [Test]
    public async Task Services_of_the_article_are_programmed_and_explained_in_nine_steps()
    {
        var shell = await ShellAsync(["up", "cluster", "--proxy", "generator-compat", "-f", "topologies/services/article.yaml"], """
            echo "cluster ip: $(lab exec pod-a -- curl --silent --show-error http://10.108.113.237/)"
            echo "node port: $(lab exec client -- curl --silent --show-error http://node1:30080/)"
            lab exec client -- ip route add 10.96.0.0/12 via 192.168.113.101
            lab explain client 10.108.113.237:80
            """);

        shell.ExitCode.ShouldBe(0, shell.StandardError);
        shell.StandardOutput.ShouldContain("cluster ip: web-b 10.244.0.11:");
        shell.StandardOutput.ShouldContain("node port: web-b 10.244.0.0:");
        var last = 0;
        foreach (var step in new[] { "-j KUBE-SERVICES", "KUBE-CLUSTER-IP dst,dst -j KUBE-MARK-MASQ", "--set-xmark 0x4000/0x4000",
            "-j KUBE-NODE-PORT", "-j KUBE-IPVS-FILTER", "10.244.1.143:80 SYN, mark 0x4000]", "-j KUBE-POSTROUTING", "-j MASQUERADE",
            "node1:flannel.1  sends" })
        {
            var at = shell.StandardOutput.IndexOf(step, last, StringComparison.Ordinal);
            at.ShouldBeGreaterThanOrEqualTo(0, $"'{step}' in this order in:\n{shell.StandardOutput}");
            last = at;
        }
    }

    [Test]
    public async Task A_proxy_that_cannot_start_is_reported_and_nothing_stays_up()
    {
        var shell = await ShellAsync(["up", "cluster", "--proxy", "command=/bin/false"], "echo never");

        shell.ExitCode.ShouldBe(1);
        shell.StandardOutput.ShouldNotContain("never");
        shell.StandardError.ShouldContain("has ended");
    }

    private static Task<BufferedCommandResult> ShellAsync(string[] arguments, string script) => LabProgram.Command(arguments)
        .WithWorkingDirectory(ProjectFolder.Root).WithStandardInputPipe(PipeSource.FromString(script))
        .ExecuteBufferedAsync(new CancellationTokenSource(TimeSpan.FromMinutes(2)).Token);
}
