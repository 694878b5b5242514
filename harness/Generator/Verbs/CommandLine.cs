using System.CommandLine;
using Conformance.Linux;

namespace Conformance.Generator.Verbs;

/// <summary>The program: its verbs, and what its failures say.</summary>
internal static class CommandLine
{
    /// <returns>The exit code of the program.</returns>
    internal static async Task<int> RunAsync(string[] args, Ports ports)
    {
        // A watching generator that serves health checks has connections in addition to its files and netlink sockets.
        CrashReport.RequireFileDescriptors(minimum: 128, ExitCodes.CannotRunHere);
        var faults = new CrashReport("ipvs-generator", Path.GetTempPath);
        faults.HandleUnhandled();

        var root = new RootCommand(
            "Turns Kubernetes Services, EndpointSlices and Nodes into IPVS, ipset and iptables state, and keeps it so.")
        {
            GenerateVerb.Create(),
            PlanVerb.CreatePlan(),
            ApplyVerb.Create(ports),
            WatchVerb.Create(ports),
            PlanVerb.CreateCheck(),
            ExplainVerb.Create(),
            PreflightVerb.Create(),
            CleanupVerb.Create(ports),
            DoctorVerb.Create(),
        };
        var parsed = root.Parse(args);
        if (parsed.Errors.Count > 0)
        {
            foreach (var error in parsed.Errors)
                Console.Error.WriteLine(error.Message);
            Console.Error.WriteLine("ipvs-generator --help lists the verbs, ipvs-generator VERB --help its flags.");
            return ExitCodes.Usage;
        }
        try
        {
            return await parsed.InvokeAsync(new InvocationConfiguration
            {
                EnableDefaultExceptionHandler = false,
                ProcessTerminationTimeout = null
            });
        }
        catch (GeneratorException e)
        {
            Console.Error.WriteLine(e.Message);
            return e.ExitCode;
        }
        catch (OperationCanceledException)
        {
            Console.Error.WriteLine("Interrupted.");
            return ExitCodes.Interrupted;
        }
        catch (KernelException e)
        {
            return Explain("The kernel refused an operation.", e, "ipvs-generator doctor shows what this machine has; run it again");
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return Explain("Reading or writing failed.", e,
                "see that the path exists, that this user may read and write it, and that the disk is not full");
        }
        catch (Exception e)
        {
            return faults.Write(e);
        }
    }

    private static int Explain(string what, Exception e, string fix)
    {
        Console.Error.WriteLine($"{what}\n  evidence: {e.Message}\n  consequence: the verb was not carried out to its end\n  fix: {fix}");
        return ExitCodes.Failed;
    }
}
