namespace Conformance.Launcher.LabKernels;

/// <summary>User-mode Linux: a whole Linux kernel that runs as an ordinary process, without KVM, disk image, or root.</summary>
public sealed class UmlKernel(string binary, string modules = UmlKernel.DebianModules) : GuestKernel
{
    /// <summary>Where Debian's package user-mode-linux puts the kernel.</summary>
    public const string DebianBinary = "/usr/bin/linux.uml";

    /// <summary>Where Debian's package keeps the modules.</summary>
    internal const string DebianModules = "/usr/lib/uml/modules";

    /// <summary>A kernel that has not said hello by then is given up.</summary>
    internal TimeSpan BootLimit { get; init; } = TimeSpan.FromSeconds(60);

    public override string Name => "uml";

    protected override string Image => binary;

    protected override string Modules => modules;

    protected override Task<LabResult> BootAsync(LabCommand command, string folder, CancellationToken cancellationToken)
    {
        var scratch = Directory.CreateDirectory(Path.Combine(folder, "uml")).FullName;
        return FollowAsync(command, folder, scratch,
        [
            binary, "ssl=null", "ssl0=fd:3,fd:4", $"mem={MemoryMegabytes}M", "uml_dir=uml/",
            // by it a run's kernel is known in a list of processes
            $"umid={Path.GetFileName(Path.GetDirectoryName(folder))}-{Path.GetFileName(folder)}",
            // Kernels from 6.16 on trap system calls by seccomp where this machine allows it: twice as fast as by ptrace.
            "seccomp=auto",
            "rootfstype=hostfs", "root=none", "ro", "init=/usr/bin/perl",
            "con=null", "con0=null,fd:1", "quiet", SmallConntrack, "--",
            Path.Combine(Guard.Scripts, "guest-init.pl"), "/dev/ttyS0", modules,
        ], BootLimit, cancellationToken);
    }
}
