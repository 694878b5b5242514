using System.Globalization;

namespace Conformance.Generator.Serving;

/// <summary>
/// The answer to probes, by kube-proxy's rule (pkg/proxy/healthcheck): as long as nothing waits longer than two periods for
/// its sync, the answer is 200: a failure that is repaired in time is not reported.
/// </summary>
internal sealed class Health(TimeSpan syncPeriod)
{
    private long _lastUpdated;

    /// <summary>
    /// Since when something waits for a sync that succeeds, in <see cref="Environment.TickCount64"/>; 0 when nothing does.
    /// </summary>
    private long _dueSince;

    private volatile bool _isLeaving;

    /// <summary>Whether load balancers should send the node no new connections.</summary>
    internal bool IsLeaving
    {
        set => _isLeaving = value;
    }

    internal bool IsHealthy => Volatile.Read(ref _lastUpdated) != 0
        && (Volatile.Read(ref _dueSince) is var since
            && (since == 0 || Environment.TickCount64 - since < 2 * syncPeriod.TotalMilliseconds));

    /// <summary>A sync begins.</summary>
    internal void Begin() => Interlocked.CompareExchange(ref _dueSince, Environment.TickCount64, 0);

    /// <summary>A sync has succeeded.</summary>
    internal void Succeed(DateTimeOffset now)
    {
        Volatile.Write(ref _dueSince, 0);
        Volatile.Write(ref _lastUpdated, now.UtcTicks);
    }

    /// <summary>/livez says whether the program works; /healthz also whether load balancers should send to this node (KEP-3836).</summary>
    internal HttpAnswer Answer(string path)
    {
        var (isEligible, isHealthz) = (!_isLeaving, path == "/healthz");
        var lastUpdated = new DateTimeOffset(Volatile.Read(ref _lastUpdated), TimeSpan.Zero);
        var eligible = isHealthz ? $", \"nodeEligible\": {(isEligible ? "true" : "false")}" : "";
        return new HttpAnswer(IsHealthy && (isEligible || !isHealthz) ? 200 : 503, "application/json", string.Create(
            CultureInfo.InvariantCulture,
                $"{{\"lastUpdated\": \"{lastUpdated:yyyy-MM-dd HH:mm:ss.ffffff zzz}\",\"currentTime\": " +
                $"\"{DateTimeOffset.UtcNow:yyyy-MM-dd HH:mm:ss.ffffff zzz}\"{eligible}}}"));
    }
}
