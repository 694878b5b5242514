using System.Globalization;
using Conformance.Linux;
using Conformance.Linux.Iptables;

namespace Conformance.Labs;

/// <summary>The iptables rules of a node, by the variant of iptables that works on this kernel.</summary>
public sealed class NodeIptables
{
    /// <summary>
    /// The name, without the port, of chains that exist while a flow is followed. Their rules return every packet: the trace tells by which
    /// rule, or not.
    /// </summary>
    internal const string TraceProbe = "CONFORMANCE-RETURN-";

    private readonly Node _node;

    internal NodeIptables(Node node) => _node = node;

    /// <summary>
    /// Adds rules to tables, all in one transaction each and by one process: <c>("nat", "-A POSTROUTING -j MASQUERADE")</c>.
    /// </summary>
    public Task AddAsync(params IEnumerable<(string Table, string Rule)> rules)
    {
        var document = string.Concat(rules.GroupBy(r => r.Table, StringComparer.Ordinal)
            .Select(table => $"*{table.Key}\n{string.Concat(table.Select(r => r.Rule + "\n"))}COMMIT\n"));
        return RestoreAsync(document);
    }

    /// <summary>Loads a document of iptables-restore(8) without flushing, and waits for others who hold the lock.</summary>
    /// <param name="ipv6">Whether the rules are ip6tables'.</param>
    internal Task RestoreAsync(string document, bool ipv6 = false) =>
        _node.Command(ipv6 ? "ip6tables-restore" : "iptables-restore", "--wait", "30", "--noflush").WithInput(document).ExecuteAsync();

    /// <summary>The rules of all loaded tables. Reading loads no table.</summary>
    /// <param name="ipv6">Whether ip6tables' rules are meant.</param>
    public async Task<SavedRules> ReadAsync(bool ipv6 = false) =>
        SavedRules.Parse((await _node.Command(ipv6 ? "ip6tables-save" : "iptables-save", "-c").ExecuteAsync()).StandardOutput);

    /// <summary>
    /// All rules with their counters, in order. The rules of a trace are left out: they exist only while a flow is followed.
    /// </summary>
    public async Task<IReadOnlyList<Rule>> CountersAsync(bool ipv6 = false) =>
        [.. (await ReadAsync(ipv6)).All.Where(r => r.Target != "TRACE"
            && !r.Target.StartsWith(TraceProbe, StringComparison.Ordinal) && !r.Chain.StartsWith(TraceProbe, StringComparison.Ordinal))];

    /// <summary>All rules with their counters as text, for people; where they cannot be read, why.</summary>
    public async Task<string> DescribeAsync()
    {
        try
        {
            return string.Join('\n', await CountersAsync());
        }
        catch (CommandFailedException e)
        {
            return e.Message; // explaining a failure must not hide it behind another
        }
    }

    /// <summary>The packets that the one rule with this comment (a single word) has matched.</summary>
    public async Task<long> PacketsAsync(string comment)
    {
        var rules = await CountersAsync();
        return rules.SingleOrDefault(r => $"{r.Text} ".Contains($"--comment {comment} ", StringComparison.Ordinal))?.Packets
            ?? throw new HarnessException($"{_node.Name} has no rule with the comment '{comment}'.", string.Join('\n', rules),
                "There is nothing to count.", "Add the rule with that comment first.");
    }
}
