using Conformance.Generator.Serving;
using Conformance.Generator.Sources;
using Conformance.Generator.Sync;

namespace Conformance.Generator.Verbs;

/// <summary>
/// The places where another program that is made of the same parts can stand between them. The generator itself passes everything on;
/// each mutant (harness/Mutants) puts one fault here.
/// </summary>
internal class Ports
{
    /// <summary>Between the objects and the decisions.</summary>
    internal virtual IFeed Follow(IFeed feed) => feed;

    /// <summary>Between a plan and its execution.</summary>
    internal virtual void Execute(SyncPlan plan, KernelPort kernel, Action<SyncPlan> execute) => execute(plan);

    /// <summary>Around a cleanup.</summary>
    internal virtual SyncResult CleanUp(KernelPort kernel, Func<SyncResult> cleanUp) => cleanUp();

    /// <summary>Between an answer over HTTP and its client.</summary>
    internal virtual HttpAnswer Answer(AnswerKind kind, HttpAnswer answer) => answer;

    internal Synchronizer Synchronizer(KernelPort kernel) => new(kernel, (plan, execute) => Execute(plan, kernel, execute));
}
