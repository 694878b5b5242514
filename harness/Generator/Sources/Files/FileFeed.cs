using System.Collections.Concurrent;
using System.Diagnostics;
using System.Globalization;
using Conformance.Generator.Model;
using Conformance.Linux;

namespace Conformance.Generator.Sources.Files;

/// <summary>
/// Watches files and folders with inotify(7) and tells which files may have changed. What a file held before stays until
/// the file can be read again: one that is being written does not take its Services away.
/// </summary>
internal sealed class FileFeed : IFeed
{
    /// <summary>The link by which a ConfigMap's files are exchanged all at once.</summary>
    private const string DataLink = "..data";

    private static readonly TimeSpan s_quiet = TimeSpan.FromMilliseconds(100);
    private static readonly TimeSpan s_again = TimeSpan.FromSeconds(1);
    private readonly IReadOnlyList<string> _paths;
    private readonly Dictionary<string, FileSystemWatcher> _folders = new(StringComparer.Ordinal);
    private readonly List<FileSystemWatcher> _parents = [];
    private readonly Lock _lock = new();
    private readonly Dictionary<string, List<object>> _objects = new(StringComparer.Ordinal);
    private readonly Dictionary<ObjectKey, SortedList<string, object>> _versions = [];
    private readonly HashSet<string> _unread = new(StringComparer.Ordinal);
    private readonly ConcurrentDictionary<string, long> _settling = new(StringComparer.Ordinal);
    private readonly ConcurrentDictionary<string, bool> _pending = new(StringComparer.Ordinal);
    private readonly CancellationTokenSource _stop = new();
    private readonly Action _changed;
    private readonly Action<InputProblem> _report;
    private volatile bool _isAnythingPending = true;
    private bool _wasWhole;

    /// <param name="changed">Called from any thread when there is something to take.</param>
    internal FileFeed(IEnumerable<string> paths, Action changed, Action<InputProblem> report)
    {
        _changed = changed;
        _report = report;
        _paths = [.. paths.Where(p => p != "-").Select(p => Path.GetFullPath(p))];
        foreach (var path in _paths)
        {
            if (!Directory.Exists(path) && !File.Exists(path))
                throw new GeneratorException($"There is no {path}.", "It is neither a file nor a folder.", "Nothing was done.",
                    "Make it first: what is not there cannot be watched.");
            if (FileKind.IsSpecial(path))
                throw new GeneratorException($"{path} cannot be watched.", Source.NoRegularFile, "Nothing was done.",
                    "Give a regular file or a folder; apply takes a pipe.", ExitCodes.Usage);
            WatchParent(path);
            WatchFolder(path);
        }
    }

    /// <summary>
    /// The path itself may be exchanged: a file, a folder that is removed and created again, a symbolic link that is pointed elsewhere.
    /// </summary>
    private void WatchParent(string path)
    {
        if (Path.GetDirectoryName(path) is not { } folder)
            return; // the root folder stays
        _parents.Add(NewWatcher(folder, (name, isWhole) =>
        {
            if (name == Path.GetFileName(path))
            {
                WatchFolder(path);
                if (isWhole || Directory.Exists(path))
                    Tell(File.Exists(path) ? path : null);
                else
                    Settle(path);
            }
            else if (name == DataLink && isWhole)
            {
                Tell(null);
            }
        }));
    }

    /// <summary>Watches what is in a folder, wherever the path leads to now.</summary>
    private void WatchFolder(string path)
    {
        lock (_lock)
        {
            if (_folders.Remove(path, out var former))
                former.Dispose();
            if (!Directory.Exists(path) || _stop.IsCancellationRequested)
                return;
            _folders[path] = NewWatcher(new DirectoryInfo(path).ResolveLinkTarget(returnFinalTarget: true)?.FullName ?? path,
                (name, isWhole) =>
            {
                var file = Path.Combine(path, name);
                if (name == DataLink && isWhole)
                    Tell(null);
                else if (Source.IsManifest(file) && isWhole)
                    Tell(file);
                else if (Source.IsManifest(file))
                    Settle(file);
            });
        }
    }

    /// <param name="happened">
    /// Called with a name in the folder, and whether it was renamed into place: then it is whole. What is written in place may be
    /// half, and what is gone may be about to come back (editors, git): that is looked at when it has been quiet for a moment.
    /// </param>
    private FileSystemWatcher NewWatcher(string folder, Action<string, bool> happened)
    {
        var watcher = new FileSystemWatcher(
            folder)
        { NotifyFilter = NotifyFilters.FileName | NotifyFilters.DirectoryName | NotifyFilters.LastWrite };
        watcher.Created += (_, e) => Happened(e.Name!, false);
        watcher.Changed += (_, e) => Happened(e.Name!, false);
        watcher.Deleted += (_, e) => Happened(e.Name!, false);
        watcher.Renamed += (_, e) =>
        {
            if (e.OldName is { } old)
                Happened(old, false);
            Happened(e.Name!, true);
        };
        watcher.Error += (_, e) => // more happened than the queue holds, say
        {
            Report(folder, e.GetException());
            try
            {
                // .NET 10 ends the thread of a watcher after an error, and says nothing more: it has to be switched on again.
                watcher.EnableRaisingEvents = false;
                watcher.EnableRaisingEvents = true;
            }
            catch (Exception again) when (
                again is IOException or UnauthorizedAccessException or ArgumentException or ObjectDisposedException)
            {
                Report(folder, again); // the folder has gone: the watcher of the one above it follows the next
            }
            Tell(null);
        };
        watcher.EnableRaisingEvents = true;
        return watcher;

        // An exception would end the thread that tells of everything. What could not be watched now may be a moment later.
        void Happened(string name, bool isWhole)
        {
            try
            {
                happened(name, isWhole);
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException or ArgumentException or GeneratorException)
            {
                Report(Path.Combine(folder, name), e);
                CrashReport.LetRun(AgainAsync(name, isWhole), _stop.Token);
            }
        }

        async Task AgainAsync(string name, bool isWhole)
        {
            await Task.Delay(s_again, _stop.Token);
            Happened(name, isWhole);
        }

        void Report(string what, Exception e) => _report(new InputProblem(what, 0, "what happened there", "", e.Message));
    }

    /// <summary>Paths that are missing, and files that could not be read whole: nothing is known of them.</summary>
    public IReadOnlyList<string> Unread => [.. _paths.Where(p => !File.Exists(p) && !Directory.Exists(p)), .. _unread];

    /// <summary>Reads the files that may have changed; all of them, until all have been read whole once.</summary>
    public Taken Take(Cluster cluster)
    {
        try
        {
            return TakePending(cluster);
        }
        catch
        {
            _isAnythingPending = true; // a folder went while it was read, say: what was not taken is taken with everything else
            throw;
        }
    }

    private Taken TakePending(Cluster cluster)
    {
        var taken = new Taken();
        var files = new HashSet<string>(StringComparer.Ordinal);
        if (_isAnythingPending)
        {
            _isAnythingPending = false;
            files.UnionWith(Source.FilesOf(_paths.Where(p => File.Exists(p) || Directory.Exists(p))));
            files.UnionWith(_objects.Keys);
        }
        foreach (var file in _pending.Keys)
        {
            _pending.TryRemove(file, out _);
            files.Add(file);
        }
        foreach (var file in files)
            Update(file, cluster, taken);
        if (!_wasWhole && !(_wasWhole = Unread.Count == 0))
            _isAnythingPending = true; // and never back to false here: a watcher may have set it meanwhile
        return taken;
    }

    /// <param name="file">Null when anything may have changed.</param>
    private void Tell(string? file)
    {
        if (file is null)
            _isAnythingPending = true;
        else
            _pending[file] = true;
        _changed();
    }

    private void Update(string file, Cluster cluster, Taken taken)
    {
        if (!_paths.Contains(file, StringComparer.Ordinal) && !Source.IsManifest(file))
            return;
        var parsing = Stopwatch.StartNew();
        var before = _objects.GetValueOrDefault(file, []);
        if (!File.Exists(file))
        {
            _objects.Remove(file);
            _unread.Remove(file);
            Exchange(file, before, [], cluster, taken);
            taken.Reasons.Add(Path.GetFileName(file));
            return;
        }
        if (FileKind.IsSpecial(file))
        {
            _report(new InputProblem(file, 0, "this file", "", Source.NoRegularFile));
            return;
        }
        Manifest manifest;
        try
        {
            manifest = Source.ReadFile(file);
        }
        catch (GeneratorException e)
        {
            _report(new InputProblem(file, 0, "the file", "", e.Message));
            _unread.Add(file);
            _pending[file] = true; // read again at the next occasion: what hinders now (no descriptor is left, say) tells of no end
            return;
        }
        foreach (var problem in manifest.Problems)
            _report(problem);
        if (manifest.IsTorn || (manifest.Objects.Count == 0 && before.Count > 0 && new FileInfo(file) is not { Exists: true, Length: > 0 }))
        {
            _unread.Add(file);
            return;
        }
        _unread.Remove(file);
        // An object that has become invalid stays as it was: what is served is not taken away for a mistake.
        _objects[file] = [.. manifest.Objects, .. before.Where(b => manifest.Invalid.Contains(ObjectKey.Of(b))
            && !manifest.Objects.Any(o => ObjectKey.Of(o) == ObjectKey.Of(b)))];
        Exchange(file, before, _objects[file], cluster, taken);
        taken.Reasons.Add(string.Create(CultureInfo.InvariantCulture,
            $"{Path.GetFileName(file)} (read in {parsing.Elapsed.TotalMilliseconds:0.0} ms)"));
    }

    /// <summary>Tells of a file when nothing has happened to it for a moment.</summary>
    private void Settle(string file)
    {
        var mine = Stopwatch.GetTimestamp();
        _settling[file] = mine;
        CrashReport.LetRun(TellAsync(), _stop.Token);

        async Task TellAsync()
        {
            await Task.Delay(s_quiet, _stop.Token);
            if (!_settling.TryRemove(new KeyValuePair<string, long>(file, mine)))
                return;
            // A path of ours that is gone may have been a folder: what was in it went with it, and its own watcher may have
            // reported nothing of that.
            Tell(_paths.Contains(file, StringComparer.Ordinal) && !File.Exists(file) ? null : file);
        }
    }

    public void Dispose()
    {
        _stop.Cancel();
        lock (_lock)
        {
            foreach (var watcher in _parents.Concat(_folders.Values))
                watcher.Dispose();
            _folders.Clear();
        }
    }

    /// <summary>An object that stands in several files is the one of the last file by name, whatever came first.</summary>
    private void Exchange(string file, List<object> before, List<object> after, Cluster cluster, Taken taken)
    {
        foreach (var item in before)
            VersionsOf(ObjectKey.Of(item)).Remove(file);
        foreach (var item in after)
            VersionsOf(ObjectKey.Of(item))[file] = item;
        foreach (var key in before.Concat(after).Select(ObjectKey.Of).ToHashSet())
        {
            var versions = _versions[key];
            if (versions.Count == 0)
                _versions.Remove(key);
            taken.Replace(cluster, key, versions.Values.LastOrDefault());
        }
    }

    private SortedList<string, object> VersionsOf(ObjectKey key) =>
        _versions.TryGetValue(key, out var versions) ? versions : _versions[key] = new SortedList<string, object>(StringComparer.Ordinal);
}
