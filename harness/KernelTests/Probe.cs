using System.Net;
using System.Net.Sockets;
using System.Text;
using Conformance.Labs;
using Conformance.Linux;
using Conformance.Linux.Sockets;
using Conformance.Traffic;

namespace Conformance.KernelTests;

/// <summary>
/// A connection to a server of the harness, or questions to it from one UDP port, where thousands are asked: no flow is kept.
/// </summary>
internal sealed class Probe : IDisposable
{
    private readonly Socket _socket;
    private readonly bool _isStream;
    private int _questions;

    private Probe(Socket socket, bool isStream, Answer answer) => (_socket, _isStream, Answer) = (socket, isStream, answer);

    /// <summary>Who answered the first question, and the client's address as that server saw it.</summary>
    internal Answer Answer { get; }

    /// <summary>Connects and hears the server's greeting; over UDP, asks once.</summary>
    /// <param name="limit">Until the greeting must be there.</param>
    /// <param name="sourcePort">A port of its own; 0 lets the kernel choose.</param>
    /// <exception cref="SocketException">Nobody listens, or a rule refuses or drops the packet on the client itself.</exception>
    /// <exception cref="OperationCanceledException">No answer in time.</exception>
    internal static async Task<Probe> OpenAsync(Node from, TransportProtocol protocol, IPEndPoint target, TimeSpan limit,
        int sourcePort = 0)
    {
        var isStream = protocol != TransportProtocol.Udp;
        var socket = from.Namespace.Run(() => TransportSocket.Create(protocol, target.AddressFamily));
        try
        {
            using var end = new CancellationTokenSource(limit);
            if (sourcePort != 0)
                socket.Bind(TransportSocket.Any(target.AddressFamily, sourcePort));
            await socket.ConnectAsync(target, end.Token);
            // Not before: SCTP would send an ABORT where nobody answers.
            if (isStream)
                socket.LingerState = new LingerOption(true, 0);
            else
                await socket.SendAsync("question\n"u8.ToArray(), end.Token);
            var words = (await ReadAsync(socket, end.Token)).Trim().Split(' ');
            if (words.Length != 2)
                throw new SocketException((int)SocketError.ConnectionReset); // closed before the greeting
            return new Probe(socket, isStream, new Answer(words[0], IPEndPoint.Parse(words[1])));
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }

    /// <summary>
    /// Sends another packet. A server of TCP or SCTP sends it back; a UDP server says again who it is and whom it sees.
    /// </summary>
    /// <returns>Whether the same server answered in time, and sees the same client.</returns>
    internal async Task<bool> GoesOnAsync(TimeSpan limit)
    {
        try
        {
            using var end = new CancellationTokenSource(limit);
            var question = $"question {++_questions}\n";
            await _socket.SendAsync(Encoding.ASCII.GetBytes(question), end.Token);
            var answer = await ReadAsync(_socket, end.Token);
            return answer == (_isStream ? question : $"{Answer.Server} {Answer.SeenPeer}\n");
        }
        catch (Exception e) when (e is SocketException or OperationCanceledException)
        {
            return false;
        }
    }

    public void Dispose() => _socket.Dispose();

    private static async Task<string> ReadAsync(Socket socket, CancellationToken cancellationToken)
    {
        var buffer = new byte[Answer.MaxLength];
        return Encoding.ASCII.GetString(buffer, 0, await socket.ReceiveAsync(buffer, cancellationToken));
    }
}
