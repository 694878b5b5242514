using System.Globalization;
using System.Text.RegularExpressions;

namespace Conformance.Harness.Labs;

/// <summary>A rule with its counters, as <c>iptables-save -c</c> prints it.</summary>
public sealed record RuleCounter(string Table, string Rule, long Packets, long Bytes)
{
    public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"{Table}: [{Packets}:{Bytes}] {Rule}");
}

/// <summary>The iptables rules of a node, by the variant of iptables that works on this kernel.</summary>
public sealed partial class Iptables
{
    private readonly Node _node;

    internal Iptables(Node node) => _node = node;

    /// <summary>Adds rules to tables, all in one transaction each and by one process: <c>("nat", "-A POSTROUTING -j MASQUERADE")</c>.</summary>
    public Task AddAsync(params IEnumerable<(string Table, string Rule)> rules)
    {
        var document = string.Concat(rules.GroupBy(r => r.Table, StringComparer.Ordinal)
            .Select(table => $"*{table.Key}\n{string.Concat(table.Select(r => r.Rule + "\n"))}COMMIT\n"));
        return RestoreAsync(document);
    }

    /// <summary>Loads a document of iptables-restore(8) without flushing, and waits for others who hold the lock.</summary>
    internal Task RestoreAsync(string document) => _node.Command("iptables-restore", "--wait", "30", "--noflush").WithInput(document).ExecuteAsync();

    /// <summary>All rules of the tables that are loaded, with counters. Reading loads no table.</summary>
    public async Task<IReadOnlyList<RuleCounter>> CountersAsync()
    {
        var text = (await _node.Command("iptables-save", "-c").ExecuteAsync()).StandardOutput;
        var table = "";
        var rules = new List<RuleCounter>();
        foreach (var line in text.Split('\n', StringSplitOptions.RemoveEmptyEntries))
        {
            if (line[0] == '*')
                table = line[1..];
            else if (CountedRule().Match(line) is { Success: true } match && !line.EndsWith("-j TRACE", StringComparison.Ordinal)) // ours, while a flow is followed
                rules.Add(new RuleCounter(table, match.Groups["rule"].Value, Number(match.Groups["packets"]), Number(match.Groups["bytes"])));
        }
        return rules;
    }

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
        return rules.SingleOrDefault(r => $"{r.Rule} ".Contains($"--comment {comment} ", StringComparison.Ordinal))?.Packets
            ?? throw new HarnessException($"{_node.Name} has no rule with the comment '{comment}'.", string.Join('\n', rules), "There is nothing to count.", "Add the rule with that comment first.");
    }

    private static long Number(Group group) => long.Parse(group.ValueSpan, CultureInfo.InvariantCulture);

    [GeneratedRegex(@"^\[(?<packets>\d+):(?<bytes>\d+)\] (?<rule>-A .*)$", RegexOptions.ExplicitCapture, 1000)]
    private static partial Regex CountedRule();
}
