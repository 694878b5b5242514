using System.Globalization;
using Conformance.Launcher.LabKernels;
using Conformance.Linux;
using Conformance.Linux.Features;

namespace Conformance.Launcher.Runner;

/// <summary>
/// What `dotnet test` starts instead of `dotnet` for the tests that need IPVS (DotNetHostPath in their .runsettings):
/// runs VSTest's test host here when this kernel has IPVS, and otherwise in the lab kernel. The test host's one
/// connection to VSTest is relayed, so that selection, results and reports are VSTest's own.
/// </summary>
internal static class TestHost
{
    internal const string Verb = "test-host";
    private const string ParentOption = "--parentprocessid";

    /// <summary>
    /// Called before VSTest, whose test host cannot speak to the person: installs what is missing, says where the tests will run.
    /// </summary>
    internal const string PrepareVerb = "prepare-tests";

    internal static async Task<int> PrepareAsync()
    {
        using var interrupt = new Interrupt();
        if (await KernelOption.ChooseAsync("auto", interrupt.Token) is var kernel and not HostKernel)
            Console.WriteLine($"This kernel ({KernelFeatures.Current.Release}) cannot run labs: the tests move into the lab kernel " +
                $"{kernel.Name}.");
        return ExitCodes.Ok;
    }

    internal static async Task<int> RunAsync(string[] arguments)
    {
        using var interrupt = new Interrupt();
        var kernel = await KernelOption.ChooseAsync("auto", interrupt.Token);
        var run = Runs.Start();
        var port = Argument(arguments, "--port");
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(interrupt.Token);
        _ = CancelWhenGoneAsync(Argument(arguments, ParentOption), stop);
        var result = await kernel.RunAsync(
            new LabCommand([Programs.Dotnet, .. ForProcessOne(arguments)], run)
            {
                Variables = LabRun.RunVariables(kernel, run),
                Output = Console.OpenStandardOutput(),
                Error = Console.OpenStandardError(),
                RelayPort = kernel is HostKernel ? 0 : int.Parse(port ?? "0", CultureInfo.InvariantCulture),
            },
            stop.Token);
        return result.ExitCode;
    }

    /// <summary>A VSTest that was killed, or gave up, does not end its test host.</summary>
    private static async Task CancelWhenGoneAsync(string? parent, CancellationTokenSource stop)
    {
        if (parent is null)
            return;
        try
        {
            using var process = System.Diagnostics.Process.GetProcessById(int.Parse(parent, CultureInfo.InvariantCulture));
            await process.WaitForExitAsync(stop.Token);
        }
        catch (ArgumentException)
        {
            // gone already
        }
        await stop.CancelAsync();
    }

    /// <summary>
    /// The test host ends when the process that started it is gone; in a kernel or PID namespace of its own that is process 1.
    /// </summary>
    private static string[] ForProcessOne(string[] arguments)
    {
        var changed = (string[])arguments.Clone();
        var index = Array.IndexOf(changed, ParentOption);
        if (index >= 0 && index + 1 < changed.Length)
            changed[index + 1] = "1";
        return changed;
    }

    private static string? Argument(string[] arguments, string name)
    {
        var index = Array.IndexOf(arguments, name);
        return index >= 0 && index + 1 < arguments.Length ? arguments[index + 1] : null;
    }
}
