using System.Globalization;
using Conformance.Labs;
using Conformance.Linux;
using Conformance.Traffic.Tracing;

namespace Conformance.Traffic.Assertions;

/// <summary>The text that a failed assertion prints about a flow.</summary>
public static class FlowExplanation
{
    private const int LongTable = 40;

    /// <summary>
    /// The flow and its story; the traced path of one repetition of the flow, where it can be traced; and the tables and rules of
    /// every node that has any. Of a table with more than 40 lines only the lines that concern the flow are kept.
    /// </summary>
    public static async Task<string> OfAsync(Flow flow)
    {
        var text = new System.Text.StringBuilder($"{flow}\n{flow.ReadStory()}\n{(await RuleWalk.RepeatAsync(flow)).TrimEnd('\n')}");
        foreach (var node in flow.From.Lab.Nodes)
        {
            foreach (var (title, table) in node.Tables())
                Add(node, title, table);
            if (await node.Iptables.DescribeAsync() is { Length: > 0 } rules)
                Add(node, "iptables rules with counters", rules);
        }
        return text.ToString();

        void Add(Node node, string title, string table) => text.Append(CultureInfo.InvariantCulture,
            $"\n{title} of {node.Name}:\n{Relevant(table, flow)}");
    }

    private static string Relevant(string text, Flow flow)
    {
        var lines = text.Split('\n');
        if (lines.Length <= LongTable)
            return text;
        var words = new[] { flow.Target.ToString(), $"dst={flow.Target.Address} sport={flow.Local.Port} ", $":{flow.Local.Port} ",
            $"={flow.Local.Port} ", flow.Answer?.SeenPeer.ToString() }.OfType<string>().ToList();
        var kept = new List<string>();
        var isBlockKept = false;
        foreach (var line in lines)
        {
            // Real servers stand below their virtual server. A rule that has matched no packet had no effect on this flow.
            var isBelow = line.StartsWith("  ->", StringComparison.Ordinal);
            if (!isBelow)
                isBlockKept = words.Exists(w => $"{line} ".Contains(w, StringComparison.Ordinal))
                    || (line.Contains(": [", StringComparison.Ordinal) && !line.Contains(": [0:0]", StringComparison.Ordinal));
            if (isBlockKept)
                kept.Add(line);
        }
        return string.Join('\n',
            [.. kept, string.Create(CultureInfo.InvariantCulture, $"({lines.Length - kept.Count} other lines: see the record)")]);
    }
}
