using System.Collections.Concurrent;
using Conformance.Reports;

namespace Conformance.Suite;

/// <summary>What this process has observed of the proxy under test beside its claims.</summary>
internal static class Facts
{
    private static readonly ConcurrentDictionary<string, FactRecord> s_facts = new(StringComparer.Ordinal);

    internal static IReadOnlyList<FactRecord> All => [.. s_facts.Values.OrderBy(f => f.Id, StringComparer.Ordinal)];

    internal static void Add(FactRecord fact) => s_facts[fact.Id] = fact;
}
