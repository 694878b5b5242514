using Conformance.Labs;
using Conformance.Launcher.Labs;
using Conformance.Linux;

namespace Conformance.Launcher.LabKernels;

/// <summary>A command to be run on a lab kernel as if it ran here.</summary>
/// <param name="RunFolder">The one folder that the command can write to for good.</param>
public sealed record LabCommand(IReadOnlyList<string> Argv, string RunFolder)
{
    public string WorkingDirectory { get; init; } = Environment.CurrentDirectory;

    /// <summary>Set in addition to this process's own environment.</summary>
    public IReadOnlyDictionary<string, string> Variables { get; init; } = new Dictionary<string, string>(StringComparer.Ordinal);

    public Stream Input { get; init; } = Stream.Null;

    public Stream Output { get; init; } = Stream.Null;

    public Stream Error { get; init; } = Stream.Null;

    /// <summary>Gives the command a terminal instead of pipes.</summary>
    public bool Terminal { get; init; }

    /// <summary>The folder of the kernel's own files below the run's: several kernels may share a run.</summary>
    public string KernelFolder { get; init; } = "kernel";

    /// <summary>A command that takes longer, with its kernel's boot, is ended.</summary>
    public TimeSpan Limit { get; init; } = Timeout.InfiniteTimeSpan;

    /// <summary>A TCP port of 127.0.0.1 here to which the command can make one connection; 0 for none.</summary>
    public int RelayPort { get; init; }
}

/// <summary>Where the time of a run went.</summary>
/// <param name="Boot">From the start to the first instruction of the command; zero on the host.</param>
/// <param name="Halt">From the command's end to the kernel's; zero on the host.</param>
public sealed record LabTimes(TimeSpan Boot, TimeSpan Command, TimeSpan Halt);

public sealed record LabResult(int ExitCode, LabTimes Times);

/// <summary>
/// A kernel that labs can run on. Each has a folder-less life of its own: <see cref="RunAsync"/> brings it up where
/// that is needed, runs one command, and leaves nothing. A further kind is a further subclass and a name in
/// <see cref="KernelOption"/>.
/// </summary>
public abstract class LabKernel
{
    /// <summary>The name by which <c>--kernel</c> chooses it and by which reports call it.</summary>
    public abstract string Name { get; }

    /// <summary>The name, and the file that is booted where there is one.</summary>
    public virtual string Description => Name;

    /// <summary>Runs a command as root with IPVS. Cancelling interrupts it and then ends the kernel.</summary>
    /// <exception cref="LabKernelException">The kernel did not come up or died, or the command took longer than its limit.</exception>
    public async Task<LabResult> RunAsync(LabCommand command, CancellationToken cancellationToken)
    {
        using var limited = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        limited.CancelAfter(command.Limit);
        try
        {
            return await ExecuteAsync(command, limited.Token);
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            throw new LabKernelException($"A command did not end on the lab kernel {Description}.",
                $"'{string.Join(' ', command.Argv)}' had {command.Limit.TotalSeconds} s.", "It was ended and has no result.",
                "Try it by hand (./lab kernel --kernel KERNEL -- COMMAND); a machine that is very busy may only be slow.",
                beforeBoot: false);
        }
    }

    /// <summary>Runs a command until it ends or is cancelled.</summary>
    protected abstract Task<LabResult> ExecuteAsync(LabCommand command, CancellationToken cancellationToken);
}

/// <summary>A lab kernel that failed: what, evidence, consequence, fix.</summary>
/// <param name="beforeBoot">Whether the command was never started: then this machine cannot run the kernel.</param>
/// <param name="isRefusal">Whether the kernel booted, and its own first process found that it cannot run labs.</param>
public sealed class LabKernelException(string what, string evidence, string consequence, string fix, bool beforeBoot,
    bool isRefusal = false) : FourPartException(what, evidence, consequence, fix)
{
    public bool BeforeBoot { get; } = beforeBoot;

    public bool IsRefusal { get; } = isRefusal;
}
