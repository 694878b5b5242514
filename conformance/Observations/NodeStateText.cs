using System.Text.RegularExpressions;
using Conformance.Labs;
using Conformance.Reports;

namespace Conformance.Suite.Observations;

/// <summary>
/// Writes what a proxy has made on a node of a cluster that has Services of every kind: two proxies, or a generator and its mutant, can be
/// compared by it.
/// </summary>
public sealed partial class NodeStateText : ClusterFixture
{
    private static readonly string[] s_commands = ["iptables-save", "ip6tables-save", "ipset save", "ipvsadm --save --numeric",
        "ip -details address show kube-ipvs0"];

    /// <summary>The start of a hash, and the Ethernet address of a device.</summary>
    [GeneratedRegex("initval 0x[0-9a-f]+|link/ether [0-9a-f:]+", RegexOptions.ExplicitCapture, matchTimeoutMilliseconds: 1000)]
    private static partial Regex ByChance();

    [Test]
    public async Task State_of_a_node()
    {
        var lines = new List<string>();
        foreach (var command in s_commands)
        {
            var result = await Node1.Command(command.Split(' ')).TryAsync();
            // Counters, times, random numbers and the order of a hash are no difference.
            lines.AddRange(result.StandardOutput.Split('\n').Where(l => l.Length > 0 && l[0] is not ('#' or ':'))
                .Select(l => $"{command}: {ByChance().Replace(l, "").Trim()}").Order(StringComparer.Ordinal));
        }
        lines.Count.ShouldBeGreaterThan(s_commands.Length, "the node has a state");
        WholeFile.Write(Path.Combine(RunFolder.Current, RunFolder.NodeStateFile), string.Join('\n', lines) + '\n');
    }
}
