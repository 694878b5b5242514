using System.Globalization;
using System.Net;
using System.Text;
using CliWrap;
using CliWrap.Buffered;
using Conformance.Harness;
using Conformance.Harness.Kubernetes;
using Conformance.Harness.Labs;
using Conformance.Kernel.Tables;
using Conformance.Topologies;

namespace Conformance.KernelTests.Generator;

/// <summary>The program as a person or a script calls it, in the namespace of a node.</summary>
[Parallelizable(ParallelScope.All)]
[FixtureLifeCycle(LifeCycle.InstancePerTestCase)]
public sealed class ProgramTests : IAsyncDisposable
{
    private Lab _lab = null!;
    private string _folder = null!;
    private readonly CancellationTokenSource _end = new();
    private Task _watching = Task.CompletedTask;

    private Node Node => _lab["node1"];

    [SetUp]
    public async Task StartNode()
    {
        _lab = await Lab.StartAsync(Topology.Load("generator-node"), capture: false);
        _folder = Directory.CreateDirectory(Path.Combine(RunFolder.Current, "program", TestContext.CurrentContext.Test.MethodName!)).FullName;
    }

    public async ValueTask DisposeAsync()
    {
        await _end.CancelAsync();
        try
        {
            await _watching;
        }
        catch (OperationCanceledException)
        {
            // killed, since the test has ended before it
        }
        _end.Dispose();
        await _lab.DisposeAsync();
    }

    [Test]
    public async Task Watch_follows_a_folder_serves_its_health_and_leaves_the_state_when_it_is_stopped()
    {
        Put("one.yaml", Service("one", "10.96.0.1", 80));
        var said = new StringBuilder();
        // Its working directory, because user-mode Linux's hostfs forgets, and renumbers, a folder that nobody is in: inotify
        // would watch one that no longer is.
        var watching = Generator("watch", "-f", ".", "--hostname-override", "Node1").ToCliWrap().WithWorkingDirectory(_folder).WithStandardErrorPipe(PipeTarget.ToStringBuilder(said)).WithValidation(CommandResultValidation.None).ExecuteAsync(_end.Token);
        _watching = watching.Task;
        await ServersAsync(["10.96.0.1:80"], said);

        Put("two.yaml", Service("two", "10.96.0.2", 80));
        await ServersAsync(["10.96.0.1:80", "10.96.0.2:80"], said);
        Put("two.yaml", Service("two", "10.96.0.2", 8080));
        await ServersAsync(["10.96.0.1:80", "10.96.0.2:8080"], said);
        Put("two.yaml", "apiVersion: v1\nkind: Service\nmetadata: {name: two, names");
        Put("three.yaml", Service("three", "10.96.0.3", 80));
        await ServersAsync(["10.96.0.1:80", "10.96.0.2:8080", "10.96.0.3:80"], said); // a torn file takes nothing away
        Put("zero.yaml", Service("one", "10.96.0.9", 80));
        await ServersAsync(["10.96.0.2:8080", "10.96.0.3:80", "10.96.0.9:80"], said); // of one object in two files the last file's counts
        File.Delete(Path.Combine(_folder, "zero.yaml"));
        await ServersAsync(["10.96.0.1:80", "10.96.0.2:8080", "10.96.0.3:80"], said);
        await File.WriteAllTextAsync(Path.Combine(_folder, "three.yaml"), ""); // being written
        File.Delete(Path.Combine(_folder, "one.yaml"));
        await ServersAsync(["10.96.0.2:8080", "10.96.0.3:80"], said);

        (await Node.RunAsync("curl --silent http://192.168.113.101:10256/healthz")).ShouldContain("\"nodeEligible\": true");
        Put("node.yaml", "kind: Node\napiVersion: v1\nmetadata: { name: node1 }\nspec: { taints: [ { key: ToBeDeletedByClusterAutoscaler, effect: NoSchedule } ] }\n");
        await Eventually.Async("load balancers are told to leave", () => StatusAsync("healthz"), status => status.Contains("503", StringComparison.Ordinal), Timeouts.Start, log: said);
        (await StatusAsync("livez")).ShouldContain("200", Case.Sensitive, "it works all the same");
        (await Node.RunAsync("curl --silent http://127.0.0.1:10249/metrics")).ShouldContain("ipvs_generator_objects{kind=\"Service\"} 2");
        var second = await Generator("apply", "-f", _folder).TryAsync();
        (second.ExitCode, second.StandardError.Contains("Another ipvs-generator works in this network namespace", StringComparison.Ordinal)).ShouldBe((1, true), second.StandardError);

        await CliWrap.Cli.Wrap("kill").WithArguments(["-TERM", watching.ProcessId.ToString(CultureInfo.InvariantCulture)]).ExecuteAsync();
        (await watching).ExitCode.ShouldBe(0, said.ToString());
        Servers().ShouldBe(["10.96.0.2:8080", "10.96.0.3:80"]);
        await Node.RunAsync("ipset create KUBE-ENLARGED hash:ip"); // as if it had been killed at that
        (await Generator("cleanup").ExecuteAsync()).StandardOutput.ShouldContain("- virtual server tcp 10.96.0.3:80");
        Servers().ShouldBeEmpty();
        (await Node.RunAsync("ipset list -n")).ShouldBeEmpty();

        Task<string> StatusAsync(string path) => Node.RunAsync($"curl --silent --include http://192.168.113.101:10256/{path}");
    }

    [Test]
    public async Task Watch_follows_an_api_server()
    {
        await using var server = await ApiServer.StartAsync(Node.Namespace, new IPEndPoint(IPAddress.Loopback, 8080));
        server.Apply(Service("one", "10.96.0.1", 80) + "---\n" + Service("headless", "None", 80));
        var said = new StringBuilder();
        _watching = Generator("watch", "--master", "http://127.0.0.1:8080", "--hostname-override", "node1", "--healthz-bind-address", "", "--metrics-bind-address", "")
            .ToCliWrap().WithStandardErrorPipe(PipeTarget.ToStringBuilder(said)).WithValidation(CommandResultValidation.None).ExecuteAsync(_end.Token).Task;
        await ServersAsync(["10.96.0.1:80"], said);

        server.Apply(Service("two", "10.96.0.2", 80));
        await ServersAsync(["10.96.0.1:80", "10.96.0.2:80"], said);
        server.Disconnect();
        server.Delete("Service", "default", "one");
        await ServersAsync(["10.96.0.2:80"], said);
        said.ToString().ShouldContain("Service default/two");
    }

    [Test]
    public async Task A_health_check_node_port_answers_in_both_families_with_the_number_of_endpoints_here()
    {
        Put("one.yaml", Service("one", "10.96.0.1", 80, "type: LoadBalancer\n  externalTrafficPolicy: Local\n  healthCheckNodePort: 32000", nodePort: 30080).Replace("[10.244.1.7]", "[10.244.0.7]\n    nodeName: node1", StringComparison.Ordinal));
        var said = new StringBuilder();
        _watching = Generator("watch", "--hostname-override", "node1", "-f", _folder, "--healthz-bind-address", "", "--metrics-bind-address", "").ToCliWrap().WithStandardErrorPipe(PipeTarget.ToStringBuilder(said)).WithValidation(CommandResultValidation.None).ExecuteAsync(_end.Token).Task;
        await Eventually.Async("the port is open", () => ListeningSockets.Tcp(Node.Namespace), ports => ports.Contains(32000), Timeouts.Start, log: said);

        foreach (var host in new[] { "127.0.0.1", "[::1]" })
        {
            var answer = await Node.RunAsync($"curl --silent --include --globoff http://{host}:32000/");
            answer.ShouldStartWith("HTTP/1.1 200 OK");
            answer.ShouldContain("X-Load-Balancing-Endpoint-Weight: 1");
            answer.ShouldContain("\"localEndpoints\": 1");
        }
    }

    [Test]
    public async Task The_script_of_generate_adds_to_a_host_in_use_and_changes_nothing_when_it_is_run_again()
    {
        Put("one.yaml", Service("one", "10.96.0.1", 80, "type: NodePort", nodePort: 30080));
        await Node.RunAsync("iptables -A INPUT -p tcp --dport 22 -j ACCEPT");
        await Node.RunAsync("ipvsadm -A -t 172.30.5.5:80 -s wlc");
        await Generator("generate", "--node-addresses", "192.168.113.101", "-f", Path.Combine(_folder, "one.yaml"), "-o", _folder).ExecuteAsync();

        (await Node.Command(Path.Combine(_folder, "apply.sh")).ExecuteAsync()).StandardError.ShouldBeEmpty();

        var once = await KernelState.ReadAsync(Node);
        once.Files["iptables-save.txt"].ShouldContain("-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT");
        once.Files["iptables-save.txt"].Count(l => l.StartsWith("-A INPUT", StringComparison.Ordinal)).ShouldBe(4);
        Servers().ShouldBe(["10.96.0.1:80", "172.30.5.5:80", "192.168.113.101:30080"]);
        (await Generator("plan", "-f", Path.Combine(_folder, "one.yaml"), "--ipvs-exclude-cidrs", "172.30.0.0/16").ExecuteAsync()).StandardOutput.ShouldBeEmpty("the script and the program make the same state");

        await Node.RunAsync("ipset create KUBE-NEW-1 hash:net"); // as if it had been killed at that, and at its probe
        await Node.RunAsync("iptables -t nat -N KUBE-TRIAL");
        await Node.Command(Path.Combine(_folder, "apply.sh")).ExecuteAsync();
        (await KernelState.ReadAsync(Node)).Differences(once).ShouldBeEmpty();
    }

    [Test]
    public async Task The_script_of_generate_loads_every_kind_of_server_on_a_host_that_has_none()
    {
        Put("all.yaml", Service("tcp", "10.96.0.1", 80, "type: NodePort", nodePort: 30080)
            + Service("udp", "10.96.0.2", 53, "sessionAffinity: ClientIP").Replace("    - port: 53", "    - protocol: UDP\n      port: 53", StringComparison.Ordinal)
            + Service("sctp", "10.96.0.3", 7, "type: ClusterIP").Replace("    - port: 7", "    - protocol: SCTP\n      port: 7", StringComparison.Ordinal)
            + Service("six", "\"fd00:96::1\"", 80).Replace("IPv4", "IPv6", StringComparison.Ordinal).Replace("[10.244.1.7]", "[\"fd00:244::7\"]", StringComparison.Ordinal));
        await Generator("generate", "--ipvs-scheduler", "mh", "--ipvs-udp-timeout", "100s", "--node-addresses", "192.168.113.101", "-f", Path.Combine(_folder, "all.yaml"), "-o", _folder).ExecuteAsync();

        for (var i = 0; i < 2; i++)
            (await Node.Command(Path.Combine(_folder, "apply.sh")).ExecuteAsync()).StandardError.ShouldBeEmpty();

        Servers().ShouldBe(["10.96.0.1:80", "10.96.0.2:53", "10.96.0.3:7", "192.168.113.101:30080", "[fd00:96::1]:80"]);
        (await Generator("plan", "--ipvs-scheduler", "mh", "--ipvs-udp-timeout", "100s", "-f", Path.Combine(_folder, "all.yaml")).ExecuteAsync()).StandardOutput.ShouldBeEmpty("the script and the program make the same state");
    }

    [Test]
    public async Task The_script_of_generate_serves_ipv4_alone_where_ip6tables_does_not_work()
    {
        var shims = Directory.CreateDirectory(Path.Combine(_folder, "shims")).FullName;
        foreach (var variant in new[] { "", "-legacy", "-nft" })
        {
            var shim = Path.Combine(shims, $"ip6tables{variant}");
            await File.WriteAllTextAsync(shim, "#!/bin/sh\nexit 3\n");
            File.SetUnixFileMode(shim, UnixFileMode.UserRead | UnixFileMode.UserExecute);
        }
        await Node.SetSysctlAsync("net.ipv6.conf.all.forwarding", "0");
        Put("both.yaml", Service("four", "10.96.0.1", 80)
            + Service("six", "\"fd00:96::1\"", 80).Replace("IPv4", "IPv6", StringComparison.Ordinal).Replace("[10.244.1.7]", "[\"fd00:244::7\"]", StringComparison.Ordinal));
        await Generator("generate", "--node-addresses", "192.168.113.101", "-f", Path.Combine(_folder, "both.yaml"), "-o", _folder).ExecuteAsync();

        var loaded = await Node.Command("sh", "-c", $"PATH={shims}:$PATH exec {_folder}/apply.sh").TryAsync();

        (loaded.ExitCode, loaded.StandardError.Trim()).ShouldBe((0, "ip6tables does not work here: IPv4 alone is served."));
        Servers().ShouldBe(["10.96.0.1:80"]);
        (await Node.RunAsync("sysctl -n net.ipv6.conf.all.forwarding")).Trim().ShouldBe("0", "nobody is served who needs it");
    }

    [Test]
    public async Task What_the_kernel_does_not_take_is_told_by_the_script_and_by_the_program()
    {
        Put("one.yaml", Service("good", "10.96.0.1", 80) + Service("bad", "10.96.0.2", 80).Replace("name: bad, namespace: default }\nspec", "name: bad, namespace: default, annotations: { ipvs.conformance/scheduler: nosuch } }\nspec", StringComparison.Ordinal));
        await Generator("generate", "--node-addresses", "192.168.113.101", "-f", Path.Combine(_folder, "one.yaml"), "-o", _folder).ExecuteAsync();

        var script = await Node.Command(Path.Combine(_folder, "apply.sh")).TryAsync();
        (script.ExitCode, script.StandardError.Contains("-A -t 10.96.0.2:80 -s nosuch", StringComparison.Ordinal)).ShouldBe((1, true), script.StandardError);
        var program = await Generator("apply", "-f", Path.Combine(_folder, "one.yaml")).TryAsync();

        program.ExitCode.ShouldBe(1);
        program.StandardError.ShouldContain("add the virtual server tcp 10.96.0.2:80");
        program.StandardOutput.ShouldNotContain("+ virtual server tcp 10.96.0.2:80", Case.Sensitive, "it was not made");
        Servers().ShouldBe(["10.96.0.1:80"]);
    }

    [Test]
    public async Task Killed_at_any_point_and_started_again_it_comes_to_the_same_state()
    {
        Put("many.yaml", string.Concat(Enumerable.Range(0, 300).Select(i => Service($"many-{i}", string.Create(CultureInfo.InvariantCulture, $"10.96.{i >> 8}.{1 + (i & 127)}"), 1000 + i, "type: NodePort", nodePort: 30000 + i))));
        string[] arguments = ["apply", "-f", Path.Combine(_folder, "many.yaml")];
        foreach (var milliseconds in new[] { 300, 450, 600, 750, 900 })
        {
            using var kill = new CancellationTokenSource(TimeSpan.FromMilliseconds(milliseconds));
            try
            {
                await Generator(arguments).ToCliWrap().WithValidation(CommandResultValidation.None).ExecuteAsync(kill.Token);
            }
            catch (OperationCanceledException)
            {
                // killed, wherever it was
            }
        }

        await Generator(arguments).ExecuteAsync();

        Servers().Length.ShouldBe(600);
        (await Generator(["plan", .. arguments[1..]]).ExecuteAsync()).StandardOutput.ShouldBeEmpty();
    }

    [Test]
    public async Task A_configuration_file_has_the_flags_names_and_a_flag_wins()
    {
        Put("one.yaml", Service("one", "10.96.0.1", 80));
        var config = Path.Combine(_folder, "config.yml");
        await File.WriteAllTextAsync(config, "ipvs-scheduler: wlc\nipvs-sync-period: 1.5s\nipvs-min-sync-period: 500ms\nmetrics-bind-address: 127.0.0.1:10249\nnodeport-addresses: [192.168.113.0/24, 10.0.0.0/8]\n");
        string[] generate = ["generate", "--node-addresses", "192.168.113.101", "-f", Path.Combine(_folder, "one.yaml"), "--config", config];

        (await Generator(generate).ExecuteAsync()).StandardOutput.ShouldContain("-A -t 10.96.0.1:80 -s wlc");
        (await Generator([.. generate, "--ipvs-scheduler", "lc"]).ExecuteAsync()).StandardOutput.ShouldContain("-A -t 10.96.0.1:80 -s lc");
        foreach (var (text, words) in new[] { ("- a\n", "the settings must be keys with values"), ("ipvs-scheduler: { a: b }\n", "must be a value, or a list of values"), ("ipvs-schedule: rr\n", "is not a setting") })
        {
            await File.WriteAllTextAsync(config, text);
            var wrong = await Generator(generate).TryAsync();
            (wrong.ExitCode, wrong.StandardError.Contains(words, StringComparison.Ordinal)).ShouldBe((64, true), wrong.StandardError);
        }
    }

    [Test]
    public async Task Check_explain_and_doctor_say_what_is_so_in_words_and_exit_code()
    {
        Put("one.yaml", Service("one", "10.96.0.1", 80));
        string[] input = ["-f", Path.Combine(_folder, "one.yaml")];
        (await Generator("doctor").TryAsync()).ExitCode.ShouldBe(0);
        await Generator(["apply", .. input]).ExecuteAsync();
        (await Generator(["check", .. input]).TryAsync()).ExitCode.ShouldBe(0);
        await Node.RunAsync("ipvsadm -D -t 10.96.0.1:80");

        var drift = await Generator(["check", .. input]).TryAsync();

        drift.ExitCode.ShouldBe(1);
        drift.StandardOutput.ShouldContain("+ virtual server tcp 10.96.0.1:80 rr\n    It is missing: connections to it are refused.");
        (await Generator(["plan", "--format", "json", .. input]).ExecuteAsync()).StandardOutput.ShouldContain("\"kind\": \"virtual server\"");
        (await Generator(["explain", "10.96.0.1:80", "--from", "192.168.113.50", .. input]).ExecuteAsync()).StandardOutput.ShouldContain("10.244.1.7:8080");
    }

    [Test]
    public async Task Invalid_objects_are_told_with_file_line_and_field_and_only_they_are_left_out()
    {
        Put("mixed.yaml", Service("good", "10.96.0.1", 80) + Service("bad", "10.96.0.2", 70000) + Service("worse", "10.96.0.300", 80));

        var applied = await Generator("apply", "-f", _folder).TryAsync();

        applied.ExitCode.ShouldBe(1);
        applied.StandardError.ShouldContain("mixed.yaml:28: Service default/bad is left out: spec.ports[0].port must be a number of 1 to 65535, not '70000'");
        applied.StandardError.ShouldContain("Service default/worse is left out: spec.clusterIP must be an IP address, not '10.96.0.300'");
        Servers().ShouldBe(["10.96.0.1:80"]);
    }

    [TestCase(64, "apply")]
    [TestCase(64, "apply", "-f", ".", "--iptables-masquerade-bit", "32")]
    [TestCase(64, "apply", "-f", ".", "--cluster-cidr", "10.0.0.0/33")]
    [TestCase(64, "apply", "-f", ".", "--ipvs-scheduler", "rr; reboot")]
    [TestCase(64, "apply", "-f", ".", "--detect-local-mode", "BridgeInterface")]
    [TestCase(64, "apply", "-f", ".", "--detect-local-mode", "InterfaceNamePrefix", "--pod-interface-name-prefix", "fifteen-letters")]
    [TestCase(64, "apply", "-f", ".", "--cluster-cidr", "10.0.0.0/16,10.1.0.0/16")]
    [TestCase(64, "watch", "-f", ".", "--ipvs-sync-period", "0s")]
    [TestCase(64, "watch", "-f", ".", "--ipvs-sync-period", "500us")]
    [TestCase(64, "watch", "-f", ".", "--ipvs-min-sync-period", "2000h")]
    [TestCase(64, "generate", "-f", ".", "--node-addresses", "127.0.0.1")]
    [TestCase(1, "apply", "-f", "/no/such/folder")]
    public async Task Wrong_calls_are_told(int exitCode, params string[] arguments)
    {
        var result = await Generator(arguments).TryAsync();

        result.ExitCode.ShouldBe(exitCode, result.StandardError);
        result.StandardError.ShouldNotBeEmpty();
        result.StandardError.ShouldNotContain("   at ", Case.Sensitive, "an error for people has no stack");
    }

    private NodeCommand Generator(params string[] arguments) => Node.Command([Path.Combine(AppContext.BaseDirectory, "ipvs-generator"), .. arguments]);

    private async Task ServersAsync(string[] expected, StringBuilder said) => await Eventually.Async(
        $"virtual servers {string.Join(", ", expected)}", Servers, there => there.SequenceEqual(expected, StringComparer.Ordinal), Timeouts.Start, log: said);

    private string[] Servers() => [.. (IpvsTable.Read(Node.Namespace)?.VirtualServers ?? []).Select(s => s.EndPoint!.ToString()).Order(StringComparer.Ordinal)];

    /// <summary>In one step, as a tool that renders manifests does it.</summary>
    private void Put(string file, string text)
    {
        File.WriteAllText(Path.Combine(_folder, $".{file}"), text);
        File.Move(Path.Combine(_folder, $".{file}"), Path.Combine(_folder, file), overwrite: true);
    }

    private static string Service(string name, string address, int port, string type = "type: ClusterIP", int nodePort = 0) => string.Create(CultureInfo.InvariantCulture, $$"""
        ---
        apiVersion: v1
        kind: Service
        metadata: { name: {{name}}, namespace: default }
        spec:
          {{type}}
          clusterIP: {{address}}
          ports:
            - port: {{port}}
              nodePort: {{nodePort}}
        ---
        apiVersion: discovery.k8s.io/v1
        kind: EndpointSlice
        metadata: { name: {{name}}-abc, namespace: default, labels: { kubernetes.io/service-name: {{name}} } }
        addressType: IPv4
        ports:
          - { port: 8080, protocol: TCP }
        endpoints:
          - addresses: [10.244.1.7]

        """);
}
