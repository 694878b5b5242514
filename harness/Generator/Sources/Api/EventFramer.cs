using System.Runtime.InteropServices;

namespace Conformance.Generator.Sources.Api;

/// <summary>
/// Finds where each JSON object of a stream ends, looking at every byte once, however small the pieces are in which it arrives.
/// Whether the object is valid is for who reads it.
/// </summary>
[StructLayout(LayoutKind.Auto)]
internal struct EventFramer
{
    private int _seen;
    private int _depth;
    private bool _isInString;
    private bool _isEscaped;

    /// <param name="utf8">The bytes since the end of the object before.</param>
    /// <returns>The length of the object with what stands before it; null when its end has not come.</returns>
    /// <exception cref="SyntaxException">There is something between two objects.</exception>
    internal int? FindEnd(ReadOnlySpan<byte> utf8)
    {
        for (; _seen < utf8.Length; _seen++)
        {
            var c = utf8[_seen];
            if (_isInString)
            {
                (_isInString, _isEscaped) = (_isEscaped || c != '"', !_isEscaped && c == '\\');
                continue;
            }
            if (_depth == 0 && !(c is (byte)'{' or (byte)' ' or (byte)'\n' or (byte)'\r' or (byte)'\t'))
                throw new SyntaxException(1, "the stream of events has something that is no object");
            _isInString = c == '"';
            _depth += c is (byte)'{' or (byte)'[' ? 1 : c is (byte)'}' or (byte)']' ? -1 : 0;
            if (_depth == 0 && c is (byte)'}' or (byte)']')
            {
                var length = _seen + 1;
                _seen = 0;
                return length;
            }
        }
        return null;
    }
}
