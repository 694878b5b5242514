using System.Collections.Concurrent;
using System.Net;
using System.Net.Sockets;
using System.Text;
using Conformance.Labs;
using Conformance.Labs.Waiting;
using Conformance.Linux;
using Conformance.Linux.Sockets;
using Conformance.Traffic.Stories;
using Shouldly;

namespace Conformance.Traffic;

/// <summary>One probe and what came of it. A flow whose TCP connection stands holds it open until it is closed or disposed.</summary>
public sealed class Flow : IAsyncDisposable
{
    private readonly DateTime _since;
    private readonly ConcurrentDictionary<string, bool> _scopes = new([new(Lab.CurrentScope(), true)], StringComparer.Ordinal);
    private Socket? _socket;

    internal Flow(Node from, TransportProtocol protocol, IPEndPoint local, IPEndPoint target, DateTime since)
    {
        From = from;
        Protocol = protocol;
        Local = local;
        Target = target;
        _since = since;
    }

    /// <summary>The node that asked.</summary>
    public Node From { get; }

    /// <summary>The protocol of the flow; ICMP for a ping.</summary>
    public TransportProtocol Protocol { get; }

    /// <summary>The client's own address and port.</summary>
    public IPEndPoint Local { get; internal set; }

    /// <summary>What was asked.</summary>
    public IPEndPoint Target { get; }

    /// <summary>What came of the flow.</summary>
    public Outcome Outcome { get; internal set; } = new(OutcomeKind.Silence);

    /// <summary>The server's answer; null when none reached the client's socket.</summary>
    public Answer? Answer { get; internal set; }

    /// <summary>The rules that the flow's first packet passed, by node and in order, where it was traced.</summary>
    public IReadOnlyList<(string Node, string Rule)> Passed { get; internal set; } = [];

    /// <summary>Whether the TCP connection stood at some time.</summary>
    public bool WasEstablished { get; internal init; }

    /// <summary>Whether the client gave up because its time-out had passed; no reply ended the attempt.</summary>
    public bool GaveUp { get; internal init; }

    /// <summary>What the client's own kernel said when the attempt failed.</summary>
    public SocketError? Error { get; internal init; }

    /// <summary>Whether a test has asked, where several share a lab, or looks at the flow of another.</summary>
    /// <param name="scope">The test's id.</param>
    public bool IsOf(string scope) => _scopes.ContainsKey(scope);

    /// <summary>The running test looks at the flow, which another has asked.</summary>
    public void Share() => _scopes[Lab.CurrentScope()] = true;

    /// <summary>Why a connection that the client closed by itself could not be closed; null when it was, or stays open.</summary>
    public Exception? CloseFailure { get; internal set; }

    /// <summary>When the client began to ask (UTC).</summary>
    public DateTime StartedAt => _since;

    /// <summary>Whether the flow holds an open connection.</summary>
    public bool IsOpen => _socket is not null;

    /// <summary>The flow's packets on every interface of the lab, until now or until a later flow has its source port.</summary>
    public Story ReadStory() => Story.Of(From.Lab.Wire.Packets(_since), From.Name, Protocol, Local, Answer?.SeenPeer, _since, Until);

    /// <inheritdoc/>
    public override string ToString() =>
        $"{From.Name} ({Local}) asked {Protocol.Name()} {Target}: {Outcome}{(Answer is null ? "" : $", {Answer}")}";

    /// <summary>Sends bytes on the open connection and waits until the server has sent as many back.</summary>
    /// <returns>The failure of the connection; null when all bytes came back within the time.</returns>
    public Task<Exception?> TryExchangeAsync(int bytes, TimeSpan within) => TryAsync(socket => ExchangeAsync(socket, bytes, within));

    /// <summary>Closes the connection from the client's side first, with FIN, and waits for the server's FIN.</summary>
    /// <returns>The failure of the connection; null when both sides have closed.</returns>
    public Task<Exception?> TryCloseAsync() => TryAsync(async socket =>
    {
        socket.Shutdown(SocketShutdown.Send);
        await DrainAsync(socket);
        Forget();
    });

    /// <summary>Lets the server close first, with FIN or RST; the client follows.</summary>
    /// <returns>The failure of the connection; null when it ended as asked.</returns>
    public Task<Exception?> TryCloseByServerAsync(bool reset) => TryAsync(async socket =>
    {
        await socket.SendAsync(Encoding.ASCII.GetBytes(reset ? Dialogue.PleaseReset : Dialogue.PleaseClose));
        try
        {
            await DrainAsync(socket);
            socket.Shutdown(SocketShutdown.Send);
        }
        catch (SocketException e) when (reset && e.SocketErrorCode == SocketError.ConnectionReset)
        {
            // as asked for
        }
        Forget();
    });

    /// <summary>Resets the connection from the client's side.</summary>
    public Task ResetAsync()
    {
        Open().LingerState = new LingerOption(true, 0);
        Forget();
        return SocketClosedAsync();
    }

    /// <summary>
    /// Waits until the runtime has let go of the TCP socket: until then no RST is sent, a SYN may be sent again, and nobody else can use
    /// the port.
    /// </summary>
    internal Task SocketClosedAsync() => Eventually.Async($"the socket on port {Local.Port} is closed",
        () => ListeningSockets.HasTcp(From.Namespace, Local), open => !open);

    /// <inheritdoc/>
    public ValueTask DisposeAsync()
    {
        Forget();
        return ValueTask.CompletedTask;
    }

    internal void Hold(Socket socket) => _socket = socket;

    /// <summary>Asks the same once more, from another port.</summary>
    internal Task<Flow> AgainAsync(int sourcePort) => Protocol == TransportProtocol.Udp ? From.AskUdpAsync(Target.ToString(), sourcePort)
        : From.AskAsync(Target.ToString(), sourcePort);

    private DateTime Until => From.Flows
        .Where(f => f.Protocol == Protocol && f.Local.Port == Local.Port && Local.Port != 0 && f._since > _since)
        .Select(f => f._since).DefaultIfEmpty(DateTime.MaxValue).Min();

    private async Task<Exception?> TryAsync(Func<Socket, Task> action)
    {
        try
        {
            await action(Open());
            return null;
        }
        catch (Exception e) when (e is SocketException or IOException or OperationCanceledException)
        {
            Forget();
            return e;
        }
    }

    private async Task ExchangeAsync(Socket socket, int bytes, TimeSpan within)
    {
        var data = new byte[bytes];
        Array.Fill(data, (byte)'x');
        using var limit = new Patience(within);
        var sending = SendAllAsync(socket, data, limit.Token);
        var buffer = new byte[16 * 1024];
        for (var received = 0; received < bytes;)
        {
            var count = await socket.ReceiveAsync(buffer, limit.Token);
            if (count == 0)
                throw new IOException($"{Target} closed after {received} of {bytes} bytes.");
            received += count;
        }
        await sending;
    }

    private static async Task SendAllAsync(Socket socket, byte[] data, CancellationToken cancellationToken)
    {
        for (var sent = 0; sent < data.Length;)
            sent += await socket.SendAsync(data.AsMemory(sent), cancellationToken);
    }

    private static async Task DrainAsync(Socket socket)
    {
        using var limit = new Patience(Timeouts.Answer);
        var buffer = new byte[1024];
        while (await socket.ReceiveAsync(buffer, limit.Token) > 0)
        {
        }
    }

    private Socket Open() => _socket ?? throw new InvalidOperationException($"The flow is not open: {this}\n{ReadStory()}");

    private void Forget()
    {
        _socket?.Dispose();
        _socket = null;
    }
}
