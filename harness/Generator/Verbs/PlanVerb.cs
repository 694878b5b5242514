using System.CommandLine;
using Conformance.Generator.Sync;

namespace Conformance.Generator.Verbs;

/// <summary><c>plan</c> and <c>check</c>: what differs between the kernel and what the objects ask for. Both only read.</summary>
internal static class PlanVerb
{
    internal static Command CreatePlan() => Create("plan", "Print what apply would change.", isCheck: false);

    internal static Command CreateCheck() =>
        Create("check", "Say where the kernel has drifted from what the objects ask for, and what that means; exit code 1 when it has.",
            isCheck: true);

    private static Command Create(string name, string description, bool isCheck)
    {
        var flags = new Flags();
        var format = Session.FormatOption();
        var verb = new Command(name, description) { format };
        var input = new InputFlags(verb);
        flags.AddTo(verb);
        verb.SetAction(async parsed =>
        {
            using var session = Session.Open(flags.Read(parsed));
            var world = session.Decide(await input.ReadAsync(parsed, session.Options, session.Report));
            var difference = Difference.Of(world.Desired, session.Kernel.Read(session.Options), world.Node);
            var changes = SyncPlan.Of(difference).Changes.ToList();
            if (!isCheck || parsed.GetValue(format) == "json")
                Session.Print(changes, parsed.GetValue(format)!);
            else
                foreach (var change in changes)
                    Console.WriteLine($"{change}\n    {Drift.Explain(change)}");
            Console.Error.WriteLine(changes.Count == 0 ? "The kernel is as the objects ask." : $"{changes.Count} differences.");
            return session.Problems > 0 || (isCheck && changes.Count > 0) ? ExitCodes.Failed : ExitCodes.Ok;
        });
        return verb;
    }
}

/// <summary>What a difference means for traffic.</summary>
internal static class Drift
{
    internal static string Explain(Change change) => (change.Kind, change.Verb) switch
    {
        ("virtual server", "add") => "It is missing: connections to it are refused.",
        ("virtual server", "delete") => "No Service asks for it: it still takes connections.",
        ("virtual server", _) => "Its scheduler or persistence is not the Service's: new connections are spread otherwise than asked.",
        ("real server", "add") => "It is missing: this endpoint gets no connections.",
        ("real server", "delete") =>
        "No Service has this endpoint: connections to it fail, or reach what should not be reached. (Weight 0 and connections: it is " +
        "draining.)",
        ("real server", _) =>
        "Its weight or forwarding method is not ours: it gets no connections, too many, or answers that never come back.",
        ("entry", "add") when change.What.Contains("LOOP-BACK", StringComparison.Ordinal) =>
        "It is missing: the pod cannot reach itself through its Service.",
        ("entry", "add") => "It is missing: packets of this address and port are not masqueraded, filtered or accepted as they should be.",
        ("entry", _) => "It is left over: packets of this address and port are treated as a Service's that is gone.",
        ("set", _) => "The rules that look into this set do not work.",
        ("address", "add") => "It is missing on kube-ipvs0: packets to this virtual address are not local and never reach IPVS.",
        ("address", _) => "It is left over on kube-ipvs0: this node keeps the address to itself.",
        ("device", _) => "Without kube-ipvs0 no virtual address is local: no Service answers.",
        ("sysctl", _) => "Somebody set it otherwise: IPVS or forwarding does not work as the rules expect.",
        ("time-outs", _) => "Connections are forgotten earlier or later than configured.",
        (var kind, _) when kind.Contains("rule", StringComparison.Ordinal) =>
        "Packets are masqueraded, accepted or dropped otherwise than asked.",
        _ => "It is not as asked.",
    };
}
