using System.Text.Json;
using CliWrap;
using CliWrap.Buffered;
using Conformance.Labs;
using Conformance.Labs.Waiting;
using Conformance.Tests;

namespace Conformance.KernelTests;

/// <summary>The launcher's verbs for labs that are up, as a person calls them on a kernel with IPVS.</summary>
[NonParallelizable]
public sealed class DetachedLabTests
{
    private readonly List<string> _up = [];

    [TearDown]
    public async Task DownOurs()
    {
        foreach (var id in _up)
            await LabAsync("down", "--lab", id);
        _up.Clear();
    }

    [Test]
    public async Task A_detached_lab_stays_up_between_calls_and_goes_down()
    {
        var id = await UpAsync();

        (await LabAsync("exec", "client", "--", "curl", "--silent", "--max-time", "2", "http://rs1:8080/")).StandardOutput.ShouldStartWith(
            "rs1 192.168.113.102:");
        (await LabAsync("exec", "client", "--", "sh", "-c", "exit 9")).ExitCode.ShouldBe(9);
        (await LabAsync("exec", "director", "--", "ipvsadm", "-A", "-t", "10.10.0.1:8410", "-s", "rr")).ExitCode.ShouldBe(0);

        var inspected = JsonDocument.Parse((await LabAsync("inspect", "--format", "json")).StandardOutput).RootElement;
        inspected.GetProperty("lab").GetString().ShouldBe(id);
        var director = inspected.GetProperty("nodes").EnumerateArray().Single(n => n.GetProperty("name").GetString() == "director");
        director.GetProperty("addresses").EnumerateArray().Select(a => a.GetString()).ShouldBe(["192.168.113.101/24 on ens33"]);
        director.GetProperty("virtualServers").EnumerateArray().ShouldHaveSingleItem().GetString().ShouldBe("tcp 10.10.0.1:8410 rr");

        var missing = await LabAsync("exec", "cleint", "--", "true");
        (missing.ExitCode, missing.StandardError.Contains("Did you mean 'client'?", StringComparison.Ordinal))
            .ShouldBe((1, true), missing.StandardError);

        (await LabAsync("down")).StandardOutput.ShouldBe($"{id} is down\n");
        (await LabAsync("inspect")).StandardError.ShouldContain("No lab is up.");
    }

    [Test]
    public async Task A_flow_through_a_lab_that_is_up_is_explained()
    {
        await UpAsync();
        foreach (var command in new[] { "ip address add 10.10.0.1/24 dev ens33", "ipvsadm -A -t 10.10.0.1:8410 -s rr",
            "ipvsadm -a -t 10.10.0.1:8410 -r 192.168.113.99:8080 -m",
            "iptables -t nat -A POSTROUTING -m ipvs --vaddr 10.10.0.1 -j MASQUERADE", "sysctl -w net.ipv4.vs.conntrack=1" })
            (await LabAsync(["exec", "director", "--", .. command.Split(' ')])).ExitCode.ShouldBe(0, command);
        await LabAsync("exec", "client", "--", "ip", "route", "add", "10.10.0.0/16", "via", "192.168.113.101");

        var explained = await LabAsync("explain", "client", "10.10.0.1:8410");

        explained.ExitCode.ShouldBe(0, explained.StandardError);
        explained.StandardOutput.ShouldSatisfyAllConditions(
            text => text.ShouldMatch(
                @"^client \(192\.168\.113\.102:\d+\) asked tcp 10.10.0.1:8410: answered by rs1, rs1 saw 192\.168\.113\.101:"),
            text => text.ShouldContain("nat    POSTROUTING              -m ipvs --vaddr 10.10.0.1 -j MASQUERADE   ["),
            text => text.ShouldMatch(@"IPVS of director: TCP 192\.168\.113\.102:\d+ -> 10\.10\.0\.1:8410 -> 192.168.113.99:8080"),
            text => text.ShouldContain("conntrack of director: ipv4 2 tcp 6"),
            text => text.ShouldContain("rs1:ens33       sends     192.168.113.99:8080 > 192.168.113.101:"));
        (await LabAsync("exec", "director", "--", "iptables-save", "-t", "raw")).StandardOutput.ShouldNotContain("TRACE");
        (await LabAsync("explain", "cleint", "10.10.0.1:8410")).StandardError.ShouldContain("Did you mean 'client'?");
    }

    [Test]
    public async Task A_capture_of_a_detached_lab_is_pcap()
    {
        await UpAsync();
        var file = Path.Combine(RunFolder.Current, "detached.pcap");
        var capturing = LabAsync("capture", "director:ens33", "-w", file, "-c", "2");
        await Eventually.Async("the capture has begun", () => File.Exists(file) ? new FileInfo(file).Length : 0, length => length >= 24,
            Timeouts.Command);

        await LabAsync("exec", "client", "--", "curl", "--silent", "http://192.168.113.101:9/");

        (await capturing).ExitCode.ShouldBe(0);
        var read = await Cli.Wrap("tcpdump").WithArguments(["-n", "-r", file]).ExecuteBufferedAsync();
        read.StandardOutput.Split('\n', StringSplitOptions.RemoveEmptyEntries).Length.ShouldBe(2);
    }

    [Test]
    public async Task The_record_of_a_lab_whose_process_was_killed_is_swept()
    {
        var id = await UpAsync();
        var record = Path.Combine(ProjectFolder.Root, "artifacts", "labs", $"{id}.json");
        var pid = JsonDocument.Parse(await File.ReadAllTextAsync(record)).RootElement.GetProperty("processId").GetInt32();

        await Cli.Wrap("kill").WithArguments(["-KILL", $"{pid}"]).ExecuteAsync();
        await Eventually.Async("the process is gone", () => Directory.Exists($"/proc/{pid}"), there => !there);

        (await LabAsync("inspect")).ExitCode.ShouldBe(1);
        File.Exists(record).ShouldBeFalse();
    }

    [Test]
    public async Task The_shell_of_a_lab_that_is_up_has_the_verbs_and_takes_it_down()
    {
        var script = PipeSource.FromString("lab exec rs1 -- hostname -I 2>/dev/null; lab inspect | grep -c address\n");
        var shell = await Command("up", "article-nat", "--kernel", "host").WithStandardInputPipe(script).ExecuteBufferedAsync();

        shell.ExitCode.ShouldBe(0, shell.StandardError);
        shell.StandardOutput.ShouldContain("4\n");
        (await LabAsync("inspect")).StandardError.ShouldContain("No lab is up.");
    }

    [Test]
    public async Task A_launcher_that_is_killed_leaves_nothing_of_a_run_on_the_host_kernel()
    {
        // CT-3 runs an nginx, which is a process of its own.
        var running = Command("run", "--kernel", "host", "--filter", "CT-3").ExecuteAsync();
        var launcher = $"{running.ProcessId}";
        var theirs = await Eventually.Async("its nginx runs", () => ProcessesOf(launcher),
            p => p.Any(c => c.StartsWith("nginx", StringComparison.Ordinal)), Timeouts.Command);
        theirs.Count.ShouldBeGreaterThan(1);

        await Cli.Wrap("kill").WithArguments(["-KILL", launcher]).ExecuteAsync();

        await Eventually.Async("all its processes are gone", () => ProcessesOf(launcher), p => p.Count == 0, TimeSpan.FromSeconds(2));
        (await running).ExitCode.ShouldBe(137);
    }

    /// <summary>The command lines of the processes that have a launcher's run in their environment.</summary>
    private static List<string> ProcessesOf(string launcher)
    {
        var theirs = ProcessTable.Read("environ").Where(p => p.Text.Split('\0')
            .Any(v => v.StartsWith($"{RunFolder.Variable}=", StringComparison.Ordinal)
                && v.EndsWith($"-{launcher}", StringComparison.Ordinal)))
            .Select(p => p.Pid).ToHashSet(StringComparer.Ordinal);
        return [.. ProcessTable.Read("cmdline").Where(p => theirs.Contains(p.Pid)).Select(p => p.Text)];
    }

    private async Task<string> UpAsync()
    {
        var up = await LabAsync("up", "article-nat", "--detach", "--kernel", "host");
        up.ExitCode.ShouldBe(0, up.StandardError);
        _up.Add(up.StandardOutput.Trim());
        return _up[^1];
    }

    private static async Task<BufferedCommandResult> LabAsync(params string[] arguments)
    {
        using var limit = new CancellationTokenSource(Timeouts.Command);
        return await Command(arguments).ExecuteBufferedAsync(limit.Token);
    }

    private static Command Command(params string[] arguments) => LabProgram.Command(arguments);
}
