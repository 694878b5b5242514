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
/// A Kubernetes API server for service proxies: Services, EndpointSlices and Nodes by get, list (in pages) and watch
/// (chunked, with bookmarks), and a place to send events to. Real HTTP by Kestrel, on a socket of a node's namespace, so
/// that any proxy can be driven by it. Of the API it has no more: no writing, no discovery, no admission.
/// </summary>
public sealed class ApiServer : IAsyncDisposable
{
    private readonly ApiServerOptions _options;
    private readonly WebApplication _application;
    private readonly Socket _listener;
    private readonly ObjectStore _store;
    private readonly ConcurrentQueue<string> _requests = new();
    private readonly ConcurrentDictionary<string, (IReadOnlyList<StoredObject> Objects, long Version)> _pages = new(StringComparer.Ordinal);
    private CancellationTokenSource _cut = new();

    private ApiServer(ApiServerOptions options, ObjectStore store, WebApplication application, Socket listener, Uri address) =>
        (_options, _store, _application, _listener, Address) = (options, store, application, listener, address);

    /// <summary>The URL, with the port that it listens on.</summary>
    public Uri Address { get; }

    /// <summary>What was asked so far: method, path and query.</summary>
    public IReadOnlyList<string> Requests => [.. _requests];

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
        _pages.Clear();
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
        _requests.Enqueue($"{context.Request.Method} {path}{context.Request.QueryString}");
        await using var cut = _cut.Token.Register(context.Abort); // for as long as the context is this request's
        try
        {
            if (Refuse(path) is { } status)
                await RefuseAsync(context, status, "ServiceUnavailable", "the test refuses this request");
            else if (!IsLetIn(context))
                await RefuseAsync(context, 401, "Unauthorized", "Unauthorized");
            else if (context.Request.Method == "POST" && path.EndsWith("/events", StringComparison.Ordinal))
                await EchoAsync(context);
            else if (context.Request.Method != "GET" || ApiResourceType.Find(path) is not { } asked)
                await RefuseAsync(context, 404, "NotFound", "the server could not find the requested resource");
            else if (asked.Name is { } name)
                await GetAsync(context, asked.Type, asked.Namespace ?? "", name);
            else
                await ListOrWatchAsync(context, asked.Type, asked.Namespace);
        }
        catch (Exception e) when (e is OperationCanceledException or IOException)
        {
            // The client has gone, or was cut off.
        }
    }

    private bool IsLetIn(HttpContext context)
    {
        if (_options.Token is null && _options.ClientAuthority is null)
            return true;
        return (_options.Token is { } token && context.Request.Headers.Authorization == $"Bearer {token}")
            || (_options.ClientAuthority is not null && context.Connection.ClientCertificate is not null);
    }

    private async Task GetAsync(HttpContext context, ApiResourceType type, string ns, string name)
    {
        if (_store.Find(type, ns, name) is { } found)
            await WriteAsync(context, found.Json);
        else
            await RefuseAsync(context, 404, "NotFound", $"{type.Plural} \"{name}\" not found");
    }

    private async Task ListOrWatchAsync(HttpContext context, ApiResourceType type, string? ns)
    {
        var query = context.Request.Query;
        Selector selector;
        try
        {
            selector = Selector.Parse(ns, query["labelSelector"].ToString(), query["fieldSelector"].ToString());
        }
        catch (FormatException e)
        {
            await RefuseAsync(context, 400, "BadRequest", e.Message);
            return;
        }
        if (query["watch"].ToString() is not ("true" or "1"))
            await ListAsync(context, type, selector);
        else if (query.ContainsKey("sendInitialEvents"))
            await RefuseAsync(context, 422, "Invalid",
                "sendInitialEvents is forbidden for watch unless the WatchList feature gate is enabled");
        else
            await WatchAsync(context, type, selector);
    }

    /// <summary>In pages, as asked; of resource version 0 all at once, as a real server answers out of its cache.</summary>
    private async Task ListAsync(HttpContext context, ApiResourceType type, Selector selector)
    {
        var query = context.Request.Query;
        var (rest, version) = _store.List(type, selector);
        if (query["continue"].ToString() is { Length: > 0 } token)
        {
            if (!_pages.TryRemove(token, out var page))
            {
                await RefuseAsync(context, 410, "Expired",
                    "The provided continue parameter is too old to display a consistent list result.");
                return;
            }
            (rest, version) = page;
        }
        var limit = query["resourceVersion"] == "0" || !int.TryParse(query["limit"], NumberStyles.None, CultureInfo.InvariantCulture,
            out var asked) || asked == 0 ? int.MaxValue : asked;
        var next = rest.Count > limit ? Guid.NewGuid().ToString("N") : "";
        if (next.Length > 0)
            _pages[next] = ([.. rest.Skip(limit)], version);

        var body = new MemoryStream();
        body.Write(Encoding.UTF8.GetBytes(string.Create(CultureInfo.InvariantCulture, $$$"""{"kind":"{{{type.Kind}}}List","apiVersion":"{{{type.ApiVersion}}}","metadata":{"resourceVersion":"{{{version}}}","continue":"{{{next}}}"},"items":[""")));
        foreach (var (item, index) in rest.Take(limit).Select((item, index) => (item, index)))
        {
            if (index > 0)
                body.WriteByte((byte)',');
            body.Write(item.ListItem);
        }
        body.Write("]}\n"u8);
        await WriteAsync(context, body.GetBuffer().AsMemory(0, (int)body.Length));
    }

    private async Task WatchAsync(HttpContext context, ApiResourceType type, Selector selector)
    {
        var query = context.Request.Query;
        using var end = CancellationTokenSource.CreateLinkedTokenSource(context.RequestAborted);
        if (int.TryParse(query["timeoutSeconds"], NumberStyles.None, CultureInfo.InvariantCulture, out var seconds))
            end.CancelAfter(TimeSpan.FromSeconds(seconds));
        context.Response.ContentType = "application/json";
        await context.Response.StartAsync(end.Token);
        var allowsBookmarks = query["allowWatchBookmarks"] == "true";
        _ = long.TryParse(query["resourceVersion"], NumberStyles.None, CultureInfo.InvariantCulture, out var version);
        if (version == 0)
        {
            (var objects, version) = _store.List(type, selector);
            foreach (var item in objects)
                await SendAsync(context, "ADDED", item.Json);
        }
        await context.Response.Body.FlushAsync(end.Token);
        while (!end.IsCancellationRequested)
        {
            var (changes, now, changed) = _store.Since(version);
            if (changes is null)
            {
                await SendAsync(context, "ERROR",
                    Status(410, "Expired", string.Create(CultureInfo.InvariantCulture, $"too old resource version: {version} ({now})")));
                return;
            }
            foreach (var change in changes.Where(c => c.Type == type))
            {
                switch ((Matches(change.Before), Matches(change.After)))
                {
                    case (false, true):
                        await SendAsync(context, "ADDED", change.After!.Json);
                        break;
                    case (true, true):
                        await SendAsync(context, "MODIFIED", change.After!.Json);
                        break;
                    case (true, false):
                        await SendAsync(context, "DELETED", (change.After ?? change.Before)!.Json);
                        break;
                }
            }
            version = now;
            await context.Response.Body.FlushAsync(end.Token);
            if (await Task.WhenAny(changed, Task.Delay(_options.BookmarkPeriod, end.Token)) != changed && allowsBookmarks
                && !end.IsCancellationRequested)
                await SendAsync(context, "BOOKMARK", Encoding.UTF8.GetBytes(string.Create(CultureInfo.InvariantCulture, $$$"""{"kind":"{{{type.Kind}}}","apiVersion":"{{{type.ApiVersion}}}","metadata":{"resourceVersion":"{{{version}}}"}}""")));
        }

        bool Matches(StoredObject? item) => item is not null && selector.Matches(item);
    }

    private static async Task SendAsync(HttpContext context, string type, ReadOnlyMemory<byte> item)
    {
        await context.Response.Body.WriteAsync(Encoding.UTF8.GetBytes($"{{\"type\":\"{type}\",\"object\":"), context.RequestAborted);
        await context.Response.Body.WriteAsync(item, context.RequestAborted);
        await context.Response.Body.WriteAsync("}\n"u8.ToArray(), context.RequestAborted);
    }

    private static async Task EchoAsync(HttpContext context)
    {
        context.Response.StatusCode = 201;
        context.Response.ContentType = "application/json";
        await context.Request.Body.CopyToAsync(context.Response.Body, context.RequestAborted);
    }

    private static async Task RefuseAsync(HttpContext context, int status, string reason, string message)
    {
        context.Response.StatusCode = status;
        await WriteAsync(context, Status(status, reason, message));
    }

    private static byte[] Status(int code, string reason, string message) => JsonSerializer.SerializeToUtf8Bytes(new JsonObject
    {
        ["kind"] = "Status",
        ["apiVersion"] = "v1",
        ["metadata"] = new JsonObject(),
        ["status"] = "Failure",
        ["message"] = message,
        ["reason"] = reason,
        ["code"] = code,
    });

    private static async Task WriteAsync(HttpContext context, ReadOnlyMemory<byte> json)
    {
        context.Response.ContentType = "application/json";
        context.Response.ContentLength = json.Length;
        await context.Response.Body.WriteAsync(json, context.RequestAborted);
    }
}
