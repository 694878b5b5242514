using System.Diagnostics;
using System.Globalization;
using System.Text.RegularExpressions;
using Conformance.Labs.Waiting;
using Conformance.Launcher;
using Conformance.Launcher.Trust;
using Conformance.Reports;

namespace Conformance.Tests;

/// <summary><c>./lab kills</c> on commands whose leftovers are known; with the launcher's own it takes minutes.</summary>
[NonParallelizable]
public sealed partial class KillJobTests
{
    private string _folder = null!;

    [SetUp]
    public void MakeFolder() => _folder = Directory.CreateTempSubdirectory("kills").FullName;

    [TearDown]
    public void RemoveFolder() => Directory.Delete(_folder, recursive: true);

    [Test]
    public async Task A_process_that_is_left_is_named()
    {
        var file = Path.Combine(Path.GetTempPath(), $"{Guid.NewGuid():N}.pid");
        var record = await KillAsync($"setsid sleep 1000 & echo $! >{file}; sleep 1000");
        try
        {
            record.IsGood.ShouldBeFalse();
            record.Findings[0].ShouldStartWith("1 signals were sent");
            // The signal has hit one of the three; each of the others is left.
            Left(record).Count.ShouldBeGreaterThanOrEqualTo(1);
            if (!record.Findings.Any(f => f.Contains("to sleep", StringComparison.Ordinal)))
                Left(record).ShouldContain(int.Parse((await File.ReadAllTextAsync(file)).Trim(), CultureInfo.InvariantCulture));
        }
        finally
        {
            Left(record).ForEach(Kill);
            File.Delete(file);
        }
    }

    [Test]
    public async Task A_file_that_is_left_is_named()
    {
        var file = Path.Combine(_folder, "left");

        var record = await KillAsync($"touch {file}; exec sleep 1000");

        record.IsGood.ShouldBeFalse();
        record.Findings.ShouldContain(f => f.EndsWith($": {file}", StringComparison.Ordinal));
    }

    [Test]
    public async Task A_command_that_leaves_nothing_is_good()
    {
        var record = await KillAsync("exec sleep 1000");

        record.IsGood.ShouldBeTrue(string.Join('\n', record.Findings));
        record.Findings.ShouldContain("0 processes, mounts, control groups and files were left.");
    }

    [Test]
    public async Task A_job_that_hits_nobody_proves_nothing()
    {
        var record = await KillAsync("exit 0");

        record.IsGood.ShouldBeFalse();
        record.Findings[0].ShouldStartWith("0 signals were sent");
    }

    [Test]
    public async Task A_process_whose_parent_has_ended_still_belongs_to_the_family()
    {
        // Three, so that none starts while they are killed. And one that is left all the same must not hold the runner's output.
        using var shell = Process.Start("sh", ["-c", "exec >/dev/null 2>&1; sleep 1000 & sleep 1000; exit"]);
        var family = new ProcessFamily(shell.Id);
        try
        {
            await Eventually.Async("three processes run", family.Look, count => count == 3, TimeSpan.FromSeconds(10));

            shell.Kill();
            await shell.WaitForExitAsync();

            var left = family.Alive();
            left.Count.ShouldBe(2);
            left.ShouldAllBe(p => p.Program == "sh" || p.Program == "sleep");
        }
        finally
        {
            family.Alive().ForEach(p => Kill(p.Id));
        }
        await Eventually.Async("nobody is left", family.Look, count => count == 0, TimeSpan.FromSeconds(10));
    }

    private static List<int> Left(TrustRecord record) => [.. record.Findings.Select(f => ProcessFinding().Match(f)).Where(m => m.Success)
        .Select(m => int.Parse(m.Groups["id"].ValueSpan, CultureInfo.InvariantCulture))];

    private static void Kill(int id)
    {
        try
        {
            Process.GetProcessById(id).Kill();
        }
        catch (ArgumentException)
        {
            // it has ended
        }
    }

    /// <summary>One command, whose process gets its signal within a second.</summary>
    private Task<TrustRecord> KillAsync(string script) => new KillJob(Count: 1, Seed: 5)
    {
        Launcher = ["sh", "-c", script],
        Commands = [["of a test"]],
        LatestMoment = TimeSpan.FromSeconds(1),
        Limit = TimeSpan.FromMilliseconds(200),
        Read = () => Directory.GetFiles(_folder).ToHashSet(StringComparer.Ordinal), // others use the machine meanwhile
    }.KillAllAsync("", CancellationToken.None);

    [GeneratedRegex(": process (?<id>[0-9]+) ", RegexOptions.ExplicitCapture, matchTimeoutMilliseconds: 1000)]
    private static partial Regex ProcessFinding();
}
