using System.Buffers;
using System.Globalization;
using System.Net;
using System.Text.Json;
using Conformance.Generator.Input;
using Conformance.Generator.Objects;

namespace Conformance.Generator.Api;

/// <summary>
/// Follows one resource: lists it once and then watches it (Kubernetes API concepts, "Efficient detection of changes").
/// A watch that ends is resumed where it was; when the server has forgotten that point (410), or said what cannot be
/// understood, the resource is listed anew and only what differs is told, all at once.
/// </summary>
internal sealed class ListWatch(ApiClient client, ApiResource resource, Action<IReadOnlyList<ApiChange>> changed, Action<InputProblem> report, Action<string> log)
{
    private const int PageSize = 500;
    private const int MaxEvent = 16 << 20;
    private static readonly TimeSpan s_firstPause = TimeSpan.FromMilliseconds(800);
    private static readonly TimeSpan s_lastPause = TimeSpan.FromSeconds(30);
    private static readonly TimeSpan s_listLimit = TimeSpan.FromMinutes(2);

    /// <summary>A watch that ends sooner, and brought nothing, is a failure.</summary>
    private static readonly TimeSpan s_shortWatch = TimeSpan.FromSeconds(1);

    private readonly Dictionary<ObjectKey, string> _known = [];
    private readonly string _uri = client.UriOf(resource.Path);
    private string? _resourceVersion;
    private volatile bool _hasListed;

    internal string Name => _uri;

    /// <summary>Whether the whole resource has been seen once.</summary>
    internal bool HasListed => _hasListed;

    /// <summary>Follows the resource until it is cancelled; what fails is told and tried again with growing pauses.</summary>
    internal async Task RunAsync(CancellationToken cancellationToken)
    {
        var pause = s_firstPause;
        while (!cancellationToken.IsCancellationRequested)
        {
            try
            {
                if (_resourceVersion is null)
                    await ListAsync(cancellationToken);
                if (await WatchAsync(cancellationToken))
                    pause = s_firstPause;
                continue;
            }
            catch (Exception e) when (!cancellationToken.IsCancellationRequested)
            {
                // Whatever it was (a token that cannot be read, broken compression): a feed that ended would never be missed.
                var listsAnew = e is ApiException { IsTransient: false } or SyntaxException or JsonException && _resourceVersion is not null;
                if (listsAnew)
                    _resourceVersion = null;
                if (e is ApiException { IsGone: true } && pause == s_firstPause)
                {
                    log($"{_uri}: {e.Message}; listing it anew");
                    pause *= 2; // at once, but only the first time
                    continue;
                }
                log(string.Create(CultureInfo.InvariantCulture, $"{_uri}: {Describe(e)}; {(listsAnew ? "listing it anew" : "again")} in {pause.TotalSeconds:0.#} s"));
            }
            // Many nodes lose their API server at once, and shall not come back at once.
            await Task.Delay(pause * (1 + Random.Shared.NextDouble()), cancellationToken);
            pause = pause * 2 < s_lastPause ? pause * 2 : s_lastPause;
        }
    }

    /// <summary>The whole resource, page by page.</summary>
    /// <exception cref="ApiException">The server refused.</exception>
    internal async Task<(List<ApiItem> Items, string ResourceVersion)> ReadAsync(CancellationToken cancellationToken)
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        limit.CancelAfter(s_listLimit);
        try
        {
            return await ReadAsync(PageSize, limit.Token);
        }
        catch (ApiException e) when (e.IsGone) // between two pages: in one piece, then
        {
            return await ReadAsync(0, limit.Token);
        }
    }

    /// <summary>What a failed request can throw.</summary>
    internal static bool IsFailure(Exception e) => e is ApiException or HttpRequestException or IOException or OperationCanceledException or SyntaxException or JsonException;

    internal static string Describe(Exception e) => e switch
    {
        OperationCanceledException => "no answer in time",
        HttpRequestException { InnerException: { } inner } => $"{e.Message} {inner.Message}",
        _ => e.Message,
    };

    private async Task<(List<ApiItem> Items, string ResourceVersion)> ReadAsync(int pageSize, CancellationToken cancellationToken)
    {
        var items = new List<ApiItem>();
        var next = "";
        while (true)
        {
            var page = $"{(pageSize > 0 ? $"&limit={pageSize}" : "")}{(next.Length > 0 ? $"&continue={Uri.EscapeDataString(next)}" : "")}";
            using var response = await client.GetAsync($"{resource.Path}?{resource.Selector}{page}", cancellationToken);
            Tree? list = null;
            JsonTrees.Read(await response.Content.ReadAsByteArrayAsync(cancellationToken), (tree, size) =>
            {
                if (resource.Decode(tree, size, _uri, report) is { } item)
                    items.Add(item);
            }, found => list = found);
            if (list is null)
                throw new ApiException(HttpStatusCode.OK, "the answer is no list");
            next = list["metadata"]?["continue"]?.Text ?? "";
            if (next.Length == 0)
                return (items, ApiResource.ResourceVersionOf(list));
        }
    }

    private async Task ListAsync(CancellationToken cancellationToken)
    {
        var (items, resourceVersion) = await ReadAsync(cancellationToken);
        // New ones first, and all in one: an endpoint that moved to another slice was never gone.
        var changes = items.Where(i => !i.IsInvalid && _known.GetValueOrDefault(i.Key) != i.Version).Select(i => new ApiChange(i.Key, i.Item)).ToList();
        changes.AddRange(_known.Keys.Except(items.Select(i => i.Key)).Select(gone => new ApiChange(gone, null)));
        _known.Clear();
        foreach (var item in items)
            _known[item.Key] = item.Version;
        changed(changes);
        _resourceVersion = resourceVersion;
        _hasListed = true;
    }

    /// <returns>Whether it went as a watch should: it told something, or lasted.</returns>
    private async Task<bool> WatchAsync(CancellationToken cancellationToken)
    {
        var started = Environment.TickCount64;
        var seconds = Random.Shared.Next(300, 600); // as client-go does, so that not all come back at once
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        limit.CancelAfter(TimeSpan.FromSeconds(seconds + 30));
        using var response = await client.GetAsync(string.Create(CultureInfo.InvariantCulture,
            $"{resource.Path}?{resource.Selector}&watch=true&allowWatchBookmarks=true&timeoutSeconds={seconds}&resourceVersion={_resourceVersion}"), limit.Token);
        await using var stream = await response.Content.ReadAsStreamAsync(limit.Token);
        var told = false;
        var buffer = new ArrayBufferWriter<byte>(64 << 10);
        int count;
        while ((count = await stream.ReadAsync(buffer.GetMemory(16 << 10), limit.Token)) > 0)
        {
            buffer.Advance(count);
            var (consumed, events) = HandleAll(buffer.WrittenSpan);
            told |= events;
            if (buffer.WrittenCount - consumed > MaxEvent)
                throw new ApiException(HttpStatusCode.OK, $"an event is larger than {MaxEvent} bytes");
            if (consumed > 0)
            {
                var rest = buffer.WrittenSpan[consumed..].ToArray();
                buffer.ResetWrittenCount();
                buffer.Write(rest);
            }
        }
        if (!told && Environment.TickCount64 - started < s_shortWatch.TotalMilliseconds)
            throw new ApiException(HttpStatusCode.OK, "the watch ended at once");
        return true;
    }

    /// <summary>Handles the events that are there whole.</summary>
    /// <returns>The bytes that were used, and whether an object was among them.</returns>
    private (int Consumed, bool Told) HandleAll(ReadOnlySpan<byte> utf8)
    {
        var (consumed, told) = (0, false);
        while (true)
        {
            var reader = new Utf8JsonReader(utf8[consumed..], isFinalBlock: false, new JsonReaderState(new JsonReaderOptions { MaxDepth = int.MaxValue / 2 }));
            if (!reader.Read() || !reader.TrySkip())
                return (consumed, told);
            var length = (int)reader.BytesConsumed;
            JsonTrees.Read(utf8.Slice(consumed, length), (tree, size) => told |= Handle(tree, size));
            consumed += length;
        }
    }

    private bool Handle(Tree happened, long size)
    {
        if (happened["object"] is not { Kind: TreeKind.Mapping } tree)
            throw new ApiException(HttpStatusCode.OK, "an event has no object");
        var type = happened["type"]?.Text;
        if (type == "ERROR")
        {
            _ = int.TryParse(tree["code"]?.Text, NumberStyles.None, CultureInfo.InvariantCulture, out var code);
            throw new ApiException(tree["reason"]?.Text is "Expired" or "Gone" ? HttpStatusCode.Gone : (HttpStatusCode)code, $"{tree["code"]?.Text} {tree["reason"]?.Text}: {tree["message"]?.Text}");
        }
        if (type != "BOOKMARK" && resource.Decode(tree, size, _uri, report) is { } item)
        {
            if (type == "DELETED")
                Tell(item.Key, null, null);
            else if (item.IsInvalid)
                _known[item.Key] = item.Version;
            else
                Tell(item.Key, item.Version, item.Item);
        }
        if (ApiResource.ResourceVersionOf(tree) is { Length: > 0 } version)
            _resourceVersion = version;
        return type != "BOOKMARK";
    }

    private void Tell(ObjectKey key, string? version, object? item)
    {
        if (version is null)
            _known.Remove(key);
        else
            _known[key] = version;
        changed([new ApiChange(key, item)]);
    }
}
