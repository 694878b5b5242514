using System.Text;
using System.Text.RegularExpressions;
using Conformance.Generator.Sync;

namespace Conformance.Mutants.Faults;

/// <summary>A rule of iptables, or a jump, that is missing or written otherwise.</summary>
/// <param name="table">Its table.</param>
/// <param name="chain">Its chain.</param>
/// <param name="rule">Finds it: a pattern of its text, in which IPv6 has the words of IPv4.</param>
/// <param name="becomes">What stands in the place of what the pattern finds; null where the rule is missing.</param>
internal sealed class RuleFault(string table, string chain, Regex rule, string? becomes, Families families) : StepFault
{
    protected override IEnumerable<Step> Change(Step step) =>
        [step is RestoreRules rules && families.Has(rules.IsIPv6) ? rules with { Document = Change(rules.Document) } : step];

    /// <summary>The document of iptables-restore with the fault.</summary>
    internal string Change(string document)
    {
        var text = new StringBuilder(document.Length);
        var at = "";
        foreach (var line in document.Split('\n', StringSplitOptions.RemoveEmptyEntries))
        {
            if (line[0] == '*')
                at = line[1..];
            if (at != table || Changed(line) is not { } changed)
                text.Append(line).Append('\n');
            else if (changed.Length > 0)
                text.Append(changed).Append('\n');
        }
        return text.ToString();
    }

    /// <returns>Null for a line that stays; empty for one that is left out.</returns>
    private string? Changed(string line)
    {
        var found = new[] { $"-A {chain} ", $"-I {chain} " }.FirstOrDefault(b => line.StartsWith(b, StringComparison.Ordinal));
        if (found is null || !rule.IsMatch(AsIPv4(line[found.Length..])))
            return null;
        return becomes is null ? "" : found + rule.Replace(line[found.Length..], becomes);
    }

    /// <summary>The names of IPv6's sets and answers in IPv4's words.</summary>
    private static string AsIPv4(string rule) => rule.Replace("KUBE-6-", "KUBE-", StringComparison.Ordinal)
        .Replace("icmp6-", "icmp-", StringComparison.Ordinal).Replace("::1/128", "127.0.0.0/8", StringComparison.Ordinal);
}

/// <summary>Every rule that asks a set takes the other side of the packet for its first dimension.</summary>
/// <param name="set">Its name in IPv4.</param>
internal sealed class DimensionFault(string set) : StepFault
{
    private static readonly Regex s_match = new(@"--match-set (?<set>\S+) (?<side>src|dst)", RegexOptions.ExplicitCapture,
        TimeSpan.FromSeconds(1));

    protected override IEnumerable<Step> Change(Step step) => [step is RestoreRules rules
        ? rules with { Document = s_match.Replace(rules.Document, m => SetFaults.IsOf(set, m.Groups["set"].Value)
            ? $"--match-set {m.Groups["set"].Value} {(m.Groups["side"].Value == "src" ? "dst" : "src")}" : m.Value) }
        : step];
}
