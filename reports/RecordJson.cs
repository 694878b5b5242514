using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Serialization;

namespace Conformance.Reports;

/// <summary>Records as JSON. A reader gets a whole record or a <see cref="JsonException"/>: no part of it is null by surprise.</summary>
internal static class RecordJson
{
    private static readonly JsonSerializerOptions s_options = new()
    {
        PropertyNamingPolicy = JsonNamingPolicy.CamelCase,
        WriteIndented = true,
        RespectNullableAnnotations = true,
        RespectRequiredConstructorParameters = true,
        Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping, // Chinese stays readable; the files are not put into HTML as they are
    };

    internal static string Write<T>(T record) => JsonSerializer.Serialize(record, s_options);

    /// <exception cref="JsonException">The text is no such record.</exception>
    internal static T Read<T>(string json)
    {
        using var document = JsonDocument.Parse(json);
        Check(document.RootElement);
        return document.Deserialize<T>(s_options) ?? throw new JsonException("The document is null.");
    }

    /// <summary>The serializer does not look at the elements of lists, and takes numbers that no report can hold.</summary>
    private static void Check(JsonElement element)
    {
        switch (element.ValueKind)
        {
            case JsonValueKind.Array:
                foreach (var item in element.EnumerateArray())
                {
                    if (item.ValueKind == JsonValueKind.Null)
                        throw new JsonException("An element of a list is null.");
                    Check(item);
                }
                break;
            case JsonValueKind.Object:
                foreach (var property in element.EnumerateObject())
                    Check(property.Value);
                break;
            case JsonValueKind.Number when !element.TryGetDouble(out var number) || !double.IsFinite(number):
                throw new JsonException($"The number {element.GetRawText()} is too large.");
        }
    }
}

/// <summary>The words of an enumeration; a number is no word.</summary>
internal sealed class WordsConverter<T>() : JsonStringEnumConverter<T>(namingPolicy: null, allowIntegerValues: false)
    where T : struct, Enum;
