namespace Conformance.Packets;

/// <summary>
/// The frames of a lab that were parsed last. Each story reads all frames of its time; but a parsed one is four times as large, and a lab
/// with pods keeps hundreds of thousands.
/// </summary>
internal sealed class ParsedPackets
{
    private const int Most = 100_000;
    private readonly Queue<CapturedPacket> _last = [];

    /// <summary>Lets the frame go that was parsed first.</summary>
    internal void Add(CapturedPacket packet)
    {
        lock (_last)
        {
            _last.Enqueue(packet);
            if (_last.Count > Most)
                _last.Dequeue().ForgetParsed();
        }
    }
}
