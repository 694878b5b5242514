using System.Text;
using Conformance.Generator.Serving;
using Conformance.Labs.Waiting;

namespace Conformance.Tests.Generator;

/// <summary>Logging never holds up the program.</summary>
public sealed class LogWriterTests
{
    [Test]
    public async Task A_pipe_that_nobody_reads_holds_nobody_up()
    {
        using var mayWrite = new ManualResetEventSlim();
        var said = new MemoryStream();
        await using var log = new LogWriter(new Gate(said, () => mayWrite.Wait(Timeouts.Answer)));

        for (var i = 0; i < 5000; i++)
            log.Write($"line {i}");
        mayWrite.Set();
        await Eventually.Async("the first lines are written", () => Encoding.UTF8.GetString(said.ToArray()),
            text => text.Contains("line 999", StringComparison.Ordinal));
        log.Write("after");

        await Eventually.Async("the loss is reported", () => Encoding.UTF8.GetString(said.ToArray()),
            text => text.Contains(" lines were lost", StringComparison.Ordinal) && text.Contains("after", StringComparison.Ordinal));
    }

    /// <summary>A full disk, and a file that can no longer be written: .NET has an exception of its own for EBADF and EPERM.</summary>
    [TestCase(typeof(IOException))]
    [TestCase(typeof(UnauthorizedAccessException))]
    public async Task A_write_that_fails_costs_lines_and_no_more(Type failure)
    {
        using var hasFailed = new ManualResetEventSlim();
        var said = new MemoryStream();
        await using (var log = new LogWriter(new Gate(said, Fail)))
        {
            log.Write("lost");
            hasFailed.Wait(Timeouts.Answer).ShouldBeTrue();
            log.Write("kept");
        }
        Encoding.UTF8.GetString(said.ToArray()).ShouldMatch("^1 lines were lost\n.*kept\n$");

        void Fail()
        {
            if (hasFailed.IsSet)
                return;
            hasFailed.Set();
            throw (Exception)Activator.CreateInstance(failure)!;
        }
    }

    private sealed class Gate(MemoryStream to, Action beforeWrite) : MemoryStream
    {
        public override void Write(ReadOnlySpan<byte> buffer)
        {
            beforeWrite();
            lock (to)
                to.Write(buffer);
        }
    }
}
