using System.Globalization;
using Conformance.Linux;

namespace Conformance.Launcher.LabKernels;

/// <summary>
/// A stock kernel of a distribution under QEMU: by KVM where that works, else by QEMU's own translation (TCG), which is slow. It sees
/// this machine's files by 9p.
/// </summary>
public sealed class QemuKernel(string image, string modules) : GuestKernel
{
    private static readonly TimeSpan s_tcgLimit = TimeSpan.FromSeconds(180);

    /// <summary>What the initial RAM disk loads, in this order, with all that they depend on.</summary>
    private static readonly string[] s_modules = ["virtio_pci", "virtio_console", "9pnet_virtio", "9p", "overlay"];

    public override string Name => "qemu";

    protected override string Image => image;

    protected override string Modules => modules;

    /// <summary>The emulator.</summary>
    internal string Program { get; init; } = "qemu-system-x86_64";

    internal Kvm Kvm { get; init; } = Kvm.Default;

    protected override async Task<LabResult> BootAsync(LabCommand command, string folder, CancellationToken cancellationToken)
    {
        if (!IsStatic(Need.PathOf("busybox")!))
        {
            throw new LabKernelException("The busybox of this machine cannot run alone.",
                $"{Need.PathOf("busybox")} needs the C library, which the initial RAM disk does not have.", "Nothing ran.",
                "apt-get install busybox-static", beforeBoot: true);
        }
        LabKernelException? refused = null;
        if (Kvm.MayBoot(Version))
        {
            try
            {
                return await BootAsync("kvm", command, folder, Kvm.BootLimit, cancellationToken);
            }
            catch (LabKernelException e) when (e is { BeforeBoot: true, IsRefusal: false })
            {
                refused = e;
                File.Delete(Path.Combine(folder, ConsoleLog)); // it is about another boot
            }
        }
        var result = await BootAsync("tcg", command, folder, s_tcgLimit, cancellationToken);
        if (refused is not null) // the kernel boots, so it was KVM
            Kvm.Refused(Version, refused.Evidence);
        return result;
    }

    private async Task<LabResult> BootAsync(string accelerator, LabCommand command, string folder, TimeSpan limit,
        CancellationToken cancellationToken)
    {
        var scratch = Path.Combine(folder, "qemu");
        if (Directory.Exists(scratch))
            Directory.Delete(scratch, recursive: true); // of a boot that failed
        Directory.CreateDirectory(scratch);
        var initrd = Path.Combine(scratch, "initrd");
        await MakeInitrdAsync(initrd, cancellationToken);
        return await FollowAsync(command, folder, scratch,
        [
            "sh", "-c", "exec \"$@\" <&3 >&4", "sh", Program, "-name", $"{Path.GetFileName(command.RunFolder)}",
            "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-accel", accelerator, "-cpu", "max",
            "-m", MemoryMegabytes.ToString(CultureInfo.InvariantCulture),
            "-kernel", image, "-initrd", initrd,
            "-append", $"console=ttyS0 quiet panic=-1 nokaslr mitigations=off no_timer_check audit=0 {SmallConntrack} -- "
                + $"{Path.Combine(Guard.Scripts, "guest-init.pl")} /dev/hvc0 {modules}",
            "-chardev", $"file,id=console,path={ConsoleLog},append=on", "-serial", "chardev:console",
            "-chardev", "stdio,id=line,signal=off", "-device", "virtio-serial", "-device", "virtconsole,chardev=line",
            "-fsdev", "local,id=root,path=/,security_model=none,readonly=on,multidevs=remap",
            "-device", "virtio-9p-pci,fsdev=root,mount_tag=root",
            // QEMU takes two commas for one in a value.
            "-fsdev", $"local,id=run,path={command.RunFolder.Replace(",", ",,", StringComparison.Ordinal)},security_model=none," +
                "multidevs=remap",
            "-device", "virtio-9p-pci,fsdev=run,mount_tag=run",
            "-device", "virtio-rng-pci",
        ], limit, cancellationToken);
    }

    /// <summary>Whether a folder of modules has, loadable or built in, what the guest sees this machine's files by.</summary>
    internal static bool Has9p(string modules) => new[] { "9p", "9pnet_virtio" }.All(name => new[] { "modules.dep", "modules.builtin" }
        .Select(index => Path.Combine(modules, index)).Where(File.Exists)
        .Any(index => File.ReadLines(index).Any(l => l.Contains($"/{name}.ko", StringComparison.Ordinal))));

    /// <summary>Whether a program is for no dynamic linker: it has no PT_INTERP (elf(5)).</summary>
    private static bool IsStatic(string program)
    {
        const int ProgramHeaders = 32, HeaderSize = 54, HeaderCount = 56, Interpreter = 3;
        var bytes = new byte[4096];
        using var file = File.OpenRead(program);
        var length = file.ReadAtLeast(bytes, bytes.Length, throwOnEndOfStream: false);
        var (offset, size, count) = ((int)BitConverter.ToInt64(bytes, ProgramHeaders), BitConverter.ToUInt16(bytes, HeaderSize),
            BitConverter.ToUInt16(bytes, HeaderCount));
        return Enumerable.Range(0, count).Select(i => offset + (i * size)).Where(at => at + 4 <= length)
            .All(at => BitConverter.ToUInt32(bytes, at) != Interpreter);
    }

    /// <summary>An archive with busybox, the modules by which the kernel sees this machine's files, and what mounts them.</summary>
    private async Task MakeInitrdAsync(string path, CancellationToken cancellationToken)
    {
        var root = Directory.CreateDirectory($"{path}.d");
        foreach (var folder in new[] { "bin", "modules", "root", "proc" })
            root.CreateSubdirectory(folder);
        File.Copy(Need.PathOf("busybox")!, Path.Combine(root.FullName, "bin", "busybox"));
        File.Copy(Path.Combine(Guard.Scripts, "qemu-init.sh"), Path.Combine(root.FullName, "init"));
        File.SetUnixFileMode(Path.Combine(root.FullName, "init"),
            UnixFileMode.UserRead | UnixFileMode.UserExecute | UnixFileMode.GroupRead | UnixFileMode.OtherRead);
        var number = 0;
        foreach (var module in ModuleFiles())
        {
            // The kernel loads what is not compressed; modprobe, which would unpack it, is on the far side of 9p.
            var target = Path.Combine(root.FullName, "modules", string.Create(CultureInfo.InvariantCulture, $"{number++:00}.ko"));
            if (Path.GetExtension(module) == ".ko")
                File.Copy(module, target);
            else
                await RunAsync($"{(module.EndsWith(".xz", StringComparison.Ordinal) ? "xz" : "zstd")} -dc \"$1\" >\"$2\"",
                    root.FullName, cancellationToken, module, target);
        }
        await RunAsync("find . | cpio --quiet --create --format=newc >\"$1\"", root.FullName, cancellationToken, path);
        root.Delete(recursive: true);
    }

    /// <summary>
    /// The files of <see cref="s_modules"/>, each after those that it depends on (modules.dep(5)); built-in ones have none.
    /// </summary>
    private List<string> ModuleFiles()
    {
        var index = Path.Combine(modules, Version, "modules.dep");
        var lines = File.ReadLines(index).Select(l => l.Split(':', 2)).ToDictionary(l => NameOf(l[0]),
            l => (File: l[0], Needs: l[1].Split(' ', StringSplitOptions.RemoveEmptyEntries)), StringComparer.Ordinal);
        var files = new List<string>();
        foreach (var name in s_modules)
        {
            if (lines.TryGetValue(name, out var found)) // modules.dep has the nearest dependency first
                files.AddRange(found.Needs.Reverse().Append(found.File).Where(f => !files.Contains(f)).ToList());
        }
        return [.. files.Select(f => Path.Combine(modules, Version, f))];

        static string NameOf(string file) => Path.GetFileName(file).Split('.')[0].Replace('-', '_');
    }

    /// <summary>The release that the image says it is (Documentation/arch/x86/boot.rst, kernel_version).</summary>
    private string Version { get; } = VersionOf(image);

    /// <exception cref="CannotRunHereException">The file is no x86 Linux kernel.</exception>
    internal static string VersionOf(string image)
    {
        const int Magic = 0x202, VersionPointer = 0x20E, Setup = 0x200;
        using var file = File.OpenRead(image);
        var header = new byte[0x8000];
        var length = file.ReadAtLeast(header, header.Length, throwOnEndOfStream: false);
        if (length < header.Length || !header.AsSpan(Magic, 4).SequenceEqual("HdrS"u8))
        {
            throw new CannotRunHereException($"{image} is no kernel for this machine.",
                "It has no x86 boot header ('HdrS' at byte 514).", "Nothing ran.",
                "Give the path of a vmlinuz for x86-64, such as /boot/vmlinuz-VERSION.");
        }
        var start = Setup + header[VersionPointer] + (header[VersionPointer + 1] << 8);
        var text = header.AsSpan(Math.Min(start, header.Length - 1));
        return System.Text.Encoding.ASCII.GetString(text[..Math.Max(0, text.IndexOfAny((byte)' ', (byte)0))]);
    }

    private static async Task RunAsync(string script, string folder, CancellationToken cancellationToken, params string[] arguments)
    {
        var result = await Bash.RunAsync(script, folder, cancellationToken, arguments);
        if (!result.IsSuccess)
        {
            throw new LabKernelException("The initial RAM disk of the lab kernel could not be made.", result.StandardError.Trim(),
                "Nothing ran.", "Install the program that it names, or free space on the disk of artifacts/.", beforeBoot: true);
        }
    }
}
