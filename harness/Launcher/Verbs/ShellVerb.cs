using System.CommandLine;
using Conformance.Launcher.LabKernels;
using Conformance.Launcher.Labs;

namespace Conformance.Launcher.Verbs;

/// <summary><c>./lab shell [NODE]</c>: a shell on the lab kernel, or in a node of the lab that is up.</summary>
internal static class ShellVerb
{
    internal static Command Create()
    {
        var lab = InspectVerb.CreateLabOption();
        var kernel = KernelOption.CreateOption();
        var node = new Argument<string?>("NODE")
        {
            Arity = ArgumentArity.ZeroOrOne,
            Description = "A node of the lab that is up; without it, the lab kernel itself."
        };
        var verb = new Command("shell", "Open a shell on the lab kernel, or in a node of the lab that is up.") { lab, kernel, node };
        verb.SetAction(async parsed =>
        {
            using var interrupt = new Interrupt();
            if (parsed.GetValue(node) is { } name)
                return await ExecVerb.RunAsync(LabRecord.Find(parsed.GetValue(lab)), name, ["bash"]);
            var labKernel = await KernelOption.ChooseAsync(parsed.GetValue(kernel)!, interrupt.Token);
            return labKernel is HostKernel ? await ForegroundProcess.RunAsync(["bash"])
                : await KernelVerb.RunAsync(labKernel, ["bash"], interrupt.Token);
        });
        return verb;
    }
}
