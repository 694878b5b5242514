using System.Globalization;
using System.Net;
using CliWrap;
using Conformance.Clusters.Kubernetes;
using Conformance.Generator.Model;
using Conformance.Labs;

namespace Conformance.KernelTests.Generator;

/// <summary>The program as a person or a script calls it, in the namespace of a node.</summary>
public sealed class ProgramTests : ProgramFixture
{
    [Test]
    public async Task Killed_at_any_point_and_started_again_it_comes_to_the_same_state()
    {
        Put("many.yaml", string.Concat(Enumerable.Range(0, 300)
            .Select(i => Service($"many-{i}", string.Create(CultureInfo.InvariantCulture, $"10.96.{i >> 8}.{1 + (i & 127)}"), 1000 + i,
                "type: NodePort", nodePort: 30000 + i))));
        string[] arguments = ["apply", "-f", Path.Combine(Folder, "many.yaml")];
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
        var config = Path.Combine(Folder, "config.yml");
        await File.WriteAllTextAsync(config,
            "ipvs-scheduler: wlc\nipvs-sync-period: 1.5s\nipvs-min-sync-period: 500ms\nmetrics-bind-address: " +
            "127.0.0.1:10249\nnodeport-addresses: [192.168.113.0/24, 10.0.0.0/8]\n");
        string[] generate = ["generate", "--node-addresses", "192.168.113.101", "-f", Path.Combine(Folder, "one.yaml"), "--config", config];

        (await Generator(generate).ExecuteAsync()).StandardOutput.ShouldContain("-A -t 10.96.0.1:80 -s wlc");
        (await Generator([.. generate, "--ipvs-scheduler", "lc"]).ExecuteAsync()).StandardOutput.ShouldContain("-A -t 10.96.0.1:80 -s lc");
        foreach (var (text, words) in new[] { ("- a\n", "the settings must be keys with values"),
            ("ipvs-scheduler: { a: b }\n", "must be a value, or a list of values"), ("ipvs-schedule: rr\n", "is not a setting") })
        {
            await File.WriteAllTextAsync(config, text);
            var wrong = await Generator(generate).TryAsync();
            (wrong.ExitCode, wrong.StandardError.Contains(words, StringComparison.Ordinal)).ShouldBe((64, true), wrong.StandardError);
        }
    }

    [Test]
    public async Task A_configuration_file_of_kube_proxy_is_read_as_kube_proxy_reads_it()
    {
        await using var server = await ApiServer.StartAsync(Node.Namespace, new IPEndPoint(IPAddress.Loopback, 8080));
        server.Apply(Service("one", "10.96.0.1", 80, "type: NodePort", nodePort: 30080));
        var (config, kubeconfig) = (Path.Combine(Folder, "config.conf"), Path.Combine(Folder, "kubeconfig.conf"));
        await File.WriteAllTextAsync(kubeconfig,
            "current-context: a\ncontexts: [{name: a, context: {cluster: c}}]\nclusters: [{name: c, cluster: {server: " +
            "'http://127.0.0.1:8080'}}]\n");
        // What kubeadm stores, with some fields set.
        await File.WriteAllTextAsync(config, $$"""
            apiVersion: kubeproxy.config.k8s.io/v1alpha1
            bindAddress: 0.0.0.0
            bindAddressHardFail: false
            clientConnection:
              acceptContentTypes: ""
              burst: 0
              kubeconfig: {{kubeconfig}}
              qps: 0
            clusterCIDR: 10.244.0.0/16
            configSyncPeriod: 0s
            conntrack: { maxPerCore: null, min: null, tcpEstablishedTimeout: null }
            detectLocal: { bridgeInterface: "", interfaceNamePrefix: "" }
            detectLocalMode: ""
            enableProfiling: false
            healthzBindAddress: ""
            hostnameOverride: ""
            iptables: { localhostNodePorts: null, masqueradeAll: true, masqueradeBit: null, minSyncPeriod: 0s, syncPeriod: 0s }
            ipvs: { excludeCIDRs: null, minSyncPeriod: 0s, scheduler: wlc, strictARP: true, syncPeriod: 0s, tcpFinTimeout: 0s, tcpTimeout: 900s, udpTimeout: 0s }
            kind: KubeProxyConfiguration
            logging: { flushFrequency: 0, options: { json: { infoBufferSize: "0" } }, verbosity: 0 }
            metricsBindAddress: ""
            mode: ipvs
            nodePortAddresses: [192.168.113.0/24]
            oomScoreAdj: -999
            portRange: ""
            winkernel: { enableDSR: false, networkName: "" }
            """);

        var generated = await Generator("generate", "--node-addresses", "192.168.113.101,10.9.0.1", "--config", config).TryAsync();

        generated.ExitCode.ShouldBe(0, generated.StandardError);
        generated.StandardError.Trim().ShouldBe($"{config}: without a meaning here: bindAddress, oomScoreAdj");
        generated.StandardOutput.ShouldSatisfyAllConditions(
            o => o.ShouldContain("-A -t 10.96.0.1:80 -s wlc"), o => o.ShouldContain("--set 900 0 0"), o =>
                o.ShouldContain("192.168.113.101:30080"), o => o.ShouldNotContain("10.9.0.1:30080"),
            o => o.ShouldContain("arp_ignore = 1"));
        (await Generator("generate", "--node-addresses", "192.168.113.101", "--config", config, "--ipvs-scheduler", "lc")
            .TryAsync()).StandardOutput.ShouldContain("-s lc", Case.Sensitive, "a flag wins");
        await File.WriteAllTextAsync(config, "apiVersion: kubeproxy.config.k8s.io/v1alpha2\nkind: KubeProxyConfiguration\n");
        (await Generator("generate", "--config", config).TryAsync())
            .ShouldSatisfyAllConditions(r => r.ExitCode.ShouldBe(64),
                r => r.StandardError.ShouldContain("the apiVersion must be kubeproxy.config.k8s.io/v1alpha1"));
    }

    [Test]
    public async Task Check_explain_and_doctor_report_in_text_and_exit_code()
    {
        Put("one.yaml", Service("one", "10.96.0.1", 80));
        string[] input = ["-f", Path.Combine(Folder, "one.yaml")];
        (await Generator("doctor").TryAsync()).ExitCode.ShouldBe(0);
        await Generator(["apply", .. input]).ExecuteAsync();
        (await Generator(["check", .. input]).TryAsync()).ExitCode.ShouldBe(0);
        await Node.RunAsync("ipvsadm -D -t 10.96.0.1:80");

        var drift = await Generator(["check", .. input]).TryAsync();

        drift.ExitCode.ShouldBe(1);
        drift.StandardOutput.ShouldContain("+ virtual server tcp 10.96.0.1:80 rr\n    It is missing: connections to it are refused.");
        (await Generator(["plan", "--format", "json", .. input]).ExecuteAsync()).StandardOutput.ShouldContain(
            "\"kind\": \"virtual server\"");
        (await Generator(["explain", "10.96.0.1:80", "--from", "192.168.113.50", .. input]).ExecuteAsync()).StandardOutput.ShouldContain(
            "10.244.1.7:8080");
    }

    [Test]
    public async Task Invalid_objects_are_reported_with_file_line_and_field()
    {
        Put("mixed.yaml", Service("good", "10.96.0.1", 80) + Service("bad", "10.96.0.2", 70000) + Service("worse", "10.96.0.300", 80));

        var applied = await Generator("apply", "-f", Folder).TryAsync();

        applied.ExitCode.ShouldBe(1);
        applied.StandardError.ShouldContain(
            "mixed.yaml:28: Service default/bad is left out: spec.ports[0].port must be a number of 1 to 65535, not '70000'");
        applied.StandardError.ShouldContain("Service default/worse is left out: spec.clusterIP must be an IP address, not '10.96.0.300'");
        Servers().ShouldBe(["10.96.0.1:80"]);
    }

    [Test]
    public async Task Used_set_of_an_earlier_run_stays_and_is_reported()
    {
        Put("one.yaml", Service("one", "10.96.0.1", 80));
        await Node.RunAsync("ipset create KUBE-NODE-PORT-TCP bitmap:port range 0-65535"); // what kube-proxy leaves
        await Node.RunAsync("iptables -A INPUT -m set --match-set KUBE-NODE-PORT-TCP dst -j ACCEPT");

        var applied = await Generator("apply", "-f", Folder).TryAsync();

        (applied.ExitCode, applied.StandardError.Contains("KUBE-NODE-PORT-TCP", StringComparison.Ordinal))
            .ShouldBe((1, true), applied.StandardError);
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
    public async Task Wrong_calls_are_reported(int exitCode, params string[] arguments)
    {
        var result = await Generator(arguments).TryAsync();

        result.ExitCode.ShouldBe(exitCode, result.StandardError);
        result.StandardError.ShouldNotBeEmpty();
        result.StandardError.ShouldNotContain("   at ", Case.Sensitive, "an error for people has no stack");
    }
}
