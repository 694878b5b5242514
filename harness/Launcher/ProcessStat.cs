using System.Globalization;

namespace Conformance.Launcher;

/// <summary>A line of /proc/PID/stat (proc_pid_stat(5)).</summary>
/// <param name="Id">Its process id, which the kernel gives again to others later.</param>
/// <param name="Program">The name of its program, at most 15 characters.</param>
/// <param name="State">Such as R, S, or Z for one that has ended and is not waited for.</param>
/// <param name="Parent">The process that started it, or who took it over.</param>
/// <param name="StartTime">In clock ticks since boot: with the id it means one process.</param>
internal sealed record ProcessStat(int Id, string Program, string State, int Parent, string StartTime)
{
    /// <summary>Null when there is no such process.</summary>
    internal static ProcessStat? TryRead(int id)
    {
        try
        {
            // The name may itself have spaces and parentheses. Behind it, field 3 is the first.
            var stat = File.ReadAllText(string.Create(CultureInfo.InvariantCulture, $"/proc/{id}/stat"));
            var end = stat.LastIndexOf(')');
            var fields = stat[(end + 2)..].Split(' ');
            return new(id, stat[(stat.IndexOf('(', StringComparison.Ordinal) + 1)..end], fields[0],
                int.Parse(fields[1], CultureInfo.InvariantCulture), fields[19]);
        }
        catch (IOException)
        {
            return null;
        }
    }

    /// <summary>All processes that have not ended, by id.</summary>
    internal static IEnumerable<ProcessStat> ReadAll() => Directory.EnumerateDirectories("/proc").Select(Path.GetFileName)
        .Select(n => int.TryParse(n, CultureInfo.InvariantCulture, out var id) ? id : 0).Where(id => id > 0).Order()
        .Select(TryRead).OfType<ProcessStat>().Where(p => p.State is not ("Z" or "X"));
}
