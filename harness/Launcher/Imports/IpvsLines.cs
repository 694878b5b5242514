using System.Globalization;
using System.Net;
using Conformance.Linux;
using Conformance.Linux.Ipvs;
using Conformance.Linux.Namespaces;

namespace Conformance.Launcher.Imports;

/// <summary>
/// Lines of <c>ipvsadm-save</c> as requests to the kernel. ipvsadm itself opens a socket for each line, which takes user-mode Linux five
/// seconds for 20,000; what is not of the plain kind is left to it.
/// </summary>
internal static class IpvsLines
{
    /// <summary>Gives the plain lines to the kernel.</summary>
    /// <returns>The lines that are ipvsadm's, in order.</returns>
    internal static IReadOnlyList<DumpLine> Load(NetworkNamespace ns, IReadOnlyList<DumpLine> lines, List<DumpProblem> problems)
    {
        var servers = new List<(DumpLine Line, VirtualServer Server)>();
        var reals = new List<(DumpLine Line, VirtualServerKey Key, RealServer Real)>();
        var keys = new HashSet<VirtualServerKey>();
        var rest = new List<DumpLine>();
        foreach (var line in lines)
        {
            var words = line.Text.Split(' ', StringSplitOptions.RemoveEmptyEntries);
            if (ServerOf(words) is { } server)
            {
                servers.Add((line, server));
                keys.Add(server.Key!.Value);
            }
            else if (RealOf(words) is var (key, real) && keys.Contains(key))
            {
                reals.Add((line, key, real));
            }
            else
            {
                rest.Add(line);
            }
        }
        using var ipvs = new IpvsSocket(ns);
        foreach (var (index, error) in ipvs.Execute(servers.Select(s => ipvs.Add(s.Server))))
            problems.Add(new DumpProblem(servers[index].Line.Place, servers[index].Line.Text, error.Message));
        foreach (var (index, error) in ipvs.Execute(reals.Select(r => ipvs.Add(r.Key, r.Real))))
            problems.Add(new DumpProblem(reals[index].Line.Place, reals[index].Line.Text, error.Message));
        return rest;
    }

    /// <summary><c>-A -t|-u ADDRESS:PORT -s SCHEDULER [-p SECONDS]</c>; null for anything else.</summary>
    private static VirtualServer? ServerOf(string[] words)
    {
        var persistence = 0;
        if (words is not ["-A", var protocol, var address, "-s", var scheduler, .. var more] || KeyOf(protocol, address) is not { } key
            || !(more.Length == 0 || (more is ["-p", var seconds] && int.TryParse(seconds, CultureInfo.InvariantCulture, out persistence)
                && persistence > 0)))
            return null;
        return new VirtualServer(key, 0, scheduler, persistence > 0 ? VirtualServerFlags.Persistent : VirtualServerFlags.None, persistence);
    }

    /// <summary><c>-a -t|-u ADDRESS:PORT -r ADDRESS:PORT -m|-g|-i -w WEIGHT</c>; null for anything else.</summary>
    private static (VirtualServerKey Key, RealServer Real)? RealOf(string[] words)
    {
        if (words is not ["-a", var protocol, var address, "-r", var real, var method, "-w", var weight]
            || KeyOf(protocol, address) is not { } key || !IPEndPoint.TryParse(real, out var place) || place.Port == 0
            || !int.TryParse(weight, NumberStyles.None, CultureInfo.InvariantCulture, out var share))
            return null;
        ForwardingMethod? forwarding = method switch
        {
            "-m" => ForwardingMethod.Masq,
            "-g" => ForwardingMethod.Route,
            "-i" => ForwardingMethod.Tunnel,
            _ => null,
        };
        return forwarding is { } found ? (key, new RealServer(place.Address, (ushort)place.Port, found, share)) : null;
    }

    private static VirtualServerKey? KeyOf(string protocol, string address)
    {
        TransportProtocol? known = protocol switch
        {
            "-t" => TransportProtocol.Tcp,
            "-u" => TransportProtocol.Udp,
            _ => null,
        };
        return known is { } kind && IPEndPoint.TryParse(address, out var place) && place.Port != 0
            ? new VirtualServerKey(kind, place.Address, (ushort)place.Port) : null;
    }
}
