using System.Collections.Concurrent;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using Conformance.Labs;
using Conformance.Linux;
using Conformance.Linux.Namespaces;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.AspNetCore.Server.Kestrel.Https;
using Microsoft.AspNetCore.Server.Kestrel.Transport.Sockets;
using Microsoft.Extensions.DependencyInjection;

namespace Conformance.Clusters.Kubernetes;

/// <summary>What an API server is like that is not plain and open.</summary>
public sealed record ApiServerOptions
{
    /// <summary>The server's own certificate, with its key: HTTPS.</summary>
    public X509Certificate2? Certificate { get; init; }

    /// <summary>Who signs clients' certificates. With it, or a token, nobody else is let in.</summary>
    public X509Certificate2? ClientAuthority { get; init; }

    /// <summary>The bearer token that lets a client in.</summary>
    public string? Token { get; init; }

    /// <summary>Between two bookmarks of a watch that allows them.</summary>
    public TimeSpan BookmarkPeriod { get; init; } = TimeSpan.FromSeconds(60);
}

/// <summary>
/// A Kubernetes API server for service proxies: Services, EndpointSlices, Nodes and what else they ask for by get, list (in pages) and
/// watch
/// (chunked, with bookmarks, and with initial events), discovery, and the writing of what proxies write. Real HTTP by Kestrel, on a socket
/// of a node's namespace, so that any proxy can be driven by it. It has neither admission nor access rules.
/// </summary>
public sealed class ApiServer : IAsyncDisposable
{
    private readonly ApiServerOptions _options;
    private readonly WebApplication _application;
    private readonly Socket _listener;
    private readonly ObjectStore _store;
    private readonly ApiReads _reads;
    private readonly ApiWrites _writes;
    private readonly ConcurrentQueue<ApiRequest> _requests = new();
    private CancellationTokenSource _cut = new();

    private ApiServer(ApiServerOptions options, ObjectStore store, WebApplication application, Socket listener, Uri address) =>
        (_options, _store, _reads, _writes, _application, _listener, Address) = (options, store,
            new ApiReads(store, options.BookmarkPeriod), new ApiWrites(store), application, listener, address);

    /// <summary>The URL, with the port that it listens on.</summary>
    public Uri Address { get; }

    /// <summary>What was asked so far: method, path and query.</summary>
    public IReadOnlyList<string> Requests => [.. _requests.Select(r => r.Text)];

    /// <summary>The same with the status of each answer before it; what has no answer yet has none.</summary>
    public IReadOnlyList<string> Answers => [.. _requests.Select(r => r.ToString())];

    /// <summary>What was asked and has no place in this API, each once. A proxy that gets a 404 may wait for ever.</summary>
    public IReadOnlyList<string> Unknown =>
        [.. _requests.Where(r => r.Status == 404 && ApiResourceType.Find(r.Path) is null).Select(r => r.Text.Split('?')[0])
            .Distinct(StringComparer.Ordinal)];

    /// <summary>A status to answer a path with instead of what it asks for; null for none. For tests of failures.</summary>
    public Func<string, int?> Refuse { get; set; } = _ => null;

    /// <summary>Starts to serve.</summary>
    /// <param name="ns">The namespace to listen in; null for this process's.</param>
    /// <param name="endPoint">Where; port 0 for any free one.</param>
    /// <exception cref="HarnessException">The port is in use.</exception>
    public static Task<ApiServer> StartAsync(NetworkNamespace? ns, IPEndPoint endPoint, ApiServerOptions? options = null) =>
        StartAsync(ns, endPoint, new ObjectStore(), options);

    /// <summary>Starts to serve objects that others may serve as well.</summary>
    internal static async Task<ApiServer> StartAsync(NetworkNamespace? ns, IPEndPoint endPoint, ObjectStore store,
        ApiServerOptions? options = null)
    {
        options ??= new ApiServerOptions();
        var listener = ns is null ? Bind(endPoint) : ns.Run(() => Bind(endPoint));
        var builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions());
        builder.WebHost.UseKestrelCore().UseKestrelHttpsConfiguration().ConfigureKestrel(kestrel =>
        {
            kestrel.AddServerHeader = false;
            kestrel.Listen(endPoint, listen => Secure(listen, options));
        });
        builder.Services.Configure<SocketTransportOptions>(o => o.CreateBoundListenSocket = _ => listener);
        var application = builder.Build();
        var port = ((IPEndPoint)listener.LocalEndPoint!).Port;
        var address = new Uri($"{(options.Certificate is null ? "http" : "https")}://{new IPEndPoint(endPoint.Address, port)}");
        var server = new ApiServer(options, store, application, listener, address);
        application.Run(server.AnswerAsync);
        await application.StartAsync();
        return server;
    }

    /// <summary>Creates or replaces the objects of manifests, YAML or JSON, with the API's defaults.</summary>
    public void Apply(string manifests)
    {
        foreach (var item in Manifests.Read(manifests))
        {
            _store.Allocate(item);
            _store.Put(item);
        }
    }

    /// <returns>Whether there was such an object.</returns>
    public bool Delete(string kind, string ns, string name) => _store.Delete(ApiResourceType.OfKind(kind), ns, name);

    /// <summary>Forgets the history: watches from before now, and pages not yet asked for, are answered 410.</summary>
    public void Compact()
    {
        _reads.Forget();
        _store.Compact();
    }

    /// <summary>Cuts every connection that is open, in mid-sentence.</summary>
    public void Disconnect()
    {
        Interlocked.Exchange(ref _cut, new CancellationTokenSource()).Cancel();
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        try
        {
            Disconnect();
            await _application.StopAsync();
            await _application.DisposeAsync();
        }
        finally
        {
            _listener.Dispose();
        }
    }

    private static Socket Bind(IPEndPoint endPoint)
    {
        var socket = new Socket(endPoint.AddressFamily, SocketType.Stream, ProtocolType.Tcp);
        try
        {
            socket.Bind(endPoint);
            return socket;
        }
        catch (SocketException e)
        {
            socket.Dispose();
            throw new HarnessException($"The API server cannot listen on {endPoint}.", e.Message, "It was not started.",
                "Choose another port, or 0 for any free one.");
        }
    }

    private static void Secure(ListenOptions listen, ApiServerOptions options)
    {
        listen.Protocols = HttpProtocols.Http1;
        if (options.Certificate is not { } certificate)
            return;
        listen.UseHttps(https =>
        {
            https.ServerCertificate = certificate;
            https.ClientCertificateMode = options.ClientAuthority is null ? ClientCertificateMode.NoCertificate
                : ClientCertificateMode.AllowCertificate;
            https.ClientCertificateValidation = (client, _, _) =>
            {
                using var chain = new X509Chain();
                chain.ChainPolicy.TrustMode = X509ChainTrustMode.CustomRootTrust;
                chain.ChainPolicy.RevocationMode = X509RevocationMode.NoCheck;
                chain.ChainPolicy.CustomTrustStore.Add(options.ClientAuthority!);
                return chain.Build(client);
            };
        });
    }

    private async Task AnswerAsync(HttpContext context)
    {
        var path = context.Request.Path.Value!;
        var request = new ApiRequest($"{context.Request.Method} {path}{context.Request.QueryString}");
        _requests.Enqueue(request);
        context.Response.OnStarting(() => // before the client can see any of the answer
        {
            if (!context.RequestAborted.IsCancellationRequested)
                request.Status = context.Response.StatusCode;
            return Task.CompletedTask;
        });
        await using var cut = _cut.Token.Register(context.Abort); // for as long as the context is this request's
        try
        {
            await AnswerAsync(context, path);
        }
        catch (ApiRefusal refusal)
        {
            await ApiAnswer.RefuseAsync(context, refusal);
        }
        catch (Exception e) when (e is OperationCanceledException or IOException)
        {
            // The client has gone, or was cut off.
        }
        catch (Exception e) // it reaches the client as 500, and nobody else
        {
            request.Fault = e;
            throw;
        }
    }

    private async Task AnswerAsync(HttpContext context, string path)
    {
        if (Refuse(path) is { } status)
            throw new ApiRefusal(status, "ServiceUnavailable", "the test refuses this request");
        if (!IsLetIn(context))
            throw new ApiRefusal(401, "Unauthorized", "Unauthorized");
        if (path is "/healthz" or "/livez" or "/readyz")
        {
            await context.Response.WriteAsync("ok", context.RequestAborted);
            return;
        }
        if (!ApiAnswer.IsJsonWelcome(context.Request.Headers.Accept.ToString()))
            throw new ApiRefusal(406, "NotAcceptable", "only the following media types are accepted: application/json");
        if (context.Request.Method == "GET" && Discovery.Find(path) is { } document)
            await ApiAnswer.WriteAsync(context, document);
        else if (ApiResourceType.Find(path) is not { } target)
            throw new ApiRefusal(404, "NotFound", "the server could not find the requested resource");
        else if (context.Request.Method == "GET")
            await _reads.AnswerAsync(context, target);
        else
            await _writes.AnswerAsync(context, target);
    }

    private bool IsLetIn(HttpContext context)
    {
        if (_options.Token is null && _options.ClientAuthority is null)
            return true;
        return (_options.Token is { } token && context.Request.Headers.Authorization == $"Bearer {token}")
            || (_options.ClientAuthority is not null && context.Connection.ClientCertificate is not null);
    }

    /// <summary>A request, and later its answer.</summary>
    private sealed class ApiRequest(string text)
    {
        internal string Text => text;

        internal string Path => text.Split(' ')[1].Split('?')[0];

        internal int? Status { get; set; }

        /// <summary>A fault of ours.</summary>
        internal Exception? Fault { get; set; }

        public override string ToString() => Fault is null ? $"{Status?.ToString(CultureInfo.InvariantCulture) ?? "..."} {text}"
            : $"500 {text}: the API server has a fault: {Fault}";
    }
}
