using System.Collections.Concurrent;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text.Json;
using Conformance.Generator.Decisions;

namespace Conformance.Generator.Watching;

/// <summary>
/// Serves the health-check node ports: a load balancer asks whether this node has endpoints of a Service, and gets 200
/// or 503 with the number of them, in kube-proxy's words (pkg/proxy/healthcheck). One listener for both families.
/// </summary>
internal sealed class HealthChecks(Func<bool> isHealthy, Action<string> log) : IDisposable
{
    private readonly ConcurrentDictionary<ushort, (HealthCheck Check, HttpResponder? Responder)> _served = [];

    /// <summary>Opens, closes and updates ports. One that is in use is told and tried again at the next call.</summary>
    internal void Update(IEnumerable<HealthCheck> wanted)
    {
        var checks = wanted.ToDictionary(c => c.Port);
        foreach (var port in _served.Keys.Where(p => !checks.ContainsKey(p)).ToList())
        {
            _served[port].Responder?.Dispose();
            _served.TryRemove(port, out _);
        }
        foreach (var (port, check) in checks)
        {
            var responder = _served.GetValueOrDefault(port).Responder;
            _served[port] = (check, responder); // before the port is open: a probe may come at once
            if (responder is null)
                _served[port] = (check, Open(port));
        }
    }

    public void Dispose() => Update([]);

    private HttpResponder? Open(ushort port)
    {
        try
        {
            return new HttpResponder(new IPEndPoint(Socket.OSSupportsIPv6 ? IPAddress.IPv6Any : IPAddress.Any, port), _ => Answer(_served[port].Check));
        }
        catch (SocketException e)
        {
            log($"health-check node port {port.ToString(CultureInfo.InvariantCulture)} cannot be served: {e.Message}; trying again at the next sync");
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
