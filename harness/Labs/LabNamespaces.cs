using Conformance.Linux.Namespaces;
using Conformance.Linux.Sysctls;

namespace Conformance.Labs;

/// <summary>Makes the namespaces of labs.</summary>
internal static class LabNamespaces
{
    // Documentation/admin-guide/sysctl/net.rst
    private const string OnlyInFirst = "net.core.fb_tunnels_only_for_init_net";

    private static readonly Lock s_lock = new();

    // The sysctl is the whole kernel's: that of this machine is not ours to change. And a module that is loaded later asks it for the
    // namespaces that there are: only where all is built in, the moment of a namespace's start decides.
    private static readonly Lazy<bool> s_sparesTunnels = new(() =>
        RunFolder.IsOnLabKernel && Sysctl.Exists(OnlyInFirst) && !File.Exists("/proc/modules"));

    /// <summary>Whether nodes that need no tunnel devices have none on this kernel.</summary>
    internal static bool SparesTunnels => s_sparesTunnels.Value;

    /// <summary>Makes a namespace.</summary>
    /// <param name="tunnels">
    /// Whether it needs the devices that each module for tunnels makes in every namespace. Where all are built in, these six devices with
    /// their sysctls take a third of the time of a lab. So nodes of a lab kernel without modules do without them.
    /// </param>
    internal static NetworkNamespace Create(string name, bool tunnels)
    {
        lock (s_lock)
        {
            if (tunnels || !SparesTunnels)
                return NetworkNamespace.Create(name);
            Sysctl.Write(OnlyInFirst, "1");
            try
            {
                return NetworkNamespace.Create(name);
            }
            finally
            {
                Sysctl.Write(OnlyInFirst, "0");
            }
        }
    }
}
