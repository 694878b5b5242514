using System.Text.Json;
using System.Text.RegularExpressions;

namespace Conformance.Tests;

/// <summary>
/// Validates JSON by the keywords that our schemas use: type, const, enum, required, properties, additionalProperties,
/// items, minItems, minimum, pattern, and $ref into $defs. A keyword that it does not know is an error.
/// </summary>
internal sealed class JsonSchema(string schema)
{
    private static readonly string[] s_annotations = ["$schema", "$defs", "title", "description"];
    private readonly JsonElement _root = JsonDocument.Parse(schema).RootElement;

    /// <returns>One line for each violation.</returns>
    internal List<string> Validate(JsonElement value)
    {
        var errors = new List<string>();
        Check(_root, value, "$", errors);
        return errors;
    }

    private void Check(JsonElement rules, JsonElement value, string path, List<string> errors)
    {
        foreach (var rule in rules.EnumerateObject())
        {
            var broken = rule.Name switch
            {
                "$ref" => Follow(rule.Value.GetString()!, value, path, errors),
                "type" => !(rule.Value.ValueKind == JsonValueKind.Array ? rule.Value.EnumerateArray() : new[] { rule.Value }.AsEnumerable()).Any(t => IsType(value, t.GetString()!)),
                "const" => value.GetRawText() != rule.Value.GetRawText(),
                "enum" => !rule.Value.EnumerateArray().Any(e => e.GetRawText() == value.GetRawText()),
                "pattern" => value.ValueKind == JsonValueKind.String && !Regex.IsMatch(value.GetString()!, rule.Value.GetString()!, RegexOptions.None, TimeSpan.FromSeconds(1)),
                "minimum" => value.ValueKind == JsonValueKind.Number && value.GetDouble() < rule.Value.GetDouble(),
                "minItems" => value.ValueKind == JsonValueKind.Array && value.GetArrayLength() < rule.Value.GetInt32(),
                "required" => value.ValueKind == JsonValueKind.Object && rule.Value.EnumerateArray().Any(name => !value.TryGetProperty(name.GetString()!, out _)),
                "properties" or "additionalProperties" or "items" => Descend(rules, rule.Name, value, path, errors),
                _ => !s_annotations.Contains(rule.Name, StringComparer.Ordinal),
            };
            if (broken)
                errors.Add($"{path}: {rule.Name} {rule.Value.GetRawText()} is not met");
        }
    }

    private bool Follow(string reference, JsonElement value, string path, List<string> errors)
    {
        Check(_root.GetProperty("$defs").GetProperty(reference["#/$defs/".Length..]), value, path, errors);
        return false;
    }

    private bool Descend(JsonElement rules, string keyword, JsonElement value, string path, List<string> errors)
    {
        if (keyword == "items" && value.ValueKind == JsonValueKind.Array)
        {
            foreach (var (item, index) in value.EnumerateArray().Select((item, index) => (item, index)))
                Check(rules.GetProperty(keyword), item, $"{path}[{index}]", errors);
        }
        else if (value.ValueKind == JsonValueKind.Object)
        {
            var known = rules.TryGetProperty("properties", out var properties) ? properties.EnumerateObject().ToDictionary(p => p.Name, p => p.Value, StringComparer.Ordinal) : [];
            foreach (var member in value.EnumerateObject().Where(m => keyword == "properties" ? known.ContainsKey(m.Name) : !known.ContainsKey(m.Name)))
            {
                if (keyword == "properties")
                    Check(known[member.Name], member.Value, $"{path}.{member.Name}", errors);
                else if (rules.GetProperty(keyword) is { ValueKind: JsonValueKind.Object } others)
                    Check(others, member.Value, $"{path}.{member.Name}", errors);
                else
                    return true; // additionalProperties: false
            }
        }
        return false;
    }

    private static bool IsType(JsonElement value, string type) => type switch
    {
        "object" => value.ValueKind == JsonValueKind.Object,
        "array" => value.ValueKind == JsonValueKind.Array,
        "string" => value.ValueKind == JsonValueKind.String,
        "number" => value.ValueKind == JsonValueKind.Number,
        "boolean" => value.ValueKind is JsonValueKind.True or JsonValueKind.False,
        _ => value.ValueKind == JsonValueKind.Null,
    };
}
