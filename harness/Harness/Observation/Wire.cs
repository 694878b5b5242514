namespace Conformance.Harness.Observation;

/// <summary>Everything that was captured in a lab, on all interfaces, in the order in which it happened.</summary>
public sealed class Wire : IDisposable
{
    private readonly Lock _lock = new();
    private readonly List<Capture> _captures = [];
    private List<CapturedPacket> _packets = [];
    private bool _disposed;

    /// <summary>Packets that were not captured for want of buffer: then no story is whole.</summary>
    public long Dropped => _captures.Sum(c => c.Dropped);

    internal void Add(Capture capture)
    {
        lock (_lock)
            _captures.Add(capture);
    }

    /// <summary>All packets until now, in the order of the kernel's time stamps.</summary>
    public IReadOnlyList<CapturedPacket> Packets()
    {
        lock (_lock)
        {
            if (!_disposed)
                DrainAll();
            return [.. _packets];
        }
    }

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
        var fresh = _captures.SelectMany(c => c.Drain()).ToList();
        if (fresh.Count == 0)
            return;
        // Stable: packets of one interface with the same time stamp stay in the order in which they were captured.
        _packets = [.. _packets.Concat(fresh).OrderBy(p => p.Time)];
    }
}
