using System.ComponentModel;
using System.Diagnostics;
using System.Globalization;
using System.Text;
using Conformance.Labs;

namespace Conformance.Launcher.Runner;

/// <summary>
/// Processes that have outlived the runner which started them. One that still has the runner's output open delays the launcher, which
/// reads it to its end. Source: proc_pid_environ(5).
/// </summary>
internal static class Leftovers
{
    private const int MaxLooks = 5;

    /// <summary>Ends the processes of a run: those that have <see cref="RunFolder.Variable"/> in their environment.</summary>
    /// <returns>Their ids and programs, such as <c>4711 sleep</c>.</returns>
    internal static List<string> End(string runFolder)
    {
        var mark = Encoding.UTF8.GetBytes($"\0{RunFolder.Variable}={runFolder}\0");
        var ended = new Dictionary<int, string>();
        // One that is ended may have started another since the table was read.
        for (var (look, known) = (0, -1); look < MaxLooks && ended.Count > known; look++)
        {
            known = ended.Count;
            foreach (var process in ProcessStat.ReadAll().Where(p => p.Id != Environment.ProcessId && IsMarked(p.Id, mark)))
            {
                try
                {
                    Process.GetProcessById(process.Id).Kill();
                    ended.TryAdd(process.Id, string.Create(CultureInfo.InvariantCulture, $"{process.Id} {process.Program}"));
                }
                catch (Exception e) when (e is ArgumentException or Win32Exception)
                {
                    // it has ended by itself, or may not be ended by us
                }
            }
        }
        return [.. ended.Values];
    }

    private static bool IsMarked(int id, byte[] mark)
    {
        try
        {
            var environment = File.ReadAllBytes(string.Create(CultureInfo.InvariantCulture, $"/proc/{id}/environ"));
            return ((ReadOnlySpan<byte>)[0, .. environment]).IndexOf(mark) >= 0;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return false; // it has ended, or is another user's
        }
    }
}
