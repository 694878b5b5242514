using System.CommandLine;
using System.Globalization;
using Conformance.Linux.Features;

namespace Conformance.Launcher.LabKernels;

/// <summary>Finds the kernel for a run: the one room for a further kind.</summary>
internal static class KernelOption
{
    private const string Auto = "auto";
    private const int MaxKernels = 8;
    private const int FewWords = 8;
    private const long MemoryOfKernel = 1L << 30; // what a run touches of it
    private const string UmlPrefix = "uml=";
    private static readonly string[] s_names = [Auto, "host", "uml"];

    internal static Option<string> CreateOption()
    {
        var option = new Option<string>("--kernel")
        {
            Description = "Kernel that the labs run on: auto, host, uml, or uml=PATH (any user-mode Linux binary).",
            DefaultValueFactory = _ => Auto,
        };
        option.Validators.Add(result =>
        {
            if (result.GetValueOrDefault<string>() is { } name && !s_names.Contains(name, StringComparer.Ordinal)
                && !(name.StartsWith(UmlPrefix, StringComparison.Ordinal) && name.Length > UmlPrefix.Length))
                result.AddError($"There is no kind of kernel '{name}': known are {string.Join(", ", s_names)} and " +
                    $"uml=PATH.{Topologies.Nearest.Hint(name, s_names)}");
        });
        return option;
    }

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
        if (name == Auto)
            name = features.CanRunLabs ? "host" : "uml";
        switch (name)
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
            case "uml":
                await Need.EnsureAsync([.. Need.ForUml, .. Need.ForLabs], cancellationToken);
                return new UmlKernel(UmlKernel.DebianBinary);
            case not null when name.StartsWith(UmlPrefix, StringComparison.Ordinal):
                var path = Path.GetFullPath(name[UmlPrefix.Length..]);
                if (!File.Exists(path))
                    throw new CannotRunHereException($"There is no kernel {path}.", "The file does not exist.", "Nothing ran.",
                        "Give the path of a user-mode Linux binary.");
                await Need.EnsureAsync([.. Need.ForUml.Where(n => n.Program != "linux.uml"), .. Need.ForLabs], cancellationToken);
                return new UmlKernel(path);
            default:
                throw new System.Diagnostics.UnreachableException(name); // the option's validator lets nothing else pass
        }
    }

    private static string Word(bool yes) => yes ? "yes" : "no";
}
