using System.CommandLine;
using Conformance.Launcher.Trust;

namespace Conformance.Launcher.Verbs;

/// <summary><c>./lab kills</c>: what is left when any process of a run is killed at any moment.</summary>
internal static class KillsVerb
{
    internal static Command Create()
    {
        var count = new Option<int>("--count") { Description = "How many signals are sent.", DefaultValueFactory = _ => 100 };
        count.Validators.Add(result =>
        {
            if (result.GetValueOrDefault<int>() < 1)
                result.AddError("--count must be at least 1.");
        });
        var seed = new Option<int?>("--seed") { Description = "The seed of an earlier run: the same commands, signals and moments." };
        seed.Validators.Add(result =>
        {
            if (result.GetValueOrDefault<int?>() < 0)
                result.AddError("--seed must not be negative.");
        });
        var verb = new Command("kills",
            "Kill any process of a run, a soak or a lab at any moment, on a quiet machine, and see that nothing is left.")
        {
            count, seed
        };
        verb.SetAction(parsed => new KillJob(parsed.GetValue(count), parsed.GetValue(seed) ?? Random.Shared.Next()).RunAsync());
        return verb;
    }
}
