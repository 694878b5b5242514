using System.CommandLine;
using Conformance.Launcher.LabKernels;
using Conformance.Launcher.Trust;

namespace Conformance.Launcher.Verbs;

/// <summary><c>./lab fuzz</c>: hostile input for everything that reads what others write.</summary>
internal static class FuzzVerb
{
    internal static Command Create()
    {
        var kernel = KernelOption.CreateOption();
        var inputs = JobOptions.CreateCount("--inputs", "For all readers together.", 1_000_000);
        var seed = JobOptions.CreateSeed("The seed of an earlier run, to have the same inputs again.");
        var target = new Option<string>("--target") { Description = "Some of them, with commas; all otherwise." };
        target.CompletionSources.Add([.. FuzzJob.AllTargets]);
        target.Validators.Add(result =>
        {
            foreach (var word in Words(result.GetValueOrDefault<string?>()).Except(FuzzJob.AllTargets, StringComparer.Ordinal))
                result.AddError($"There is no target '{word}'. There are {string.Join(", ", FuzzJob.AllTargets)}.");
        });
        var verb = new Command("fuzz",
            "Give the readers of manifests, events, settings, topologies, netlink answers and packets inputs that try to break them, and " +
            "load with the stock tools what is read of hostile manifests.")
        {
            kernel, inputs, seed, target
        };
        verb.SetAction(parsed => new FuzzJob(Words(parsed.GetValue(target)) is { Length: > 0 } some ? some : FuzzJob.AllTargets,
            parsed.GetValue(inputs), parsed.GetValue(seed) ?? Random.Shared.Next()).RunAsync(parsed.GetValue(kernel)!));
        return verb;
    }

    private static string[] Words(string? text) =>
        (text ?? "").Split(',', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries);
}
