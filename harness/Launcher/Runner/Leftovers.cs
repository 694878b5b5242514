using System.Diagnostics;
using System.Globalization;
using System.Text;
using Conformance.Labs;

namespace Conformance.Launcher.Runner;

/// <summary>
/// Processes that have outlived the runner which started them. They may hold its output, and then whoever waits for the output's end
/// waits for them. Source: proc_pid_environ(5).
/// </summary>
internal static class Leftovers
{
    /// <summary>Ends all processes of a run, which know it by <see cref="RunFolder.Variable"/>.</summary>
    /// <returns>Their ids and programs, such as <c>4711 sleep</c>.</returns>
    internal static List<string> End(string runFolder)
    {
        var mark = Encoding.UTF8.GetBytes($"\0{RunFolder.Variable}={runFolder}\0");
        var ended = new List<string>();
        foreach (var process in ProcessStat.ReadAll().Where(p => p.Id != Environment.ProcessId && IsMarked(p.Id, mark)))
        {
            try
            {
                Process.GetProcessById(process.Id).Kill();
                ended.Add(string.Create(CultureInfo.InvariantCulture, $"{process.Id} {process.Program}"));
            }
            catch (ArgumentException)
            {
                // it has ended meanwhile
            }
        }
        return ended;
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
            return false; // it has ended meanwhile, or is another user's
        }
    }
}
