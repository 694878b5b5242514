using System.CommandLine;
using System.Globalization;
using Conformance.Labs;
using Conformance.Launcher.LabKernels;
using Conformance.Launcher.Trust;

namespace Conformance.Launcher.Verbs;

/// <summary><c>./lab flows</c>: random flows to random Services, explained before the kernel decides.</summary>
internal static class FlowsVerb
{
    internal static Command Create()
    {
        var kernel = KernelOption.CreateOption();
        var proxy = ProxyOption.Create("A proxy that makes the nodes' states, instead of this job; the explanations know the generator's " +
            "and kube-proxy's");
        var count = JobOptions.CreateCount("--count", "Flows for each of the two states, the generator's own and kube-proxy's.", 5000);
        var seed = new Option<ulong?>("--seed") { Description = "The seed of an earlier run, which a failure names, to repeat it." };
        var verb = new Command("flows",
            "Send random flows to random Services, and compare what the kernel does with what 'ipvs-generator explain' says.")
        {
            kernel, proxy, count, seed
        };
        verb.SetAction(parsed =>
        {
            var used = (parsed.GetValue(seed) ?? (ulong)Random.Shared.NextInt64()).ToString(CultureInfo.InvariantCulture);
            var given = parsed.GetValue(count).ToString(CultureInfo.InvariantCulture);
            var under = parsed.GetValue(proxy);
            var (tests, fixtures) = under is null ? ("RandomFlows", 2) : ("FlowsOfProxy", 1);
            return new KernelJob("flows", tests, $"--count {given} --seed {used}{(under is null ? "" : $" --proxy '{under}'")}")
            {
                Title = "Sending flows",
                Fixtures = fixtures,
                Proxy = under,
                Variables = new Dictionary<string, string>(StringComparer.Ordinal)
                {
                    [RunFolder.FlowsVariable] = given,
                    [RunFolder.SeedVariable] = used,
                },
            }.RunAsync(parsed.GetValue(kernel)!);
        });
        return verb;
    }
}
