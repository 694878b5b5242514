using System.Net;
using System.Net.Sockets;
using Conformance.Linux.Namespaces;

namespace Conformance.Linux.Sockets;

/// <summary>Which TCP and UDP ports have a socket in a namespace, from <c>/proc/net/{tcp,tcp6,udp,udp6}</c> (proc(5)).</summary>
public static class ListeningSockets
{
    private const string Listen = "0A"; // TCP_LISTEN of include/net/tcp_states.h
    private const string TimeWait = "06"; // TCP_TIME_WAIT

    /// <summary>The TCP ports with a listening socket, in order.</summary>
    public static IReadOnlyList<int> Tcp(NetworkNamespace ns) => Ports(ns, ["tcp", "tcp6"], state => state == Listen);

    /// <summary>The UDP ports with a socket, in order.</summary>
    public static IReadOnlyList<int> Udp(NetworkNamespace ns) => Ports(ns, ["udp", "udp6"], _ => true);

    /// <summary>
    /// Whether a TCP socket of the address's family has its port. One in TIME_WAIT is none any more, and the other family has ports of its
    /// own.
    /// </summary>
    public static bool HasTcp(NetworkNamespace ns, IPEndPoint local) =>
        Ports(ns, [local.AddressFamily == AddressFamily.InterNetwork ? "tcp" : "tcp6"], state => state != TimeWait).Contains(local.Port);

    private static List<int> Ports(NetworkNamespace ns, string[] tables, Func<string, bool> isWanted) =>
        [.. from table in tables
            let file = $"/proc/thread-self/net/{table}"
            from line in ns.Run(() => File.Exists(file) ? File.ReadAllLines(file) : []).Skip(1)
            let words = HexAddress.Words(line)
            where isWanted(words[3])
            let port = HexAddress.Port(words[1].AsSpan(words[1].LastIndexOf(':') + 1))
            orderby port
            select port];
}
