using Conformance.Linux.Namespaces;

namespace Conformance.Linux.Sockets;

/// <summary>Which TCP and UDP ports have a socket in a namespace, from <c>/proc/net/{tcp,tcp6,udp,udp6}</c> (proc(5)).</summary>
public static class ListeningSockets
{
    private const string Listen = "0A"; // TCP_LISTEN of include/net/tcp_states.h

    /// <summary>The TCP ports with a listening socket, in order.</summary>
    public static IReadOnlyList<int> Tcp(NetworkNamespace ns) => Ports(ns, ["tcp", "tcp6"], Listen);

    /// <summary>The UDP ports with a socket, in order.</summary>
    public static IReadOnlyList<int> Udp(NetworkNamespace ns) => Ports(ns, ["udp", "udp6"], state: null);

    /// <summary>Whether any TCP socket, in whatever state, has this local port.</summary>
    public static bool HasTcp(NetworkNamespace ns, int port) => Ports(ns, ["tcp", "tcp6"], state: null).Contains(port);

    private static List<int> Ports(NetworkNamespace ns, string[] tables, string? state) =>
        [.. from table in tables
            let file = $"/proc/thread-self/net/{table}"
            from line in ns.Run(() => File.Exists(file) ? File.ReadAllLines(file) : []).Skip(1)
            let words = HexAddress.Words(line)
            where state is null || words[3] == state
            let port = HexAddress.Port(words[1].AsSpan(words[1].LastIndexOf(':') + 1))
            orderby port
            select port];
}
