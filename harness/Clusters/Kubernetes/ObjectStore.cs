using System.Globalization;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace Conformance.Clusters.Kubernetes;

/// <summary>An object as the store holds it.</summary>
/// <param name="Json">The whole object, its resource version included.</param>
/// <param name="ListItem">The object in a list, whose items do not tell their kind.</param>
internal sealed record StoredObject(ApiResourceType Type, string Namespace, string Name, IReadOnlyDictionary<string, string> Labels,
    byte[] Json, byte[] ListItem);

/// <summary>One change: null before an object was there, null after it went.</summary>
internal sealed record StoredChange(long Version, ApiResourceType Type, StoredObject? Before, StoredObject? After);

/// <summary>Objects with resource versions, and the history of their changes: what etcd is to a real API server.</summary>
internal sealed class ObjectStore
{
    // The lowest of the node ports, of which tests that name ports themselves use none but 30080.
    private const int FirstHealthCheckNodePort = 30000;
    private const int HealthCheckNodePorts = 80;

    private readonly Lock _lock = new();
    private readonly SortedDictionary<(string ApiVersion, string Plural, string Namespace, string Name), StoredObject> _objects =
        new(Comparer<(string, string, string, string)>.Create(Compare));
    private readonly List<StoredChange> _history = [];
    private readonly Dictionary<(string Namespace, string Name), int> _healthCheckNodePorts = [];
    private TaskCompletionSource _changed = NewSignal();
    private long _version = 1;
    private long _forgotten;

    /// <summary>
    /// Gives a Service of type LoadBalancer and policy Local the health-check node port that a real API server allocates
    /// (pkg/registry/core/service/storage/alloc.go); one that it names itself stays.
    /// </summary>
    internal void Allocate(JsonObject item)
    {
        if (item["kind"]?.GetValue<string>() != "Service" || item["spec"] is not JsonObject spec
            || spec["type"]?.GetValue<string>() != "LoadBalancer"
            || spec["externalTrafficPolicy"]?.GetValue<string>() != "Local" || spec["healthCheckNodePort"]?.GetValue<int>() is > 0)
        {
            return;
        }
        var metadata = item["metadata"]!;
        var key = (metadata["namespace"]!.GetValue<string>(), metadata["name"]!.GetValue<string>());
        lock (_lock)
        {
            if (!_healthCheckNodePorts.TryGetValue(key, out var port))
                _healthCheckNodePorts[key] = port = Enumerable.Range(FirstHealthCheckNodePort, HealthCheckNodePorts)
                    .First(p => !_healthCheckNodePorts.ContainsValue(p));
            spec["healthCheckNodePort"] = port;
        }
    }

    /// <summary>Puts an object, which the store then owns, in the place of what has its name.</summary>
    internal void Put(JsonObject item)
    {
        var type = ApiResourceType.Of(item);
        var metadata = item["metadata"]!.AsObject();
        Change(type, type.IsNamespaced ? metadata["namespace"]!.GetValue<string>() : "", metadata["name"]!.GetValue<string>(), _ => item);
    }

    /// <summary>Makes a new object out of what has the name now, while nobody else changes it.</summary>
    /// <param name="change">Gets the object, null where there is none, and returns one which the store then owns.</param>
    internal StoredObject Change(ApiResourceType type, string ns, string name, Func<JsonObject?, JsonObject> change)
    {
        lock (_lock)
        {
            var key = (type.ApiVersion, type.Plural, ns, name);
            var before = _objects.GetValueOrDefault(key);
            var old = before is null ? null : JsonNode.Parse(before.Json)!.AsObject();
            var uid = old?["metadata"]!["uid"]!.GetValue<string>() ?? Guid.NewGuid().ToString();
            var item = change(old);
            var metadata = item["metadata"]!.AsObject();
            _version++;
            metadata["uid"] = uid;
            metadata["resourceVersion"] = _version.ToString(CultureInfo.InvariantCulture);
            var labels = metadata["labels"]?.AsObject().ToDictionary(l => l.Key, l => l.Value!.GetValue<string>(), StringComparer.Ordinal)
                ?? [];
            var json = JsonSerializer.SerializeToUtf8Bytes(item);
            item.Remove("kind");
            item.Remove("apiVersion");
            var after = new StoredObject(type, ns, name, labels, json, JsonSerializer.SerializeToUtf8Bytes(item));
            _objects[key] = after;
            Record(new StoredChange(_version, type, before, after));
            return after;
        }
    }

    /// <returns>Whether there was such an object.</returns>
    internal bool Delete(ApiResourceType type, string ns, string name)
    {
        lock (_lock)
        {
            if (!_objects.Remove((type.ApiVersion, type.Plural, ns, name), out var before))
                return false;
            if (type.Kind == "Service")
                _healthCheckNodePorts.Remove((ns, name));
            _version++;
            var last = JsonNode.Parse(before.Json)!;
            last["metadata"]!["resourceVersion"] = _version.ToString(CultureInfo.InvariantCulture);
            Record(new StoredChange(_version, type, before with { Json = JsonSerializer.SerializeToUtf8Bytes(last) }, null));
            return true;
        }
    }

    internal StoredObject? Find(ApiResourceType type, string ns, string name)
    {
        lock (_lock)
            return _objects.GetValueOrDefault((type.ApiVersion, type.Plural, ns, name));
    }

    internal (IReadOnlyList<StoredObject> Objects, long Version) List(ApiResourceType type, Selector selector)
    {
        lock (_lock)
            return ([.. _objects.Values.Where(o => o.Type == type && selector.Matches(o))], _version);
    }

    /// <summary>Forgets the history: a client that asks for earlier changes has to list again.</summary>
    internal void Compact()
    {
        lock (_lock)
        {
            _history.Clear();
            _version++; // so that even the newest known version is too old
            _forgotten = _version;
        }
    }

    /// <summary>The changes after a version, the version of the store then, and a task that ends with the next change.</summary>
    /// <returns>No changes when that version is forgotten.</returns>
    internal (IReadOnlyList<StoredChange>? Changes, long Version, Task Changed) Since(long version)
    {
        lock (_lock)
        {
            if (version < _forgotten)
                return (null, _version, Task.CompletedTask);
            var first = _history.FindIndex(c => c.Version > version);
            return (first < 0 ? [] : _history[first..], _version, _changed.Task);
        }
    }

    private void Record(StoredChange change)
    {
        _history.Add(change);
        _changed.TrySetResult();
        _changed = NewSignal();
    }

    private static TaskCompletionSource NewSignal() => new(TaskCreationOptions.RunContinuationsAsynchronously);

    private static int Compare((string, string, string, string) a, (string, string, string, string) b) =>
        string.CompareOrdinal(a.Item1, b.Item1) is var version and not 0 ? version
        : string.CompareOrdinal(a.Item2, b.Item2) is var plural and not 0 ? plural
        : string.CompareOrdinal(a.Item3, b.Item3) is var ns and not 0 ? ns
        : string.CompareOrdinal(a.Item4, b.Item4);
}
