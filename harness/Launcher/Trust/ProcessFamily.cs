using System.Globalization;

namespace Conformance.Launcher.Trust;

/// <summary>A process with all that it has started, and they: also those whose parent has ended since, if they were seen before.</summary>
internal sealed class ProcessFamily
{
    private readonly HashSet<(int Id, string Start)> _members = [];
    private readonly int _first;

    internal ProcessFamily(int first)
    {
        _first = first;
        Look();
    }

    /// <summary>Reads the table of processes, and keeps who belongs to the family.</summary>
    /// <returns>How many of it live.</returns>
    internal int Look() => Alive().Count;

    /// <summary>Those of the family that live, the oldest first.</summary>
    internal List<(int Id, string Program)> Alive()
    {
        var all = Read();
        bool grows;
        do
        {
            var ids = all.Where(p => _members.Contains((p.Id, p.Start))).Select(p => p.Id).ToHashSet();
            grows = false;
            foreach (var process in all.Where(p => p.Id == _first || ids.Contains(p.Parent)))
                grows |= _members.Add((process.Id, process.Start));
        }
        while (grows);
        return [.. all.Where(p => _members.Contains((p.Id, p.Start))).Select(p => (p.Id, p.Program))];
    }

    /// <summary>The processes that have not ended: proc(5), /proc/PID/stat.</summary>
    private static List<(int Id, int Parent, string Start, string Program)> Read()
    {
        var found = new List<(int, int, string, string)>();
        foreach (var folder in Directory.EnumerateDirectories("/proc"))
        {
            if (!int.TryParse(Path.GetFileName(folder), CultureInfo.InvariantCulture, out var id))
                continue;
            try
            {
                var stat = File.ReadAllText(Path.Combine(folder, "stat"));
                var end = stat.LastIndexOf(')');
                var fields = stat[(end + 2)..].Split(' ');
                if (fields[0] is not ("Z" or "X"))
                    found.Add((id, int.Parse(fields[1], CultureInfo.InvariantCulture), fields[19],
                        stat[(stat.IndexOf('(', StringComparison.Ordinal) + 1)..end]));
            }
            catch (IOException)
            {
                // ended meanwhile
            }
        }
        return [.. found.OrderBy(p => p.Item1)];
    }
}
