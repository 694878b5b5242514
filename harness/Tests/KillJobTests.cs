using System.Globalization;
using Conformance.Labs.Waiting;
using Conformance.Launcher;
using Conformance.Launcher.Trust;
using Conformance.Reports;

namespace Conformance.Tests;

/// <summary><c>./lab kills</c> on commands whose leftovers are known; with the launcher's own it takes minutes.</summary>
[NonParallelizable]
public sealed class KillJobTests
{
    [Test]
    public async Task A_process_that_is_left_is_named()
    {
        var marker = Random.Shared.Next(100_000, 1_000_000).ToString(CultureInfo.InvariantCulture);
        try
        {
            var record = await KillAsync($"setsid sleep {marker} & sleep 1000");

            record.IsGood.ShouldBeFalse();
            record.Findings.ShouldContain(f => f.StartsWith("1 signals were sent", StringComparison.Ordinal));
            record.Findings.ShouldContain(f => f.Contains(": process ", StringComparison.Ordinal)
                && f.EndsWith("sleep", StringComparison.Ordinal));
        }
        finally
        {
            foreach (var (pid, _) in ProcessTable.Read("cmdline").Where(p => p.Text.Contains(marker, StringComparison.Ordinal)))
                await CliWrap.Cli.Wrap("kill").WithArguments(["-KILL", pid]).WithValidation(CliWrap.CommandResultValidation.None)
                    .ExecuteAsync();
        }
    }

    [Test]
    public async Task A_file_that_is_left_is_named()
    {
        var file = $"/tmp/left-by-kills-{Guid.NewGuid():N}";
        try
        {
            var record = await KillAsync($"touch {file}; exec sleep 1000");

            record.IsGood.ShouldBeFalse();
            record.Findings.ShouldContain(f => f.EndsWith($": file {file}", StringComparison.Ordinal));
        }
        finally
        {
            File.Delete(file);
        }
    }

    [Test]
    public async Task A_job_that_hits_nobody_proves_nothing()
    {
        var record = await KillAsync("exit 0");

        record.IsGood.ShouldBeFalse();
        record.Findings[0].ShouldContain("0 signals were sent");
    }

    [Test]
    public async Task Who_was_taken_over_by_another_process_still_belongs_to_the_family()
    {
        using var shell = System.Diagnostics.Process.Start("sh", ["-c", "sh -c 'sleep 1000' & sleep 1000"]);
        var family = new ProcessFamily(shell.Id);
        await Eventually.Async("three processes run", family.Look, count => count >= 3, TimeSpan.FromSeconds(10));

        shell.Kill();
        await shell.WaitForExitAsync();

        var left = family.Alive();
        left.ShouldNotBeEmpty();
        left.ShouldAllBe(p => p.Program == "sh" || p.Program == "sleep");
        foreach (var process in left)
            System.Diagnostics.Process.GetProcessById(process.Id).Kill();
        await Eventually.Async("nobody is left", family.Look, count => count == 0, TimeSpan.FromSeconds(10));
    }

    private static Task<TrustRecord> KillAsync(string script) => new KillJob(1, 5)
    {
        Launcher = ["sh", "-c", script],
        Commands = [["of a test"]],
        LatestMoment = TimeSpan.FromSeconds(1),
        Limit = TimeSpan.FromMilliseconds(200),
    }.KillAllAsync("", CancellationToken.None);
}
