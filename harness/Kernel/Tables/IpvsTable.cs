using System.Globalization;
using System.Net;

namespace Conformance.Kernel.Tables;

/// <summary>How a packet gets to a real server, in the words of ip_vs.h; Masq is NAT.</summary>
public enum ForwardingMethod
{
    Masq,
    Local,
    Tunnel,
    Route,
    Bypass,
}

/// <summary>A real server of a virtual server with its counts of connections.</summary>
public sealed record RealServerEntry(IPEndPoint EndPoint, ForwardingMethod Forward, int Weight, int ActiveConnections, int InactiveConnections)
{
    public override string ToString() =>
        $"  -> {EndPoint}  {Forward}  weight {Weight}  active {ActiveConnections}  inactive {InactiveConnections}";
}

/// <summary>A virtual server: an address service, or a firewall-mark service (then there is a mark and no end point).</summary>
public sealed record VirtualServerEntry(
    string Protocol, IPEndPoint? EndPoint, uint? FirewallMark, string Scheduler, string Flags, IReadOnlyList<RealServerEntry> RealServers)
{
    public override string ToString() =>
        string.Join('\n', [$"{Protocol}  {EndPoint?.ToString() ?? FirewallMark?.ToString(CultureInfo.InvariantCulture)} {Scheduler} {Flags}".TrimEnd(), .. RealServers]);
}

/// <summary>The table of virtual servers, from <c>/proc/net/ip_vs</c> (net/netfilter/ipvs/ip_vs_ctl.c).</summary>
public sealed record IpvsTable(string Header, IReadOnlyList<VirtualServerEntry> VirtualServers)
{
    private const string File = "/proc/thread-self/net/ip_vs";

    /// <summary>Reads the table of a namespace; null where the kernel has no IPVS (or has not loaded it).</summary>
    public static IpvsTable? Read(NetworkNamespace ns) =>
        ns.Run(() => System.IO.File.Exists(File) ? System.IO.File.ReadAllText(File) : null) is { } text ? Parse(text) : null;

    public static IpvsTable Parse(string text)
    {
        var lines = text.Split('\n', StringSplitOptions.RemoveEmptyEntries);
        var servers = new List<VirtualServerEntry>();
        foreach (var line in lines.Skip(1))
        {
            var words = HexAddress.Words(line);
            if (words is ["Prot", ..] or ["->", "RemoteAddress:Port", ..])
                continue;
            if (words is ["->", var address, var forward, var weight, var active, var inactive])
            {
                var real = new RealServerEntry(
                    HexAddress.EndPoint(address), Enum.Parse<ForwardingMethod>(forward), Number(weight), Number(active), Number(inactive));
                servers[^1] = servers[^1] with { RealServers = [.. servers[^1].RealServers, real] };
            }
            else if (words is ["FWM", var mark, var scheduler, .. var fwmFlags])
            {
                servers.Add(new VirtualServerEntry(
                    "FWM", null, uint.Parse(mark, NumberStyles.HexNumber, CultureInfo.InvariantCulture), scheduler, string.Join(' ', fwmFlags), []));
            }
            else if (words is [var protocol, var endPoint, var method, .. var flags])
            {
                servers.Add(new VirtualServerEntry(protocol, HexAddress.EndPoint(endPoint), null, method, string.Join(' ', flags), []));
            }
            else
            {
                throw new FormatException($"Unknown line in ip_vs: '{line}'");
            }
        }
        return new IpvsTable(lines.Length > 0 ? lines[0] : "", servers);
    }

    public override string ToString() => VirtualServers.Count == 0 ? "(no virtual server)" : string.Join('\n', VirtualServers);

    private static int Number(string text) => int.Parse(text, CultureInfo.InvariantCulture);
}
