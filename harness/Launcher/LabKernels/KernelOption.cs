using System.CommandLine;
using System.Globalization;
using Conformance.Linux.Features;

namespace Conformance.Launcher.LabKernels;

/// <summary>Finds the kernel for a run by its name.</summary>
internal static class KernelOption
{
    private const string Auto = "auto";
    private const int MaxKernels = 8;
    private const int FewWords = 8;
    private const long MemoryOfKernel = 1L << 30; // what a run touches of it
    private static readonly string[] s_names = [Auto, "host", "uml", "qemu"];

    internal static Option<string> CreateOption()
    {
        var option = new Option<string>("--kernel")
        {
            Description = "Kernel that the labs run on: auto, host, uml[=VERSION|PATH] (user-mode Linux), or qemu[=VERSION|VMLINUZ].",
            DefaultValueFactory = _ => Auto,
        };
        option.Validators.Add(result =>
        {
            if (result.GetValueOrDefault<string>() is { } name && WhyNot(name) is { } why)
                result.AddError(why);
        });
        option.CompletionSources.Add(_ => s_names.Concat(KernelStore.All().Select(k => k.Option)).Distinct(StringComparer.Ordinal)
            .Select(n => new System.CommandLine.Completions.CompletionItem(n)));
        return option;
    }

    /// <summary>The option of a verb that takes several kernels, one after another.</summary>
    internal static Option<string> CreateListOption()
    {
        var option = CreateOption();
        option.Description += " Several, with commas, are a matrix.";
        option.Validators.Clear();
        option.Validators.Add(result =>
        {
            var names = (result.GetValueOrDefault<string>() ?? "").Split(',');
            foreach (var why in names.Select(WhyNot).OfType<string>())
                result.AddError(why);
            if (names.Distinct(StringComparer.Ordinal).Count() < names.Length)
                result.AddError("--kernel names a kernel twice.");
        });
        return option;
    }

    /// <summary>Why a text names no kernel; null when it does.</summary>
    internal static string? WhyNot(string name)
    {
        var (kind, which) = Split(name);
        return s_names.Contains(kind, StringComparer.Ordinal) && (which is null || (which.Length > 0 && kind is "uml" or "qemu")) ? null
            : $"There is no kind of kernel '{name}': known are {string.Join(", ", s_names)}, uml=VERSION|PATH and qemu=VERSION|VMLINUZ." +
                Topologies.Nearest.Hint(name, s_names);
    }

    /// <summary>The kernel that a name stands for: for auto the host's own where labs can run on it, else the fastest.</summary>
    internal static string Resolve(string name) => name != Auto ? name : KernelFeatures.Current.CanRunLabs ? "host"
        : KernelStore.Fastest()?.Option ?? "uml";

    private static (string Kind, string? Which) Split(string name) => name.Split('=', 2) is [var kind, var which] ? (kind, which)
        : (name, null);

    internal static Option<string> CreateCountOption()
    {
        var option = new Option<string>("--kernels")
        {
            Description = "How many kernels share the tests: a number up to 8, or auto, which is one for each processor.",
            DefaultValueFactory = _ => Auto,
        };
        option.Validators.Add(result =>
        {
            if (result.GetValueOrDefault<string>() is { } text && text != Auto
                && !(int.TryParse(text, CultureInfo.InvariantCulture, out var count) && count is >= 1 and <= MaxKernels))
                result.AddError($"--kernels must be auto or a number from 1 to {MaxKernels}, and is '{text}'.");
        });
        return option;
    }

    /// <summary>How many kernels of a kind share the tests that a filter selects.</summary>
    internal static int CountOf(string text, LabKernel kernel, string filter)
    {
        if (kernel is HostKernel)
            return 1; // there is one, and it uses all processors
        if (text != Auto)
            return int.Parse(text, CultureInfo.InvariantCulture);
        var words = filter.Split(',', StringSplitOptions.RemoveEmptyEntries);
        if (words.Length is > 0 and <= FewWords && words.All(w => char.IsAsciiDigit(w[^1])))
            return 1; // a few claims are shown before a second kernel is up
        return (int)Math.Clamp(Math.Min(Environment.ProcessorCount, AvailableMemory() / MemoryOfKernel), 1, MaxKernels);
    }

    /// <summary>Bytes (proc_meminfo(5), MemAvailable).</summary>
    private static long AvailableMemory() => long.Parse(File.ReadLines("/proc/meminfo")
        .First(l => l.StartsWith("MemAvailable:", StringComparison.Ordinal)).Split(' ', StringSplitOptions.RemoveEmptyEntries)[1],
        CultureInfo.InvariantCulture) * 1024;

    /// <summary>Chooses a kernel and sees that its packages and the labs' are there.</summary>
    /// <exception cref="CannotRunHereException">It cannot run on this machine.</exception>
    internal static async Task<LabKernel> ChooseAsync(string name, CancellationToken cancellationToken)
    {
        var features = KernelFeatures.Current;
        var (kind, which) = Split(Resolve(name));
        switch (kind)
        {
            case "host":
                if (!features.CanRunLabs)
                {
                    throw new CannotRunHereException("Labs cannot run on this kernel.",
                        $"{features.Release}: root {Word(features.IsRoot)}, network namespaces {Word(features.HasNamespaces)}, IPVS " +
                            $"{Word(features.Has(Feature.Ipvs))}",
                        "Nothing ran.", "Use --kernel uml, which needs none of these.");
                }
                await Need.EnsureAsync(Need.ForLabs, cancellationToken);
                return new HostKernel();
            case "uml" when which is null:
                await Need.EnsureAsync([.. Need.ForUml, .. Need.ForLabs], cancellationToken);
                return new UmlKernel(UmlKernel.DebianBinary);
            case "uml":
                await Need.EnsureAsync([.. Need.ForUml.Where(n => n.Program != "linux.uml"), .. Need.ForLabs], cancellationToken);
                return which.Contains('/', StringComparison.Ordinal) ? new UmlKernel(ImageAt(which))
                    : (KernelStore.Find("uml", which) ?? throw NotThere(which)).ToLabKernel();
            case "qemu":
                await Need.EnsureAsync([.. Need.ForQemu, .. Need.ForLabs], cancellationToken);
                return which?.Contains('/', StringComparison.Ordinal) == true ? QemuAt(ImageAt(which))
                    : (KernelStore.Find("qemu", which ?? "") ?? await AptPackage.FetchKernelAsync(which ?? "6", cancellationToken))
                        .ToLabKernel();
            default:
                throw new System.Diagnostics.UnreachableException(name); // the option's validator lets nothing else pass
        }
    }

    private static CannotRunHereException NotThere(string version) => new($"There is no user-mode kernel {version}.",
        $"Neither Debian's package nor {KernelStore.Folder} has it.", "Nothing ran.",
        $"./lab kernels lists what is there; ./lab kernels build --source linux-source-{version} builds one; or give a path with a /.");

    /// <exception cref="CannotRunHereException">There is no such file, or it is for another machine.</exception>
    private static string ImageAt(string text)
    {
        var path = Path.GetFullPath(text);
        if (!File.Exists(path))
            throw new CannotRunHereException($"There is no kernel {path}.", "The file does not exist.", "Nothing ran.",
                "Give the path of a kernel; ./lab kernels lists those that are known.");
        using var file = File.OpenRead(path);
        var header = new byte[20];
        // e_machine of elf(5): 62 is x86-64. What is no ELF file may be a script that starts a kernel, or a compressed one.
        if (file.ReadAtLeast(header, header.Length, throwOnEndOfStream: false) == header.Length && header.AsSpan(0, 4)
            .SequenceEqual("\x7FELF"u8)
            && header[18] != 62)
        {
            throw new CannotRunHereException($"{path} is a kernel for another architecture.",
                $"Its ELF header has machine {header[18]}, and this machine is x86-64 (62).", "Nothing ran.",
                "Give a kernel that was built for this architecture.");
        }
        return path;
    }

    /// <summary>A kernel by its path: its modules are those of the tree that it is in, or of this machine.</summary>
    private static QemuKernel QemuAt(string path)
    {
        var version = QemuKernel.VersionOf(path);
        string[] roots = [Path.GetFullPath(Path.Combine(Path.GetDirectoryName(path)!, "..")), "/"];
        return KernelStore.ModulesIn(roots, version) is { } modules ? new QemuKernel(path, modules)
            : throw new CannotRunHereException($"The modules of {path} are missing.",
                $"Below none of {string.Join(", ", roots)} is a lib/modules/{version} that lists 9p and 9pnet_virtio.", "Nothing ran.",
                "Unpack the whole package (dpkg-deb -x), run depmod -b FOLDER VERSION, and give the vmlinuz in it.");
    }

    private static string Word(bool yes) => yes ? "yes" : "no";
}
