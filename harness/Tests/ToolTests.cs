using System.Diagnostics;
using System.Globalization;
using Conformance.Linux;
using Conformance.Linux.Processes;

namespace Conformance.Tests;

/// <summary>Programs that the generator starts on the calling thread.</summary>
public sealed class ToolTests
{
    private static readonly TimeSpan s_limit = TimeSpan.FromSeconds(20);

    [Test]
    public void Output_error_and_exit_code_come_back()
    {
        var result = Tool.Run(["sh", "-c", "cat; echo to error >&2; exit 7"], "to output ü\n", s_limit, CancellationToken.None);

        result.ShouldBe(new ToolResult(7, "to output ü\n", "to error\n"));
    }

    [Test]
    public void A_large_input_and_a_large_output_do_not_wait_for_each_other()
    {
        var text = string.Concat(Enumerable.Range(0, 200_000).Select(i => string.Create(CultureInfo.InvariantCulture, $"line {i}\n")));

        Tool.Run(["cat"], text, s_limit, CancellationToken.None).Output.ShouldBe(text);
    }

    [Test]
    public void A_program_that_stops_reading_ends_with_its_own_exit_code() =>
        Tool.Run(["sh", "-c", "exec <&-; exit 3"], new string('x', 1 << 20), s_limit, CancellationToken.None).ExitCode.ShouldBe(3);

    [Test]
    public void A_program_without_input_reads_nothing() =>
        Tool.Run(["wc", "-c"], null, s_limit, CancellationToken.None).Output.ShouldBe("0\n");

    [Test]
    public void A_signal_counts_as_in_a_shell() =>
        Tool.Run(["sh", "-c", "kill -TERM $$"], null, s_limit, CancellationToken.None).ExitCode.ShouldBe(128 + 15);

    [Test]
    public void A_program_that_is_not_there_is_named() =>
        Should.Throw<StartException>(() => Tool.Run(["no-such-program"], null, s_limit, CancellationToken.None))
            .ShouldSatisfyAllConditions(e => e.Errno.ShouldBe(2), e => e.Message.ShouldContain("start no-such-program"));

    [Test]
    public void A_program_that_runs_too_long_is_killed()
    {
        var watch = Stopwatch.StartNew();

        Should.Throw<OperationCanceledException>(() => Tool.Run(["sleep", "60"], null, TimeSpan.FromMilliseconds(300),
            CancellationToken.None));

        watch.Elapsed.ShouldBeLessThan(s_limit);
    }

    [TestCase("sleep 60")]
    [TestCase("exec >&- 2>&-; sleep 60")]
    public void A_program_is_killed_when_it_is_to_stop(string script)
    {
        using var stop = new CancellationTokenSource(TimeSpan.FromMilliseconds(300));
        var watch = Stopwatch.StartNew();

        Should.Throw<OperationCanceledException>(() => Tool.Run(["sh", "-c", script], null, s_limit, stop.Token));

        watch.Elapsed.ShouldBeLessThan(s_limit);
    }

    [Test]
    public void What_it_has_started_is_killed_with_it()
    {
        var marker = Guid.NewGuid().ToString("N");

        Should.Throw<OperationCanceledException>(() => Tool.Run(["sh", "-c", $"(sleep 60; : {marker}) & sleep 60"], null,
            TimeSpan.FromMilliseconds(300), CancellationToken.None));

        ProcessTable.Read("cmdline").ShouldNotContain(p => p.Text.Contains(marker, StringComparison.Ordinal));
    }

    [Test]
    public void Variables_are_its_own_and_programs_are_looked_up_in_its_path() =>
        Tool.Run(["env"], null, s_limit, CancellationToken.None, variables: new Dictionary<string, string?>(StringComparer.Ordinal)
        {
            ["PATH"] = "/no/such/folder:/usr/bin",
            ["NEW"] = "new",
            ["HOME"] = null,
        }).Output.Split('\n').ShouldSatisfyAllConditions(lines => lines.ShouldContain("PATH=/no/such/folder:/usr/bin"),
            lines => lines.ShouldContain("NEW=new"),
            lines => lines.ShouldNotContain(l => l.StartsWith("HOME=", StringComparison.Ordinal)));

    [Test]
    public void A_closed_pipe_ends_it_as_in_a_shell() =>
        Tool.Run(["bash", "-c", "yes | head -n 1; echo ${PIPESTATUS[0]}"], null, s_limit, CancellationToken.None).Output
            .ShouldBe("y\n141\n", "128 + SIGPIPE");

    [Test]
    public void No_descriptor_is_left_open()
    {
        Tool.Run(["true"], "x", s_limit, CancellationToken.None);
        var before = Directory.GetFiles("/proc/self/fd").Length;
        for (var i = 0; i < 20; i++)
            Tool.Run(["true"], "x", s_limit, CancellationToken.None);

        Directory.GetFiles("/proc/self/fd").Length.ShouldBeLessThan(before + 20); // others of this process may have opened some
    }
}
