using System.Buffers;
using System.Collections.Concurrent;
using System.Net;
using System.Net.Sockets;
using System.Text;
using Conformance.Linux;
using Conformance.Linux.Sockets;

namespace Conformance.Labs;

/// <summary>
/// What our servers say: a line with the server's node and the client's address and port as the server saw them.
/// After that a TCP server sends back whatever it is sent. Two words make it close the connection first.
/// </summary>
public static class Dialogue
{
    private const int LargeQuestion = 1000;

    /// <summary>The server closes in an orderly way (FIN).</summary>
    public const string PleaseClose = "!close\n";

    /// <summary>The server resets the connection (RST).</summary>
    public const string PleaseReset = "!reset\n";

    /// <summary>The answer to a large question is as large, so that fragments travel in both directions.</summary>
    internal static byte[] Greeting(Node node, IPEndPoint peer, int questionLength = 0) =>
        Encoding.ASCII.GetBytes($"{node.Name} {peer}".PadRight(questionLength > LargeQuestion ? questionLength - 1 : 0) + "\n");
}

/// <summary>A server on a port of a node: sockets of this process, made in the node's namespace.</summary>
public abstract class Server(Node node, TransportProtocol protocol, int port, IPAddress? address) : IAsyncDisposable
{
    /// <summary>The node that it serves on.</summary>
    public Node Node { get; } = node;

    /// <summary>The protocol that it serves.</summary>
    public TransportProtocol Protocol { get; } = protocol;

    /// <summary>The port that it serves.</summary>
    public int Port { get; } = port;

    /// <summary>The clients that were served, as the server saw them, oldest first.</summary>
    public IReadOnlyList<IPEndPoint> Peers => [.. SeenPeers];

    /// <summary>An IPv4 client of a socket for both families, without the prefix ::ffff:.</summary>
    protected static IPEndPoint Plain(EndPoint peer) => (IPEndPoint)peer is { Address.IsIPv4MappedToIPv6: true } mapped
        ? new IPEndPoint(mapped.Address.MapToIPv4(), mapped.Port) : (IPEndPoint)peer;

    /// <summary>The clients so far, oldest first.</summary>
    protected ConcurrentQueue<IPEndPoint> SeenPeers { get; } = new();

    /// <inheritdoc/>
    public abstract ValueTask DisposeAsync();

    /// <summary>Any address of the families that the node has.</summary>
    protected IPAddress AnyAddress => Node.Spec.Interfaces.SelectMany(i => i.Addresses)
        .Any(a => a.AddressFamily == AddressFamily.InterNetworkV6) ? IPAddress.IPv6Any : IPAddress.Any;

    /// <summary>A socket in the node's namespace, bound to the port on every address, or on the server's own.</summary>
    /// <exception cref="HarnessException">The port is in use.</exception>
    protected Socket Bind()
    {
        var local = new IPEndPoint(address ?? AnyAddress, Port);
        return Node.Namespace.Run(() =>
        {
            var socket = TransportSocket.Create(Protocol, local.AddressFamily);
            try
            {
                if (local.AddressFamily == AddressFamily.InterNetworkV6 && address is null)
                    socket.DualMode = true;
                socket.Bind(local);
                return socket;
            }
            catch (SocketException e)
            {
                socket.Dispose();
                throw new HarnessException(
                    $"{Node.Name} cannot serve {Protocol.Name()}/{Port}.", e.Message, "The server was not started.",
                    e.SocketErrorCode == SocketError.AddressAlreadyInUse ? "Something in the node has this port already: choose another."
                    : "See the evidence.");
            }
        });
    }
}

/// <summary>A server of TCP, or of SCTP, whose sockets are used alike.</summary>
internal sealed class StreamServer : Server
{
    private const int Backlog = 4096;
    private readonly Socket _listener;
    private readonly ConcurrentDictionary<Socket, bool> _open = new();
    private readonly Task _accepting;

    internal StreamServer(Node node, TransportProtocol protocol, int port, IPAddress? address) : base(node, protocol, port, address)
    {
        _listener = Bind();
        _listener.Listen(Backlog);
        _accepting = AcceptAsync();
    }

    public override async ValueTask DisposeAsync()
    {
        _listener.Dispose();
        await _accepting;
        foreach (var socket in _open.Keys)
            socket.Dispose();
    }

    private async Task AcceptAsync()
    {
        while (true)
        {
            Socket socket;
            try
            {
                socket = await _listener.AcceptAsync();
            }
            catch (ObjectDisposedException)
            {
                return;
            }
            catch (SocketException e) when (
                e.SocketErrorCode is SocketError.OperationAborted or SocketError.Interrupted or SocketError.NotSocket
                    or SocketError.InvalidArgument)
            {
                return; // the listener was closed
            }
            catch (SocketException)
            {
                continue; // this one connection failed, or descriptors are short for a while
            }
            _ = ServeAsync(socket);
        }
    }

    private async Task ServeAsync(Socket socket)
    {
        _open[socket] = true;
        var buffer = ArrayPool<byte>.Shared.Rent(16 * 1024);
        try
        {
            var peer = Plain(socket.RemoteEndPoint!);
            SeenPeers.Enqueue(peer);
            if (Node.Lab.AnswersHttp && Protocol == TransportProtocol.Tcp
                && await HttpAnswer.TryAsync(socket, Dialogue.Greeting(Node, peer)))
                return;
            await socket.SendAsync(Dialogue.Greeting(Node, peer));
            int count;
            while ((count = await socket.ReceiveAsync(buffer)) > 0)
            {
                if (count == Dialogue.PleaseClose.Length && buffer[0] == '!')
                {
                    if (Encoding.ASCII.GetString(buffer, 0, count) == Dialogue.PleaseReset)
                        socket.LingerState = new LingerOption(true, 0);
                    return;
                }
                for (var sent = 0; sent < count;)
                    sent += await socket.SendAsync(buffer.AsMemory(sent, count - sent));
            }
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException)
        {
            // The client closed the connection.
        }
        finally
        {
            socket.Dispose();
            _open.TryRemove(socket, out _);
            ArrayPool<byte>.Shared.Return(buffer);
        }
    }
}

internal sealed class UdpServer : Server
{
    private readonly Socket _socket;
    private readonly Task _serving;

    internal UdpServer(Node node, int port, IPAddress? address) : base(node, TransportProtocol.Udp, port, address)
    {
        _socket = Bind();
        _serving = ServeAsync();
    }

    public override async ValueTask DisposeAsync()
    {
        _socket.Dispose();
        await _serving;
    }

    private async Task ServeAsync()
    {
        var buffer = new byte[16 * 1024];
        var any = TransportSocket.Any(_socket.AddressFamily);
        while (true)
        {
            try
            {
                var question = await _socket.ReceiveFromAsync(buffer, any);
                var peer = Plain(question.RemoteEndPoint);
                SeenPeers.Enqueue(peer);
                await _socket.SendToAsync(Dialogue.Greeting(Node, peer, question.ReceivedBytes), question.RemoteEndPoint);
            }
            catch (ObjectDisposedException)
            {
                return;
            }
            catch (SocketException e)
            {
                if (e.SocketErrorCode is SocketError.OperationAborted or SocketError.Interrupted or SocketError.NotSocket)
                    return;
                // An ICMP error about an earlier answer: the next question is served all the same.
            }
        }
    }
}
