using System.Globalization;
using CliWrap.Buffered;
using Conformance.Labs.Waiting;
using Conformance.Launcher.LabKernels;

namespace Conformance.Tests;

/// <summary>What guard.sh runs ends with it, and with its launcher.</summary>
[NonParallelizable]
public sealed class GuardTests : KernelFixture
{
    /// <summary>A command with a child that outlives it, as a compiler of make.</summary>
    private static readonly string[] s_family = ["sh", "-c", "sleep 987651 & sleep 987651"];

    [Test]
    public async Task A_command_that_is_cancelled_takes_its_family_with_it()
    {
        using var cancel = new CancellationTokenSource();
        var running = Guard.RunAsync(s_family, process => process, cancel.Token);
        await FamilyAsync(2);

        await cancel.CancelAsync();

        await Should.ThrowAsync<OperationCanceledException>(() => running);
        (await ProcessesAsync("sleep 987651")).ShouldBe(0);
    }

    [Test]
    public async Task A_guard_that_is_killed_takes_the_family_with_it()
    {
        using var end = new CancellationTokenSource(Limit);
        var running = Guard.RunAsync(s_family, process => process, end.Token);
        await FamilyAsync(2);
        var guards = await CliWrap.Cli.Wrap("pgrep").WithArguments(["-fo", "guard.sh .*987651"]).ExecuteBufferedAsync();

        System.Diagnostics.Process.GetProcessById(int.Parse(guards.StandardOutput, CultureInfo.InvariantCulture)).Kill();

        await FamilyAsync(0);
        (await running).IsSuccess.ShouldBeFalse();
    }

    private static Task FamilyAsync(int count) => Eventually.Async($"{count} sleep", () => ProcessesAsync("^sleep 987651"),
        processes => processes == count, TimeSpan.FromSeconds(10));
}
