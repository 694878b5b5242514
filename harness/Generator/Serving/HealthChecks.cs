using System.Collections.Concurrent;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text.Json;
using Conformance.Generator.Decisions;
using Conformance.Linux;

namespace Conformance.Generator.Serving;

/// <summary>
/// Serves the health-check node ports: a load balancer asks whether this node has endpoints of a Service, and gets 200
/// or 503 with the number of them, in kube-proxy's words (pkg/proxy/healthcheck). One listener for both families, or one for each address
/// of node ports.
/// </summary>
/// <param name="pass">Every answer goes through it.</param>
internal sealed class HealthChecks(Func<bool> isHealthy, Func<HttpAnswer, HttpAnswer> pass, Action<string> log) : IDisposable
{
    private readonly ConcurrentDictionary<ushort, HealthCheck> _checks = [];
    private readonly Dictionary<IPEndPoint, HttpResponder?> _served = [];

    /// <summary>Opens, closes and updates ports. One that is in use is reported and tried again at the next call.</summary>
    /// <param name="addresses">The addresses to listen on: those of node ports; null for every address of the node.</param>
    internal void Update(IEnumerable<HealthCheck> wanted, IReadOnlyList<IPAddress>? addresses)
    {
        addresses ??= [Socket.OSSupportsIPv6 ? IPAddress.IPv6Any : IPAddress.Any];
        var checks = wanted.ToDictionary(c => c.Port);
        var endPoints = checks.Keys.SelectMany(port => addresses.Select(a => new IPEndPoint(a, port))).ToHashSet();
        foreach (var endPoint in _served.Keys.Where(e => !endPoints.Contains(e)).ToList())
        {
            _served[endPoint]?.Dispose();
            _served.Remove(endPoint);
        }
        foreach (var port in _checks.Keys.Where(p => !checks.ContainsKey(p)).ToList())
            _checks.TryRemove(port, out _);
        foreach (var (port, check) in checks)
            _checks[port] = check; // before the port is open: a probe may come at once
        foreach (var endPoint in endPoints)
        {
            if (_served.GetValueOrDefault(endPoint) is null)
                _served[endPoint] = Open(endPoint);
        }
    }

    public void Dispose() => Update([], []);

    private HttpResponder? Open(IPEndPoint endPoint)
    {
        try
        {
            return new HttpResponder(endPoint, _ => _checks.TryGetValue((ushort)endPoint.Port, out var check) ? pass(Answer(check)) : null);
        }
        catch (SocketException e)
        {
            log(string.Create(CultureInfo.InvariantCulture,
                $"the health-check node port {endPoint} cannot be served: {e.Message}; trying again at the next sync"));
            return null;
        }
    }

    private HttpAnswer Answer(HealthCheck check)
    {
        var healthy = isHealthy();
        var body = string.Create(CultureInfo.InvariantCulture, $$"""
            {
            	"service": {
            		"namespace": {{Quote(check.Service.Namespace)}},
            		"name": {{Quote(check.Service.Name)}}
            	},
            	"localEndpoints": {{check.LocalEndpoints}},
            	"serviceProxyHealthy": {{(healthy ? "true" : "false")}}
            }
            """);
        return new HttpAnswer(healthy && check.LocalEndpoints > 0 ? 200 : 503, "application/json", body)
        {
            Headers = [("X-Load-Balancing-Endpoint-Weight", check.LocalEndpoints.ToString(CultureInfo.InvariantCulture))],
        };
    }

    private static string Quote(string text) => $"\"{JsonEncodedText.Encode(text)}\"";
}
