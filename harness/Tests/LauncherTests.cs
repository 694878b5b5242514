using System.Globalization;
using System.Text;
using CliWrap;
using CliWrap.Buffered;
using Conformance.Labs;
using Conformance.Labs.Waiting;
using Conformance.Launcher;
using Conformance.Launcher.LabKernels;
using Conformance.Linux.Features;
using Conformance.Reports;
using Conformance.Tests.Reports;

namespace Conformance.Tests;

/// <summary>The launcher as a person or a script calls it, and what is left when parts of it are killed.</summary>
[NonParallelizable]
public sealed partial class LauncherTests
{
    private static readonly TimeSpan s_gone = TimeSpan.FromSeconds(10); // usually one; a busy machine needs more

    [Test]
    public async Task Output_error_input_and_exit_code_come_through()
    {
        var bytes = Encoding.UTF8.GetBytes(string.Concat(Enumerable.Range(0, 20_000).Select(i => $"{i} ü\n")));

        var result = await Lab("kernel", "--", "sh", "-c", "cat; echo 'to error' >&2; exit 7")
            .WithStandardInputPipe(PipeSource.FromStream(new MemoryStream(bytes))).ExecuteBufferedAsync(Limit());

        result.StandardOutput.ShouldBe(Encoding.UTF8.GetString(bytes));
        result.StandardError.ShouldBe("to error\n");
        result.ExitCode.ShouldBe(7);
    }

    [Test]
    public async Task The_guest_is_root_in_our_folder_and_changes_nothing_of_ours()
    {
        var folder = ProjectFolder.Root;

        var result = await Lab("kernel", "--", "sh", "-c",
            "id -u; pwd; touch README.md /usr/left-behind $HOME/left-behind /dev/shm/left-behind left-behind; ls left-behind; mount -t " +
            "hostfs none /mnt -o /; touch /mnt/usr/left-behind /mnt$HOME/left-behind /mnt/dev/shm/left-behind /mnt$PWD/left-behind")
            .WithWorkingDirectory(folder).ExecuteBufferedAsync(Limit());

        result.StandardOutput.ShouldBe($"0\n{folder}\nleft-behind\n", result.StandardError);
        foreach (var place in new[] { "/usr", Environment.GetEnvironmentVariable("HOME")!, "/dev/shm", folder })
            File.Exists(Path.Combine(place, "left-behind")).ShouldBeFalse(place);
    }

    [Test]
    public async Task The_guest_reaches_no_file_of_ours_through_proc()
    {
        var ours = Directory.CreateTempSubdirectory("escape");
        try
        {
            var proc = $"/proc/{Environment.ProcessId}";
            var script = $"mount -t hostfs none /mnt -o {proc}/root{ours.FullName} && touch /mnt/left-behind && echo wrote 1; mount -t " +
                $"hostfs none /mnt -o {proc}/cwd && touch /mnt/left-behind && echo wrote 2;"
                + $" mount -t hostfs none /mnt -o / && echo mounted; touch /mnt{proc}/root{ours.FullName}/left-behind && echo wrote 3; " +
                    $"(echo 1 >/mnt/proc/sys/kernel/sysrq) && echo wrote 4; (echo 1 >/mnt/proc/self/oom_score_adj) && echo wrote 5;"
                + " touch /mnt/sys/left-behind && echo wrote 6; touch /mnt/dev/left-behind && echo wrote 7; touch /mnt/usr/left-behind " +
                    "&& echo wrote 8";

            var result = await Lab("kernel", "--", "sh", "-c", script).ExecuteBufferedAsync(Limit());

            result.StandardOutput.ShouldBe("mounted\n", result.StandardError);
            ours.GetFileSystemInfos().ShouldBeEmpty();
            File.Exists("left-behind").ShouldBeFalse();
            File.Exists("/dev/left-behind").ShouldBeFalse();
        }
        finally
        {
            ours.Delete(recursive: true);
        }
    }

    [Test]
    public async Task The_guest_knows_no_secret_of_our_environment_and_no_file_has_one()
    {
        var secret = Guid.NewGuid().ToString("N");
        var variables = new Dictionary<string, string?>(LabProgram.Variables, StringComparer.Ordinal)
        {
            ["DEPLOY_TOKEN"] = secret,
            ["CONFORMANCE_PROXY"] = "generator"
        };

        var result = await Lab("kernel", "--", "sh", "-c", "env; grep -rl DEPLOY_TOKEN $CONFORMANCE_RUN; touch $CONFORMANCE_RUN/keep")
            .WithEnvironmentVariables(variables).ExecuteBufferedAsync(Limit());

        result.StandardOutput.ShouldContain("CONFORMANCE_RUN=");
        result.StandardOutput.ShouldContain("PATH=");
        result.StandardOutput.ShouldNotContain("DEPLOY_TOKEN");
    }

    [Test]
    public async Task A_run_that_is_killed_while_it_boots_leaves_no_file_but_its_console()
    {
        var marker = Guid.NewGuid().ToString("N");
        var running = Lab("kernel", "--", "sh", "-c", $"sleep 1000 # {marker}").ExecuteAsync(Limit());
        var launcher = running.ProcessId.ToString(CultureInfo.InvariantCulture);
        var run = await Eventually.Async("the kernel starts", () => RunOf(launcher) is { } folder && KernelsIn(folder).Count > 0 ? folder
            : null, f => f is not null, Timeouts.Start);

        await CliWrap.Cli.Wrap("kill").WithArguments(["-KILL", launcher]).ExecuteAsync();

        await running;
        await Eventually.Async("all processes are gone", () => KernelsIn(run!), left => left.Count == 0, s_gone);
        await Eventually.Async("the kernel's own folder is gone",
            () => Directory.GetFileSystemEntries(run!, "*", SearchOption.AllDirectories).Select(Path.GetFileName), left =>
            left.All(f => f is "kernel" or "console.log"), s_gone);
        Directory.GetFiles("/tmp", $"*-{launcher}-*").ShouldBeEmpty("sockets of .NET's diagnostics");
    }

    [Test]
    public async Task A_guest_that_falls_silent_is_ended_and_reported()
    {
        var marker = Guid.NewGuid().ToString("N");
        var (said, error) = (new StringBuilder(), new StringBuilder());
        var running = Lab("kernel", "--", "sh", "-c", $"echo started; sleep 1000 # {marker}")
            .WithEnvironmentVariables(new Dictionary<string, string?>(LabProgram.Variables,
                StringComparer.Ordinal)
            { [Guest.SilenceVariable] = "10" })
            .WithStandardOutputPipe(PipeTarget.ToStringBuilder(said)).WithStandardErrorPipe(PipeTarget.ToStringBuilder(error))
                .ExecuteAsync(Limit());
        await Eventually.Async("the command runs", () => said.Length, length => length > 0, Timeouts.Start);
        var run = ProcessesOf(marker)["run"];

        // As a kernel that hangs: it is there, and does nothing.
        await CliWrap.Cli.Wrap("kill").WithArguments(["-STOP", .. KernelsIn(run)]).ExecuteAsync();

        (await running).ExitCode.ShouldBe(1, error.ToString());
        error.ToString().ShouldContain("The guest was silent for");
        KernelsIn(run).ShouldBeEmpty();
    }

    [TestCase(40)]
    [TestCase(100)]
    public async Task Too_few_file_descriptors_are_reported(int limit)
    {
        var result = await CliWrap.Cli.Wrap("sh")
            .WithArguments(["-c", $"ulimit -n {limit}; exec \"$0\" kernel -- true", Path.Combine(ProjectFolder.Root, "lab")])
            .WithEnvironmentVariables(LabProgram.Variables).WithValidation(CommandResultValidation.None).ExecuteBufferedAsync(Limit());

        result.ExitCode.ShouldBe(3, result.StandardError);
        result.StandardError.ShouldContain($"the limit of file descriptors is {limit}");
    }

    [Test]
    public async Task A_record_of_a_lab_that_is_none_is_named_and_skipped([Values("{", "{}", "[]", "null", "")] string text)
    {
        var file = Path.Combine(Directory.CreateDirectory(Path.Combine(ProjectFolder.Root, "artifacts", "labs")).FullName,
            $"broken-{Guid.NewGuid():N}.json");
        await File.WriteAllTextAsync(file, text);
        try
        {
            var result = await Lab("inspect", "--lab", "no-such-lab").ExecuteBufferedAsync(Limit());

            result.ExitCode.ShouldBe(1, result.StandardError);
            result.StandardError.ShouldContain($"{file} is not the record of a lab.");
            result.StandardError.ShouldContain("There is no lab 'no-such-lab'.");
            result.StandardError.ShouldNotContain("   at ", Case.Sensitive, "an error for people has no stack");
        }
        finally
        {
            File.Delete(file);
        }
    }

    [Test]
    public async Task A_fault_of_the_launcher_is_reported_with_a_file_that_has_its_stack()
    {
        var result = await Lab("run-tests").ExecuteBufferedAsync(Limit()); // a verb of its own processes, called wrongly

        result.ExitCode.ShouldBe(70, result.StandardError);
        result.StandardError.ShouldNotContain("   at ", Case.Sensitive, "an error for people has no stack");
        var file = result.StandardError.Split("with the file ")[1].Trim();
        (await File.ReadAllTextAsync(file)).ShouldContain("   at ");
        File.Delete(file);
    }

    [TestCase("Did you mean 'run'?", "rnu")]
    [TestCase("Did you mean '--filter'?", "run", "--fitler", "VS-16")]
    [TestCase("Did you mean 'host'?", "run", "--kernel", "hots")]
    [TestCase("Did you mean 'generator'?", "run", "--proxy", "generatr")]
    [TestCase("Did you mean 'sctp'?", "run", "--proxy", "command:-stcp=/bin/true")]
    [TestCase("--filename needs --proxy", "up", "cluster", "-f", "lab")]
    public async Task Wrong_calls_name_what_was_probably_meant(string words, params string[] arguments)
    {
        var result = await Lab(arguments).WithWorkingDirectory(ProjectFolder.Root).ExecuteBufferedAsync(Limit());

        result.ExitCode.ShouldBe(64, result.StandardError);
        result.StandardError.ShouldContain(words);
    }

    [Test]
    public async Task Help_fits_into_120_columns()
    {
        var verbs = (await HelpAsync()).Split('\n').SkipWhile(l => l != "Commands:").Skip(1)
            .Where(l => l.StartsWith("  ", StringComparison.Ordinal) && l.Length > 2 && l[2] != ' ').Select(l => l.Split(' ')[2]).ToList();
        verbs.Count.ShouldBeGreaterThan(20);

        foreach (var help in await Task.WhenAll(
            [HelpAsync(), HelpAsync("kernels", "build"), HelpAsync("kernels", "measure"), .. verbs.Select(v => HelpAsync(v))]))
            help.Split('\n').ShouldAllBe(line => line.Length <= 120);

        async Task<string> HelpAsync(params string[] verb)
        {
            var help = await Lab([.. verb, "--help"]).ExecuteBufferedAsync(Limit());
            help.ExitCode.ShouldBe(0, help.StandardError);
            help.StandardOutput.ShouldContain("Usage:");
            return help.StandardOutput;
        }
    }

    [Test]
    public async Task Usage_names_the_program_as_it_is_called()
    {
        (await Lab("--help").ExecuteBufferedAsync(Limit())).StandardOutput.ShouldContain("lab [command] [options]");
        (await Lab("run", "--help").ExecuteBufferedAsync(Limit())).StandardOutput.ShouldContain("lab run [options]");
    }

    [Test]
    public async Task Two_at_once_do_not_disturb_each_other()
    {
        var both = await Task.WhenAll(Enumerable.Range(0, 2)
            .Select(i => Lab("kernel", "--", "sh", "-c", $"ip link add name only{i} type dummy; ip -br link | grep -c only")
            .ExecuteBufferedAsync(Limit()).Task));

        both.Select(r => r.StandardOutput).ShouldBe(["1\n", "1\n"], both[0].StandardError + both[1].StandardError);
    }

    [Test]
    public async Task Killing_any_one_process_leaves_no_process_and_no_file([Values("launcher", "guard", "kernel")] string victim)
    {
        var marker = Guid.NewGuid().ToString("N");
        var running = Lab("kernel", "--", "sh", "-c", $"echo started; sleep 1000 # {marker}").WithStandardOutputPipe(PipeTarget.Null)
            .ExecuteAsync(Limit());
        var processes = await Eventually.Async("launcher, guard and kernel run", () => ProcessesOf(marker), p => p.Count == 4,
            Timeouts.Start);
        var run = processes["run"];

        await CliWrap.Cli.Wrap("kill").WithArguments(["-KILL", processes[victim]]).ExecuteAsync();

        await Eventually.Async("all processes are gone", () => KernelsIn(run), left => left.Count == 0, s_gone);
        await running;
        await Eventually.Async("the kernel's own folder is gone", () => Directory.Exists(Path.Combine(run, "kernel", "uml")),
            there => !there, s_gone);
    }

    [Test]
    public async Task Interrupting_ends_the_guest_and_says_so()
    {
        var marker = Guid.NewGuid().ToString("N");
        var running = Lab("kernel", "--", "sh", "-c", $"sleep 1000 # {marker}").ExecuteBufferedAsync(Limit());
        var processes = await Eventually.Async("launcher, guard and kernel run", () => ProcessesOf(marker), p => p.Count == 4,
            Timeouts.Start);

        await CliWrap.Cli.Wrap("kill").WithArguments(["-INT", processes["launcher"]]).ExecuteAsync();

        await Eventually.Async("all processes are gone", () => KernelsIn(processes["run"]), left => left.Count == 0, s_gone);
        (await running).ExitCode.ShouldBe(130);
    }

    [Test]
    public async Task Two_kernels_share_the_claims_of_a_run()
    {
        var result = await Lab("run", "--kernels", "2", "--filter", "ADM-1,SNAT-1", "--format", "json").ExecuteBufferedAsync(Limit());

        result.ExitCode.ShouldBe(0, result.StandardError);
        result.StandardError.ShouldContain("2 kernels: boot ");
        result.StandardOutput.ShouldContain("ADM-1");
        result.StandardOutput.ShouldContain("SNAT-1");
        result.StandardOutput.Split("\"holds\"").Length.ShouldBe(3);
    }

    [TestCase("INT", 130)]
    [TestCase("KILL", 137)]
    public async Task The_kernels_of_a_run_end_with_it(string signal, int exitCode)
    {
        var running = Lab("run", "--kernels", "2", "--filter", "TUN-*").ExecuteAsync(Limit());
        var launcher = running.ProcessId.ToString(CultureInfo.InvariantCulture);
        var run = await Eventually.Async("both kernels run", () => RunOf(launcher) is { } folder && KernelsIn(folder).Count >= 2 ? folder
            : null, f => f is not null, Timeouts.Start);

        await CliWrap.Cli.Wrap("kill").WithArguments([$"-{signal}", launcher]).ExecuteAsync();

        (await running).ExitCode.ShouldBe(exitCode);
        await Eventually.Async("all processes are gone", () => KernelsIn(run!), left => left.Count == 0, s_gone);
        await Eventually.Async("the kernels' own folders are gone", () => new[] { "kernel", "kernel-2" }
            .Any(k => Directory.Exists(Path.Combine(run!, k, "uml"))), there => !there, s_gone);
    }

    [TestCase(64, "run", "--kernels", "0")]
    [TestCase(64, "run", "--kernels", "many")]
    [TestCase(64, "kernels", "build", "--source", "")]
    [TestCase(64, "run", "--shard", "3/2")]
    [TestCase(64, "report", "--compare", "one")]
    [TestCase(64, "report", "--merge")]
    [TestCase(64, "report", "--history", "--output", "x")]
    [TestCase(64, "report", "--history", "--url", "x")]
    [TestCase(1, "report", "")]
    [TestCase(64, "report", "--merge", "--history")]
    [TestCase(1, "report", "no-such-run")]
    [TestCase(64, "completion", "tcsh")]
    [TestCase(64, "--no-such-option")]
    [TestCase(64, "no-such-verb")]
    [TestCase(64, "kernel")]
    [TestCase(64, "kernel", "--kernel", "host", "--", "true")]
    [TestCase(1, "graph", "no-such-topology")]
    [TestCase(3, "run", "--kernel", "uml=/no/such/kernel")]
    [TestCase(3, "run", "--kernel", "uml=/bin/false")]
    [TestCase(64, "run", "--kernel", "solaris")]
    [TestCase(64, "run", "--proxy", "solaris")]
    [TestCase(64, "run", "--proxy", "command:+ebpf=/bin/true")]
    [TestCase(64, "run", "--proxy", "kube-proxy=/no/such/file")]
    [TestCase(1, "exec", "client", "--", "true")]
    [TestCase(0, "--help")]
    public async Task Exit_codes_are_the_documented_ones(int exitCode, params string[] arguments)
    {
        var result = await Lab(arguments).ExecuteBufferedAsync(Limit());

        result.ExitCode.ShouldBe(exitCode, result.StandardError);
        (result.StandardError.Length > 0).ShouldBe(exitCode != 0);
        result.StandardError.ShouldNotContain("   at ", Case.Sensitive, "an error for people has no stack");
    }

    [Test]
    public async Task Nothing_selected_is_nothing_ran()
    {
        var result = await Lab("run", "--filter", "NO-99").ExecuteBufferedAsync(Limit());

        result.ExitCode.ShouldBe(2, result.StandardError);
        result.StandardError.ShouldContain("'NO-99' selects no test");
    }

    [Test]
    public async Task Unmatched_filter_word_is_reported_beside_matching_ones()
    {
        var result = await Lab("run", "--filter", "VS-16,NO-99").ExecuteBufferedAsync(Limit());

        result.ExitCode.ShouldBe(1, result.StandardError);
        result.StandardOutput.ShouldContain("1 holds");
        result.StandardError.ShouldContain("'NO-99' selects no test");
        RecordsOf(result).ShouldBe(["VS-16 holds"]);
    }

    [Test]
    public async Task A_category_behind_a_minus_is_left_out()
    {
        var result = await Lab("run", "--filter", "VS-16,TIMER-4,-slow").ExecuteBufferedAsync(Limit());

        RecordsOf(result).ShouldBe(["VS-16 holds"]);
        result.StandardError.ShouldContain("'TIMER-4' selects no test");
    }

    [Test]
    public async Task Vstest_moves_into_the_lab_kernel_and_its_filter_selects_there()
    {
        var result = await CliWrap.Cli.Wrap("dotnet")
            .WithArguments(["test", "conformance", "--configuration", "Release", "--no-build", "--filter", "TestCategory=VS-16"])
            .WithWorkingDirectory(ProjectFolder.Root).WithValidation(CommandResultValidation.None).ExecuteBufferedAsync(Limit());

        result.ExitCode.ShouldBe(0, result.StandardOutput + result.StandardError);
        result.StandardOutput.ShouldContain("Passed:     1, Skipped:     0, Total:     1");
        if (!KernelFeatures.Current.CanRunLabs)
            result.StandardOutput.ShouldContain("the tests move into the lab kernel");
    }

    [Test]
    public async Task What_a_crash_left_behind_is_swept_by_the_next_run_and_nothing_else()
    {
        var artifacts = Path.Combine(ProjectFolder.Root, "artifacts");
        // The folder of a run whose process is gone, older than any, with the socket folder of a kernel in it; and one of a process that
        // lives.
        var dead = Directory.CreateDirectory(Path.Combine(artifacts, $"20000101-000000-{int.MaxValue}", "kernel",
            "uml")).Parent!.Parent!.FullName;
        var living = Directory.CreateDirectory(Path.Combine(artifacts, $"20000101-000000-{Environment.ProcessId}")).FullName;
        var others = Enumerable.Range(0, 10)
            .Select(i => Directory.CreateDirectory(Path.Combine(artifacts, $"2000010{i}-000001-{int.MaxValue}")).FullName).ToList();
        try
        {
            await Lab("kernel", "--", "true").ExecuteBufferedAsync(Limit());

            Directory.Exists(dead).ShouldBeFalse();
            Directory.Exists(living).ShouldBeTrue();
        }
        finally
        {
            foreach (var folder in others.Append(living).Where(Directory.Exists))
                Directory.Delete(folder, recursive: true);
        }
    }

    [Test]
    public async Task A_kernel_that_dies_in_mid_run_leaves_broken_claims_and_no_silence()
    {
        var running = Lab("run", "--filter", "CT-5,VS-16").ExecuteBufferedAsync(Limit());
        var launcher = running.ProcessId.ToString(CultureInfo.InvariantCulture);
        var kernel = await Eventually.Async("the kernel runs and a claim is proved", () => KernelOf(launcher), k => k is not null,
            Timeouts.Start);

        await CliWrap.Cli.Wrap("kill").WithArguments(["-KILL", kernel!]).ExecuteAsync();

        var result = await running;
        result.ExitCode.ShouldBe(1, result.StandardError);
        RecordsOf(result).ShouldBe(["CT-5 broken", "VS-16 holds"]);
        result.StandardOutput.ShouldContain("CT-5 broken", Case.Sensitive, result.StandardOutput);
        result.StandardError.ShouldContain("ended before its command did");
    }

    /// <summary>The kernel of a launcher's run, once a record shows that tests run.</summary>
    private static string? KernelOf(string launcher)
    {
        var run = RunOf(launcher);
        return run is not null && File.Exists(Path.Combine(run, "claims", "VS-16.json")) ? MainKernelIn(run) : null;
    }

    private static string? RunOf(string launcher) => Directory.GetDirectories(Path.Combine(ProjectFolder.Root, "artifacts"),
        $"*-{launcher}").FirstOrDefault();

    [Test]
    public async Task Kernel_that_does_not_boot_is_reported_with_its_console()
    {
        var result = await Lab("kernel", "--kernel", "uml=/bin/false", "--", "true").ExecuteBufferedAsync(Limit());

        result.ExitCode.ShouldBe(3);
        result.StandardError.ShouldContain("did not come up");
        result.StandardError.ShouldContain("console.log");
    }

    [TestCase("lab gra", "graph")]
    [TestCase("lab graph article", "article-nat")]
    [TestCase("lab run --filter SNAT", "SNAT-* SNAT-1 SNAT-2 SNAT-3 SNAT-4 SNAT-5")]
    [TestCase("lab run --kern", "--kernel --kernels")]
    public async Task Bash_completes_words(string typed, string expected)
    {
        var script = $"source <(./lab completion bash); COMP_LINE='{typed}'; COMP_POINT={typed.Length}; COMP_WORDS=({typed}); "
            + "COMP_WORDS[0]=./lab; COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _lab; echo \"${COMPREPLY[*]}\"";

        var result = await CliWrap.Cli.Wrap("bash").WithArguments(["-c", script]).WithWorkingDirectory(ProjectFolder.Root)
            .WithEnvironmentVariables(LabProgram.Variables).WithValidation(CommandResultValidation.None).ExecuteBufferedAsync(Limit());

        result.StandardOutput.Trim().ShouldBe(expected, result.StandardError);
    }

    /// <summary>The sample serves ClusterIPs of IPv4, and nothing else: the claims about these hold, and no others.</summary>
    [Test]
    public async Task The_sample_proxy_fails_the_claims_that_it_should()
    {
        await Need.EnsureAsync(Need.ForTests, CancellationToken.None);

        var program = Path.Combine(ProjectFolder.Root, "harness", "Clusters", "Proxies", "sample-proxy.sh");
        var run = await Lab("run", "--proxy", $"command:-ipv6,-sctp,-health-check-node-port={program}",
            "--filter", "K-2,K-6,ENDPOINT-1,ENDPOINT-6,ADDR-1,ADDR-5,REFUSE-1,FAMILY-1").ExecuteBufferedAsync(Limit());

        run.ExitCode.ShouldBe(1);
        RecordsOf(run).ShouldBe(["ADDR-1 violated", "ADDR-5 violated", "ENDPOINT-1 holds", "ENDPOINT-6 holds", "FAMILY-1 not-supported",
            "K-2 holds", "K-6 holds", "REFUSE-1 violated"]);
    }

    [Test]
    public async Task Graphs_are_drawn()
    {
        (await Lab("graph", "article-nat").ExecuteBufferedAsync(Limit())).StandardOutput.ShouldContain(
            "director ---|ens33 192.168.113.101| lan");
        (await Lab("graph", "routed-nat", "--format", "dot").ExecuteBufferedAsync(Limit())).StandardOutput.ShouldContain(
            "\"director\" -- \"back\" [label=\"ens34\\n172.16.0.1\"];");
    }

    [TestCase("0", "0")]
    [TestCase("0-3,8", "0 1 2 3 8")]
    public void Lists_of_processors_are_understood(string list, string expected) =>
        string.Join(' ', Processors.Expand(list).Select(n => n.ToString(CultureInfo.InvariantCulture))).ShouldBe(expected);

    /// <summary>The folder of a run, which it prints.</summary>
    internal static string FolderOf(BufferedCommandResult run) => Path.GetFullPath(
        run.StandardError.Split('\n').Single(l => l.StartsWith("Records, ", StringComparison.Ordinal)).Split(": ")[1]);

    /// <summary>The verdicts that a run has stored, each file of it as the schema says.</summary>
    private static IEnumerable<string> RecordsOf(BufferedCommandResult run)
    {
        var folder = FolderOf(run);
        foreach (var file in Directory.GetFiles(Path.Combine(folder, "claims")))
            RecordTests.Validate(File.ReadAllText(file)).ShouldBeEmpty(file);
        return RunResults.Load(folder).Claims.Select(c => $"{c.Id} {c.Verdict.Word()}")
            .Order(StringComparer.Ordinal);
    }

    /// <summary>A call that hangs is killed and fails its test. Most take seconds; on a busy machine some take a minute.</summary>
    private static CancellationToken Limit() => new CancellationTokenSource(TimeSpan.FromMinutes(3)).Token;

    private static Command Lab(params string[] arguments) => LabProgram.Command(arguments);

    /// <summary>The three processes of a run whose command has the marker, and the run's folder; empty until all are there.</summary>
    private static Dictionary<string, string> ProcessesOf(string marker)
    {
        var all = ProcessTable.Read("cmdline");
        var launcher = all.FirstOrDefault(p => p.Text.Contains(marker, StringComparison.Ordinal)
            && p.Text.Contains("Conformance.Launcher.dll", StringComparison.Ordinal));
        if (launcher.Pid is null)
            return [];
        var guard = all.FirstOrDefault(p => p.Text.StartsWith("bash", StringComparison.Ordinal)
            && p.Text.Contains("guard.sh", StringComparison.Ordinal)
            && p.Text.Contains($"-{launcher.Pid}/kernel", StringComparison.Ordinal));
        if (guard.Pid is null)
            return [];
        var run = Path.GetDirectoryName(guard.Text.Split('\0')
            .First(w => w.EndsWith($"-{launcher.Pid}/kernel", StringComparison.Ordinal)))!;
        var kernel = MainKernelIn(run);
        return kernel is null ? [] : new(StringComparer.Ordinal)
        {
            ["launcher"] = launcher.Pid,
            ["guard"] = guard.Pid,
            ["kernel"] = kernel,
            ["run"] = run
        };
    }

    /// <summary>The user-mode kernels of a run: Debian's <c>linux.uml</c>, or the <c>linux</c> that was built here.</summary>
    private static List<string> KernelsIn(string run) =>
        [.. ProcessTable.Read("cmdline").Where(p => Path.GetFileName(p.Text.Split('\0')[0]).StartsWith("linux", StringComparison.Ordinal)
            && p.Text.Contains($"umid={Path.GetFileName(run)}-", StringComparison.Ordinal)).Select(p => p.Pid)];

    /// <summary>
    /// The process that is the kernel, and not one of the guest's, which are its children. They have its name, and may have lower numbers.
    /// </summary>
    private static string? MainKernelIn(string run)
    {
        var kernels = KernelsIn(run);
        return ProcessTable.Read("stat").Find(p => kernels.Contains(p.Pid) && !kernels.Contains(ParentIn(p.Text))).Pid;

        static string ParentIn(string stat) => stat.Split(") ")[^1].Split(' ')[1]; // proc_pid_stat(5)
    }
}
