using System.CommandLine;
using Conformance.Linux.Features;

namespace Conformance.Launcher.LabKernels;

/// <summary>Finds the kernel for a run: the one room for a further kind.</summary>
internal static class KernelOption
{
    private const string UmlPrefix = "uml=";
    private static readonly string[] s_names = ["auto", "host", "uml"];

    internal static Option<string> CreateOption()
    {
        var option = new Option<string>("--kernel")
        {
            Description = "Kernel that the labs run on: auto, host, uml, or uml=PATH (any user-mode Linux binary).",
            DefaultValueFactory = _ => "auto",
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

    /// <summary>Chooses a kernel and sees that its packages and the labs' are there.</summary>
    /// <exception cref="CannotRunHereException">It cannot run on this machine.</exception>
    internal static async Task<LabKernel> ChooseAsync(string name, CancellationToken cancellationToken)
    {
        var features = KernelFeatures.Current;
        if (name == "auto")
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
