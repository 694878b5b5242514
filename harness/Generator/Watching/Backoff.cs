namespace Conformance.Generator.Watching;

/// <summary>Pauses between attempts: each twice as long as the one before, up to a longest one.</summary>
internal sealed class Backoff(TimeSpan first, TimeSpan longest)
{
    private TimeSpan _last;

    /// <summary>The pause before the next attempt: twice the one before.</summary>
    internal TimeSpan Next()
    {
        _last = _last == TimeSpan.Zero ? first : _last * 2 < longest ? _last * 2 : longest;
        return _last;
    }

    /// <summary>Begins again with the first pause.</summary>
    internal void Reset() => _last = TimeSpan.Zero;
}
