using System.CommandLine;
using Conformance.Generator.Sync;

namespace Conformance.Generator.Verbs;

/// <summary><c>apply</c>: makes the kernel what the objects ask for, once.</summary>
internal static class ApplyVerb
{
    internal static Command Create(Ports ports)
    {
        var flags = new Flags();
        var format = Session.FormatOption();
        var verb = new Command("apply", "Make the kernel what the objects ask for, once, and print what was changed.") { format };
        var input = new InputFlags(verb);
        flags.AddTo(verb);
        verb.SetAction(async parsed =>
        {
            var stages = new Stages();
            using var instance = Instance.Take();
            using var session = stages.Measure("open", () => Session.Open(flags.Read(parsed)));
            var cluster = await stages.MeasureAsync("read", () => input.ReadAsync(parsed, session.Options, session.Report));
            var world = stages.Measure("decide", () => session.Decide(cluster));
            var result = stages.Measure("write", () => ports.Synchronizer(session.Kernel).SyncAll(world.Desired, world.Node));
            stages.Measure("print", () => { Session.Print(result.Changes, parsed.GetValue(format)!); return 0; });
            Console.Error.WriteLine($"{result.Changes.Count} changes by {result.Messages} messages: {stages}");
            var exitCode = Session.Report(result);
            return session.Problems > 0 ? ExitCodes.Failed : exitCode;
        });
        return verb;
    }
}
