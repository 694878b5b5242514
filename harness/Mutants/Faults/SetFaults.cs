using Conformance.Generator.Decisions;
using Conformance.Generator.Sync;
using Conformance.Linux.Ipset;

namespace Conformance.Mutants.Faults;

/// <summary>The set of a name in either family.</summary>
internal static class SetFaults
{
    internal static SetDefinition Find(string name) => Sets.All.First(s => s.Name == name);

    internal static bool IsOf(string set, string name) => Find(set) is var found
        && (found.NameFor(ipv6: false) == name || found.NameFor(ipv6: true) == name);
}

/// <summary>The entries of a set are left out.</summary>
internal sealed class MissingEntries(string set, Families families) : StepFault
{
    protected override IEnumerable<Step> Change(Step step) => step is AddEntries { Set: var key } && key.Definition.Name == set
        && families.Has(key.IsIPv6) ? [] : [step];
}

/// <summary>The entries of a set stay when they are not wanted any more.</summary>
internal sealed class KeptEntries(string set) : StepFault
{
    protected override IEnumerable<Step> Change(Step step) => step is DeleteEntries { Set: var key } && key.Definition.Name == set
        ? [] : [step];
}

/// <summary>Every entry of a set is another one.</summary>
internal sealed class ChangedEntries(string set, Func<IpsetEntry, IpsetEntry> change) : StepFault
{
    protected override IEnumerable<Step> Change(Step step) => [step switch
    {
        AddEntries add when add.Set.Definition.Name == set => add with { Items = [.. add.Items.Select(change).Distinct()] },
        DeleteEntries delete when delete.Set.Definition.Name == set =>
            delete with { Items = [.. delete.Items.Select(change).Distinct()] },
        _ => step,
    }];
}
