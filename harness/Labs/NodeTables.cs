using System.Text.RegularExpressions;

namespace Conformance.Labs;

/// <summary>The state of a node that a proxy makes, as lines that can be compared with those of another time or another proxy.</summary>
public static partial class NodeTables
{
    private static readonly string[] s_commands = ["iptables-save", "ip6tables-save", "ipset save", "ipvsadm --save --numeric",
        "ip -details address show kube-ipvs0"];

    /// <summary>The start of a hash, and the number and the Ethernet address of a device.</summary>
    [GeneratedRegex("initval 0x[0-9a-f]+|link/ether [0-9a-f:]+|^[0-9]+: (?=kube-)", RegexOptions.ExplicitCapture,
        matchTimeoutMilliseconds: 1000)]
    private static partial Regex ByChance();

    /// <summary>Whether a line is of a real server that gets no new connections.</summary>
    public static bool IsDrained(string line) => line.EndsWith(" -w 0", StringComparison.Ordinal);

    /// <summary>The lines that are missing, each behind a minus, and those that are there instead, behind a plus.</summary>
    public static IReadOnlyList<string> Difference(IReadOnlyList<string> wanted, IReadOnlyList<string> found) =>
        [.. wanted.Except(found, StringComparer.Ordinal).Select(l => $"- {l}"),
            .. found.Except(wanted, StringComparer.Ordinal).Select(l => $"+ {l}")];

    /// <summary>
    /// One line for each rule, set, entry, server and address, each with the command that shows it, without counters, times, random numbers
    /// and the order of a hash. A command that fails has none.
    /// </summary>
    public static async Task<IReadOnlyList<string>> ReadAsync(Node node)
    {
        var lines = new List<string>();
        foreach (var command in s_commands)
        {
            var result = await node.Command(command.Split(' ')).TryAsync();
            lines.AddRange(result.StandardOutput.Split('\n').Where(l => l.Length > 0 && l[0] is not ('#' or ':'))
                .Select(l => $"{command}: {ByChance().Replace(l, "").Trim()}").Order(StringComparer.Ordinal));
        }
        return lines;
    }

    /// <summary>Keeps the state of each node in the run's folder, as <c>NAME-NODE.txt</c>, for who looks into a failure.</summary>
    public static async Task WriteAsync(string name, IEnumerable<Node> nodes)
    {
        foreach (var node in nodes)
            await File.WriteAllLinesAsync(Path.Combine(RunFolder.Current, $"{name}-{node.Name}.txt"), await ReadAsync(node));
    }
}
