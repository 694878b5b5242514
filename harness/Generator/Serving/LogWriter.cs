using System.Globalization;
using System.Threading.Channels;
using Conformance.Generator.Sources;
using Conformance.Linux;

namespace Conformance.Generator.Serving;

/// <summary>
/// Writes log lines to stderr without ever holding up or ending the sync: a pipe that nobody reads, or a full disk, costs lines.
/// Lines that were lost are counted in the next one.
/// </summary>
internal sealed class LogWriter : IAsyncDisposable
{
    private const int Capacity = 1000;
    private static readonly TimeSpan s_flush = TimeSpan.FromSeconds(1);
    private readonly Channel<string> _lines = Channel.CreateBounded<string>(Capacity);
    private readonly CancellationTokenSource _end = new();
    private readonly Task _writing;
    private int _lost;

    /// <param name="output">Where to write; it may block or throw.</param>
    internal LogWriter(Stream output)
    {
        _writing = Task.Run(() => WriteAsync(output));
        CrashReport.LetRun(_writing, _end.Token);
    }

    /// <param name="line">Words of others may be in it: it stays one line.</param>
    internal void Write(string line)
    {
        var stamped = string.Create(CultureInfo.InvariantCulture, $"{DateTime.UtcNow:yyyy-MM-ddTHH:mm:ss.fffZ} {Printable.Of(line)}\n");
        if (!_lines.Writer.TryWrite(stamped))
            Interlocked.Increment(ref _lost);
    }

    /// <summary>Writes what is left, for at most a second.</summary>
    public async ValueTask DisposeAsync()
    {
        _lines.Writer.TryComplete();
        await Task.WhenAny(_writing, Task.Delay(s_flush));
        await _end.CancelAsync();
    }

    private async Task WriteAsync(Stream output)
    {
        await foreach (var line in _lines.Reader.ReadAllAsync())
        {
            var lost = Interlocked.Exchange(ref _lost, 0);
            try
            {
                output.Write(System.Text.Encoding.UTF8.GetBytes(lost > 0
                    ? string.Create(CultureInfo.InvariantCulture, $"{lost} lines were lost\n{line}") : line));
                output.Flush();
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException) // as .NET calls EACCES, EBADF and EPERM
            {
                Interlocked.Add(ref _lost, lost + 1);
            }
        }
    }
}
