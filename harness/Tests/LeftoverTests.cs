using System.Diagnostics;
using Conformance.Labs;
using Conformance.Labs.Waiting;
using Conformance.Launcher;
using Conformance.Launcher.Runner;

namespace Conformance.Tests;

/// <summary>Processes that outlive the runner which started them.</summary>
public sealed class LeftoverTests
{
    [Test]
    public async Task Leftover_processes_of_a_run_are_ended_and_named()
    {
        var run = $"/run/{Guid.NewGuid():N}";
        using var other = Start($"{run}2");
        using var shell = Start(run);
        try
        {
            var child = await ChildOfAsync(shell);
            shell.Kill();
            await shell.WaitForExitAsync();

            Leftovers.End(run).ShouldBe([$"{child} sleep"]);
            await Eventually.Async("nobody is left", () => Leftovers.End(run), left => left.Count == 0);
            other.HasExited.ShouldBeFalse();
        }
        finally
        {
            shell.Kill(entireProcessTree: true);
            other.Kill(entireProcessTree: true);
        }
    }

    private static Process Start(string runFolder) => Process.Start("env",
        [$"{RunFolder.Variable}={runFolder}", "sh", "-c", "exec >/dev/null 2>&1; sleep 100 & wait"]);

    private static Task<int> ChildOfAsync(Process shell) => Eventually.Async("the shell has started sleep",
        () => ProcessStat.ReadAll().FirstOrDefault(p => p.Parent == shell.Id && p.Program == "sleep")?.Id ?? 0, id => id > 0);
}
