using System.Text.Json.Nodes;

namespace Conformance.Clusters.Kubernetes;

/// <summary>
/// What the API server tells of itself: versions, groups and resources (Kubernetes documentation, "Kubernetes API concepts").
/// </summary>
internal static class Discovery
{
    /// <summary>The version whose API it follows.</summary>
    private const string Minor = "34";

    private static readonly string[] s_verbs = ["create", "delete", "get", "list", "patch", "update", "watch"];

    /// <summary>The document of a path; null when it is no path of discovery.</summary>
    internal static JsonObject? Find(string path) => path.Trim('/').Split('/') switch
    {
        ["version"] => new JsonObject
        {
            ["major"] = "1",
            ["minor"] = Minor,
            ["gitVersion"] = $"v1.{Minor}.0",
            ["gitCommit"] = "",
            ["gitTreeState"] = "clean",
            ["buildDate"] = "2026-01-01T00:00:00Z",
            ["goVersion"] = "",
            ["compiler"] = "",
            ["platform"] = "linux/amd64",
        },
        ["api"] => new JsonObject
        {
            ["kind"] = "APIVersions",
            ["versions"] = new JsonArray("v1"),
            ["serverAddressByClientCIDRs"] = new JsonArray()
        },
        ["apis"] => new JsonObject { ["kind"] = "APIGroupList", ["apiVersion"] = "v1", ["groups"] = new JsonArray([.. Groups()]) },
        ["apis", var name] => Groups().FirstOrDefault(g => g["name"]!.GetValue<string>() == name) is { } group ? Whole(group, "APIGroup")
            : null,
        ["api", var version] => Resources(version),
        ["apis", var group, var version] => Resources($"{group}/{version}"),
        _ => null,
    };

    private static IEnumerable<JsonObject> Groups() => ApiResourceType.All.Where(t => t.Group.Length > 0)
        .GroupBy(t => t.Group, StringComparer.Ordinal)
        .Select(group => new JsonObject
        {
            ["name"] = group.Key,
            ["versions"] = new JsonArray([.. group.Select(t => t.ApiVersion).Distinct(StringComparer.Ordinal).Select(Version)]),
            ["preferredVersion"] = Version(group.First().ApiVersion),
        });

    private static JsonObject Version(string apiVersion) =>
        new() { ["groupVersion"] = apiVersion, ["version"] = apiVersion[(apiVersion.IndexOf('/', StringComparison.Ordinal) + 1)..] };

    private static JsonObject? Resources(string apiVersion)
    {
        var types = ApiResourceType.All.Where(t => t.ApiVersion == apiVersion).ToList();
        return types.Count == 0 ? null : new JsonObject
        {
            ["kind"] = "APIResourceList",
            ["apiVersion"] = "v1",
            ["groupVersion"] = apiVersion,
            ["resources"] = new JsonArray([.. types.SelectMany(t => t.HasStatus
                ? [Resource(t, t.Plural, s_verbs), Resource(t, $"{t.Plural}/status", ["get", "patch", "update"])]
                : new[] { Resource(t, t.Plural, s_verbs) })]),
        };
    }

    private static JsonObject Resource(ApiResourceType type, string name, IEnumerable<string> verbs) => new()
    {
        ["name"] = name,
        ["singularName"] = name == type.Plural ? type.Kind.ToLowerInvariant() : "",
        ["namespaced"] = type.IsNamespaced,
        ["kind"] = type.Kind,
        ["verbs"] = new JsonArray([.. verbs.Select(v => JsonValue.Create(v))]),
    };

    private static JsonObject Whole(JsonObject item, string kind)
    {
        item["kind"] = kind;
        item["apiVersion"] = "v1";
        return item;
    }
}
