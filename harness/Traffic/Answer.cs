using System.Net;
using Conformance.Labs;

namespace Conformance.Traffic;

/// <summary>What a server answered: who it is, and which address and port it saw the client come from.</summary>
public sealed record Answer(string Server, IPEndPoint SeenPeer)
{
    /// <summary>No server's line is longer, in bytes.</summary>
    public const int MaxLength = 256;

    internal static Answer? Parse(string line)
    {
        var words = line.Trim().Split(' ');
        return words.Length == 2 && IPEndPoint.TryParse(words[1], out var peer) ? new Answer(words[0], peer) : null;
    }

    /// <inheritdoc/>
    public override string ToString() => $"{Server} saw {SeenPeer}";
}
