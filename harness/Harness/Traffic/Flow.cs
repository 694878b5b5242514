using System.Net;
using System.Net.Sockets;
using System.Text;
using Conformance.Harness.Assertions;
using Conformance.Harness.Labs;
using Conformance.Harness.Observation;
using Conformance.Linux.Sockets;
using Shouldly;

namespace Conformance.Harness.Traffic;

/// <summary>What a server answered: who it is, and which address and port it saw the client come from.</summary>
public sealed record Answer(string Server, IPEndPoint SeenPeer)
{
    internal static Answer? Parse(string line)
    {
        var words = line.Trim().Split(' ');
        return words.Length == 2 && IPEndPoint.TryParse(words[1], out var peer) ? new Answer(words[0], peer) : null;
    }

    public override string ToString() => $"{Server} saw {SeenPeer}";
}

/// <summary>One probe and what came of it. A flow whose TCP connection stands holds it open until it is closed or disposed.</summary>
public sealed class Flow : IAsyncDisposable
{
    private readonly DateTime _since;
    private Socket? _socket;

    internal Flow(Node from, ProtocolType protocol, IPEndPoint local, IPEndPoint target, DateTime since)
    {
        From = from;
        Protocol = protocol;
        Local = local;
        Target = target;
        _since = since;
    }

    /// <summary>The node that asked.</summary>
    public Node From { get; }

    public ProtocolType Protocol { get; }

    /// <summary>tcp, udp, sctp or icmp.</summary>
    public string ProtocolName => Protocol.Word();

    /// <summary>The client's own address and port.</summary>
    public IPEndPoint Local { get; internal set; }

    /// <summary>What was asked.</summary>
    public IPEndPoint Target { get; }

    public Outcome Outcome { get; internal set; } = new(OutcomeKind.Silence);

    /// <summary>The server's answer; null when none reached the client's socket.</summary>
    public Answer? Answer { get; internal set; }

    /// <summary>Whether the TCP connection stood at some time.</summary>
    public bool WasEstablished { get; internal init; }

    /// <summary>Whether the client gave up because its time-out had passed; nothing told its socket to stop.</summary>
    public bool GaveUp { get; internal init; }

    /// <summary>What the client's own kernel said when the attempt failed.</summary>
    public SocketError? Error { get; internal init; }

    /// <summary>Who asked: the test, where several share a lab.</summary>
    public string Scope { get; } = CurrentScope();

    /// <summary>Tells who is asking; a suite whose tests share a lab sets it.</summary>
    public static Func<string> CurrentScope { get; set; } = () => "";

    /// <summary>When the client began to ask (UTC).</summary>
    public DateTime StartedAt => _since;

    public bool IsOpen => _socket is not null;

    /// <summary>The flow's packets on every interface of the lab, until now or until a later flow has its source port.</summary>
    public Story Story => Observation.Story.Of(From.Lab.Wire.Packets(_since), From.Name, Protocol, Local, Answer?.SeenPeer, _since, Until);

    public override string ToString() =>
        $"{From.Name} ({Local}) asked {ProtocolName} {Target}: {Outcome}{(Answer is null ? "" : $", {Answer}")}";

    /// <summary>Sends bytes on the open connection and waits until the server has sent as many back.</summary>
    public Task ExchangeAsync(int bytes) => DemandAsync($"carry {bytes} bytes there and back", socket => ExchangeAsync(socket, bytes, Timeouts.Answer));

    /// <summary>The connection, which stood, carries nothing any more: bytes that are sent are not answered, or reset it.</summary>
    public async Task ShouldCarryNothingAsync()
    {
        if (await TryAsync(socket => ExchangeAsync(socket, bytes: 100, Timeouts.Silence)) is null)
            throw new ShouldAssertException($"The flow should carry nothing any more.\n{FlowAssertions.Explain(this)}");
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

    /// <summary>The client closes first, with FIN.</summary>
    public Task CloseAsync() => DemandAsync("close with FIN from both sides", async socket =>
    {
        socket.Shutdown(SocketShutdown.Send);
        await DrainAsync(socket);
        Forget();
    });

    /// <summary>The client resets the connection.</summary>
    public Task ResetAsync()
    {
        Open().LingerState = new LingerOption(true, 0);
        Forget();
        // The descriptor is closed, and the RST sent, as soon as the runtime has let go of it.
        return Eventually.Async($"the socket on port {Local.Port} is closed", () => ListeningSockets.HasTcp(From.Namespace, Local.Port), open => !open);
    }

    /// <summary>The server closes first, with FIN or RST; the client follows.</summary>
    public Task CloseByServerAsync(bool reset = false) => DemandAsync($"be {(reset ? "reset" : "closed")} by the server", async socket =>
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

    public ValueTask DisposeAsync()
    {
        Forget();
        return ValueTask.CompletedTask;
    }

    private DateTime Until => From.Flows
        .Where(f => f.Protocol == Protocol && f.Local.Port == Local.Port && Local.Port != 0 && f._since > _since)
        .Select(f => f._since).DefaultIfEmpty(DateTime.MaxValue).Min();

    internal void Hold(Socket socket) => _socket = socket;

    /// <summary>Asks the same once more, from another port.</summary>
    internal Task<Flow> AgainAsync(int sourcePort) => Protocol == ProtocolType.Udp ? From.AskUdpAsync(Target.ToString(), sourcePort) : From.AskAsync(Target.ToString(), sourcePort);

    /// <summary>What the network does to an open connection is what is tested: that it fails is a finding, with its story.</summary>
    private async Task DemandAsync(string expectation, Func<Socket, Task> action)
    {
        if (await TryAsync(action) is { } e)
            throw new ShouldAssertException($"The flow should {expectation}: {e.Message}\n{FlowAssertions.Explain(this)}", e);
    }

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

    private static async Task SendAllAsync(Socket socket, byte[] data, CancellationToken cancellationToken)
    {
        for (var sent = 0; sent < data.Length;)
            sent += await socket.SendAsync(data.AsMemory(sent), cancellationToken);
    }

    private static async Task DrainAsync(Socket socket)
    {
        using var limit = new CancellationTokenSource(Timeouts.Answer);
        var buffer = new byte[1024];
        while (await socket.ReceiveAsync(buffer, limit.Token) > 0)
        {
        }
    }

    private Socket Open() => _socket ?? throw new InvalidOperationException($"The flow is not open: {this}\n{Story}");

    private void Forget()
    {
        _socket?.Dispose();
        _socket = null;
    }
}
