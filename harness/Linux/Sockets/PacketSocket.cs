using System.Runtime.InteropServices;
using Conformance.Linux.Interop;
using Conformance.Linux.Namespaces;

namespace Conformance.Linux.Sockets;

/// <summary>One frame that a packet socket received.</summary>
/// <param name="IsLeaving">True for frames that this host sends.</param>
public readonly record struct ReceivedFrame(int CapturedLength, int WireLength, bool IsLeaving, DateTime Time);

/// <summary>
/// A raw AF_PACKET socket on one interface: every frame in both directions, with the kernel's time stamp. Source: packet(7).
/// </summary>
public sealed class PacketSocket : IDisposable
{
    private const ushort ETH_P_ALL = 3;
    private const byte PACKET_OUTGOING = 4;
    private const int SockaddrLength = 20; // struct sockaddr_ll
    private const int ControlLength = 64;
    private int _fd;

    /// <exception cref="KernelException">No such interface, or CAP_NET_RAW is lacking.</exception>
    public PacketSocket(NetworkNamespace ns, string device, int bufferBytes)
    {
        _fd = ns.Run(() => Open(ns, device, bufferBytes));
    }

    /// <summary>Takes the frames that have arrived, as many as there is room for, without waiting.</summary>
    /// <param name="buffer">A part of equal length for each frame; what does not fit into its part is cut.</param>
    /// <param name="frames">Takes what is known of each frame.</param>
    /// <returns>The number of frames; when there is room left, there was none more.</returns>
    public unsafe int Receive(Span<byte> buffer, Span<ReceivedFrame> frames)
    {
        var room = buffer.Length / frames.Length;
        var addresses = stackalloc byte[frames.Length * SockaddrLength];
        var controls = stackalloc byte[frames.Length * ControlLength];
        var vectors = stackalloc Libc.iovec[frames.Length];
        var messages = stackalloc Libc.mmsghdr[frames.Length];
        fixed (byte* data = buffer)
        {
            for (var i = 0; i < frames.Length; i++)
            {
                vectors[i] = new Libc.iovec { iov_base = data + (i * room), iov_len = (nuint)room };
                messages[i].msg_hdr = new Libc.msghdr
                {
                    msg_name = addresses + (i * SockaddrLength),
                    msg_namelen = SockaddrLength,
                    msg_iov = vectors + i,
                    msg_iovlen = 1,
                    msg_control = controls + (i * ControlLength),
                    msg_controllen = ControlLength,
                };
            }
            var count = Math.Max(0, Libc.recvmmsg(_fd, messages, (uint)frames.Length, Libc.MSG_DONTWAIT | Libc.MSG_TRUNC, null));
            for (var i = 0; i < count; i++)
            {
                var header = messages[i].msg_hdr;
                frames[i] = new ReceivedFrame((int)Math.Min(messages[i].msg_len, room), (int)messages[i].msg_len,
                    ((byte*)header.msg_name)[10] == PACKET_OUTGOING, TimeOf((byte*)header.msg_control, header.msg_controllen));
            }
            return count;
        }
    }

    /// <summary>Which of some sockets have something to receive, by their indexes.</summary>
    public static unsafe IReadOnlyList<int> Readable(IReadOnlyList<PacketSocket> sockets)
    {
        var polls = new Libc.pollfd[sockets.Count];
        for (var i = 0; i < polls.Length; i++)
            polls[i] = new Libc.pollfd { fd = sockets[i]._fd, events = Libc.POLLIN };
        fixed (Libc.pollfd* pointer = polls)
            _ = Libc.poll(pointer, (nuint)polls.Length, 0);
        return [.. Enumerable.Range(0, polls.Length).Where(i => polls[i].revents != 0)];
    }

    /// <summary>Waits until a packet has arrived.</summary>
    /// <returns>False when none arrived within the time.</returns>
    public unsafe bool Wait(TimeSpan timeout)
    {
        var poll = new Libc.pollfd { fd = _fd, events = Libc.POLLIN };
        return Libc.poll(&poll, 1, (int)timeout.TotalMilliseconds) > 0;
    }

    /// <summary>Frames lost because the buffer was full since the last call.</summary>
    public unsafe long TakeDropped()
    {
        var statistics = stackalloc uint[2]; // struct tpacket_stats
        uint size = 8;
        return Libc.getsockopt(_fd, Libc.SOL_PACKET, Libc.PACKET_STATISTICS, statistics, &size) == 0 ? statistics[1] : 0;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        var fd = Interlocked.Exchange(ref _fd, -1);
        if (fd >= 0)
            _ = Libc.close(fd);
    }

    /// <summary>The struct timespec in the SCM_TIMESTAMPNS control message, the only one that was asked for.</summary>
    private static unsafe DateTime TimeOf(byte* control, nuint length)
    {
        const int headerLength = 16; // struct cmsghdr
        if (length < headerLength + 16)
            return DateTime.UtcNow;
        var seconds = *(long*)(control + headerLength);
        var nanoseconds = *(long*)(control + headerLength + 8);
        return DateTime.UnixEpoch.AddTicks((seconds * TimeSpan.TicksPerSecond) + (nanoseconds / 100));
    }

    private static unsafe int Open(NetworkNamespace ns, string device, int bufferBytes)
    {
        var index = Libc.if_nametoindex(device);
        if (index == 0)
            throw KernelException.FromErrno($"find the interface {device} in {ns}");
        // Protocol 0: nothing arrives before bind names the interface.
        var fd = Libc.socket(Libc.AF_PACKET, Libc.SOCK_RAW | Libc.SOCK_CLOEXEC, 0);
        if (fd < 0)
            throw KernelException.FromErrno($"open a packet socket in {ns}");
        var one = 1;
        _ = Libc.setsockopt(fd, Libc.SOL_SOCKET, Libc.SO_RCVBUFFORCE, &bufferBytes, sizeof(int));
        _ = Libc.setsockopt(fd, Libc.SOL_SOCKET, Libc.SO_TIMESTAMPNS, &one, sizeof(int));
        var address = stackalloc byte[SockaddrLength];
        new Span<byte>(address, SockaddrLength).Clear();
        *(ushort*)address = Libc.AF_PACKET;
        address[2] = 0;
        address[3] = (byte)ETH_P_ALL; // network byte order
        *(int*)(address + 4) = (int)index;
        if (Libc.bind(fd, address, SockaddrLength) == 0)
            return fd;
        var failure = KernelException.FromErrno($"capture {device} in {ns}");
        _ = Libc.close(fd);
        throw failure;
    }
}
