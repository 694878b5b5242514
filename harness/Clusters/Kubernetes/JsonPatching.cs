using System.Globalization;
using System.Text.Json.Nodes;

namespace Conformance.Clusters.Kubernetes;

/// <summary>Changes of objects in the forms in which the API takes them.</summary>
internal static class JsonPatching
{
    private const string DeleteFrom = "$deleteFromPrimitiveList/";

    /// <summary>
    /// The lists that a strategic merge patch merges, with what tells their objects apart: patchMergeKey in the types of k8s.io/api.
    /// </summary>
    private static readonly Dictionary<string, string> s_keys = new(StringComparer.Ordinal)
    {
        ["conditions"] = "type",
        ["addresses"] = "type",
        ["podIPs"] = "ip",
        ["ownerReferences"] = "uid",
        ["containerStatuses"] = "name",
        ["initContainerStatuses"] = "name",
    };

    /// <summary>
    /// Merge patches (RFC 7386): an object is merged by its names, null deletes, everything else replaces. In a strategic merge patch a
    /// list of objects is merged by the objects' keys.
    /// </summary>
    internal static JsonObject Merge(JsonObject item, JsonObject changes, bool areListsMerged)
    {
        foreach (var (name, value) in changes)
        {
            switch (value, item[name])
            {
                case (null, _):
                    item.Remove(name);
                    break;
                case (JsonObject inner, var old):
                    item[name] = Merge(old is JsonObject there ? there.DeepClone().AsObject() : [], inner, areListsMerged);
                    break;
                case (JsonArray list, JsonArray old) when areListsMerged && s_keys.TryGetValue(name, out var key):
                    item[name] = MergeLists(old, list, key);
                    break;
                case (JsonArray list, JsonArray old) when areListsMerged && name == "finalizers":
                    item[name] = new JsonArray([.. old.Concat(list).Select(f => f!.ToString()).Distinct(StringComparer.Ordinal)
                        .Select(f => JsonValue.Create(f))]);
                    break;
                case (JsonArray list, _) when areListsMerged && name.StartsWith(DeleteFrom, StringComparison.Ordinal):
                    if (item[name[DeleteFrom.Length..]] is JsonArray rest)
                        item[name[DeleteFrom.Length..]] = new JsonArray([.. rest.Where(r => !list.Any(l => JsonNode.DeepEquals(l, r)))
                            .Select(r => r?.DeepClone())]);
                    break;
                case (_, _) when areListsMerged && (name == "$retainKeys"
                    || name.StartsWith("$setElementOrder/", StringComparison.Ordinal)):
                    break; // the order of lists is not kept
                default:
                    item[name] = value.DeepClone();
                    break;
            }
        }
        return item;
    }

    /// <summary>A list of operations (RFC 6902): add, remove, replace, test.</summary>
    /// <exception cref="ApiRefusal">An operation does not fit the object.</exception>
    internal static JsonObject Apply(JsonObject item, JsonArray operations)
    {
        foreach (var operation in operations.OfType<JsonObject>())
        {
            var path = operation["path"]?.ToString() ?? "";
            var words = path.Split('/').Skip(1).Select(w => w.Replace("~1", "/", StringComparison.Ordinal)
                .Replace("~0", "~", StringComparison.Ordinal)).ToList();
            if (words.Count == 0)
                throw Unfit(operation);
            JsonNode? owner = item;
            foreach (var word in words.SkipLast(1))
                owner = owner is JsonArray list ? list.ElementAtOrDefault(Index(word, operation)) : (owner as JsonObject)?[word];
            Apply(owner, words[^1], operation);
        }
        return item;
    }

    private static void Apply(JsonNode? owner, string name, JsonObject operation)
    {
        var value = operation["value"];
        switch (operation["op"]?.ToString(), owner)
        {
            case ("add" or "replace", JsonObject item):
                item[name] = value?.DeepClone();
                break;
            case ("remove", JsonObject item) when item.Remove(name):
                break;
            case ("add", JsonArray list) when name == "-" || Index(name, operation) <= list.Count:
                list.Insert(name == "-" ? list.Count : Index(name, operation), value?.DeepClone());
                break;
            case ("replace", JsonArray list) when Index(name, operation) < list.Count:
                list[Index(name, operation)] = value?.DeepClone();
                break;
            case ("remove", JsonArray list) when Index(name, operation) < list.Count:
                list.RemoveAt(Index(name, operation));
                break;
            case ("test", JsonObject item) when JsonNode.DeepEquals(item[name], value):
                break;
            default:
                throw Unfit(operation);
        }
    }

    private static int Index(string word, JsonObject operation) =>
        int.TryParse(word, NumberStyles.None, CultureInfo.InvariantCulture, out var index) ? index : throw Unfit(operation);

    private static ApiRefusal Unfit(JsonObject operation) =>
        new(422, "Invalid", $"the operation {operation.ToJsonString()} does not fit the object");

    private static JsonArray MergeLists(JsonArray old, JsonArray changes, string key)
    {
        var merged = old.OfType<JsonObject>().Select(o => o.DeepClone().AsObject()).ToList();
        foreach (var change in changes.OfType<JsonObject>())
        {
            var at = merged.FindIndex(o => JsonNode.DeepEquals(o[key], change[key]));
            if (change["$patch"]?.ToString() == "delete")
                merged.RemoveAll(o => JsonNode.DeepEquals(o[key], change[key]));
            else if (at < 0)
                merged.Add(change.DeepClone().AsObject());
            else
                merged[at] = Merge(merged[at], change, areListsMerged: true);
        }
        return new JsonArray([.. merged]);
    }
}
