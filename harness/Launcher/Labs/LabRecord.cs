using System.Globalization;
using System.Text.Json;
using Conformance.Labs;
using Conformance.Linux;
using Conformance.Topologies;

namespace Conformance.Launcher.Labs;

/// <summary>No lab is up, or it is not clear which is meant: what, evidence, consequence, fix.</summary>
public sealed class LabNotFoundException(string what, string evidence, string fix)
    : FourPartException(what, evidence, "nothing was done", fix);

/// <summary>
/// A lab that is up, for other calls of the launcher: <c>artifacts/labs/ID.json</c>. It belongs to a process, identified
/// apart from a later one of the same number by its start time, and is a leftover when that process is gone.
/// </summary>
/// <param name="Topology">Its name, or the full path of its file.</param>
/// <param name="StartTime">Of the process, in clock ticks since boot (field 22 of proc_pid_stat(5)).</param>
/// <param name="Path">PATH of commands in nodes.</param>
/// <param name="Nodes">For each node the path by which its namespace can be opened while the process lives.</param>
internal sealed record LabRecord(string Id, string Topology, int ProcessId, string StartTime, string Path,
    IReadOnlyDictionary<string, string> Nodes)
{
    /// <summary>The first process of each node that is a container.</summary>
    public IReadOnlyDictionary<string, ContainerProcess> Containers { get; init; } =
        new Dictionary<string, ContainerProcess>(StringComparer.Ordinal);

    /// <param name="StartTime">It sets the process apart from a later one of the same number.</param>
    internal sealed record ContainerProcess(int Id, string StartTime);

    /// <summary>Names the lab's record in the shell that <c>./lab up</c> opens.</summary>
    internal const string Variable = "CONFORMANCE_LAB";

    private static string Folder => System.IO.Path.Combine(ProjectFolder.Root, "artifacts", "labs");

    internal string File => System.IO.Path.Combine(Folder, $"{Id}.json");

    internal bool IsAlive => StartTimeOf(ProcessId) == StartTime;

    /// <summary>Records a lab of this process.</summary>
    /// <param name="source">Name or file of its topology, as it was given.</param>
    internal static LabRecord Write(Lab lab, string source)
    {
        Directory.CreateDirectory(Folder);
        var record = new LabRecord(
            $"{lab.Topology.Name}-{Environment.ProcessId}", source.EndsWith(".yaml", StringComparison.Ordinal)
                ? System.IO.Path.GetFullPath(source) : source, Environment.ProcessId, StartTimeOf(Environment.ProcessId),
            Toolbox.Environment["PATH"]!, lab.Nodes.ToDictionary(n => n.Name, n => n.Namespace.Path, StringComparer.Ordinal))
        {
            Containers = lab.Nodes.Where(n => n.Container is not null)
                .ToDictionary(n => n.Name, n => new ContainerProcess(n.Container!.ProcessId, StartTimeOf(n.Container.ProcessId)),
                    StringComparer.Ordinal),
        };
        System.IO.File.WriteAllLines(record.HostsFile, ["127.0.0.1 localhost", "::1 localhost",
            .. lab.Nodes.SelectMany(n => n.Spec.Interfaces.SelectMany(i => i.Addresses).Select(a => $"{a} {n.Name}"))]);
        System.IO.File.WriteAllText(record.File + ".new", JsonSerializer.Serialize(record, Output.JsonOptions));
        System.IO.File.Move(record.File + ".new", record.File, overwrite: true);
        return record;
    }

    /// <summary>The names of the nodes in the form of hosts(5), beside the record.</summary>
    private string HostsFile => System.IO.Path.ChangeExtension(File, ".hosts");

    internal void Delete()
    {
        System.IO.File.Delete(File);
        System.IO.File.Delete(HostsFile);
    }

    /// <summary>
    /// The command line that runs a command in a node, where the nodes' names resolve and the host has the node's name. A node that is a
    /// container has its own files and processes.
    /// </summary>
    /// <exception cref="LabNotFoundException">The lab has no such node.</exception>
    internal IReadOnlyList<string> Enter(string node, IEnumerable<string> argv) => Containers.TryGetValue(node, out var container)
        ? EnterContainer(node, container, argv)
        : ["nsenter", $"--net={NamespaceOf(node)}", "--", "unshare", "--mount", "--uts", "--propagation", "private", "sh", "-c",
            "mount --bind \"$0\" /etc/hosts && echo \"$1\" >/proc/sys/kernel/hostname && shift && exec \"$@\"", HostsFile, node, .. argv];

    private static IReadOnlyList<string> EnterContainer(string node, ContainerProcess container, IEnumerable<string> argv) =>
        container.Id != 0 && StartTimeOf(container.Id) == container.StartTime
            ? ["nsenter", string.Create(CultureInfo.InvariantCulture, $"--target={container.Id}"), "--mount", "--uts", "--ipc", "--net",
                "--pid", "--", .. argv]
            : throw new LabNotFoundException($"The container of {node} has ended.", $"Its process {container.Id} is gone.",
                "Leave the lab and bring it up again; its command must stay in the foreground.");

    /// <summary>The labs that are up. Records whose process is gone are deleted on the way.</summary>
    internal static IReadOnlyList<LabRecord> All()
    {
        if (!Directory.Exists(Folder))
            return [];
        var alive = new List<LabRecord>();
        foreach (var file in Directory.GetFiles(Folder, "*.json").Order(StringComparer.Ordinal))
        {
            if (TryRead(file) is not { } record)
                continue;
            if (record.IsAlive)
                alive.Add(record);
            else
                record.Delete();
        }
        return alive;
    }

    /// <summary>A record, or null with a message for a file that is none: another lab must stay reachable beside it.</summary>
    private static LabRecord? TryRead(string file)
    {
        try
        {
            if (JsonSerializer.Deserialize<LabRecord>(System.IO.File.ReadAllText(file), Output.JsonOptions)
                is { Id: not null, Topology: not null, StartTime: not null, Path: not null, Nodes: not null } record)
                return record;
            Report("It lacks fields of a record.");
        }
        catch (FileNotFoundException)
        {
            // its lab has just gone down
        }
        catch (Exception e) when (e is JsonException or IOException or UnauthorizedAccessException)
        {
            Report(e.Message);
        }
        return null;

        void Report(string evidence) =>
            Console.Error.WriteLine(
                $"{file} is not the record of a lab.\n  evidence: {evidence}\n  consequence: it is skipped\n  fix: delete the file");
    }

    /// <summary>The lab that is meant: the named one, the shell's own, or the only one.</summary>
    internal static LabRecord Find(string? id)
    {
        var labs = All();
        id ??= System.IO.Path.GetFileNameWithoutExtension(Environment.GetEnvironmentVariable(Variable));
        if (!string.IsNullOrEmpty(id))
        {
            return labs.FirstOrDefault(l => l.Id == id)
                ?? throw new LabNotFoundException($"There is no lab '{id}'.", labs.Count == 0 ? "No lab is up."
                    : $"Up are {string.Join(", ", labs.Select(l => l.Id))}.", "Name one that is up.");
        }
        return labs.Count switch
        {
            1 => labs[0],
            0 => throw new LabNotFoundException("No lab is up.", "There is no record of one in artifacts/labs.",
                "./lab up TOPOLOGY opens a shell on one; ./lab up --detach TOPOLOGY leaves one up, on a kernel with IPVS."),
            _ => throw new LabNotFoundException("Several labs are up.", string.Join(", ", labs.Select(l => l.Id)),
                "Choose one with --lab ID."),
        };
    }

    internal string NamespaceOf(string node) => Nodes.TryGetValue(node, out var path)
        ? path
        : throw new LabNotFoundException($"The lab {Id} has no node '{node}'.",
            $"Its nodes are {string.Join(", ", Nodes.Keys)}.{Topologies.Nearest.Hint(node, Nodes.Keys)}", "Name one of its nodes.");

    private static string StartTimeOf(int pid) => ProcessStat.TryRead(pid)?.StartTime ?? "gone";
}
