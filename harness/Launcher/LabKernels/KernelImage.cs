namespace Conformance.Launcher.LabKernels;

/// <summary>A kernel that this machine can boot.</summary>
/// <param name="Kind">The word of <c>--kernel</c>: uml or qemu.</param>
/// <param name="Version">The kernel's release, such as 6.12.117.</param>
/// <param name="Path">The file that is booted.</param>
/// <param name="Modules">The folder that has its modules, by release.</param>
/// <param name="Origin">Where it comes from, for people.</param>
internal sealed record KernelImage(string Kind, string Version, string Path, string Modules, string Origin)
{
    /// <summary>What <c>--kernel</c> takes for it.</summary>
    internal string Option => Kind == "uml" && Path == UmlKernel.DebianBinary ? "uml" : $"{Kind}={Version}";

    internal LabKernel ToLabKernel() => Kind == "uml" ? new UmlKernel(Path, Modules) : new QemuKernel(Path, Modules);
}
