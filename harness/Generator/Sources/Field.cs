using System.Globalization;
using System.Net;
using System.Net.Sockets;
using Conformance.Linux;

namespace Conformance.Generator.Sources;

/// <summary>A value that is not what the API says.</summary>
internal sealed class InvalidFieldException(int line, string field, string message) : Exception(message)
{
    internal int Line { get; } = line;

    internal string Field { get; } = field;
}

/// <summary>Where a field is in its object; put into words only for a message.</summary>
/// <param name="Key">The member's name; null for an item of a list.</param>
internal sealed record FieldPath(FieldPath? Parent, string? Key, int Index)
{
    public override string ToString() => Key is null ? string.Create(CultureInfo.InvariantCulture, $"{Parent}[{Index}]")
        : Parent is null ? Key : $"{Parent}.{Key}";
}

/// <summary>A field of an object, there or not, with its path for messages; reads it as what the API says it is.</summary>
/// <param name="parent">The path of what the field is in; null in the object itself.</param>
/// <param name="key">Its name; null for an item of a list, and for the object itself.</param>
internal readonly struct Field(Tree? tree, FieldPath? parent, string? key, int index, int parentLine)
{
    /// <summary>An object, or a text of one.</summary>
    internal Field(Tree tree) : this(tree, null, null, -1, tree.Line)
    {
    }

    /// <summary>That of an object or a list is made once, for all that is in it; that of a value when a message names it.</summary>
    private readonly FieldPath? _path = tree?.Kind is TreeKind.Mapping or TreeKind.Sequence && (key is not null || index >= 0)
        ? new FieldPath(parent, key, index) : null;

    internal bool IsThere => tree is not null && tree.Kind != TreeKind.Null;

    /// <summary>Null for the object itself.</summary>
    private FieldPath? Path => key is null && index < 0 ? null : _path ?? new FieldPath(parent, key, index);

    internal Field this[string name]
    {
        get
        {
            if (!IsThere)
                return new Field(null, Path, name, -1, parentLine);
            Expect(TreeKind.Mapping, "an object");
            return new Field(tree![name], Path, name, -1, tree.Line);
        }
    }

    internal IEnumerable<Field> Items
    {
        get
        {
            if (!IsThere)
                return [];
            Expect(TreeKind.Sequence, "a list");
            return ItemsAt(tree!.Items, Path);
        }
    }

    private static IEnumerable<Field> ItemsAt(IReadOnlyList<Tree> items, FieldPath? path)
    {
        for (var i = 0; i < items.Count; i++)
            yield return new Field(items[i], path, null, i, items[i].Line);
    }

    internal string? Text
    {
        get
        {
            if (!IsThere)
                return null;
            if (tree!.Kind is not (TreeKind.Text or TreeKind.Plain))
                throw Invalid("must be text");
            return tree.Text;
        }
    }

    internal string RequiredText => Text is { Length: > 0 } text ? text : throw Invalid("is required");

    internal InvalidFieldException Invalid(string message)
    {
        if (tree?.Kind == TreeKind.Refused)
            message = tree.Text;
        else if (tree?.Kind is TreeKind.Text or TreeKind.Plain)
            message = $"{message}, not '{(tree.Text.Length > 60 ? tree.Text[..60] + "..." : tree.Text)}'";
        return new InvalidFieldException(tree?.Line ?? parentLine, Path?.ToString() ?? "", message);
    }

    /// <summary>As <see cref="Invalid"/>, without the value.</summary>
    internal InvalidFieldException InvalidSecret(string message) => new(tree?.Line ?? parentLine, Path?.ToString() ?? "", message);

    /// <summary>One of some words, the first where the field is not there.</summary>
    internal string OneOf(params ReadOnlySpan<string> words)
    {
        if (Text is not { Length: > 0 } text)
            return words[0];
        return words.Contains(text) ? text : throw Invalid($"must be one of {string.Join(", ", words)}");
    }

    internal bool? Bool
    {
        get
        {
            if (!IsThere)
                return null;
            if (tree!.Kind == TreeKind.Plain && tree.Text is "true" or "false")
                return tree.Text == "true";
            throw Invalid("must be true or false");
        }
    }

    internal int? Integer(int min, int max)
    {
        if (!IsThere)
            return null;
        // YAML takes 010 for the octal number of 8, and JSON for no number.
        if (tree!.Kind == TreeKind.Plain && tree.Text is not ['0', _, ..]
            && int.TryParse(tree.Text, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out var value) && value >= min
            && value <= max)
            return value;
        throw Invalid(string.Create(CultureInfo.InvariantCulture, $"must be a number of {min} to {max}"));
    }

    /// <summary>
    /// The values of a list, each read by itself: one that is invalid is reported and skipped, as its neighbours are not to blame.
    /// </summary>
    internal List<T> Each<T>(Func<Field, T> read, List<InvalidFieldException> problems)
    {
        var values = new List<T>();
        foreach (var item in Items)
        {
            try
            {
                values.Add(read(item));
            }
            catch (InvalidFieldException e)
            {
                problems.Add(e);
            }
        }
        return values;
    }

    internal IPAddress Address()
    {
        var address = Addresses.Parse(RequiredText) ?? throw Invalid("must be an IP address");
        return Addresses.CanBeServed(address) ? address
            : throw Invalid("must not be a loopback, link-local, multicast, broadcast or unspecified address");
    }

    internal IPAddress Address(AddressFamily family) =>
        Address() is var address && address.AddressFamily == family ? address
            : throw Invalid($"must be an {(family == AddressFamily.InterNetwork ? "IPv4" : "IPv6")} address");

    internal IPNetwork Network() => Addresses.ParseNetwork(RequiredText.Trim()) ?? throw Invalid("must be a network such as 10.0.0.0/8");

    private void Expect(TreeKind kind, string words)
    {
        if (tree!.Kind != kind)
            throw Invalid($"must be {words}");
    }
}

/// <summary>
/// Addresses and networks as Kubernetes reads them in objects that are stored already (KEP-4858, netutils.ParseIPSloppy):
/// leading zeros are decimal, and an IPv4-mapped IPv6 address is the IPv4 address. .NET alone takes forms such as 10.1 and 0x7f.1,
/// and reads leading zeros as octal.
/// </summary>
internal static class Addresses
{
    internal static IPAddress? Parse(string text)
    {
        if (!text.Contains(':', StringComparison.Ordinal))
            return ParseIPv4(text);
        if (text.Contains('%', StringComparison.Ordinal) || text.Contains('[', StringComparison.Ordinal))
            return null;
        // The IPv4 address at the end of one of IPv6 may have leading zeros as well.
        if (text.Contains('.', StringComparison.Ordinal))
        {
            var colon = text.LastIndexOf(':');
            if (ParseIPv4(text[(colon + 1)..]) is not { } tail)
                return null;
            text = $"{text[..(colon + 1)]}{tail}";
        }
        return IPAddress.TryParse(text, out var address) ? address.IsIPv4MappedToIPv6 ? address.MapToIPv4() : address : null;
    }

    private static IPAddress? ParseIPv4(string text)
    {
        const int MaxDigits = 16; // of one number, zeros before it included
        Span<byte> bytes = stackalloc byte[4];
        var (number, digits, at) = (0, 0, 0);
        foreach (var character in text)
        {
            if (char.IsAsciiDigit(character) && digits < MaxDigits && number < 256)
            {
                number = (number * 10) + (character - '0');
                digits++;
            }
            else if (character == '.' && digits > 0 && number < 256 && at < 3)
            {
                bytes[at++] = (byte)number;
                (number, digits) = (0, 0);
            }
            else
            {
                return null;
            }
        }
        if (at < 3 || digits == 0 || number > 255)
            return null;
        bytes[at] = (byte)number;
        return new IPAddress(bytes);
    }

    /// <summary>Whether a Service or an endpoint can have the address (API validation: ValidateNonSpecialIP).</summary>
    internal static bool CanBeServed(IPAddress address) =>
        !IPAddress.IsLoopback(address) && !address.IsIPv6LinkLocal && !address.IsIPv6Multicast && !address.Equals(IPAddress.IPv6Any)
        && !(address.AddressFamily == AddressFamily.InterNetwork && IsSpecialIPv4(address));

    private static bool IsSpecialIPv4(IPAddress address)
    {
        Span<byte> bytes = stackalloc byte[4];
        address.TryWriteBytes(bytes, out _);
        return bytes is [0, ..] or [169, 254, ..] or [>= 224 and < 240, ..] or [255, 255, 255, 255];
    }

    /// <summary>A network; bits beyond its prefix are dropped, as the API server does.</summary>
    internal static IPNetwork? ParseNetwork(string text)
    {
        var slash = text.IndexOf('/', StringComparison.Ordinal);
        if (slash < 0 || Parse(text[..slash]) is not { } address)
            return null;
        if (!int.TryParse(text.AsSpan(slash + 1), NumberStyles.None, CultureInfo.InvariantCulture, out var length)
            || length > (address.AddressFamily == AddressFamily.InterNetwork ? 32 : 128))
            return null;
        var bytes = address.GetAddressBytes();
        for (var bit = length; bit < bytes.Length * 8; bit++)
            bytes[bit / 8] &= (byte)~(0x80 >> (bit % 8));
        return new IPNetwork(new IPAddress(bytes), length);
    }
}
