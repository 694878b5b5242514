using System.Globalization;

namespace Conformance.Generator.Sources;

/// <summary>Text of others in messages of ours: it can neither begin a line of its own nor move the reader's cursor.</summary>
internal static class Printable
{
    /// <summary>Characters of a text that are shown; nobody reads more, and logs have an end.</summary>
    private const int MaxLength = 4096;

    /// <summary>The text in one line, with control, format and separator characters as \xHH or \uHHHH.</summary>
    internal static string Of(string text)
    {
        if (text.Length > MaxLength)
            text = $"{text[..MaxLength]}...";
        return text.Any(IsHidden)
            ? string.Concat(text.Select(c => !IsHidden(c) ? c.ToString() : c < 256
            ? string.Create(CultureInfo.InvariantCulture, $"\\x{(int)c:x2}")
            : string.Create(CultureInfo.InvariantCulture, $"\\u{(int)c:x4}"))) : text;
    }

    private static bool IsHidden(char c) =>
        char.GetUnicodeCategory(
            c) is UnicodeCategory.Control or UnicodeCategory.Format or UnicodeCategory.LineSeparator or UnicodeCategory.ParagraphSeparator;
}
