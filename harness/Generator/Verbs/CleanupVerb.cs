using System.CommandLine;
using Conformance.Generator.Sync;

namespace Conformance.Generator.Verbs;

/// <summary><c>cleanup</c>: removes all that is ours, of both families, and nothing else.</summary>
internal static class CleanupVerb
{
    internal static Command Create(Ports ports)
    {
        var flags = new Flags();
        var format = Session.FormatOption();
        var verb = new Command("cleanup",
            "Remove virtual servers, kube-ipvs0, rules and sets that are ours or kube-proxy's. Sysctls stay.") { format };
        flags.AddTo(verb);
        verb.SetAction(parsed =>
        {
            using var instance = Instance.Take();
            using var session = Session.Open(flags.Read(parsed));
            var result = ports.CleanUp(session.Kernel, new Cleaner(session.Kernel, session.Options).Clean);
            Session.Print(result.Changes, parsed.GetValue(format)!);
            return Session.Report(result);
        });
        return verb;
    }
}
