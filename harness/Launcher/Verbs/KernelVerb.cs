using System.CommandLine;
using Conformance.Launcher.LabKernels;
using Conformance.Launcher.Labs;
using Conformance.Launcher.Runner;

namespace Conformance.Launcher.Verbs;

/// <summary><c>./lab kernel -- ARGV</c>: any command as root on the lab kernel.</summary>
internal static class KernelVerb
{
    internal static Command Create()
    {
        var kernel = KernelOption.CreateOption();
        kernel.DefaultValueFactory = _ => "uml";
        kernel.Description = "uml[=VERSION|PATH] (the default is uml, whatever this kernel has) or qemu[=VERSION|VMLINUZ].";
        kernel.Validators.Add(result =>
        {
            if (result.GetValueOrDefault<string>() is "auto" or "host")
                result.AddError("--kernel must be uml or qemu here: only a kernel of its own can throw away what the command writes.");
        });
        var argv = new Argument<string[]>("ARGV")
        {
            Arity = ArgumentArity.OneOrMore,
            Description = "Behind --, the command and its arguments."
        };
        var verb = new Command("kernel",
            "Run a command as root on the lab kernel, over a throw-away view of this machine's files.") { kernel, argv };
        verb.SetAction(async parsed =>
        {
            using var interrupt = new Interrupt();
            return await RunAsync(await KernelOption.ChooseAsync(parsed.GetValue(kernel)!, interrupt.Token), parsed.GetValue(argv)!,
                interrupt.Token);
        });
        return verb;
    }

    /// <summary>Runs a command with our streams, or our terminal when we have one.</summary>
    internal static async Task<int> RunAsync(LabKernel kernel, IReadOnlyList<string> argv, CancellationToken cancellationToken)
    {
        var folder = Runs.Start();
        var command = new LabCommand(argv, folder)
        {
            Input = Console.OpenStandardInput(),
            Output = Console.OpenStandardOutput(),
            Error = Console.OpenStandardError(),
            Variables = LabRun.RunVariables(kernel, folder),
            Terminal = Terminal.IsThere,
        };
        await using var terminal = command.Terminal ? await Terminal.EnterRawModeAsync() : null;
        var result = await kernel.RunAsync(command, cancellationToken);
        // A command that left nothing behind needs no folder.
        if (Directory.GetFileSystemEntries(folder).All(e => Path.GetFileName(e) is "kernel" or "bin"))
            Runs.Forget(folder);
        return result.ExitCode;
    }
}
