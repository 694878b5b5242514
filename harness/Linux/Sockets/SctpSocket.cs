using System.Net.Sockets;
using Conformance.Linux.Interop;

namespace Conformance.Linux.Sockets;

/// <summary>
/// Sockets of SCTP in its one-to-one style, which are used like those of TCP; .NET has no name for the protocol. Source: sctp(7).
/// </summary>
public static class SctpSocket
{
    /// <summary>Makes one in the namespace of the calling thread.</summary>
    /// <exception cref="KernelException">The kernel has no SCTP (CONFIG_IP_SCTP).</exception>
    public static Socket Create(AddressFamily family)
    {
        var domain = family == AddressFamily.InterNetworkV6 ? Libc.AF_INET6 : Libc.AF_INET;
        var fd = Libc.socket(domain, Libc.SOCK_STREAM | Libc.SOCK_CLOEXEC, (int)TransportProtocol.Sctp);
        return fd >= 0 ? new Socket(new SafeSocketHandle(fd, ownsHandle: true)) : throw KernelException.FromErrno("open an SCTP socket");
    }
}
