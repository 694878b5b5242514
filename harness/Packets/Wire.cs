namespace Conformance.Packets;

/// <summary>Everything that was captured in a lab, on all interfaces, in the order in which it happened.</summary>
public sealed class Wire : IDisposable
{
    private readonly Lock _lock = new();
    private readonly List<Capture> _captures = [];
    private readonly List<CapturedPacket> _packets = [];
    private readonly ParsedPackets _parsed = new();
    private bool _disposed;

    /// <summary>
    /// Whether a frame is dropped instead of kept: traffic of the harness itself, of which a long run has millions of packets.
    /// </summary>
    public Func<ReadOnlyMemory<byte>, bool> IsIgnored { get; set; } = _ => false;

    /// <summary>Packets that were not captured because the buffer was full: then no story is complete.</summary>
    public long Dropped => _captures.Sum(c => c.Dropped);

    /// <summary>Adds an interface to the captured ones.</summary>
    public void Add(Capture capture)
    {
        lock (_lock)
            _captures.Add(capture);
    }

    /// <summary>The packets from a time until now, all when none is given, in the order of the kernel's time stamps.</summary>
    public IReadOnlyList<CapturedPacket> Packets(DateTime since = default)
    {
        lock (_lock)
        {
            if (!_disposed)
                DrainAll();
            return _packets.GetRange(FirstFrom(since), _packets.Count - FirstFrom(since));
        }
    }

    /// <summary>
    /// Lets go of the packets before a time, which nobody will ask for: a cluster that serves a suite for a quarter of an hour would keep
    /// millions.
    /// </summary>
    public void Forget(DateTime before)
    {
        lock (_lock)
        {
            if (!_disposed)
                DrainAll();
            _packets.RemoveRange(0, FirstFrom(before));
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        lock (_lock)
        {
            if (_disposed)
                return;
            DrainAll();
            _disposed = true;
            foreach (var capture in _captures)
                capture.Dispose();
        }
    }

    private void DrainAll()
    {
        var fresh = Capture.Filled(_captures).SelectMany(c => c.Drain()).Where(p => !IsIgnored(p.Bytes)).ToList();
        if (fresh.Count == 0)
            return;
        foreach (var packet in fresh)
            packet.Parsed = _parsed;
        // Stable: packets of one interface with the same time stamp stay in the order in which they were captured. Only what
        // is not older than the fresh ones has to be sorted with them: a long run has hundreds of thousands.
        var from = FirstFrom(fresh.Min(p => p.Time));
        var sorted = _packets.Skip(from).Concat(fresh).OrderBy(p => p.Time).ToList();
        _packets.RemoveRange(from, _packets.Count - from);
        _packets.AddRange(sorted);
    }

    /// <summary>The index of the first packet that is not before a time.</summary>
    private int FirstFrom(DateTime time)
    {
        var (low, high) = (0, _packets.Count);
        while (low < high)
        {
            var middle = (low + high) / 2;
            if (_packets[middle].Time < time)
                low = middle + 1;
            else
                high = middle;
        }
        return low;
    }
}
