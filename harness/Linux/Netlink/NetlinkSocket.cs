using System.Buffers.Binary;
using System.Runtime.InteropServices;
using Conformance.Linux.Interop;
using Conformance.Linux.Namespaces;

namespace Conformance.Linux.Netlink;

/// <summary>Netlink protocols (linux/netlink.h).</summary>
public enum NetlinkProtocol
{
    /// <summary>rtnetlink(7).</summary>
    Route = 0,

    /// <summary>nfnetlink: ipset, conntrack, log.</summary>
    Netfilter = 12,

    /// <summary>Generic netlink: IPVS.</summary>
    Generic = 16,
}

/// <summary>
/// A netlink socket in a namespace. Requests are answered synchronously; several go out in one send. Safe to use
/// from several threads. Source: netlink(7).
/// </summary>
public sealed class NetlinkSocket : IDisposable
{
    private const ushort NLMSG_ERROR = 2;
    private const ushort NLMSG_DONE = 3;
    private const ushort NLM_F_CAPPED = 0x100;
    private const ushort NLM_F_ACK_TLVS = 0x200;
    private const ushort NLMSGERR_ATTR_MSG = 1;
    private const int EINTR = 4;
    private const int EAGAIN = 11;
    private const int DumpTries = 10;
    private const int AtATime = 100;

    private readonly Lock _lock = new();
    private readonly string _where;
    private readonly byte[] _receiveBuffer = new byte[64 * 1024];
    private int _fd;
    private uint _sequence;

    /// <summary>Opens a socket in a namespace.</summary>
    /// <exception cref="KernelException">The kernel has no such protocol (EPROTONOSUPPORT).</exception>
    public unsafe NetlinkSocket(NetworkNamespace ns, NetlinkProtocol protocol)
    {
        _where = ns.Name;
        _fd = ns.Run(() => Libc.socket(Libc.AF_NETLINK, Libc.SOCK_RAW | Libc.SOCK_CLOEXEC, (int)protocol));
        if (_fd < 0)
            throw KernelException.FromErrno($"open a netlink socket ({protocol}) in {ns}");
        var one = 1;
        _ = Libc.setsockopt(_fd, Libc.SOL_NETLINK, Libc.NETLINK_EXT_ACK, &one, sizeof(int));
        var address = stackalloc byte[12];
        new Span<byte>(address, 12).Clear();
        *(ushort*)address = Libc.AF_NETLINK;
        if (Libc.bind(_fd, address, 12) != 0)
        {
            var failure = KernelException.FromErrno($"bind a netlink socket in {ns}");
            _ = Libc.close(_fd);
            throw failure;
        }
    }

    /// <summary>Carries out requests in order, sent together; each must be acknowledged.</summary>
    /// <exception cref="KernelException">Names the first operation that failed, with the kernel's own explanation. Later requests have been
    /// carried out all the same.</exception>
    public void Execute(params IEnumerable<(string Operation, NetlinkRequest Request)> requests)
    {
        if (TryExecute(requests.Select(r => ((FormattableString)$"{r.Operation}", r.Request))) is [var failure, ..])
            throw failure.Error;
    }

    /// <summary>
    /// Carries out requests in order, a hundred at a time, so that their errors fit into the socket's buffer. The kernel tells
    /// every error, but of success only the last one's of each hundred: reading an answer for each would take longer than the work.
    /// </summary>
    /// <param name="requests">With what each is for, which is put into words only when it fails.</param>
    /// <returns>The requests that failed, by their number, with the reason.</returns>
    public IReadOnlyList<(int Index, KernelException Error)> TryExecute(
        IEnumerable<(FormattableString Operation, NetlinkRequest Request)> requests)
    {
        var failures = new List<(int, KernelException)>();
        var done = 0;
        lock (_lock)
        {
            using var batch = new MemoryStream();
            foreach (var chunk in requests.Chunk(AtATime))
            {
                var first = _sequence + 1;
                var last = _sequence + (uint)chunk.Length;
                batch.SetLength(0);
                foreach (var (_, request) in chunk)
                    batch.Write(request.Finish(++_sequence, _sequence == last ? NetlinkFlags.Ack : NetlinkFlags.None));
                Send(batch.GetBuffer().AsSpan(0, (int)batch.Length), chunk[0].Operation);
                for (var isOpen = true; isOpen;)
                {
                    foreach (var message in Receive(chunk[0].Operation).Where(m => m.Type == NLMSG_ERROR && m.Sequence >= first))
                    {
                        isOpen &= message.Sequence != last;
                        var index = (int)(message.Sequence - first);
                        if (ErrorOf(message, chunk[index].Operation) is { } error)
                            failures.Add((done + index, error));
                    }
                }
                done += chunk.Length;
            }
        }
        return failures;
    }

    /// <summary>Asks one question and returns the messages of its answer.</summary>
    /// <exception cref="KernelException">Names the operation, with the kernel's own explanation.</exception>
    public IReadOnlyList<NetlinkMessage> Query(string name, NetlinkRequest request)
    {
        lock (_lock)
        {
            var sequence = ++_sequence;
            FormattableString operation = $"{name}";
            Send(request.Finish(sequence, NetlinkFlags.Ack), operation);
            var answer = new List<NetlinkMessage>();
            while (true)
            {
                foreach (var message in Receive(operation).Where(m => m.Sequence == sequence))
                {
                    if (message.Type != NLMSG_ERROR)
                        answer.Add(message);
                    else
                        return ErrorOf(message, operation) is { } error ? throw error : answer;
                }
            }
        }
    }

    /// <summary>Reads a table. A dump that the kernel marks as interrupted by a change is read again.</summary>
    public IReadOnlyList<NetlinkMessage> Dump(string operation, Func<NetlinkRequest> request)
    {
        lock (_lock)
        {
            for (var attempt = 0; attempt < DumpTries; attempt++)
            {
                if (TryDump(operation, request()) is { } answer)
                    return answer;
            }
            throw new KernelException($"{operation} in {_where}", EINTR, $"the table changed during each of {DumpTries} dumps");
        }
    }

    /// <summary>Joins a multicast group; then <see cref="TryReceive"/> yields what the kernel announces.</summary>
    public unsafe void Join(int group)
    {
        if (Libc.setsockopt(_fd, Libc.SOL_NETLINK, Libc.NETLINK_ADD_MEMBERSHIP, &group, sizeof(int)) != 0)
            throw KernelException.FromErrno($"join netlink group {group} in {_where}");
    }

    /// <summary>The messages that have arrived and not been read; none when there are none.</summary>
    public IReadOnlyList<NetlinkMessage> TryReceive()
    {
        lock (_lock)
        {
            var all = new List<NetlinkMessage>();
            while (ReceiveOnce(Libc.MSG_DONTWAIT) is { } messages)
                all.AddRange(messages);
            return all;
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        var fd = Interlocked.Exchange(ref _fd, -1);
        if (fd >= 0)
            _ = Libc.close(fd);
    }

    private List<NetlinkMessage>? TryDump(string name, NetlinkRequest request)
    {
        FormattableString operation = $"{name}";
        var sequence = ++_sequence;
        Send(request.Finish(sequence, NetlinkFlags.Dump), operation);
        var answer = new List<NetlinkMessage>();
        var interrupted = false;
        while (true)
        {
            foreach (var message in Receive(operation))
            {
                if (message.Sequence != sequence)
                    continue;
                interrupted |= message.Flags.HasFlag(NetlinkFlags.DumpInterrupted);
                // The end of a dump carries the error that broke it off, where one did.
                if ((message.Type == NLMSG_ERROR || (message.Type == NLMSG_DONE && message.Payload.Length >= sizeof(int)))
                    && ErrorOf(message, operation) is { } error)
                    throw error;
                if (message.Type == NLMSG_DONE)
                    return interrupted ? null : answer;
                answer.Add(message);
            }
        }
    }

    private unsafe void Send(ReadOnlySpan<byte> bytes, FormattableString operation)
    {
        fixed (byte* pointer = bytes)
        {
            if (Libc.send(_fd, pointer, (nuint)bytes.Length, 0) < 0)
                throw KernelException.FromErrno(FormattableString.Invariant($"{operation} in {_where}"));
        }
    }

    private List<NetlinkMessage> Receive(FormattableString operation) =>
        ReceiveOnce(0) ?? throw KernelException.FromErrno(FormattableString.Invariant($"{operation} in {_where}: read the answer"));

    private unsafe List<NetlinkMessage>? ReceiveOnce(int flags)
    {
        nint received;
        do
        {
            fixed (byte* pointer = _receiveBuffer)
                received = Libc.recv(_fd, pointer, (nuint)_receiveBuffer.Length, flags);
        } while (received < 0 && Marshal.GetLastPInvokeError() == EINTR);
        if (received < 0)
            return Marshal.GetLastPInvokeError() == EAGAIN ? null : throw KernelException.FromErrno($"receive from netlink in {_where}");

        var messages = new List<NetlinkMessage>();
        var rest = new ReadOnlyMemory<byte>(_receiveBuffer.AsSpan(0, (int)received).ToArray());
        while (rest.Length >= NetlinkRequest.HeaderLength)
        {
            var header = rest.Span;
            var length = (int)BinaryPrimitives.ReadUInt32LittleEndian(header);
            if (length < NetlinkRequest.HeaderLength || length > rest.Length)
                break;
            messages.Add(new NetlinkMessage(
                BinaryPrimitives.ReadUInt16LittleEndian(header[4..]),
                (NetlinkFlags)BinaryPrimitives.ReadUInt16LittleEndian(header[6..]),
                BinaryPrimitives.ReadUInt32LittleEndian(header[8..]),
                rest[NetlinkRequest.HeaderLength..length]));
            rest = rest[Math.Min((length + 3) & ~3, rest.Length)..];
        }
        return messages;
    }

    private KernelException? ErrorOf(NetlinkMessage message, FormattableString operation)
    {
        var errno = -BinaryPrimitives.ReadInt32LittleEndian(message.Payload.Span);
        if (errno == 0)
            return null;
        string? explanation = null;
        if (((ushort)message.Flags & NLM_F_ACK_TLVS) != 0)
        {
            // struct nlmsgerr: the error, then the header of the request, then the request itself unless capped.
            var quoted = (int)BinaryPrimitives.ReadUInt32LittleEndian(message.Payload.Span[4..]);
            var offset = 4 + (((ushort)message.Flags & NLM_F_CAPPED) != 0 ? NetlinkRequest.HeaderLength : (quoted + 3) & ~3);
            if (offset < message.Payload.Length)
                explanation = new NetlinkAttributes(message.Payload[offset..]).Text(NLMSGERR_ATTR_MSG);
        }
        return new KernelException(FormattableString.Invariant($"{operation} in {_where}"), errno, explanation);
    }
}
