using System.Globalization;
using System.Net;
using System.Net.Sockets;
using Conformance.Generator.Decisions;
using Conformance.Generator.Model;
using Conformance.Generator.Sources;
using Conformance.Generator.Sync;

namespace Conformance.Generator.Serving;

/// <summary>What is asked for over HTTP.</summary>
internal enum AnswerKind
{
    /// <summary>/healthz or /livez.</summary>
    Probe,

    Metrics,

    /// <summary>A load balancer's health check at a Service's healthCheckNodePort.</summary>
    HealthCheck,
}

/// <summary>Everything that a watching generator tells over HTTP: probes, metrics, and load balancers' health checks.</summary>
internal sealed class Telemetry : IDisposable
{
    private readonly GeneratorOptions _options;
    private readonly Metrics _metrics = new();
    private readonly Health _health;
    private readonly HealthChecks _healthChecks;
    private readonly List<IDisposable> _owned = [];
    private readonly Func<AnswerKind, HttpAnswer, HttpAnswer> _pass;
    private long _problems;

    /// <param name="pass">Every answer goes through it.</param>
    internal Telemetry(GeneratorOptions options, Func<AnswerKind, HttpAnswer, HttpAnswer> pass, Action<string> log)
    {
        _options = options;
        _pass = pass;
        _health = new Health(options.IpvsSyncPeriod);
        _healthChecks = new HealthChecks(() => _health.IsHealthy, answer => pass(AnswerKind.HealthCheck, answer), log);
        _owned.Add(_healthChecks);
    }

    /// <summary>Begins to answer on the addresses of the options.</summary>
    /// <exception cref="GeneratorException">A port is in use.</exception>
    internal void Serve()
    {
        Serve(_options.HealthzBindAddress, "healthz", path => path is "/healthz" or "/livez" ? AnswerProbe(path) : null);
        Serve(_options.MetricsBindAddress, "metrics",
            path => path == "/metrics"
                ? _pass(AnswerKind.Metrics, new HttpAnswer(200, "text/plain; version=0.0.4", _metrics.Format())) : null);
    }

    /// <summary>Something waits for a sync from now on.</summary>
    internal void Expect() => _health.Begin();

    /// <summary>A sync begins.</summary>
    internal void Begin()
    {
        _health.Begin();
        _metrics.Set("kubeproxy_sync_proxy_rules_last_queued_timestamp_seconds", "When the last sync began.", Now());
    }

    /// <summary>A sync has ended.</summary>
    internal void End(SyncResult result, bool isDriftCheck, TimeSpan duration)
    {
        if (!result.IsBroken)
        {
            _health.Succeed(DateTimeOffset.UtcNow);
            _metrics.Set("kubeproxy_sync_proxy_rules_last_timestamp_seconds", "When the last sync that succeeded ended.", Now());
        }
        if (!result.IsGood)
        {
            _metrics.Add("kubeproxy_sync_proxy_rules_iptables_restore_failures_total", "Restores of rules that failed.",
                result.Errors.Count(e => e.Contains("-restore failed", StringComparison.Ordinal)));
        }
        if (isDriftCheck && result.IsGood)
        {
            _metrics.Add("ipvs_generator_drift_total", "Differences that somebody else made, and that were undone.",
                result.Changes.Count);
        }
        _metrics.ObserveSync(duration);
    }

    /// <summary>Changes of objects have been taken.</summary>
    internal void Count(Taken taken)
    {
        _metrics.Add("kubeproxy_sync_proxy_rules_service_changes_total", "Services that changed.", taken.ServiceChanges);
        _metrics.Add("kubeproxy_sync_proxy_rules_endpoint_changes_total", "EndpointSlices that changed.", taken.SliceChanges);
    }

    /// <summary>A part of the input was skipped.</summary>
    internal void CountProblem() =>
        _metrics.Set("ipvs_generator_input_problems_total", "Parts of the input that were left out.", Interlocked.Increment(ref _problems));

    /// <summary>The state after a sync.</summary>
    /// <param name="desired">Null before the first decision.</param>
    internal void Observe(int changes, Cluster cluster, int draining, DesiredState? desired)
    {
        _metrics.Add("ipvs_generator_changes_total", "Changes made to the kernel.", changes);
        foreach (var (kind, count) in new[] { ("Service", cluster.Services.Count), ("EndpointSlice", cluster.Slices.Count),
            ("Node", cluster.Nodes.Count) })
            _metrics.Set("ipvs_generator_objects", "Objects by kind.", count, $"kind=\"{kind}\"");
        _metrics.Set("ipvs_generator_draining_real_servers", "Real servers that wait for their last connection to end.", draining);
        _metrics.Set("ipvs_generator_disputed_ports", "Ports that a Service waits for, because an older one has them.",
            desired?.Disputes.Count() ?? 0);
    }

    /// <summary>The object of this node; null when there is none.</summary>
    internal void ObserveNode(NodeObject? node)
    {
        _health.IsLeaving = node?.IsLeaving == true;
        _metrics.Set("ipvs_generator_own_node_found",
            "Whether there is a Node of our name: without it no endpoint is known to be local.", node is null ? 0 : 1);
    }

    /// <summary>Serves the health checks of the desired state, on the addresses that serve node ports.</summary>
    /// <param name="node">Null before the first decision.</param>
    internal void UpdateHealthChecks(DesiredState? desired, NodeState? node)
    {
        IReadOnlyList<IPAddress>? addresses = _options.LimitsNodePorts && node is not null
            ? [.. node.NodePortAddresses(_options, AddressFamily.InterNetwork),
                .. node.NodePortAddresses(_options, AddressFamily.InterNetworkV6)]
            : null; // every address
        _healthChecks.Update(desired?.HealthChecks ?? [], addresses);
    }

    public void Dispose()
    {
        foreach (var thing in _owned)
            thing.Dispose();
    }

    private HttpAnswer AnswerProbe(string path)
    {
        var answer = _pass(AnswerKind.Probe, _health.Answer(path));
        _metrics.Add($"kubeproxy_proxy_{path[1..]}_total", "Probes by their answer.", 1,
            string.Create(CultureInfo.InvariantCulture, $"code=\"{answer.Status}\""));
        return answer;
    }

    private void Serve(IPEndPoint? endPoint, string name, Func<string, HttpAnswer?> answer)
    {
        if (endPoint is null)
            return;
        try
        {
            _owned.Add(new HttpResponder(endPoint, answer));
        }
        catch (SocketException e)
        {
            throw new GeneratorException($"{name} cannot be served on {endPoint}.", e.Message, "Nothing was done.",
                $"Free the port, or choose another: --{name}-bind-address");
        }
    }

    private static double Now() => DateTimeOffset.UtcNow.ToUnixTimeMilliseconds() / 1000.0;
}
