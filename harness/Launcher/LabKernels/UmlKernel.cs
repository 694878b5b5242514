namespace Conformance.Launcher.LabKernels;

/// <summary>
/// User-mode Linux: a whole Linux kernel that runs as an ordinary process, without KVM, disk image, or root. It sees
/// this machine's files through an overlay that is thrown away, and writes through to the run's folder only.
/// </summary>
public sealed class UmlKernel(string binary, string name = "uml") : LabKernel
{
    /// <summary>Where Debian's package user-mode-linux puts the kernel.</summary>
    public const string DebianBinary = "/usr/bin/linux.uml";

    private const string Memory = "3072M";

    public override string Name { get; } = name;

    public override async Task<LabResult> RunAsync(LabCommand command, CancellationToken cancellationToken)
    {
        if ((command.RunFolder + Guard.Scripts).Contains(' ', StringComparison.Ordinal))
        {
            throw new LabKernelException("The project's path has a space in it.", command.RunFolder,
                "The user-mode kernel cannot be started: its command line is split at spaces.",
                "Move the project to a path without spaces.", beforeBoot: true);
        }
        var folder = Directory.CreateDirectory(Path.Combine(command.RunFolder, command.KernelFolder)).FullName;
        using var processor = Processors.Take();
        await using var guest = UmlGuest.Start(command, Path.Combine(folder, "uml"), Argv(folder, processor.Number));
        await guest.FollowAsync(cancellationToken);
        cancellationToken.ThrowIfCancellationRequested();
        return guest.Result ?? throw Died(folder, guest.Failure, beforeBoot: !guest.HasBooted);
    }

    private string[] Argv(string folder, string processor)
    {
        Directory.CreateDirectory(Path.Combine(folder, "uml"));
        return
        [
            "bash", Path.Combine(Guard.Scripts, "uml.sh"), folder, processor,
            // by it a run's kernel is known in a list of processes
            binary, $"mem={Memory}", "uml_dir=uml/", $"umid={Path.GetFileName(Path.GetDirectoryName(folder))}-{Path.GetFileName(folder)}",
            "rootfstype=hostfs", "root=none", "ro", "init=/usr/bin/perl",
            "con=null", "con0=null,fd:1", "quiet", "--",
            Path.Combine(Guard.Scripts, "guest-init.pl"),
        ];
    }

    private LabKernelException Died(string folder, string? failure, bool beforeBoot)
    {
        var log = Path.Combine(folder, "console.log");
        var said = File.Exists(log)
            ? File.ReadLines(log).FirstOrDefault(l => l.Contains("panic", StringComparison.OrdinalIgnoreCase)) ?? File.ReadLines(log)
                .LastOrDefault()
            : null;
        return new LabKernelException(
            beforeBoot ? $"The lab kernel {binary} did not come up." : $"The lab kernel {binary} ended before its command did.",
            failure ?? said ?? "Its console stayed empty.",
            "The command has no result.",
            $"Read its console, {log}; ./lab doctor checks what it needs.",
            beforeBoot);
    }
}
