using System.CommandLine;
using System.Text;
using System.Text.Json;
using Conformance.Labs;
using Conformance.Launcher.LabKernels;
using Conformance.Launcher.Runner;
using Conformance.Linux;
using Conformance.Linux.Features;
using Conformance.Topologies;
using Conformance.Traffic;

namespace Conformance.Launcher.Verbs;

/// <summary><c>./lab doctor</c>: checks each requirement by using it, and prints how to fix each missing one.</summary>
internal static class DoctorVerb
{
    /// <summary>Hidden: the part that needs root and IPVS, run on the lab kernel where this one lacks them.</summary>
    private const string ProbeOption = "--probe";

    /// <summary>Of a lab and of containers, which take seconds; a container's image may have to be fetched.</summary>
    private static readonly TimeSpan s_limit = TimeSpan.FromMinutes(5);

    private const string OneLab = "a lab";
    private const string Containers = "containers";

    internal static Command Create()
    {
        var format = Output.CreateOption();
        var probe = new Option<string?>(ProbeOption) { Hidden = true };
        var verb = new Command("doctor", "Check each requirement by using it, and print how to fix each missing one.") { format, probe };
        verb.SetAction(async parsed =>
        {
            using var interrupt = new Interrupt();
            if (parsed.GetValue(probe) is { } part)
                return part == Containers ? await ProbeContainersAsync() : await ProbeAsync();
            var checks = await CheckAsync(interrupt.Token);
            if (parsed.GetValue(format) == Output.Json)
                Console.WriteLine(JsonSerializer.Serialize(checks, Output.JsonOptions));
            else
                foreach (var check in checks)
                    Console.WriteLine($"{(check.Ok ? '✔' : '✘')} {check.Name}: " +
                        $"{check.Found}{(check.Ok || check.Fix is null ? "" : $"\n    fix: {check.Fix}")}");
            return checks.All(c => c.Ok || !c.Required) ? ExitCodes.Ok : ExitCodes.CannotRunHere;
        });
        return verb;
    }

    private sealed record Check(string Name, bool Ok, bool Required, string Found, string? Fix);

    private static async Task<IReadOnlyList<Check>> CheckAsync(CancellationToken cancellationToken)
    {
        var features = KernelFeatures.Current;
        var needs = features.CanRunLabs ? Need.ForLabs : [.. Need.ForUml, .. Need.ForLabs];
        var checks = new List<Check>
        {
            new(".NET", true, true, Environment.Version.ToString(), null),
            new("this kernel", features.Has(Feature.Ipvs), false,
                $"{features.Release}, {(features.Has(Feature.Ipvs) ? "has IPVS" : "has no IPVS: labs run on the lab kernel")}",
                "sudo modprobe ip_vs, where the kernel's modules are installed"),
            new("root", features.IsRoot, false, features.IsRoot ? "yes"
            : "no: labs run on the lab kernel, and packages cannot be installed", "sudo ./lab doctor"),
        };
        checks.Add(GeneratorCheck());
        checks.AddRange(needs.Select(n => new Check(n.Program, n.IsMet, true, Need.PathOf(n.Program) ?? $"missing; it {n.Why}",
            $"sudo apt-get install {n.Package}")));
        checks.AddRange(Need.ForContainers.Select(n => new Check(n.Program, n.IsMet, false, Need.PathOf(n.Program)
            ?? $"missing; it {n.Why}, for --proxy image= and nodes with an image", $"sudo apt-get install {n.Package}")));
        if (needs.All(n => n.IsMet))
        {
            checks.Add(await ProveAsync(OneLab, isRequired: true, cancellationToken));
            if (Need.ForContainers.All(n => n.IsMet))
                checks.Add(await ProveAsync(Containers, isRequired: false, cancellationToken));
        }
        return checks;
    }

    private static Check GeneratorCheck() => new("ipvs-generator", Programs.IsGeneratorNative, false,
        Programs.IsGeneratorNative ? "a native program"
            : "needs .NET, and starts in a second on the lab kernel: no C linker was found, or the native build failed",
        "sudo apt-get install gcc libc6-dev, then touch harness/Generator/Program.cs; artifacts/build.log has what a failed build said");

    private static async Task<Check> ProveAsync(string part, bool isRequired, CancellationToken cancellationToken)
    {
        var kernel = await KernelOption.ChooseAsync("auto", cancellationToken);
        var folder = Runs.Start();
        using var said = new MemoryStream();
        try
        {
            var result = await kernel.RunAsync(
                new LabCommand([Programs.Dotnet, Programs.Cli, "doctor", ProbeOption, part],
                    folder)
                { Variables = LabRun.RunVariables(kernel, folder), Output = said, Error = said, Limit = s_limit },
                cancellationToken);
            var text = Encoding.UTF8.GetString(said.ToArray()).Trim();
            return new Check($"{part} on {kernel.Name}", result.ExitCode == ExitCodes.Ok, isRequired, text,
                "read what it says; ./lab shell lets you try by hand");
        }
        catch (LabKernelException e)
        {
            return new Check($"{part} on {kernel.Name}", false, isRequired,
                $"{e.Message}\n{Encoding.UTF8.GetString(said.ToArray())}".Trim(), "as it says; ./lab kernels lists other kernels");
        }
    }

    /// <summary>Namespaces, veth pairs, a virtual server, and a connection through it.</summary>
    private static async Task<int> ProbeAsync()
    {
        await using var lab = await Lab.StartAsync(Topology.Load("routed-nat"));
        var director = lab["director"];
        await director.AddAddressAsync("10.10.0.1/24");
        await director.Ipvs.AddAsync(VirtualServerSpec.Tcp("10.10.0.1:80").Masquerading("rs1:8080"));
        var flow = await lab["client"].AskAsync("10.10.0.1:80");
        var missing = Enum.GetValues<Feature>().Where(f => !KernelFeatures.Current.Has(f)).Select(f => f.Describe()).ToList();
        Console.WriteLine($"{KernelFeatures.Current.Release}: namespaces, veth and a virtual server were made; a connection through it " +
            $"was {flow.Outcome}");
        if (missing.Count > 0)
            Console.WriteLine($"claims that need one of these are not testable on it: {string.Join(", ", missing)}");
        return flow.Answer is null ? ExitCodes.Violated : ExitCodes.Ok;
    }

    /// <summary>A container engine, and two containers of which one answers.</summary>
    private static async Task<int> ProbeContainersAsync()
    {
        await using var lab = await Lab.StartAsync(Topology.Load("containers"), capture: false);
        var answer = await lab["client"].RunAsync($"curl --silent --show-error --max-time 10 http://{lab["rs1"].Address}:8080/");
        Console.WriteLine($"Docker {(await Engine.CurrentAsync()).Version}: a container answered '{answer.Trim()}'");
        return ExitCodes.Ok;
    }
}
