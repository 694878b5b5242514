using System.Globalization;
using System.Net;
using System.Net.Sockets;
using CliWrap;
using Conformance.Clusters.Kubernetes;
using Conformance.Generator.Model;
using Conformance.Labs;
using Conformance.Labs.Waiting;
using Conformance.Linux.Sockets;

namespace Conformance.KernelTests.Generator;

/// <summary>What <c>watch</c> follows, serves, and does when something fails.</summary>
public sealed class WatchTests : ProgramFixture
{
    [Test]
    public async Task Watch_follows_a_folder_serves_its_health_and_leaves_the_state_when_it_is_stopped()
    {
        Put("one.yaml", Service("one", "10.96.0.1", 80));
        var watching = Watch("-f", ".");
        await ServersAsync("10.96.0.1:80");

        Put("two.yaml", Service("two", "10.96.0.2", 80));
        await ServersAsync("10.96.0.1:80", "10.96.0.2:80");
        Put("two.yaml", Service("two", "10.96.0.2", 8080));
        await ServersAsync("10.96.0.1:80", "10.96.0.2:8080");
        Put("two.yaml", "apiVersion: v1\nkind: Service\nmetadata: {name: two, names");
        Put("three.yaml", Service("three", "10.96.0.3", 80));
        await ServersAsync("10.96.0.1:80", "10.96.0.2:8080", "10.96.0.3:80"); // a torn file takes nothing away
        Put("zero.yaml", Service("one", "10.96.0.9", 80));
        await ServersAsync("10.96.0.2:8080", "10.96.0.3:80", "10.96.0.9:80"); // of one object in two files the last file's counts
        File.Delete(Path.Combine(Folder, "zero.yaml"));
        await ServersAsync("10.96.0.1:80", "10.96.0.2:8080", "10.96.0.3:80");
        await File.WriteAllTextAsync(Path.Combine(Folder, "three.yaml"), ""); // being written
        File.Delete(Path.Combine(Folder, "one.yaml"));
        await ServersAsync("10.96.0.2:8080", "10.96.0.3:80");

        (await Node.RunAsync("curl --silent http://192.168.113.101:10256/healthz")).ShouldContain("\"nodeEligible\": true");
        Put("node.yaml", "kind: Node\napiVersion: v1\nmetadata: { name: node1 }\nspec: { taints: [ { key: " +
            "ToBeDeletedByClusterAutoscaler, effect: NoSchedule } ] }\n");
        await Eventually.Async("the health check answers 503", () => StatusAsync("healthz"),
            status => status.Contains("503", StringComparison.Ordinal), Timeouts.Start, log: Said);
        (await StatusAsync("livez")).ShouldContain("200", Case.Sensitive, "it works all the same");
        (await Node.RunAsync("curl --silent http://127.0.0.1:10249/metrics")).ShouldContain("ipvs_generator_objects{kind=\"Service\"} 2");
        var second = await Generator("apply", "-f", Folder).TryAsync();
        (second.ExitCode, second.StandardError.Contains("Another ipvs-generator works in this network namespace",
            StringComparison.Ordinal)).ShouldBe((1, true), second.StandardError);

        await CliWrap.Cli.Wrap("kill").WithArguments(["-TERM", watching.ProcessId.ToString(CultureInfo.InvariantCulture)]).ExecuteAsync();
        (await watching).ExitCode.ShouldBe(0, Said.ToString());
        Servers().ShouldBe(["10.96.0.2:8080", "10.96.0.3:80"]);
        await Node.RunAsync("ipset create KUBE-ENLARGED hash:ip"); // as if it had been killed at that
        (await Generator("cleanup").ExecuteAsync()).StandardOutput.ShouldContain("- virtual server tcp 10.96.0.3:80");
        Servers().ShouldBeEmpty();
        (await Node.RunAsync("ipset list -n")).ShouldBeEmpty();
    }

    [Test]
    public async Task What_fails_is_tried_again_with_growing_pauses()
    {
        var failing = Path.Combine(Folder, "failing");
        var shims = FailingWhile(failing);
        await File.WriteAllTextAsync(failing, "");
        Put("one.yaml", Service("one", "10.96.0.1", 80));
        _ = WatchWith(shims, "-f", ".", "--ipvs-sync-period", "30s");
        await Eventually.Async("it is tried a third time", () => Said.ToString(),
            said => said.Contains("again within 4 s", StringComparison.Ordinal), Timeouts.Start, log: Said);

        Said.ToString().ShouldSatisfyAllConditions(
            said => said.ShouldContain("again within 1 s"), said => said.ShouldContain("again within 2 s"), said =>
                said.ShouldContain("evidence: made to fail"));
        Servers().ShouldBeEmpty("no virtual server without its rules");
        (await StatusAsync("healthz")).ShouldContain("503", Case.Sensitive, "nothing has ever been synced");
        File.Delete(failing);
        await ServersAsync("10.96.0.1:80");
        (await StatusAsync("healthz")).ShouldContain("200");
    }

    [Test]
    public async Task Failing_sync_is_reported_to_probes_after_two_periods()
    {
        var failing = Path.Combine(Folder, "failing");
        var shims = FailingWhile(failing);
        Put("one.yaml", Service("one", "10.96.0.1", 80));
        _ = WatchWith(shims, "-f", ".", "--ipvs-sync-period", "5s");
        await ServersAsync("10.96.0.1:80");
        await File.WriteAllTextAsync(failing, "");
        Put("two.yaml", Service("two", "10.96.0.2", 80, "type: NodePort", nodePort: 30080)); // the first node port has a rule to come

        await Eventually.Async("it fails", () => Said.ToString(), said => said.Contains("failed, again", StringComparison.Ordinal),
            Timeouts.Start, log: Said);
        (await StatusAsync("healthz")).ShouldContain("200", Case.Sensitive, "a failure that is repaired soon is not reported");
        await Eventually.Async("probes get 503", () => StatusAsync("livez"), status => status.Contains("503", StringComparison.Ordinal),
            Timeouts.Start, log: Said);
        File.Delete(failing);
        await Eventually.Async("all is well", () => StatusAsync("livez"), status => status.Contains("200", StringComparison.Ordinal),
            Timeouts.Start, log: Said);
        await ServersAsync("10.96.0.1:80", "10.96.0.2:80", "192.168.113.101:30080");
    }

    [Test]
    public async Task Health_check_node_ports_answer_as_was_recorded_of_kube_proxy()
    {
        var scenario = Scenario.Load("14-lb-etp-local-hc");
        Put("input.yaml", scenario.Read("input.yaml"));
        _ = Watch("-f", ".", "--metrics-bind-address", "");
        await Eventually.Async("both ports are open", () => ListeningSockets.Tcp(Node.Namespace), ports => ports.Contains(32014)
            && ports.Contains(32114), Timeouts.Start, log: Said);

        // What follows are the answers of /healthz, whose times differ, and the listeners.
        var recorded = scenario.Recorded("healthcheck.txt").Split("== ")
            .Where(r => r.Contains(":32", StringComparison.Ordinal) && r.StartsWith("GET", StringComparison.Ordinal)).ToList();
        recorded.Count.ShouldBe(3);
        foreach (var exchange in recorded)
        {
            var (url, answer) = (exchange.Split('\n')[0][4..], exchange[(exchange.IndexOf('\n', StringComparison.Ordinal) + 1)..]);
            var given = (await Node.RunAsync($"curl --silent --include {url}")).ReplaceLineEndings("\n").Split('\n')
                .Where(l => l != "Connection: close").Select(l => l.StartsWith("Date:", StringComparison.Ordinal) ? "Date: ..." : l);
            string.Join('\n', given).Trim().ShouldBe(answer.ReplaceLineEndings("\n").Trim(), url);
        }
    }

    [Test]
    public async Task Watch_follows_an_api_server()
    {
        await using var server = await ApiServer.StartAsync(Node.Namespace, new IPEndPoint(IPAddress.Loopback, 8080));
        server.Apply(Service("one", "10.96.0.1", 80) + "---\n" + Service("headless", "None", 80));
        _ = Watch("--master", "http://127.0.0.1:8080", "--healthz-bind-address", "", "--metrics-bind-address", "");
        await ServersAsync("10.96.0.1:80");

        server.Apply(Service("two", "10.96.0.2", 80));
        await ServersAsync("10.96.0.1:80", "10.96.0.2:80");
        server.Disconnect();
        server.Delete("Service", "default", "one");
        await ServersAsync("10.96.0.2:80");
        Said.ToString().ShouldContain("Service default/two");
    }

    [Test]
    public async Task Health_check_answers_in_both_families_with_the_endpoint_count()
    {
        Put("one.yaml", Service("one", "10.96.0.1", 80,
            "type: LoadBalancer\n  externalTrafficPolicy: Local\n  healthCheckNodePort: 32000", nodePort: 30080)
            .Replace("[10.244.1.7]", "[10.244.0.7]\n    nodeName: node1", StringComparison.Ordinal));
        _ = Watch("-f", ".", "--healthz-bind-address", "", "--metrics-bind-address", "");
        await Eventually.Async("the port is open", () => ListeningSockets.Tcp(Node.Namespace), ports => ports.Contains(32000),
            Timeouts.Start, log: Said);

        foreach (var host in new[] { "127.0.0.1", "[::1]" })
        {
            var answer = await Node.RunAsync($"curl --silent --include --globoff http://{host}:32000/");
            answer.ShouldStartWith("HTTP/1.1 200 OK");
            answer.ShouldContain("X-Load-Balancing-Endpoint-Weight: 1");
            answer.ShouldContain("\"localEndpoints\": 1");
        }
    }

    [Test]
    public async Task A_health_check_node_port_listens_only_where_node_ports_are_served()
    {
        await Node.AddAddressAsync("10.9.0.1/24", "lo");
        Put("one.yaml", Service("one", "10.96.0.1", 80,
            "type: LoadBalancer\n  externalTrafficPolicy: Local\n  healthCheckNodePort: 32000", nodePort: 30080));
        _ = Watch("-f", ".", "--healthz-bind-address", "", "--metrics-bind-address", "", "--nodeport-addresses", "192.168.113.0/24");
        await Eventually.Async("the port is open", () => ListeningSockets.Tcp(Node.Namespace), ports => ports.Contains(32000),
            Timeouts.Start, log: Said);

        (await Node.RunAsync("curl --silent --include http://192.168.113.101:32000/")).ShouldContain("X-Load-Balancing-Endpoint-Weight");
        (await Node.Command("curl", "--silent", "http://10.9.0.1:32000/").TryAsync()).ExitCode.ShouldBe(7,
            "curl's code for a refused connection");
    }

    [Test]
    public async Task A_flood_of_probes_that_say_nothing_takes_no_files_from_the_sync()
    {
        Put("one.yaml", Service("one", "10.96.0.1", 80));
        var watching = WatchAfter("ulimit -n 128", "-f", ".", "--metrics-bind-address", "");
        await ServersAsync("10.96.0.1:80");
        var held = Enumerable.Range(0, 200)
            .Select(_ => Node.Namespace.Run(() => Connect(new IPEndPoint(IPAddress.Parse("192.168.113.101"), 10256)))).ToList();

        try
        {
            for (var i = 2; i < 5; i++)
            {
                Put($"{i}.yaml", Service($"s{i}", $"10.96.0.{i}", 80, "type: NodePort", nodePort: 30080 + i));
                await Eventually.Async("it is served", Servers, there => there.Contains($"10.96.0.{i}:80"), Timeouts.Start, log: Said);
            }
            (await StatusAsync("healthz")).ShouldContain("200");
            Said.ToString().ShouldNotContain("Too many open files");
            watching.Task.IsCompleted.ShouldBeFalse(Said.ToString());
        }
        finally
        {
            held.ForEach(s => s.Dispose());
        }

        static Socket Connect(IPEndPoint to)
        {
            var socket = new Socket(SocketType.Stream, ProtocolType.Tcp);
            socket.Connect(to);
            return socket;
        }
    }

    [Test]
    public async Task SIGTERM_ends_a_tool_that_hangs_and_then_the_program()
    {
        var hanging = Path.Combine(Folder, "hanging");
        var shims = Shims($"[ ! -e {hanging} ] || exec sleep 600.5\nPATH=${{PATH#*:}}\nexec ${{0##*/}} \"$@\"", "iptables-restore",
            "iptables-legacy-restore", "iptables-nft-restore");
        Put("one.yaml", Service("one", "10.96.0.1", 80));
        var watching = WatchWith(shims, "-f", ".");
        await ServersAsync("10.96.0.1:80");
        await File.WriteAllTextAsync(hanging, "");
        Put("two.yaml", Service("two", "10.96.0.2", 80, "type: NodePort", nodePort: 30080));
        await Eventually.Async("the tool hangs", HangingAsync, pids => pids.Length > 0, Timeouts.Start, log: Said);

        await CliWrap.Cli.Wrap("kill").WithArguments(["-TERM", watching.ProcessId.ToString(CultureInfo.InvariantCulture)]).ExecuteAsync();

        (await watching).ExitCode.ShouldBe(0, Said.ToString());
        (await HangingAsync()).ShouldBeEmpty();

        async Task<string> HangingAsync() => (await Node.Command("pgrep", "-f", "sleep 600.5").TryAsync()).StandardOutput;
    }

    [Test]
    public async Task IPv6_that_is_switched_off_is_reported_and_served_again_later()
    {
        await Node.SetSysctlAsync("net.ipv6.conf.all.disable_ipv6", "1");
        await Node.SetSysctlAsync("net.ipv6.conf.default.disable_ipv6", "1");
        Put("both.yaml", Service("four", "10.96.0.1", 80)
            + Service("six", "\"fd00:96::1\"", 80).Replace("IPv4", "IPv6", StringComparison.Ordinal)
                .Replace("[10.244.1.7]", "[\"fd00:244::7\"]", StringComparison.Ordinal));
        _ = Watch("-f", ".", "--ipvs-sync-period", "1s");
        await ServersAsync("10.96.0.1:80");
        await Eventually.Async("it is logged", () => Said.ToString(),
            said => said.Contains("IPv4 alone is served", StringComparison.Ordinal), Timeouts.Start);

        await Node.SetSysctlAsync("net.ipv6.conf.all.disable_ipv6", "0");
        await Node.SetSysctlAsync("net.ipv6.conf.default.disable_ipv6", "0");

        await ServersAsync("10.96.0.1:80", "[fd00:96::1]:80");
        Said.ToString().ShouldContain("IPv6 is served again");
    }

    [Test]
    public async Task Pipe_or_device_in_the_folder_is_ignored_and_reported()
    {
        Put("one.yaml", Service("one", "10.96.0.1", 80));
        await Node.RunAsync($"mkfifo {Folder}/pipe.yaml");
        await Node.RunAsync($"ln -s /dev/zero {Folder}/zero.yaml");
        _ = Watch("-f", ".", "--ipvs-sync-period", "1s");
        await ServersAsync("10.96.0.1:80");

        Said.ToString().ShouldSatisfyAllConditions(
            said => said.ShouldContain("pipe.yaml: this file is left out: It is a pipe or a device"), said =>
                said.ShouldContain("zero.yaml: this file is left out"));
        await Node.RunAsync($"mkfifo {Folder}/pipe");
        await Node.RunAsync($"mv {Folder}/pipe {Folder}/one.yaml"); // in the place of a file that was served
        Put("two.yaml", Service("two", "10.96.0.2", 80));
        await ServersAsync("10.96.0.1:80", "10.96.0.2:80");
        var pipe = await Node.Command("sh", "-c",
            $"cat {Folder}/two.yaml > {Folder}/pipe.yaml & {AppContext.BaseDirectory}ipvs-generator generate --node-addresses " +
            $"192.168.113.101 -f {Folder}/pipe.yaml").TryAsync();
        (pipe.ExitCode, pipe.StandardOutput.Contains("10.96.0.2:80", StringComparison.Ordinal)).ShouldBe((0, true), pipe.StandardError);
    }

    /// <summary>No rule can be written as long as there is the file.</summary>
    private string FailingWhile(string file) => Shims(
        $"[ ! -e {file} ] || {{ echo made to fail >&2; exit 4; }}\nPATH=${{PATH#*:}}\nexec ${{0##*/}} \"$@\"", "iptables-restore",
            "iptables-legacy-restore", "iptables-nft-restore");

    private Task<string> StatusAsync(string path) => Node.RunAsync($"curl --silent --include http://192.168.113.101:10256/{path}");
}
