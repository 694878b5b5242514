using System.Net;
using System.Net.Sockets;

namespace Conformance.Linux.Sockets;

/// <summary>Makes a .NET socket for a transport protocol.</summary>
public static class TransportSocket
{
    /// <summary>Makes a stream socket (TCP, SCTP) or a datagram socket (UDP) in the namespace of the calling thread.</summary>
    /// <exception cref="KernelException">The kernel has no SCTP (CONFIG_IP_SCTP).</exception>
    public static Socket Create(TransportProtocol protocol, AddressFamily family) => protocol switch
    {
        TransportProtocol.Tcp => new Socket(family, SocketType.Stream, ProtocolType.Tcp),
        TransportProtocol.Udp => new Socket(family, SocketType.Dgram, ProtocolType.Udp),
        TransportProtocol.Sctp => SctpSocket.Create(family),
        _ => throw new ArgumentOutOfRangeException(nameof(protocol), protocol, "Only TCP, UDP and SCTP have sockets of this kind."),
    };

    /// <summary>A port of every local address of a family; port 0 lets the kernel choose one (bind(2)).</summary>
    public static IPEndPoint Any(AddressFamily family, int port = 0) =>
        new(family == AddressFamily.InterNetwork ? IPAddress.Any : IPAddress.IPv6Any, port);
}
