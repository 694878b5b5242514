using System.Collections.Concurrent;
using System.Net;
using System.Text.Json.Nodes;
using Conformance.Labs;
using Conformance.Linux.Namespaces;

namespace Conformance.Clusters.Kubernetes;

/// <summary>
/// The objects of a cluster, in every form in which a proxy can follow them: manifests in a folder, one file an object,
/// renamed into place; and API servers. All show the same.
/// </summary>
public sealed class ClusterObjects : IAsyncDisposable
{
    private static readonly IPEndPoint s_serverAddress = new(IPAddress.Loopback, 8080);
    private static int s_number;
    private readonly ObjectStore _store = new();
    private readonly ConcurrentDictionary<NetworkNamespace, Lazy<Task<ApiServer>>> _servers = new();
    private readonly Lock _lock = new();

    /// <summary>Makes an empty cluster with a folder of its own.</summary>
    public ClusterObjects() =>
        Folder = Directory.CreateDirectory(Path.Combine(RunFolder.Current, "clusters",
        RunFolder.Numbered(Interlocked.Increment(ref s_number)))).FullName;

    /// <summary>The folder with the manifests.</summary>
    public string Folder { get; }

    /// <summary>The API servers that were started.</summary>
    public IReadOnlyList<ApiServer> Servers => [.. _servers.Values.Where(s => s.Value.IsCompletedSuccessfully).Select(s => s.Value.Result)];

    /// <summary>Creates or replaces the objects of manifests, YAML or JSON, with the API's defaults.</summary>
    public void Apply(string manifests)
    {
        foreach (var item in Manifests.Read(manifests))
            Put(item);
    }

    /// <summary>Deletes an object; one that is not there does not matter.</summary>
    public void Delete(string kind, string ns, string name)
    {
        lock (_lock)
        {
            var type = ApiResourceType.OfKind(kind);
            var service = _store.Find(type, ns, name)?.Labels.GetValueOrDefault(EndpointsObject.ServiceLabel);
            _store.Delete(type, ns, name);
            File.Delete(FileOf(kind, name));
            if (service is not null)
                ShowEndpoints(ns, service);
        }
    }

    /// <summary>Creates or replaces an object that only API servers show: what the rest of a cluster makes, and no user writes.</summary>
    internal void Show(JsonObject item) => _store.Put(item);

    /// <summary>Serves the objects at 127.0.0.1:8080 of a namespace; when they are served there already, by that same server.</summary>
    public Task<ApiServer> ServeAsync(NetworkNamespace ns) =>
        _servers.GetOrAdd(ns, _ => new(() => ApiServer.StartAsync(ns, s_serverAddress, _store))).Value;

    /// <summary>The path of a kubeconfig file for an API server; servers of all namespaces have the same address.</summary>
    public string Kubeconfig(ApiServer server)
    {
        var path = $"{Folder}.kubeconfig";
        lock (_lock)
        {
            File.WriteAllText(path, $$$"""
                apiVersion: v1
                kind: Config
                clusters: [{name: conformance, cluster: {server: "{{{server.Address.AbsoluteUri.TrimEnd('/')}}}"}}]
                users: [{name: conformance, user: {}}]
                contexts: [{name: conformance, context: {cluster: conformance, user: conformance}}]
                current-context: conformance

                """);
        }
        return path;
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync() => await Task.WhenAll(Servers.Select(s => s.DisposeAsync().AsTask()));

    private void Put(JsonObject item)
    {
        var file = FileOf(item["kind"]!.GetValue<string>(), item["metadata"]!["name"]!.GetValue<string>());
        var hidden = Path.Combine(Folder, $".{Path.GetFileName(file)}");
        lock (_lock)
        {
            _store.Allocate(item);
            File.WriteAllText(hidden, item.ToJsonString());
            File.Move(hidden, file, overwrite: true);
            var type = ApiResourceType.Of(item);
            var (ns, name) = (item["metadata"]!["namespace"]?.ToString() ?? "", item["metadata"]!["name"]!.ToString());
            // A slice may be another Service's from now on, and a Service decides of which family its Endpoints are.
            var services = new[] { _store.Find(type, ns, name)?.Labels.GetValueOrDefault(EndpointsObject.ServiceLabel),
                item["metadata"]!["labels"]?[EndpointsObject.ServiceLabel]?.ToString(), type.Kind == "Service" ? name : null };
            _store.Put(item);
            foreach (var service in services.OfType<string>().Distinct(StringComparer.Ordinal))
                ShowEndpoints(ns, service);
        }
    }

    /// <summary>Makes the Endpoints of a Service whose slices have changed.</summary>
    private void ShowEndpoints(string ns, string service)
    {
        var (found, _) = _store.List(ApiResourceType.OfKind("EndpointSlice"),
            Selector.Parse(ns, $"{EndpointsObject.ServiceLabel}={service}", ""));
        if (found.Count == 0)
        {
            _store.Delete(ApiResourceType.OfKind("Endpoints"), ns, service);
            return;
        }
        var slices = found.Select(f => JsonNode.Parse(f.Json)!.AsObject()).ToList();
        var owner = _store.Find(ApiResourceType.OfKind("Service"), ns, service) is { } known ? JsonNode.Parse(known.Json) : null;
        Show(EndpointsObject.Of(ns, service, slices,
            owner?["spec"]?["ipFamilies"]?[0]?.ToString() ?? slices[0]["addressType"]!.ToString()));
    }

    private string FileOf(string kind, string name) => Path.Combine(Folder, $"{kind}-{name}.json");
}
