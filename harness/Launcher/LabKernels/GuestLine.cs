using System.Buffers.Binary;
using System.Globalization;
using System.Text;
using System.Threading.Channels;
using Conformance.Linux;

namespace Conformance.Launcher.LabKernels;

/// <summary>One frame of the serial line between launcher and guest; the types are listed in guest-init.pl.</summary>
internal readonly record struct Frame(char Type, ReadOnlyMemory<byte> Payload)
{
    internal string Text => Encoding.UTF8.GetString(Payload.Span);
}

/// <summary>
/// Speaks frames with the guest. Writing queues; a single writer keeps frames whole. Streams of bytes (input, relay)
/// are sent only as fast as the guest says that it has taken them: its serial line holds 4 KiB, and what a command
/// does not read stays here.
/// </summary>
internal sealed class GuestLine(Stream toGuest, Stream fromGuest) : IDisposable
{
    private const int Window = 3072;

    private readonly Channel<Frame> _outgoing = Channel.CreateBounded<Frame>(64);
    private readonly SemaphoreSlim _mayStream = new(Window);

    public void Dispose() => _mayStream.Dispose();

    internal ValueTask SendAsync(char type, ReadOnlyMemory<byte> payload) => _outgoing.Writer.WriteAsync(new Frame(type, payload));

    internal ValueTask SendAsync(char type, string payload) => SendAsync(type, Encoding.ASCII.GetBytes(payload));

    /// <summary>Sends a stream to its end, and then an empty frame.</summary>
    internal async Task SendAllAsync(char type, Stream source, CancellationToken cancellationToken)
    {
        var buffer = new byte[Window];
        int count;
        while ((count = await source.ReadAsync(buffer, cancellationToken)) > 0)
        {
            for (var i = 0; i < count; i++)
                await _mayStream.WaitAsync(cancellationToken);
            await SendAsync(type, buffer.AsMemory(0, count).ToArray());
        }
        await SendAsync(type, ReadOnlyMemory<byte>.Empty);
    }

    /// <summary>Writes what was queued until the guest is gone.</summary>
    internal async Task PumpAsync(CancellationToken cancellationToken)
    {
        try
        {
            await foreach (var frame in _outgoing.Reader.ReadAllAsync(cancellationToken))
            {
                var bytes = new byte[3 + frame.Payload.Length];
                bytes[0] = (byte)frame.Type;
                BinaryPrimitives.WriteUInt16BigEndian(bytes.AsSpan(1), (ushort)frame.Payload.Length);
                frame.Payload.CopyTo(bytes.AsMemory(3));
                await toGuest.WriteAsync(bytes, cancellationToken);
                await toGuest.FlushAsync(cancellationToken);
            }
        }
        catch (Exception e) when (e is IOException or OperationCanceledException)
        {
            // The guest has gone; its exit tells why.
        }
    }

    /// <summary>The guest's frames, until it is gone.</summary>
    internal async IAsyncEnumerable<Frame> ReadAsync()
    {
        var header = new byte[3];
        while (await fromGuest.ReadAtLeastAsync(header, header.Length, throwOnEndOfStream: false) == header.Length)
        {
            var payload = new byte[BinaryPrimitives.ReadUInt16BigEndian(header.AsSpan(1))];
            if (await fromGuest.ReadAtLeastAsync(payload, payload.Length, throwOnEndOfStream: false) < payload.Length)
                yield break;
            var frame = new Frame((char)header[0], payload);
            if (frame.Type == 'A')
                _mayStream.Release(int.Parse(frame.Text, CultureInfo.InvariantCulture));
            else
                yield return frame;
        }
    }
}
