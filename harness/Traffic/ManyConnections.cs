using System.Net;
using System.Net.Sockets;
using System.Text;
using Conformance.Labs;
using Conformance.Labs.Waiting;
using Conformance.Linux;
using Conformance.Linux.Sockets;

namespace Conformance.Traffic;

/// <summary>
/// Many TCP connections from a node to one target. Their sockets block, and one thread has them all: the path is so short that
/// connect() hardly ever waits, and every hand-over between threads that asynchronous sockets need would cost more than the connection.
/// </summary>
/// <param name="conclude">Called with the connection that was not answered, before its socket is closed, unless the time is up.</param>
internal sealed class ManyConnections(Node node, IPEndPoint target, Action<Flow> conclude)
{
    private const int AtATime = 50;
    private readonly Dictionary<string, int> _answers = new(StringComparer.Ordinal);

    /// <summary>The number of answers of each server.</summary>
    internal IReadOnlyDictionary<string, int> Answers => _answers;

    /// <returns>The first connection that was not answered, which ends it; null where each was.</returns>
    internal Flow? Run(int count)
    {
        Flow? unanswered = null;
        for (var done = 0; done < count && unanswered is null; done += AtATime)
            unanswered = AskRound(Math.Min(AtATime, count - done));
        return unanswered;
    }

    /// <summary>Opens connections all at once, then hears and resets each.</summary>
    private Flow? AskRound(int count)
    {
        var since = DateTime.UtcNow;
        var sockets = node.Namespace.Run(() => Enumerable.Range(0, count).Select(_ => CreateSocket()).ToList());
        using var limit = new Patience(Timeouts.Answer);
        using var end = limit.Token.Register(Close); // which ends a call that blocks
        var asked = (IPEndPoint)sockets[0].LocalEndPoint!;
        var areConnected = false;
        try
        {
            foreach (var socket in sockets)
            {
                asked = (IPEndPoint)socket.LocalEndPoint!;
                socket.LingerState = new LingerOption(true, 0);
                socket.Connect(target);
            }
            areConnected = true;
            var buffer = new byte[Answer.MaxLength];
            foreach (var socket in sockets)
            {
                asked = (IPEndPoint)socket.LocalEndPoint!;
                if (Answer.Parse(Encoding.ASCII.GetString(buffer, 0, socket.Receive(buffer))) is not { Server: { } server })
                    return Unanswered(error: null);
                _answers[server] = _answers.GetValueOrDefault(server) + 1;
            }
            return null;
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException)
        {
            return Unanswered((e as SocketException)?.SocketErrorCode);
        }
        finally
        {
            Close();
        }

        void Close()
        {
            foreach (var socket in sockets)
                socket.Dispose();
        }

        Flow Unanswered(SocketError? error)
        {
            var flow = new Flow(node, TransportProtocol.Tcp, asked, target, since)
            {
                WasEstablished = areConnected,
                GaveUp = limit.Token.IsCancellationRequested,
                Error = error,
            };
            conclude(flow);
            return flow;
        }
    }

    /// <summary>
    /// A socket with a port that no other of the node has. connect(2) would give it one that another socket has for another target. IPVS
    /// knows a reply by client and real server alone (ip_vs_conn_out_get): where two such connections meet at one real server, one is
    /// answered from the other's virtual address.
    /// </summary>
    private Socket CreateSocket()
    {
        var socket = TransportSocket.Create(TransportProtocol.Tcp, target.AddressFamily);
        socket.Bind(TransportSocket.Any(target.AddressFamily));
        return socket;
    }
}
