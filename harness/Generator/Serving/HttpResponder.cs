using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text;
using Conformance.Linux;

namespace Conformance.Generator.Serving;

/// <summary>What a GET is answered with.</summary>
internal sealed record HttpAnswer(int Status, string ContentType, string Body)
{
    internal IReadOnlyList<(string Name, string Value)> Headers { get; init; } = [];
}

/// <summary>
/// Answers GET requests on one port, one request a connection: enough for probes of load balancers, kubelets and
/// Prometheus, and without ASP.NET, which would double the time to start.
/// </summary>
internal sealed class HttpResponder : IDisposable
{
    private const int MaxRequest = 8192;

    /// <summary>
    /// Connections of all responders together. More would take the files that the sync needs; the oldest has waited longest for nothing.
    /// </summary>
    private const int MaxConnections = 16;

    private static readonly Queue<Socket> s_connections = new();
    private static readonly TimeSpan s_pause = TimeSpan.FromMilliseconds(100);
    private static readonly TimeSpan s_limit = TimeSpan.FromSeconds(5);

    private readonly TcpListener _listener;
    private readonly Func<string, HttpAnswer?> _answer;
    private readonly CancellationTokenSource _stop = new();

    /// <param name="endPoint">Address and port; the IPv6 wildcard listens on both families.</param>
    /// <param name="answer">The answer to a path; null for 404.</param>
    /// <exception cref="SocketException">The port is in use.</exception>
    internal HttpResponder(IPEndPoint endPoint, Func<string, HttpAnswer?> answer)
    {
        _answer = answer;
        _listener = new TcpListener(endPoint);
        if (endPoint.Address.Equals(IPAddress.IPv6Any))
            _listener.Server.DualMode = true;
        try
        {
            _listener.Start();
        }
        catch
        {
            _listener.Dispose(); // after a failure of bind(2) it still has its socket
            throw;
        }
        CrashReport.LetRun(AcceptAsync(), _stop.Token);
    }

    public void Dispose()
    {
        _stop.Cancel();
        _listener.Dispose();
    }

    private async Task AcceptAsync()
    {
        while (!_stop.IsCancellationRequested)
        {
            try
            {
                var socket = await _listener.AcceptSocketAsync(_stop.Token);
                Admit(socket);
                CrashReport.LetRun(ServeAsync(socket), _stop.Token);
            }
            catch (SocketException)
            {
                await Task.Delay(s_pause, _stop.Token); // a client that is gone already, or no descriptor left for a moment
            }
        }
    }

    /// <summary>
    /// Counts a connection, and closes the oldest when there are too many; one that has ended already is closed once more, which does
    /// nothing.
    /// </summary>
    private static void Admit(Socket socket)
    {
        lock (s_connections)
        {
            s_connections.Enqueue(socket);
            if (s_connections.Count > MaxConnections)
                s_connections.Dequeue().Dispose();
        }
    }

    private async Task ServeAsync(Socket socket)
    {
        using (socket)
        using (var limit = CancellationTokenSource.CreateLinkedTokenSource(_stop.Token))
        {
            limit.CancelAfter(s_limit);
            try
            {
                await using var stream = new NetworkStream(socket, ownsSocket: false);
                var request = await ReadHeadAsync(stream, limit.Token);
                var words = request.Split(' ', 3);
                var answer = words is ["GET", var target, ..]
                    ? _answer(target.Split('?')[0]) ?? new HttpAnswer(404, "text/plain", "not found\n")
                    : new HttpAnswer(405, "text/plain", "only GET\n");
                await stream.WriteAsync(Format(answer), limit.Token);
                socket.Shutdown(SocketShutdown.Send);
            }
            catch (Exception e) when (e is IOException or SocketException or OperationCanceledException or ObjectDisposedException)
            {
                // The client went away, dawdled, or had to make room.
            }
        }
    }

    private static async Task<string> ReadHeadAsync(NetworkStream stream, CancellationToken cancellationToken)
    {
        var buffer = new byte[MaxRequest];
        var length = 0;
        while (length < buffer.Length)
        {
            var count = await stream.ReadAsync(buffer.AsMemory(length), cancellationToken);
            length += count;
            if (count == 0 || buffer.AsSpan(0, length).IndexOf("\r\n\r\n"u8) >= 0)
                break;
        }
        return Encoding.ASCII.GetString(buffer, 0, length);
    }

    private static byte[] Format(HttpAnswer answer)
    {
        var body = Encoding.UTF8.GetBytes(answer.Body);
        var head = new StringBuilder();
        head.Append(CultureInfo.InvariantCulture,
            $"HTTP/1.1 {answer.Status} {Reason(answer.Status)}\r\nContent-Type: {answer.ContentType}\r\n" +
            $"X-Content-Type-Options: nosniff\r\n");
        foreach (var (name, value) in answer.Headers)
            head.Append(CultureInfo.InvariantCulture, $"{name}: {value}\r\n");
        head.Append(CultureInfo.InvariantCulture,
            $"Date: {DateTime.UtcNow:R}\r\nContent-Length: {body.Length}\r\nConnection: close\r\n\r\n");
        return [.. Encoding.ASCII.GetBytes(head.ToString()), .. body];
    }

    private static string Reason(int status) => status switch
    {
        200 => "OK",
        404 => "Not Found",
        405 => "Method Not Allowed",
        _ => "Service Unavailable",
    };
}
