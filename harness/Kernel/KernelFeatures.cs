using Conformance.Kernel.Interop;

namespace Conformance.Kernel;

/// <summary>What this kernel and this user can do, probed once for each process.</summary>
public sealed record KernelFeatures(string Release, bool IsRoot, bool HasNamespaces, bool HasIpvs)
{
    private static readonly Lazy<KernelFeatures> s_current = new(Probe);

    public static KernelFeatures Current => s_current.Value;

    /// <summary>True when labs with IPVS can be built right here.</summary>
    public bool CanRunLabs => IsRoot && HasNamespaces && HasIpvs;

    private static KernelFeatures Probe()
    {
        var root = Libc.geteuid() == 0;
        return new KernelFeatures(
            File.ReadAllText("/proc/sys/kernel/osrelease").Trim(),
            root,
            root && CanCreateNamespace(),
            HasFile("/proc/net/ip_vs") || ModuleExists("ip_vs"));
    }

    private static bool CanCreateNamespace()
    {
        try
        {
            NetworkNamespace.Create("probe").Dispose();
            return true;
        }
        catch (KernelException)
        {
            return false;
        }
    }

    private static bool HasFile(string path) => File.Exists(path);

    /// <summary>A module that is loaded, built in, or can be loaded by modprobe(8); the kernel asks for it by itself when it is used.</summary>
    private static bool ModuleExists(string name)
    {
        if (Directory.Exists($"/sys/module/{name}"))
            return true;
        var release = File.ReadAllText("/proc/sys/kernel/osrelease").Trim();
        return new[] { "modules.dep", "modules.builtin" }
            .Select(index => $"/lib/modules/{release}/{index}")
            .Where(File.Exists)
            .Any(index => File.ReadLines(index).Any(line => line.Contains($"/{name}.ko", StringComparison.Ordinal)));
    }
}
