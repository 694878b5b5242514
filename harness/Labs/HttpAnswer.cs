using System.Globalization;
using System.Net.Sockets;
using System.Text;

namespace Conformance.Labs;

/// <summary>Answers an HTTP request on the port of a server that greets: a client of HTTP speaks first, every other one waits.</summary>
internal static class HttpAnswer
{
    private const int MaxRequest = 16 * 1024;
    private static readonly TimeSpan s_clientSpeaks = TimeSpan.FromMilliseconds(50);
    private static readonly string[] s_methods = ["GET ", "HEAD ", "POST ", "PUT ", "DELETE ", "OPTIONS ", "PATCH "];

    /// <summary>Answers with the body and closes, if the client has sent a request.</summary>
    /// <returns>False for every other client, of which nothing was read.</returns>
    internal static async Task<bool> TryAsync(Socket socket, ReadOnlyMemory<byte> body)
    {
        var buffer = new byte[MaxRequest];
        var count = 0;
        try
        {
            using var limit = new CancellationTokenSource(s_clientSpeaks);
            count = await socket.ReceiveAsync(buffer, SocketFlags.Peek, limit.Token);
        }
        catch (OperationCanceledException)
        {
            return false; // it waits to be greeted
        }
        var head = Encoding.ASCII.GetString(buffer, 0, count);
        if (!Array.Exists(s_methods, m => head.StartsWith(m, StringComparison.Ordinal)))
            return false;
        for (var length = 0; length < buffer.Length && !Encoding.ASCII.GetString(buffer, 0, length)
            .Contains("\r\n\r\n", StringComparison.Ordinal);)
        {
            if (await socket.ReceiveAsync(buffer.AsMemory(length), SocketFlags.None) is not (> 0 and var more))
                return true;
            length += more;
        }
        var reply = Encoding.ASCII.GetBytes(string.Create(CultureInfo.InvariantCulture,
            $"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {body.Length}\r\nConnection: close\r\n\r\n"));
        await socket.SendAsync((byte[])[.. reply, .. head.StartsWith("HEAD ", StringComparison.Ordinal) ? [] : body.Span]);
        socket.Shutdown(SocketShutdown.Send);
        return true;
    }
}
