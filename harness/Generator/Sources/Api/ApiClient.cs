using System.Net;
using System.Net.Http.Headers;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Cryptography.X509Certificates;
using System.Text.Json;

namespace Conformance.Generator.Sources.Api;

/// <summary>An API server said no.</summary>
internal sealed class ApiException(HttpStatusCode status, string message) : Exception(message)
{
    /// <summary>How long the server asks us to wait (RFC 9110, 10.2.3); zero where it does not.</summary>
    internal TimeSpan RetryAfter { get; init; }

    /// <summary>What we asked for lies before what the server still knows (410, reason Expired or Gone).</summary>
    internal bool IsGone => status == HttpStatusCode.Gone;

    /// <summary>Whether a retry can succeed: the client is not authorized, has to wait, or the server has an error.</summary>
    internal bool IsTransient => status is HttpStatusCode.Unauthorized or HttpStatusCode.Forbidden or HttpStatusCode.TooManyRequests
        or HttpStatusCode.GatewayTimeout or HttpStatusCode.BadGateway or HttpStatusCode.ServiceUnavailable
        or HttpStatusCode.InternalServerError;
}

/// <summary>Asks an API server.</summary>
internal sealed class ApiClient : IDisposable
{
    private const int MaxError = 64 << 10;
    private static readonly TimeSpan s_connectLimit = TimeSpan.FromSeconds(10);

    /// <summary>
    /// A server sends the head of an answer at once, a watch's too; one that is busy holds a request back for a minute at most (its
    /// --request-timeout).
    /// </summary>
    private static readonly TimeSpan s_headLimit = TimeSpan.FromSeconds(60);
    private readonly ApiConnection _connection;
    private readonly HttpClient _http;

    internal ApiClient(ApiConnection connection)
    {
        _connection = connection;
        var handler = new SocketsHttpHandler
        {
            AllowAutoRedirect = false, // our credentials are for this server alone
            AutomaticDecompression = DecompressionMethods.GZip,
            ConnectTimeout = s_connectLimit,
            ConnectCallback = ConnectAsync,
            SslOptions = TlsOptions(connection),
        };
        if (connection.Proxy is { } proxy)
            handler.Proxy = new WebProxy(proxy) { Credentials = connection.ProxyCredentials };
        _http = new HttpClient(handler) { Timeout = Timeout.InfiniteTimeSpan };
    }

    /// <summary>The address of a path, for requests and messages.</summary>
    internal string UriOf(string path) => _connection.Server.AbsoluteUri.TrimEnd('/') + path;

    /// <returns>The answer as soon as its head is there; its body may go on for long.</returns>
    /// <exception cref="ApiException">The answer is not 200.</exception>
    /// <exception cref="HttpRequestException">There is no answer.</exception>
    /// <exception cref="OperationCanceledException">It did not begin in time.</exception>
    internal async Task<HttpResponseMessage> GetAsync(string path, CancellationToken cancellationToken)
    {
        using var request = new HttpRequestMessage(HttpMethod.Get, UriOf(path));
        request.Headers.Accept.Add(new MediaTypeWithQualityHeaderValue("application/json"));
        request.Headers.UserAgent.Add(new ProductInfoHeaderValue("ipvs-generator", null));
        request.Headers.Authorization = _connection.Authorization();
        request.Headers.Host = _connection.TlsServerName; // by it the handler names the server in TLS, and judges its certificate
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        limit.CancelAfter(s_headLimit);
        var response = await _http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, limit.Token);
        if (response.StatusCode == HttpStatusCode.OK)
            return response;
        using (response)
        {
            throw new ApiException(response.StatusCode,
                $"{(int)response.StatusCode} {response.ReasonPhrase}{await StatusOfAsync(response, limit.Token)}")
            {
                RetryAfter = response.Headers.RetryAfter switch
                {
                    { Delta: { } delta } => delta,
                    { Date: { } date } => date - DateTimeOffset.UtcNow,
                    _ => TimeSpan.Zero,
                },
            };
        }
    }

    public void Dispose() => _http.Dispose();

    /// <summary>The message of a v1 Status, which the server sends with what it refuses.</summary>
    private static async Task<string> StatusOfAsync(HttpResponseMessage response, CancellationToken cancellationToken)
    {
        try
        {
            await response.Content.LoadIntoBufferAsync(MaxError, cancellationToken);
            using var status = JsonDocument.Parse(await response.Content.ReadAsByteArrayAsync(cancellationToken));
            return status.RootElement.TryGetProperty("message", out var message) ? $": {message}" : "";
        }
        catch (Exception e) when (e is not OutOfMemoryException)
        {
            return ""; // broken or stalled, say: the status counts
        }
    }

    private static SslClientAuthenticationOptions TlsOptions(ApiConnection connection)
    {
        var options = new SslClientAuthenticationOptions();
        if (connection.Certificate is { } certificate)
            options.ClientCertificates = [certificate];
        if (connection.Authorities.Count > 0)
        {
            options.CertificateChainPolicy = new X509ChainPolicy
            {
                TrustMode = X509ChainTrustMode.CustomRootTrust,
                RevocationMode = X509RevocationMode.NoCheck
            };
            options.CertificateChainPolicy.CustomTrustStore.AddRange(connection.Authorities);
        }
#pragma warning disable CA5359 // the kubeconfig asks for it (insecure-skip-tls-verify)
        if (connection.SkipsVerification)
            options.RemoteCertificateValidationCallback = (_, _, _, _) => true;
#pragma warning restore CA5359
        return options;
    }

    /// <summary>A watch is silent for minutes: keep-alive probes tell a server that is gone from one with nothing to say.</summary>
    private static async ValueTask<Stream> ConnectAsync(SocketsHttpConnectionContext context, CancellationToken cancellationToken)
    {
        var socket = new Socket(SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        try
        {
            socket.SetSocketOption(SocketOptionLevel.Socket, SocketOptionName.KeepAlive, true);
            socket.SetSocketOption(SocketOptionLevel.Tcp, SocketOptionName.TcpKeepAliveTime, 15);
            socket.SetSocketOption(SocketOptionLevel.Tcp, SocketOptionName.TcpKeepAliveInterval, 5);
            socket.SetSocketOption(SocketOptionLevel.Tcp, SocketOptionName.TcpKeepAliveRetryCount, 3);
            await socket.ConnectAsync(context.DnsEndPoint, cancellationToken);
            return new NetworkStream(socket, ownsSocket: true);
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }
}
