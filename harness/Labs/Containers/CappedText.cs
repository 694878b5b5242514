using System.Text;

namespace Conformance.Labs;

/// <summary>Text that others append while it is read; of much, the end.</summary>
public sealed class CappedText
{
    private const int MaxLength = 1 << 20;
    private readonly StringBuilder _text = new();

    /// <summary>Adds text.</summary>
    public void Append(string text)
    {
        lock (_text)
        {
            _text.Append(text);
            if (_text.Length > MaxLength)
                _text.Remove(0, MaxLength / 2);
        }
    }

    /// <summary>The last lines.</summary>
    public string Tail(int lines) => string.Join('\n', ToString().Trim().Split('\n').TakeLast(lines));

    /// <inheritdoc/>
    public override string ToString()
    {
        lock (_text)
            return _text.ToString();
    }
}
