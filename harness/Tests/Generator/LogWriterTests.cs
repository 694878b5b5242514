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

    [Test]
    public async Task A_full_disk_costs_lines_and_no_more()
    {
        await using (var log = new LogWriter(new Gate(new MemoryStream(), () => throw new IOException("No space left on device"))))
            log.Write("lost");
        var said = new MemoryStream();
        var isFull = true;
        await using (var log = new LogWriter(new Gate(said, () => { if (isFull) throw new IOException("No space left on device"); })))
        {
            log.Write("lost");
            isFull = false;
            log.Write("kept");
        }
        Encoding.UTF8.GetString(said.ToArray()).ShouldContain("kept");
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
