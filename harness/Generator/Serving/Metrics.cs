using System.Globalization;
using System.Text;
using Conformance.Generator.Sync;

namespace Conformance.Generator.Serving;

/// <summary>
/// Figures for Prometheus (text format 0.0.4). What means the same as a metric of kube-proxy has its name
/// (pkg/proxy/metrics); the others begin with ipvs_generator_.
/// </summary>
internal sealed class Metrics
{
    private static readonly double[] s_buckets = [0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.024, 2.048,
        4.096, 8.192, 16.384];
    private readonly Lock _lock = new();
    private readonly SortedDictionary<string, (string Type, string Help)> _families = new(StringComparer.Ordinal);
    private readonly SortedDictionary<string, double> _values = new(StringComparer.Ordinal);
    private readonly long[] _bucketCounts = new long[s_buckets.Length];
    private double _durationSum;
    private long _durationCount;

    internal void Add(string name, string help, double amount = 1, string labels = "") =>
        Change(name, "counter", help, labels, v => v + amount);

    internal void Set(string name, string help, double value, string labels = "") => Change(name, "gauge", help, labels, _ => value);

    internal void ObserveSync(TimeSpan duration)
    {
        lock (_lock)
        {
            _durationCount++;
            _durationSum += duration.TotalSeconds;
            for (var i = 0; i < s_buckets.Length; i++)
            {
                if (duration.TotalSeconds <= s_buckets[i])
                    _bucketCounts[i]++;
            }
        }
    }

    internal string Format()
    {
        var text = new StringBuilder();
        lock (_lock)
        {
            foreach (var (name, (type, help)) in _families)
            {
                text.Append(CultureInfo.InvariantCulture, $"# HELP {name} {help}\n# TYPE {name} {type}\n");
                foreach (var (key, value) in _values.Where(v => v.Key == name || v.Key.StartsWith($"{name}{{", StringComparison.Ordinal)))
                    text.Append(CultureInfo.InvariantCulture, $"{key} {value}\n");
            }
            const string sync = "kubeproxy_sync_proxy_rules_duration_seconds";
            text.Append(CultureInfo.InvariantCulture, $"# HELP {sync} How long a sync took.\n# TYPE {sync} histogram\n");
            for (var i = 0; i < s_buckets.Length; i++)
                text.Append(CultureInfo.InvariantCulture, $"{sync}_bucket{{le=\"{s_buckets[i]}\"}} {_bucketCounts[i]}\n");
            text.Append(CultureInfo.InvariantCulture,
                $"{sync}_bucket{{le=\"+Inf\"}} {_durationCount}\n{sync}_sum {_durationSum}\n{sync}_count {_durationCount}\n");
        }
        return text.ToString();
    }

    private void Change(string name, string type, string help, string labels, Func<double, double> change)
    {
        var key = labels.Length == 0 ? name : $"{name}{{{labels}}}";
        lock (_lock)
        {
            _families[name] = (type, help);
            _values[key] = change(_values.GetValueOrDefault(key));
        }
    }
}
