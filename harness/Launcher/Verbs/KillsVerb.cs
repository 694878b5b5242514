using System.CommandLine;
using Conformance.Launcher.Trust;

namespace Conformance.Launcher.Verbs;

/// <summary><c>./lab kills</c>: what is left when any process of a run is killed at any moment.</summary>
internal static class KillsVerb
{
    internal static Command Create()
    {
        var count = JobOptions.CreateCount("--count",
            "How many commands are started; each gets one signal, if it lives at that moment.", 100);
        var seed = JobOptions.CreateSeed("The seed of an earlier run: the same commands, signals and moments.");
        var verb = new Command("kills",
            "Kill any process of a run, a soak or a lab at any moment, on a quiet machine, and see that nothing is left.")
        {
            count, seed
        };
        verb.SetAction(parsed => new KillJob(parsed.GetValue(count), parsed.GetValue(seed) ?? Random.Shared.Next()).RunAsync());
        return verb;
    }
}
