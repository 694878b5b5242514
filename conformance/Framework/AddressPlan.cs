using System.Globalization;

namespace Conformance.Suite;

/// <summary>
/// The addresses and ports of test Services. Each Service has a number in its name, <c>test-12</c>, and all its addresses follow from
/// it. ClusterIPs are unique; external addresses repeat after 500 Services, node ports after 625, neighbours after 50.
/// </summary>
internal static class AddressPlan
{
    private const string Prefix = "test-";

    /// <summary>Services in one network of 256 addresses.</summary>
    private const int InNetwork = 250;

    /// <summary>Node ports for each Service. The article's own node port, 30080, is below the first.</summary>
    private const int PortsOfService = 4;
    private const int FirstNodePort = 30100;
    private const int NodePorts = 2500;

    /// <summary>Networks for documentation (RFC 5737), one for each 250 Services.</summary>
    private static readonly string[] s_outside = ["203.0.113", "192.0.2"];
    private static int s_number;

    internal static string NextName() => string.Create(CultureInfo.InvariantCulture, $"{Prefix}{Interlocked.Increment(ref s_number)}");

    internal static string ClusterIP(string name) =>
        string.Create(CultureInfo.InvariantCulture, $"10.96.{1 + (Number(name) / InNetwork)}.{1 + (Number(name) % InNetwork)}");

    internal static string ClusterIP6(string name) =>
        string.Create(CultureInfo.InvariantCulture, $"fd00:10:96::{1 + (Number(name) / InNetwork)}:{1 + (Number(name) % InNetwork)}");

    internal static int NodePort(string name) => FirstNodePort + (Number(name) * PortsOfService % NodePorts);

    /// <summary>An external IP or load-balancer address.</summary>
    internal static string Outside(string name) =>
        string.Create(CultureInfo.InvariantCulture,
            $"{s_outside[Number(name) / InNetwork % s_outside.Length]}.{1 + (Number(name) % InNetwork)}");

    /// <summary>An external IP or load-balancer address of IPv6 (RFC 3849).</summary>
    internal static string Outside6(string name) => string.Create(CultureInfo.InvariantCulture, $"2001:db8:7::{Number(name)}");

    /// <summary>An unused address in the nodes' own network: one of fifty.</summary>
    /// <param name="first">The last byte of the first of the fifty.</param>
    internal static string Neighbour(string name, int first) =>
        string.Create(CultureInfo.InvariantCulture, $"192.168.113.{first + ((1 + (Number(name) % InNetwork)) % 50)}");

    private static int Number(string name) => int.Parse(name.AsSpan(Prefix.Length), CultureInfo.InvariantCulture);
}
