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
    private static int s_number;
    private readonly ObjectStore _store = new();
    private readonly ConcurrentDictionary<(NetworkNamespace, IPEndPoint), Lazy<Task<ApiServer>>> _servers = new();
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
            _store.Delete(ApiResourceType.OfKind(kind), ns, name);
            File.Delete(FileOf(kind, name));
        }
    }

    /// <summary>Serves the objects in a namespace; when they are served there already, by that same server.</summary>
    public Task<ApiServer> ServeAsync(NetworkNamespace ns, IPEndPoint endPoint) =>
        _servers.GetOrAdd((ns, endPoint), _ => new(() => ApiServer.StartAsync(ns, endPoint, _store))).Value;

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
            _store.Put(item);
        }
    }

    private string FileOf(string kind, string name) => Path.Combine(Folder, $"{kind}-{name}.json");
}
