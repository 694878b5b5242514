using System.Collections.Concurrent;
using System.Globalization;
using System.Text;
using Microsoft.AspNetCore.Http;

namespace Conformance.Clusters.Kubernetes;

/// <summary>Answers get, list (in pages) and watch (chunked, with bookmarks).</summary>
internal sealed class ApiReads(ObjectStore store, TimeSpan bookmarkPeriod)
{
    private readonly ConcurrentDictionary<string, (IReadOnlyList<StoredObject> Objects, long Version)> _pages = new(StringComparer.Ordinal);

    /// <summary>Forgets the pages that were not asked for yet.</summary>
    internal void Forget() => _pages.Clear();

    internal async Task AnswerAsync(HttpContext context, ApiTarget target)
    {
        if (target.Name is { } name)
        {
            var found = store.Find(target.Type, target.Namespace ?? "", name)
                ?? throw new ApiRefusal(404, "NotFound", $"{target.Type.Plural} \"{name}\" not found");
            await ApiAnswer.WriteAsync(context, found.Json);
            return;
        }
        var query = context.Request.Query;
        Selector selector;
        try
        {
            selector = Selector.Parse(target.Namespace, query["labelSelector"].ToString(), query["fieldSelector"].ToString());
        }
        catch (FormatException e)
        {
            throw new ApiRefusal(400, "BadRequest", e.Message);
        }
        if (query["watch"].ToString() is "true" or "1")
            await WatchAsync(context, target.Type, selector);
        else
            await ListAsync(context, target.Type, selector);
    }

    /// <summary>In pages, as asked; of resource version 0 all at once, as a real server answers out of its cache.</summary>
    private async Task ListAsync(HttpContext context, ApiResourceType type, Selector selector)
    {
        var query = context.Request.Query;
        var (rest, version) = store.List(type, selector);
        if (query["continue"].ToString() is { Length: > 0 } token)
        {
            if (!_pages.TryRemove(token, out var page))
                throw new ApiRefusal(410, "Expired", "The provided continue parameter is too old to display a consistent list result.");
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
        await ApiAnswer.WriteAsync(context, body.GetBuffer().AsMemory(0, (int)body.Length));
    }

    private async Task WatchAsync(HttpContext context, ApiResourceType type, Selector selector)
    {
        var query = context.Request.Query;
        var hasInitialEvents = HasInitialEvents(query);
        using var end = CancellationTokenSource.CreateLinkedTokenSource(context.RequestAborted);
        if (int.TryParse(query["timeoutSeconds"], NumberStyles.None, CultureInfo.InvariantCulture, out var seconds))
            end.CancelAfter(TimeSpan.FromSeconds(seconds));
        context.Response.ContentType = "application/json";
        await context.Response.StartAsync(end.Token);
        var allowsBookmarks = query["allowWatchBookmarks"] == "true";
        _ = long.TryParse(query["resourceVersion"], NumberStyles.None, CultureInfo.InvariantCulture, out var version);
        if (hasInitialEvents ?? version == 0)
        {
            (var objects, version) = store.List(type, selector);
            foreach (var item in objects)
                await SendAsync(context, "ADDED", item.Json);
            if (hasInitialEvents == true && allowsBookmarks)
                await SendBookmarkAsync(context, type, version, ""","annotations":{"k8s.io/initial-events-end":"true"}""");
        }
        else if (version == 0)
        {
            (_, version) = store.List(type, selector);
        }
        await context.Response.Body.FlushAsync(end.Token);
        while (!end.IsCancellationRequested)
        {
            var (changes, now, changed) = store.Since(version);
            if (changes is null)
            {
                await SendAsync(context, "ERROR", ApiAnswer.Status(new ApiRefusal(410, "Expired",
                    string.Create(CultureInfo.InvariantCulture, $"too old resource version: {version} ({now})"))));
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
            if (await Task.WhenAny(changed, Task.Delay(bookmarkPeriod, end.Token)) != changed && allowsBookmarks
                && !end.IsCancellationRequested)
                await SendBookmarkAsync(context, type, version);
        }

        bool Matches(StoredObject? item) => item is not null && selector.Matches(item);
    }

    /// <summary>Whether a watch is to begin with all objects (KEP-3157); null when it does not say.</summary>
    private static bool? HasInitialEvents(IQueryCollection query)
    {
        if (!query.ContainsKey("sendInitialEvents"))
            return null;
        if (query["resourceVersionMatch"] != "NotOlderThan")
            throw new ApiRefusal(422, "Invalid",
                "resourceVersionMatch: Forbidden: sendInitialEvents requires setting resourceVersionMatch to " +
                "NotOlderThan");
        return query["sendInitialEvents"].ToString() is "true" or "1";
    }

    private static Task SendBookmarkAsync(HttpContext context, ApiResourceType type, long version, string more = "") =>
        SendAsync(context, "BOOKMARK", Encoding.UTF8.GetBytes(string.Create(CultureInfo.InvariantCulture, $$$"""{"kind":"{{{type.Kind}}}","apiVersion":"{{{type.ApiVersion}}}","metadata":{"resourceVersion":"{{{version}}}"{{{more}}}}}""")));

    private static async Task SendAsync(HttpContext context, string type, ReadOnlyMemory<byte> item)
    {
        await context.Response.Body.WriteAsync(Encoding.UTF8.GetBytes($"{{\"type\":\"{type}\",\"object\":"), context.RequestAborted);
        await context.Response.Body.WriteAsync(item, context.RequestAborted);
        await context.Response.Body.WriteAsync("}\n"u8.ToArray(), context.RequestAborted);
    }
}
