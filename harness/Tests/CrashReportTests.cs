using Conformance.Linux;

namespace Conformance.Tests;

/// <summary>What becomes of a fault that nobody awaits.</summary>
[Parallelizable(ParallelScope.All)]
public sealed class CrashReportTests
{
    [Test]
    public async Task Fault_of_a_task_that_goes_on_by_itself_is_reported()
    {
        var fault = new InvalidDataException("it could not go on");
        (await ReportsAsync(_ => throw fault)).ShouldBe([fault]);
    }

    [Test]
    public async Task Task_that_is_cancelled_though_it_is_still_wanted_is_reported() =>
        (await ReportsAsync(_ => throw new OperationCanceledException())).ShouldHaveSingleItem();

    [Test]
    public async Task Task_that_ends_well_is_not_reported() => (await ReportsAsync(_ => { })).ShouldBeEmpty();

    /// <summary>A socket or a lock that it was about to use may be gone by then.</summary>
    [Test]
    public async Task What_a_task_meets_after_its_end_is_not_reported() =>
        (await ReportsAsync(stop =>
        {
            stop.Cancel();
            throw new ObjectDisposedException("a socket");
        })).ShouldBeEmpty();

    private static async Task<List<Exception>> ReportsAsync(Action<CancellationTokenSource> work)
    {
        var reports = new List<Exception>();
        using var stop = new CancellationTokenSource();
        await CrashReport.ReportAsync(WorkAsync(), reports.Add, stop.Token);
        return reports;

        async Task WorkAsync()
        {
            await Task.Yield();
            work(stop);
        }
    }
}
