using System.Buffers;
using System.Globalization;
using System.Net;
using System.Text.Json;
using Conformance.Generator.Model;
using Conformance.Linux;

namespace Conformance.Generator.Sources.Api;

/// <summary>
/// Follows one resource: lists it once and then watches it (Kubernetes API concepts, "Efficient detection of changes").
/// A watch that ends is resumed where it was; when the server has forgotten that point (410), or said what cannot be
/// understood, the resource is listed again and only what differs is hasEvents, all at once.
/// </summary>
internal sealed class ListWatch(ApiClient client, ApiResource resource, Action<IReadOnlyList<ApiChange>> changed,
    Action<InputProblem> report, Action<string> log)
{
    private const int PageSize = 500;
    private const int MaxEvent = 16 << 20;

    /// <summary>
    /// Bytes of JSON of all pages of a list: ten times what the endpoints of the largest cluster that Kubernetes supports (150,000 pods)
    /// come to.
    /// </summary>
    private const int MaxList = 256 << 20;

    private static readonly TimeSpan s_firstPause = TimeSpan.FromMilliseconds(800);
    private static readonly TimeSpan s_lastPause = TimeSpan.FromSeconds(30);
    private static readonly TimeSpan s_longestRetryAfter = TimeSpan.FromMinutes(1);
    private static readonly TimeSpan s_listLimit = TimeSpan.FromMinutes(2);

    /// <summary>A longer wait for the head of an answer is logged.</summary>
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(5);

    /// <summary>A watch that ends sooner is not resumed at once, whatever it brought.</summary>
    private static readonly TimeSpan s_shortWatch = TimeSpan.FromSeconds(5);

    private readonly Dictionary<ObjectKey, string> _known = [];
    private readonly string _uri = client.UriOf(resource.Path);
    private string? _resourceVersion;
    private volatile bool _hasListed;

    /// <summary>Before the next attempt; it grows as long as nothing works.</summary>
    private TimeSpan _pause = s_firstPause;

    internal string Name => _uri;

    /// <summary>Whether the whole resource has been seen once.</summary>
    internal bool HasListed => _hasListed;

    /// <summary>Follows the resource until it is cancelled; what fails is logged and retried with exponential back-off.</summary>
    internal async Task RunAsync(CancellationToken cancellationToken)
    {
        var hasForgotten = false;
        while (!cancellationToken.IsCancellationRequested)
        {
            var pause = TimeSpan.Zero;
            try
            {
                if (_resourceVersion is null)
                    await ListAsync(cancellationToken);
                pause = await WatchAsync(cancellationToken);
                hasForgotten = false;
            }
            catch (Exception e) when (!cancellationToken.IsCancellationRequested)
            {
                // Whatever it was (a token that cannot be read, broken compression): a feed that ended would never be missed.
                var listsAgain = e is ApiException { IsTransient: false } or SyntaxException or InvalidFieldException or JsonException
                    && _resourceVersion is not null;
                if (listsAgain)
                    _resourceVersion = null;
                if (e is ApiException { IsGone: true } && !hasForgotten)
                {
                    hasForgotten = true; // at once, but only the first time
                    log($"{_uri}: {Describe(e)}; listing it again");
                    continue;
                }
                pause = _pause;
                if (e is ApiException { RetryAfter: var asked } && asked > pause)
                    pause = asked < s_longestRetryAfter ? asked : s_longestRetryAfter;
                log(string.Create(CultureInfo.InvariantCulture,
                    $"{_uri}: {Describe(e)}; {(listsAgain ? "listing it again" : "again")} in {pause.TotalSeconds:0.#} s"));
                _pause = _pause * 2 < s_lastPause ? _pause * 2 : s_lastPause;
            }
            // Many nodes lose their API server at once, and must not come back at once.
            await Task.Delay(pause * (1 + Random.Shared.NextDouble()), cancellationToken);
        }
    }

    /// <summary>The whole resource, page by page.</summary>
    /// <exception cref="ApiException">The server refused.</exception>
    /// <exception cref="SyntaxException">What it sent is not the list that was asked for: nothing of it counts, since what is missing would
    /// be taken for deleted.</exception>
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

    /// <summary>Why a request failed, in words that may be the server's: they are made printable here, and nowhere before.</summary>
    internal static string Describe(Exception e) => Printable.Of(e switch
    {
        OperationCanceledException => "no answer in time",
        HttpRequestException { InnerException: { } inner } => $"{e.Message} {inner.Message}",
        InvalidFieldException field => $"{field.Field} {field.Message}",
        _ => e.Message,
    });

    private async Task<(List<ApiItem> Items, string ResourceVersion)> ReadAsync(int pageSize, CancellationToken cancellationToken)
    {
        var items = new List<ApiItem>();
        var (keys, pages) = (new HashSet<ObjectKey>(), new HashSet<string>(StringComparer.Ordinal));
        var left = MaxList;
        var next = "";
        while (true)
        {
            var page = $"{(pageSize > 0 ? $"&limit={pageSize}" : "")}{(next.Length > 0 ? $"&continue={Uri.EscapeDataString(next)}" : "")}";
            using var response = await AskAsync($"{resource.Path}?{resource.Selector}{page}", cancellationToken);
            var body = await ReadBodyAsync(response, left, cancellationToken);
            left -= body.Length;
            Tree? list = null;
            JsonTrees.Read(body, (tree, size) =>
            {
                if (tree["kind"]?.Text == "Status")
                    throw new SyntaxException(1, $"the answer is a Status: {tree["message"]?.Text}");
                if (resource.Decode(tree, size, _uri, report) is not { } item)
                    return;
                if (!keys.Add(item.Key))
                    throw new SyntaxException(1, $"the list has {item.Key} twice");
                items.Add(item);
            }, found => list = found);
            if (list is null || !resource.Is(list, "List"))
                throw new SyntaxException(1,
                    $"the answer is {(list is null ? "no list" : ApiResource.KindOf(list))} instead of a {resource.Kind}List of " +
                    $"{resource.ApiVersion}");
            var metadata = new Field(list)["metadata"];
            var version = metadata["resourceVersion"].RequiredText;
            next = metadata["continue"].Text ?? "";
            if (next.Length == 0)
                return (items, version);
            if (!pages.Add(next))
                throw new SyntaxException(1, "the list continues with a page that was read already");
        }
    }

    /// <param name="limit">Bytes after decompression.</param>
    private static async Task<byte[]> ReadBodyAsync(HttpResponseMessage response, int limit, CancellationToken cancellationToken)
    {
        try
        {
            await response.Content.LoadIntoBufferAsync(limit, cancellationToken);
        }
        catch (HttpRequestException e) when (e.HttpRequestError == HttpRequestError.ConfigurationLimitExceeded)
        {
            throw new SyntaxException(1, $"the list is larger than {MaxList >> 20} MiB");
        }
        return await response.Content.ReadAsByteArrayAsync(cancellationToken);
    }

    private async Task<HttpResponseMessage> AskAsync(string path, CancellationToken cancellationToken)
    {
        var answer = client.GetAsync(path, cancellationToken);
        if (await Task.WhenAny(answer, Task.Delay(s_patience, cancellationToken)) != answer && !cancellationToken.IsCancellationRequested)
            log($"{_uri}: no answer yet");
        return await answer;
    }

    private async Task ListAsync(CancellationToken cancellationToken)
    {
        var (items, resourceVersion) = await ReadAsync(cancellationToken);
        // New ones first, and all in one: an endpoint that moved to another slice was never gone.
        var changes = items.Where(i => !i.IsInvalid && _known.GetValueOrDefault(i.Key) != i.Version)
            .Select(i => new ApiChange(i.Key, i.Item)).ToList();
        changes.AddRange(_known.Keys.Except(items.Select(i => i.Key)).Select(gone => new ApiChange(gone, null)));
        _known.Clear();
        foreach (var item in items)
            _known[item.Key] = item.Version;
        changed(changes);
        _resourceVersion = resourceVersion;
        _hasListed = true;
    }

    /// <returns>How long to wait before it is resumed.</returns>
    private async Task<TimeSpan> WatchAsync(CancellationToken cancellationToken)
    {
        var seconds = Random.Shared.Next(300, 600); // as client-go does, so that not all come back at once
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        limit.CancelAfter(TimeSpan.FromSeconds(seconds + 30));
        using var response = await AskAsync(string.Create(CultureInfo.InvariantCulture,
            $"{resource.Path}?{resource.Selector}&watch=true&allowWatchBookmarks=true&timeoutSeconds={seconds}" +
            $"&resourceVersion={Uri.EscapeDataString(_resourceVersion!)}"), limit.Token);
        await using var stream = await response.Content.ReadAsStreamAsync(limit.Token);
        var (started, hasEvents, isWrong) = (Environment.TickCount64, false, false);
        var framer = new EventFramer();
        var buffer = new ArrayBufferWriter<byte>(64 << 10);
        try
        {
            int count;
            while ((count = await stream.ReadAsync(buffer.GetMemory(16 << 10), limit.Token)) > 0)
            {
                buffer.Advance(count);
                var (consumed, events) = HandleAll(buffer.WrittenSpan, ref framer);
                hasEvents |= events;
                if (buffer.WrittenCount - consumed > MaxEvent)
                    throw new SyntaxException(1, $"an event is larger than {MaxEvent} bytes");
                if (consumed > 0)
                {
                    var rest = buffer.WrittenSpan[consumed..].ToArray();
                    buffer.ResetWrittenCount();
                    buffer.Write(rest);
                }
            }
        }
        catch (Exception e) when (e is SyntaxException or ApiException or JsonException)
        {
            isWrong = true; // what it said, not how it ended
            throw;
        }
        finally
        {
            // A watch that worked and was cut (a load balancer ends what is idle) says nothing of how the next will go.
            if (Lasted() >= s_shortWatch || (hasEvents && !isWrong))
                _pause = s_firstPause;
        }
        if (Lasted() >= s_shortWatch)
            return TimeSpan.Zero;
        return hasEvents ? s_firstPause : throw new HttpRequestException("The watch ended at once.");

        TimeSpan Lasted() => TimeSpan.FromMilliseconds(Environment.TickCount64 - started);
    }

    /// <summary>Handles the events that are there whole.</summary>
    /// <returns>The bytes that were used, and whether an object was among them.</returns>
    private (int Consumed, bool HasEvents) HandleAll(ReadOnlySpan<byte> utf8, ref EventFramer framer)
    {
        var (consumed, hasEvents) = (0, false);
        while (framer.FindEnd(utf8[consumed..]) is { } length)
        {
            JsonTrees.Read(utf8.Slice(consumed, length), (tree, size) => hasEvents |= Handle(tree, size));
            consumed += length;
        }
        return (consumed, hasEvents);
    }

    private bool Handle(Tree happened, long size)
    {
        if (happened["object"] is not { Kind: TreeKind.Mapping } tree)
            throw new SyntaxException(1, "an event has no object");
        var type = happened["type"]?.Text;
        if (type is not ("ADDED" or "MODIFIED" or "DELETED" or "BOOKMARK" or "ERROR"))
            throw new SyntaxException(1, $"an event is of the unknown type '{type}'");
        if (type == "ERROR")
        {
            _ = int.TryParse(tree["code"]?.Text, NumberStyles.None, CultureInfo.InvariantCulture, out var code);
            throw new ApiException(tree["reason"]?.Text is "Expired" or "Gone" ? HttpStatusCode.Gone : (HttpStatusCode)code,
                $"{tree["code"]?.Text} {tree["reason"]?.Text}: {tree["message"]?.Text}");
        }
        if (!resource.Is(tree))
            throw new SyntaxException(1,
                $"an event is about {ApiResource.KindOf(tree)} instead of a {resource.Kind} of {resource.ApiVersion}");
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
