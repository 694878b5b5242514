namespace Conformance.Launcher.Trust;

/// <summary>A process with all that it has started, and they: also those whose parent has ended since, if they were seen before.</summary>
internal sealed class ProcessFamily
{
    /// <summary>With the time of its start a number means one process: the kernel gives it again to others.</summary>
    private readonly HashSet<(int Id, string StartTime)> _members = [];

    internal ProcessFamily(int first)
    {
        if (ProcessStat.TryRead(first) is { } process)
            _members.Add((process.Id, process.StartTime));
        Look();
    }

    /// <summary>Reads the table of processes, and keeps who belongs to the family.</summary>
    /// <returns>How many of it live.</returns>
    internal int Look() => Alive().Count;

    /// <summary>Those of the family that live, by id.</summary>
    internal List<ProcessStat> Alive()
    {
        var all = ProcessStat.ReadAll().ToList();
        bool grows;
        do
        {
            var ids = all.Where(IsMember).Select(p => p.Id).ToHashSet();
            grows = false;
            foreach (var process in all.Where(p => ids.Contains(p.Parent)))
                grows |= _members.Add((process.Id, process.StartTime));
        }
        while (grows);
        return [.. all.Where(IsMember)];

        bool IsMember(ProcessStat process) => _members.Contains((process.Id, process.StartTime));
    }
}
