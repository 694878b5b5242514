using System.Globalization;
using Conformance.Labs;

namespace Conformance.KernelTests.Soak;

/// <summary>What has happened in a soak, a line each with its time, in the file <c>soak.log</c> of the run.</summary>
internal sealed class Journal
{
    private readonly Lock _lock = new();

    /// <summary>The absolute path of the file.</summary>
    internal string File { get; } = Path.Combine(RunFolder.Current, "soak.log");

    /// <summary>Adds a line.</summary>
    internal void Write(string what)
    {
        lock (_lock)
        {
            System.IO.File.AppendAllText(File, string.Create(CultureInfo.InvariantCulture, $"{DateTime.UtcNow:HH:mm:ss.fff} {what}\n"));
        }
    }
}
