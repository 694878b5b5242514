using Conformance.Generator.Sync;
using Conformance.Generator.Verbs;

namespace Conformance.Mutants.Faults;

/// <summary>What is wrong with a mutant. It changes nothing else.</summary>
internal abstract class Fault : Ports
{
    /// <summary>Does something before the generator starts.</summary>
    internal virtual Task BeginAsync(string[] arguments) => Task.CompletedTask;

    /// <summary>The command line of the generator.</summary>
    internal virtual string[] Change(string[] arguments) => arguments;
}

/// <summary>A fault in single steps of a plan.</summary>
internal abstract class StepFault : Fault
{
    internal sealed override void Execute(SyncPlan plan, KernelPort kernel, Action<SyncPlan> execute)
    {
        execute(new SyncPlan([.. plan.Steps.SelectMany(s => Change(s))]));
        Follow(plan, kernel);
    }

    /// <summary>What is made in the place of a step.</summary>
    protected abstract IEnumerable<Step> Change(Step step);

    /// <summary>Called when a plan has been executed.</summary>
    protected virtual void Follow(SyncPlan plan, KernelPort kernel)
    {
    }
}

/// <summary>The families that a fault is in.</summary>
internal enum Families
{
    Both,
    IPv6,
}

internal static class FamiliesExtensions
{
    internal static bool Has(this Families families, bool isIPv6) => isIPv6 || families == Families.Both;

    /// <summary>Behind an id.</summary>
    internal static string Suffix(this Families families) => families == Families.IPv6 ? "-ipv6" : "";

    /// <summary>Behind a sentence without its full stop.</summary>
    internal static string Words(this Families families) => families == Families.IPv6 ? ", in IPv6 alone" : "";
}
