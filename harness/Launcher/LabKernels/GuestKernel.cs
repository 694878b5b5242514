namespace Conformance.Launcher.LabKernels;

/// <summary>
/// A kernel that boots as a process of this machine. It sees this machine's files through an overlay that is thrown away, and writes
/// through to the run's folder only.
/// </summary>
public abstract class GuestKernel : LabKernel
{
    /// <summary>The memory of a guest. The host gives only what a run touches.</summary>
    internal const int MemoryMegabytes = 3072;

    /// <summary>
    /// Rows of the hash table of connection tracking. Each end of a namespace and each reading passes all of them; this memory would have
    /// 65,536. The kernel allows eight entries for each of ours: 16,384 in each namespace (nf_conntrack_init_start).
    /// </summary>
    private protected const string SmallConntrack = "nf_conntrack.hashsize=2048";

    /// <summary>The file that is booted.</summary>
    protected abstract string Image { get; }

    /// <summary>The folder that has its modules, by release.</summary>
    protected abstract string Modules { get; }

    public override string Description => $"{Name}, {Image}";

    /// <summary>The console of the kernel below the folder of its files, for who reads why it failed.</summary>
    private protected const string ConsoleLog = "console.log";

    protected override async Task<LabResult> ExecuteAsync(LabCommand command, CancellationToken cancellationToken)
    {
        if ((command.RunFolder + Guard.Scripts).Contains(' ', StringComparison.Ordinal))
        {
            throw new LabKernelException("The project's path has a space in it.", command.RunFolder,
                "The lab kernel cannot be started: its command line is split at spaces.",
                "Move the project to a path without spaces.", beforeBoot: true);
        }
        if (Modules.Any(char.IsWhiteSpace))
        {
            throw new LabKernelException("The path of the kernel's modules has a space in it.", Modules,
                "The lab kernel cannot be started: its command line is split at spaces.", "Move the kernel to a path without spaces.",
                beforeBoot: true);
        }
        var folder = Directory.CreateDirectory(Path.Combine(command.RunFolder, command.KernelFolder)).FullName;
        return await BootAsync(command, folder, cancellationToken);
    }

    /// <summary>Boots and follows one or, where the first way to boot fails, several guests.</summary>
    protected abstract Task<LabResult> BootAsync(LabCommand command, string folder, CancellationToken cancellationToken);

    /// <summary>Boots one guest, and passes its command's streams until it has ended.</summary>
    /// <param name="folder">Where the console goes.</param>
    /// <param name="scratch">The guest's own files, which are removed at the end.</param>
    /// <param name="program">The program with its arguments; the guest's line is its file descriptors 3 and 4.</param>
    /// <exception cref="LabKernelException">It did not come up, or died.</exception>
    private protected async Task<LabResult> FollowAsync(LabCommand command, string folder, string scratch, IEnumerable<string> program,
        TimeSpan bootLimit, CancellationToken cancellationToken)
    {
        using var processor = Processors.Take();
        await using var guest = Guest.Start(command, scratch,
            ["bash", Path.Combine(Guard.Scripts, "confine.sh"), folder, processor.Number, .. program], bootLimit);
        await guest.FollowAsync(cancellationToken);
        cancellationToken.ThrowIfCancellationRequested();
        if (guest.Refusal is { } refusal)
        {
            throw new LabKernelException($"The lab kernel {Image} cannot run labs.", $"Its first process says: {refusal}.",
                "Nothing ran.", "Use another kernel: ./lab kernels lists them, ./lab kernels build builds one that has all.",
                beforeBoot: true, isRefusal: true);
        }
        return guest.Result ?? throw Died(folder, guest.Failure, beforeBoot: !guest.HasBooted);
    }

    private LabKernelException Died(string folder, string? failure, bool beforeBoot)
    {
        var log = Path.Combine(folder, ConsoleLog);
        var lines = File.Exists(log) ? File.ReadAllLines(log) : [];
        // Our own first process, which then halts the kernel; the kernel's last words; else whatever came last.
        var said = lines.LastOrDefault(l => l.StartsWith("guest-init: ", StringComparison.Ordinal)
                || l.StartsWith("qemu-init: ", StringComparison.Ordinal))
            ?? lines.FirstOrDefault(l => l.Contains("panic", StringComparison.OrdinalIgnoreCase))
            ?? lines.LastOrDefault(l => !l.StartsWith("reboot: ", StringComparison.Ordinal));
        said = said is null ? "Its console stayed empty." : $"Its console says: {said}";
        return new LabKernelException(
            beforeBoot ? $"The lab kernel {Image} did not come up." : $"The lab kernel {Image} ended before its command did.",
            failure is null ? said : $"{failure} {said}",
            "The command has no result.",
            $"Read its console, {log}; ./lab doctor checks what it needs.",
            beforeBoot);
    }
}
