using System.Text.Json;
using System.Text.Json.Nodes;
using Microsoft.AspNetCore.Http;

namespace Conformance.Clusters.Kubernetes;

/// <summary>
/// Answers create, update, patch and delete: what proxies and agents write are Events, Leases, and the status of objects.
/// </summary>
internal sealed class ApiWrites(ObjectStore store)
{
    internal async Task AnswerAsync(HttpContext context, ApiTarget target)
    {
        switch (context.Request.Method, target.Name)
        {
            case ("POST", null):
                await ApiAnswer.WriteAsync(context, Create(target, await BodyAsync(context)), StatusCodes.Status201Created);
                break;
            case ("PUT", { } name):
                var next = await BodyAsync(context);
                await ApiAnswer.WriteAsync(context, Update(target, name, _ => next));
                break;
            case ("PATCH", { } name):
                var patch = await PatchAsync(context);
                await ApiAnswer.WriteAsync(context, Update(target, name, patch));
                break;
            case ("DELETE", { } name):
                if (!store.Delete(target.Type, target.Namespace ?? "", name))
                    throw NotFound(target, name);
                await ApiAnswer.WriteAsync(context, new JsonObject { ["kind"] = "Status", ["apiVersion"] = "v1", ["status"] = "Success" });
                break;
            default:
                throw new ApiRefusal(405, "MethodNotAllowed", "the server does not allow this method on the requested resource");
        }
    }

    private byte[] Create(ApiTarget target, JsonObject item)
    {
        var metadata = item["metadata"] as JsonObject ?? [];
        item["metadata"] = metadata;
        if (metadata["name"] is null && metadata["generateName"]?.ToString() is { } prefix)
            metadata["name"] = prefix + Guid.NewGuid().ToString("N")[..5];
        if (metadata["name"]?.ToString() is not { Length: > 0 } name)
            throw new ApiRefusal(422, "Invalid",
                $"{target.Type.Kind} \"\" is invalid: metadata.name: Required value: name or generateName is " +
                "required");
        if (target.Type.IsNamespaced)
            metadata["namespace"] = target.Namespace;
        metadata["creationTimestamp"] = DateTime.UtcNow.ToString("yyyy-MM-ddTHH:mm:ssZ", System.Globalization.CultureInfo.InvariantCulture);
        return store.Change(target.Type, target.Namespace ?? "", name, current => current is null ? WithType(item, target.Type)
            : throw new ApiRefusal(409, "AlreadyExists", $"{target.Type.Plural} \"{name}\" already exists")).Json;
    }

    /// <param name="change">Makes of the object that is there the one that is wanted.</param>
    private byte[] Update(ApiTarget target, string name, Func<JsonObject, JsonObject> change) =>
        store.Change(target.Type, target.Namespace ?? "", name, current =>
        {
            if (current is null)
                throw NotFound(target, name);
            var next = WithType(change(current.DeepClone().AsObject()).DeepClone().AsObject(), target.Type);
            if (next["metadata"] is not JsonObject metadata || metadata["name"]?.ToString() != name)
                throw new ApiRefusal(400, "BadRequest", "the name of the object does not match the name on the URL");
            if (metadata["resourceVersion"]?.ToString() is { Length: > 0 } version
                && version != current["metadata"]!["resourceVersion"]!.ToString())
                throw new ApiRefusal(409, "Conflict",
                    $"Operation cannot be fulfilled on {target.Type.Plural} \"{name}\": the object has been " +
                    "modified; please apply your changes to the latest version and try again");
            if (target.Type.IsNamespaced)
                metadata["namespace"] = target.Namespace;
            metadata["creationTimestamp"] = current["metadata"]!["creationTimestamp"]?.DeepClone();
            if (!target.Type.HasStatus)
                return next;
            // A status is changed by requests about it, and by them alone.
            var (kept, status) = target.IsStatus ? (current, next["status"]) : (next, current["status"]);
            kept["status"] = status?.DeepClone();
            return kept;
        }).Json;

    private static JsonObject WithType(JsonObject item, ApiResourceType type)
    {
        item["kind"] = type.Kind;
        item["apiVersion"] = type.ApiVersion;
        return item;
    }

    private static ApiRefusal NotFound(ApiTarget target, string name) =>
        new(404, "NotFound", $"{target.Type.Plural} \"{name}\" not found");

    private static async Task<JsonObject> BodyAsync(HttpContext context)
    {
        if (MediaType(context) is not ("application/json" or ""))
            throw Unsupported(MediaType(context), "application/json");
        return await ReadAsync(context) as JsonObject ?? throw new ApiRefusal(400, "BadRequest", "the body is no object");
    }

    private static async Task<Func<JsonObject, JsonObject>> PatchAsync(HttpContext context)
    {
        var form = MediaType(context);
        var patch = await ReadAsync(context);
        return (form, patch) switch
        {
            ("application/merge-patch+json", JsonObject changes) => item => JsonPatching.Merge(item, changes, areListsMerged: false),
            ("application/strategic-merge-patch+json", JsonObject changes) => item =>
            JsonPatching.Merge(item, changes, areListsMerged: true),
            ("application/json-patch+json", JsonArray operations) => item => JsonPatching.Apply(item, operations),
            ("application/merge-patch+json" or "application/strategic-merge-patch+json" or "application/json-patch+json", _) =>
                throw new ApiRefusal(400, "BadRequest", "the body is no patch of this form"),
            _ => throw Unsupported(form,
                "application/json-patch+json, application/merge-patch+json, application/strategic-merge-patch+json"),
        };
    }

    private static string MediaType(HttpContext context) => (context.Request.ContentType ?? "").Split(';')[0].Trim();

    private static ApiRefusal Unsupported(string form, string known) => new(415, "UnsupportedMediaType",
        $"the body of the request was in an unknown format ({form}) - accepted media types include: {known}");

    private static async Task<JsonNode?> ReadAsync(HttpContext context)
    {
        try
        {
            return await JsonNode.ParseAsync(context.Request.Body, cancellationToken: context.RequestAborted);
        }
        catch (JsonException e)
        {
            throw new ApiRefusal(400, "BadRequest", e.Message);
        }
    }
}
