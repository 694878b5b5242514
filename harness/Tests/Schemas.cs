using System.Text.Json;
using Json.Schema;
using YamlDotNet.Serialization;

namespace Conformance.Tests;

/// <summary>The schemas that the project publishes, applied to what it writes and reads.</summary>
internal static class Schemas
{
    private static readonly EvaluationOptions s_options = new() { OutputFormat = OutputFormat.List };

    /// <returns>One line for each violation.</returns>
    internal static List<string> Validate(string schemaFile, string json)
    {
        var schema = JsonSchema.FromText(File.ReadAllText(schemaFile), new BuildOptions { SchemaRegistry = new SchemaRegistry() });
        using var document = JsonDocument.Parse(json);
        var result = schema.Evaluate(document.RootElement, s_options);
        return result.IsValid ? [] : [.. (result.Details ?? []).Where(d => d.Errors is not null)
            .SelectMany(d => d.Errors!.Select(e => $"{d.InstanceLocation}: {e.Value}"))];
    }

    /// <summary>YAML as the JSON that it means: numbers, true and false are what they look like.</summary>
    internal static string ToJson(string yaml)
    {
        var value = new DeserializerBuilder().WithAttemptingUnquotedStringTypeDeserialization().Build().Deserialize<object>(yaml);
        return new SerializerBuilder().JsonCompatible().Build().Serialize(value);
    }
}
