using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text;
using Conformance.Labs;
using Conformance.Labs.Waiting;
using Conformance.Linux;
using Conformance.Linux.Sockets;
using Conformance.Packets;

namespace Conformance.Traffic;

/// <summary>Starts flows from a node. Every socket is one of this process, made in the node's namespace.</summary>
internal sealed class Client : IAsyncDisposable
{
    private readonly Node _node;
    private readonly List<Flow> _flows = [];
    private readonly Lock _lock = new();
    private int _nextIdentifier;

    internal Client(Node node) => _node = node;

    /// <summary>The flows of this client that are kept for the record, oldest first.</summary>
    internal IReadOnlyList<Flow> Flows
    {
        get
        {
            lock (_lock)
                return [.. _flows];
        }
    }

    /// <summary>Opens a TCP connection, hears the server's greeting, and holds the connection open.</summary>
    /// <param name="target"><c>ADDRESS:PORT</c> or <c>NODE:PORT</c>.</param>
    /// <param name="sourcePort">A fixed source port; 0 lets the kernel choose.</param>
    internal Task<Flow> ConnectAsync(string target, int sourcePort) =>
        ConnectAsync(TransportProtocol.Tcp, target, sourcePort, ReadLineAsync);

    /// <param name="hear">How the server's answer is got out of a connection that stands.</param>
    private async Task<Flow> ConnectAsync(TransportProtocol protocol, string target, int sourcePort,
        Func<Socket, CancellationToken, Task<string?>> hear)
    {
        var remote = _node.Lab.Resolve(target);
        var since = DateTime.UtcNow;
        var socket = Bind(remote, protocol, sourcePort);
        var local = (IPEndPoint)socket.LocalEndPoint!;
        var (established, gaveUp) = (false, false);
        SocketError? error = null;
        string? greeting = null;
        try
        {
            using (var limit = new Patience(Timeouts.Silence))
                await socket.ConnectAsync(remote, limit.Token);
            established = true;
            local = (IPEndPoint)socket.LocalEndPoint!;
            using (var limit = new Patience(Timeouts.Answer))
                greeting = await hear(socket, limit.Token);
        }
        catch (SocketException e)
        {
            error = e.SocketErrorCode; // what it really was is read off the wire
        }
        catch (OperationCanceledException)
        {
            gaveUp = true;
        }
        var flow = new Flow(_node, protocol, local, remote, since) { WasEstablished = established, GaveUp = gaveUp, Error = error };
        Conclude(flow, greeting, established);
        Remember(flow);
        if (flow.Answer is not null)
        {
            flow.Hold(socket);
            return flow;
        }
        socket.Dispose();
        if (!established && protocol == TransportProtocol.Tcp)
            await flow.SocketClosedAsync();
        return flow;
    }

    /// <summary>Opens a TCP connection, hears the greeting, and closes it first.</summary>
    internal async Task<Flow> AskAsync(string target, int sourcePort)
    {
        var flow = await ConnectAsync(target, sourcePort);
        if (flow.IsOpen)
            flow.CloseFailure = await flow.TryCloseAsync();
        return flow;
    }

    /// <summary>Opens an SCTP association, hears the greeting, and holds it open.</summary>
    internal Task<Flow> ConnectSctpAsync(string target) => ConnectAsync(TransportProtocol.Sctp, target, sourcePort: 0, ReadLineAsync);

    /// <summary>Opens an SCTP association, hears the greeting, and lets the kernel shut it down.</summary>
    internal async Task<Flow> AskSctpAsync(string target)
    {
        var flow = await ConnectSctpAsync(target);
        await flow.DisposeAsync();
        return flow;
    }

    /// <summary>Sends an HTTP request (GET /) and takes the body of the reply, a line as our servers greet with, for the answer.</summary>
    internal async Task<Flow> AskHttpAsync(string target, int sourcePort)
    {
        var flow = await ConnectAsync(TransportProtocol.Tcp, target, sourcePort, async (socket, limit) =>
        {
            await socket.SendAsync(Encoding.ASCII.GetBytes($"GET / HTTP/1.0\r\nHost: {target}\r\n\r\n"), limit);
            using var reply = new StreamReader(new NetworkStream(socket, ownsSocket: false), Encoding.ASCII);
            return (await reply.ReadToEndAsync(limit)).Split("\r\n\r\n") is [_, var body] ? body : null;
        });
        if (flow.IsOpen)
            flow.CloseFailure = await flow.TryCloseAsync();
        return flow;
    }

    /// <summary>
    /// Opens many TCP connections, some at a time, hears each greeting and closes with a reset. For load and for
    /// distributions: no flow is kept, so there are no stories, but of the first connection without an answer, which ends it.
    /// </summary>
    /// <returns>The number of answers of each server, and the connection without an answer, if there was one.</returns>
    internal async Task<(IReadOnlyDictionary<string, int> Answers, Flow? Unanswered)> CountAnswersAsync(string target, int count)
    {
        var connections = new ManyConnections(_node, _node.Lab.Resolve(target), unanswered =>
        {
            Conclude(unanswered, greeting: null, unanswered.WasEstablished);
            Remember(unanswered);
        });
        // A thread of its own: the servers that must answer run on those of the pool.
        var unanswered = await Task.Factory.StartNew(() => connections.Run(count), CancellationToken.None, TaskCreationOptions.LongRunning,
            TaskScheduler.Default);
        return (connections.Answers, unanswered);
    }

    /// <summary>Sends one UDP datagram and waits for one answer.</summary>
    /// <param name="size">The bytes of the datagram; 0 for a short one.</param>
    internal async Task<Flow> AskUdpAsync(string target, int sourcePort, int size)
    {
        var remote = _node.Lab.Resolve(target);
        var since = DateTime.UtcNow;
        var socket = Bind(remote, TransportProtocol.Udp, sourcePort);
        string? answer = null;
        SocketError? error = null;
        try
        {
            await socket.ConnectAsync(remote);
            await socket.SendAsync(Encoding.ASCII.GetBytes($"question {Guid.NewGuid():N}".PadRight(size)));
            using var limit = new Patience(Timeouts.Silence);
            answer = await ReadLineAsync(socket, Math.Max(size, Answer.MaxLength), limit.Token);
        }
        catch (Exception e) when (e is SocketException or OperationCanceledException)
        {
            error = (e as SocketException)?.SocketErrorCode; // what it really was is read off the wire
        }
        var flow = new Flow(_node, TransportProtocol.Udp, (IPEndPoint)socket.LocalEndPoint!, remote, since) { Error = error };
        socket.Dispose();
        // A question that was given up is let go a little later, as that of a connection.
        if (sourcePort != 0)
            await Eventually.Async($"the socket on port {sourcePort} is closed", () => ListeningSockets.Udp(_node.Namespace),
                ports => !ports.Contains(sourcePort));
        Conclude(flow, answer, established: false);
        return Remember(flow);
    }

    /// <summary>Sends one ICMP echo request (IPv4) and waits for the reply.</summary>
    internal async Task<Flow> PingAsync(string target)
    {
        var remote = _node.Lab.Resolve(target);
        var since = DateTime.UtcNow;
        var identifier = (ushort)Interlocked.Increment(ref _nextIdentifier);
        var request = IcmpEcho.Request(identifier);
        using var socket = _node.Namespace.Run(() => new Socket(AddressFamily.InterNetwork, SocketType.Raw, ProtocolType.Icmp));
        var flow = new Flow(_node, TransportProtocol.Icmp, new IPEndPoint(IPAddress.Any, 0), remote, since);
        try
        {
            await socket.ConnectAsync(remote);
            await socket.SendAsync(request);
            using var limit = new Patience(Timeouts.Silence);
            var buffer = new byte[512];
            while (true)
            {
                var count = await socket.ReceiveAsync(buffer, limit.Token);
                if (IcmpEcho.IsReplyTo(buffer.AsSpan(0, count), identifier))
                {
                    flow.Outcome = new Outcome(OutcomeKind.Answered, _node.Lab.OwnerOf(remote.Address)?.Name, remote.Address);
                    break;
                }
            }
        }
        catch (Exception e) when (e is SocketException or OperationCanceledException)
        {
            flow.Outcome = Classifier.Classify(flow.ReadStory(), _node.Name, flow.Local, remote, wasEstablished: false);
        }
        return Remember(flow);
    }

    public async ValueTask DisposeAsync()
    {
        foreach (var flow in Flows)
            await flow.DisposeAsync();
    }

    private static void Conclude(Flow flow, string? greeting, bool established)
    {
        // A socket that was never connected does not know its address; the wire does.
        if (flow.Local.Address.Equals(TransportSocket.Any(flow.Local.AddressFamily).Address)
            && flow.ReadStory().Steps is [{ Packet.Source: { } source }, ..])
            flow.Local = source;
        flow.Answer = greeting is null ? null : Answer.Parse(greeting);
        flow.Outcome = flow.Answer is { } answer
            ? new Outcome(OutcomeKind.Answered, answer.Server, flow.Target.Address)
            : Classifier.Classify(flow.ReadStory(), flow.From.Name, flow.Local, flow.Target, established) with { Error = flow.Error };
    }

    private static Task<string?> ReadLineAsync(Socket socket, CancellationToken cancellationToken) =>
        ReadLineAsync(socket, Answer.MaxLength, cancellationToken);

    private static async Task<string?> ReadLineAsync(Socket socket, int maxLength, CancellationToken cancellationToken)
    {
        var buffer = new byte[maxLength];
        var length = 0;
        while (length < buffer.Length)
        {
            var count = await socket.ReceiveAsync(buffer.AsMemory(length), cancellationToken);
            if (count == 0)
                return null;
            length += count;
            if (buffer[length - 1] == '\n')
                return Encoding.ASCII.GetString(buffer, 0, length);
        }
        return null;
    }

    /// <summary>A socket bound before it is used, so that the flow's port is known even when nothing comes of it.</summary>
    private Socket Bind(IPEndPoint remote, TransportProtocol protocol, int sourcePort) => _node.Namespace.Run(() =>
    {
        var socket = TransportSocket.Create(protocol, remote.AddressFamily);
        try
        {
            if (sourcePort != 0 && protocol == TransportProtocol.Tcp)
                socket.SetSocketOption(SocketOptionLevel.Socket, SocketOptionName.ReuseAddress, true);
            socket.Bind(TransportSocket.Any(remote.AddressFamily, sourcePort));
            return socket;
        }
        catch (SocketException e)
        {
            socket.Dispose();
            throw new HarnessException(
                string.Create(CultureInfo.InvariantCulture, $"{_node.Name} cannot use the source port {sourcePort}."),
                e.Message, "The flow was not started.", "Choose a port that no other flow of the node uses.");
        }
    });

    private Flow Remember(Flow flow)
    {
        lock (_lock)
            _flows.Add(flow);
        _node.Lab.Note(_node, flow.ToString());
        return flow;
    }
}
