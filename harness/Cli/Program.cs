using System.CommandLine;
using Conformance.Cli;
using Conformance.Cli.Kernels;
using Conformance.Cli.Labs;
using Conformance.Cli.Runner;
using Conformance.Cli.Verbs;
using Conformance.Harness;
using Conformance.Kernel;
using Conformance.Topologies;

// What other programs call, before the command line is parsed: they start often, and in a lab kernel parsing costs half a second.
if (args is [TestRunner.Verb, .. var runnerArguments])
    return TestRunner.Run(runnerArguments);
if (args is [TestHost.Verb, .. var hostArguments])
    return await Guard(() => TestHost.RunAsync(hostArguments));
if (args is [TestHost.PrepareVerb])
    return await Guard(TestHost.PrepareAsync);

var root = new RootCommand("IPVS conformance: builds labs of network namespaces, drives real traffic through real IPVS, and says what it proved.")
{
    RunVerb.Create(), TestVerb.Create(), DoctorVerb.Create(), ShellVerb.Create(), UpVerb.Create(), InspectVerb.Create(), ExecVerb.Create(),
    CaptureVerb.Create(), ExplainVerb.Create(), GraphVerb.Create(), DownVerb.Create(), KernelVerb.Create(), BenchVerb.Create(),
};
var parsed = root.Parse(args);
if (parsed.Errors.Count > 0)
{
    foreach (var error in parsed.Errors)
        Console.Error.WriteLine(error.Message);
    Console.Error.WriteLine("./lab --help lists the verbs, ./lab VERB --help what a verb takes.");
    return ExitCodes.Usage;
}
return await Guard(() => parsed.InvokeAsync(new InvocationConfiguration { EnableDefaultExceptionHandler = false, ProcessTerminationTimeout = null }));

// Errors that people cause or can mend are told in words; anything else is a fault of ours and keeps its stack.
static async Task<int> Guard(Func<Task<int>> action)
{
    try
    {
        return await action();
    }
    catch (OperationCanceledException)
    {
        Console.Error.WriteLine("Interrupted.");
        return ExitCodes.Interrupted;
    }
    catch (CannotRunHereException e)
    {
        Console.Error.WriteLine(e.Message);
        return ExitCodes.CannotRunHere;
    }
    catch (Exception e) when (e is TopologyException or HarnessException or LabKernelException or KernelException or LabNotFoundException)
    {
        Console.Error.WriteLine(e.Message);
        return ExitCodes.Violated;
    }
    catch (Exception e) when (e is IOException or UnauthorizedAccessException)
    {
        Console.Error.WriteLine($"Reading or writing failed.\n  evidence: {e.Message}\n  consequence: what was asked for is not complete\n  fix: see that artifacts/ can be written to and the disk is not full");
        return ExitCodes.Violated;
    }
}
