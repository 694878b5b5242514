using System.Text;
using Conformance.Linux.Interop;
using Conformance.Linux.Namespaces;

namespace Conformance.Linux.Iptables;

/// <summary>
/// What the kernel itself says of the tables of iptables-legacy: an answer costs a system call, and that of a program a process.
/// </summary>
internal static class LegacyTables
{
    private const int SOL_IP = 0, SOL_IPV6 = 41;
    private const int IPT_SO_GET_INFO = 64; // linux/netfilter_ipv4/ip_tables.h; the same for IPv6
    private const int InfoLength = 84; // struct ipt_getinfo: name[32], hooks, entries and underflows of five hooks, number, size

    /// <summary>
    /// Whether the kernel has the table nat, which it loads for that; false also where the module ip_tables is not loaded, which the
    /// program iptables would do.
    /// </summary>
    internal static bool HasNat(NetworkNamespace ns, bool ipv6)
    {
        var info = new byte[InfoLength];
        Encoding.ASCII.GetBytes("nat", info);
        return Answers(ns, ipv6, IPT_SO_GET_INFO, info);
    }

    /// <summary>Whether a question, as iptables-legacy asks it by getsockopt(2), has an answer.</summary>
    /// <param name="asked">The structure of the question, in which the kernel answers.</param>
    internal static unsafe bool Answers(NetworkNamespace ns, bool ipv6, int option, byte[] asked) => ns.Run(() =>
    {
        var socket = Libc.socket(ipv6 ? Libc.AF_INET6 : Libc.AF_INET, Libc.SOCK_DGRAM | Libc.SOCK_CLOEXEC, 0);
        if (socket < 0)
            return false;
        var length = (uint)asked.Length;
        fixed (byte* pointer = asked)
        {
            var result = Libc.getsockopt(socket, ipv6 ? SOL_IPV6 : SOL_IP, option, pointer, &length);
            _ = Libc.close(socket);
            return result == 0;
        }
    });

    /// <summary>Whether a namespace has any table yet: where it has none, iptables-legacy-save prints nothing.</summary>
    internal static bool AnyIn(NetworkNamespace ns, bool ipv6) => ns.Run(() =>
    {
        try
        {
            return File.ReadAllText($"/proc/thread-self/net/{(ipv6 ? "ip6" : "ip")}_tables_names").Length > 0;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return true; // the program knows better
        }
    });
}
