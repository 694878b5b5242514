using System.CommandLine;
using System.Globalization;
using Conformance.Clusters.Proxies;
using Conformance.Labs;
using Conformance.Launcher.LabKernels;
using Conformance.Launcher.Trust;

namespace Conformance.Launcher.Verbs;

/// <summary><c>./lab soak</c>: a proxy in hostile surroundings.</summary>
internal static class SoakVerb
{
    internal static Command Create()
    {
        var kernel = KernelOption.CreateOption();
        var proxy = ProxyOption.Create("The proxy under test");
        var minutes = new Option<double>("--minutes") { Description = "How long.", DefaultValueFactory = _ => 10 };
        minutes.Validators.Add(result =>
        {
            if (result.GetValueOrDefault<double>() is not (> 0 and <= 7 * 24 * 60))
                result.AddError("--minutes must be more than 0, and at most a week.");
        });
        var seed = JobOptions.CreateSeed("The seed of an earlier run, to have the same changes and troubles again.");
        var verb = new Command("soak",
            "Keep connections to many Services while others change, and while the proxy is killed, frozen, starved and cheated.")
        {
            kernel, proxy, minutes, seed
        };
        verb.SetAction(parsed =>
        {
            var used = (parsed.GetValue(seed) ?? Random.Shared.Next()).ToString(CultureInfo.InvariantCulture);
            var given = parsed.GetValue(minutes).ToString(CultureInfo.InvariantCulture);
            var under = parsed.GetValue(proxy) ?? Environment.GetEnvironmentVariable(Proxy.Variable);
            return new KernelJob("soak", "SoakTests",
                $"--minutes {given} --seed {used}{(string.IsNullOrEmpty(under) ? "" : $" --proxy '{under}'")}")
            {
                Title = "Soaking",
                Proxy = under,
                Variables = new Dictionary<string, string>(StringComparer.Ordinal)
                {
                    [RunFolder.MinutesVariable] = given,
                    [RunFolder.SeedVariable] = used,
                },
            }.RunAsync(parsed.GetValue(kernel)!);
        });
        return verb;
    }
}
