using System.Collections.Concurrent;
using System.Diagnostics;
using Conformance.Generator.Input;
using Conformance.Generator.Objects;

namespace Conformance.Generator.Watching;

/// <summary>
/// Watches files and folders with inotify(7) and tells which files may have changed. What a file held before stays until
/// the file can be read again: one that is being written does not take its Services away.
/// </summary>
internal sealed class Files : IDisposable
{
    private readonly IReadOnlyList<string> _paths;
    private readonly List<FileSystemWatcher> _watchers = [];
    private readonly Dictionary<string, List<object>> _objects = new(StringComparer.Ordinal);
    private readonly Dictionary<(Type Kind, ObjectName Name), SortedList<string, object>> _versions = [];
    private readonly HashSet<string> _unread = new(StringComparer.Ordinal);
    private readonly ConcurrentDictionary<string, long> _settling = new(StringComparer.Ordinal);
    private readonly Action<string?> _changed;
    private static readonly TimeSpan s_quiet = TimeSpan.FromMilliseconds(100);

    /// <param name="changed">Called from another thread with the path of a file, or with null when anything may have changed.</param>
    internal Files(IEnumerable<string> paths, Action<string?> changed)
    {
        _changed = changed;
        _paths = [.. paths.Where(p => p != "-").Select(p => Path.GetFullPath(p))];
        foreach (var path in _paths)
        {
            var isFolder = Directory.Exists(path);
            var watcher = isFolder ? new FileSystemWatcher(path) : new FileSystemWatcher(Path.GetDirectoryName(path)!, Path.GetFileName(path));
            watcher.NotifyFilter = NotifyFilters.FileName | NotifyFilters.LastWrite;
            // What is renamed into place is whole. What is written in place may be half, and what is gone may be about to come
            // back (editors, git): that is looked at when it has been quiet for a moment.
            watcher.Created += (_, e) => Settle(e.FullPath);
            watcher.Changed += (_, e) => Settle(e.FullPath);
            watcher.Deleted += (_, e) => Settle(e.FullPath);
            watcher.Renamed += (_, e) =>
            {
                Settle(e.OldFullPath);
                // A folder's content exchanged by a symbolic link (a ConfigMap's ..data): anything may have changed.
                changed(Source.IsManifest(e.FullPath) || _paths.Contains(e.FullPath, StringComparer.Ordinal) ? e.FullPath : null);
            };
            watcher.Error += (_, _) => changed(null); // more happened than the queue holds
            watcher.EnableRaisingEvents = true;
            _watchers.Add(watcher);
        }
    }

    /// <summary>Paths that are missing, and files that could not be read whole: nothing is known of them.</summary>
    internal IReadOnlyList<string> Unread => [.. _paths.Where(p => !File.Exists(p) && !Directory.Exists(p)), .. _unread];

    /// <summary>The files that there are, and those that there were.</summary>
    internal IEnumerable<string> All => Source.FilesOf(_paths.Where(p => File.Exists(p) || Directory.Exists(p))).Union(_objects.Keys, StringComparer.Ordinal).ToList();

    /// <summary>Reads a file that may have changed into the cluster.</summary>
    /// <returns>The Services concerned, and whether a Node changed.</returns>
    internal (IReadOnlyCollection<ObjectName> Services, bool NodeChanged) Update(string file, Cluster cluster, Action<InputProblem> report)
    {
        if (!_paths.Contains(file, StringComparer.Ordinal) && !Source.IsManifest(file))
            return ([], false);
        var before = _objects.GetValueOrDefault(file, []);
        if (!File.Exists(file))
        {
            _objects.Remove(file);
            _unread.Remove(file);
            return Exchange(file, before, [], cluster);
        }
        Manifest manifest;
        try
        {
            manifest = Source.ReadFile(file);
        }
        catch (GeneratorException e)
        {
            report(new InputProblem(file, 0, "the file", "", e.Message));
            _unread.Add(file);
            return ([], false);
        }
        foreach (var problem in manifest.Problems)
            report(problem);
        if (manifest.IsTorn || (manifest.Objects.Count == 0 && before.Count > 0 && new FileInfo(file).Length == 0))
        {
            _unread.Add(file);
            return ([], false);
        }
        _unread.Remove(file);
        _objects[file] = [.. manifest.Objects];
        return Exchange(file, before, _objects[file], cluster);
    }

    /// <summary>Tells of a file when nothing has happened to it for a moment.</summary>
    private void Settle(string file)
    {
        var mine = Stopwatch.GetTimestamp();
        _settling[file] = mine;
        _ = TellAsync();

        async Task TellAsync()
        {
            await Task.Delay(s_quiet);
            if (_settling.TryRemove(new KeyValuePair<string, long>(file, mine)))
                _changed(file);
        }
    }

    public void Dispose()
    {
        foreach (var watcher in _watchers)
            watcher.Dispose();
    }

    /// <summary>An object that stands in several files is the one of the last file by name, whatever came first.</summary>
    private (IReadOnlyCollection<ObjectName>, bool) Exchange(string file, List<object> before, List<object> after, Cluster cluster)
    {
        var changed = before.Concat(after).Select(NameOf).ToHashSet();
        foreach (var item in before)
            VersionsOf(item).Remove(file);
        foreach (var item in after)
            VersionsOf(item)[file] = item;
        var services = new HashSet<ObjectName>();
        var nodeChanged = false;
        foreach (var name in changed)
        {
            var versions = _versions[name];
            if (versions.Count == 0)
                _versions.Remove(name);
            switch (versions.Values.LastOrDefault(), name.Kind)
            {
                case (Service service, _):
                    cluster.Put(service);
                    services.Add(service.Name);
                    break;
                case (EndpointSlice slice, _):
                    services.UnionWith(cluster.Put(slice));
                    break;
                case (NodeObject node, _):
                    cluster.Put(node);
                    nodeChanged = true;
                    break;
                case (_, var kind) when kind == typeof(Service):
                    cluster.RemoveService(name.Name);
                    services.Add(name.Name);
                    break;
                case (_, var kind) when kind == typeof(EndpointSlice):
                    if (cluster.RemoveSlice(name.Name) is { } owner)
                        services.Add(owner);
                    break;
                default:
                    cluster.RemoveNode(name.Name.Name);
                    nodeChanged = true;
                    break;
            }
        }
        return (services, nodeChanged);
    }

    private SortedList<string, object> VersionsOf(object item)
    {
        var name = NameOf(item);
        return _versions.TryGetValue(name, out var versions) ? versions : _versions[name] = new SortedList<string, object>(StringComparer.Ordinal);
    }

    private static (Type Kind, ObjectName Name) NameOf(object item) => item switch
    {
        Service service => (typeof(Service), service.Name),
        EndpointSlice slice => (typeof(EndpointSlice), slice.Name),
        NodeObject node => (typeof(NodeObject), new ObjectName("", node.Name)),
        _ => throw new ArgumentException("Not an object of ours.", nameof(item)),
    };
}
