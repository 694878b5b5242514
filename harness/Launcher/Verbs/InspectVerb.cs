using System.CommandLine;
using System.Text.Json;
using Conformance.Launcher.Labs;
using Conformance.Linux;
using Conformance.Linux.Conntrack;
using Conformance.Linux.Ipvs;
using Conformance.Linux.Links;
using Conformance.Linux.Namespaces;

namespace Conformance.Launcher.Verbs;

/// <summary><c>./lab inspect</c>: what the nodes of a lab hold.</summary>
internal static class InspectVerb
{
    internal static Option<string?> CreateLabOption() => new("--lab") { Description = "Which lab, where several are up." };

    internal static Command Create()
    {
        var lab = CreateLabOption();
        var format = Output.CreateOption();
        var verb = new Command("inspect",
            "Show addresses, routes, virtual servers, and connections of the nodes of a lab that is up.") { lab, format };
        verb.SetAction(parsed =>
        {
            var record = LabRecord.Find(parsed.GetValue(lab));
            var nodes = record.Nodes.Select(n => View(n.Key, n.Value)).ToList();
            if (parsed.GetValue(format) == Output.Json)
                Console.WriteLine(JsonSerializer.Serialize(new
                {
                    lab = record.Id,
                    topology = record.Topology,
                    processId = record.ProcessId,
                    nodes
                }, Output.JsonOptions));
            else
                Print(record, nodes);
            return ExitCodes.Ok;
        });
        return verb;
    }

    private static void Print(LabRecord record, List<NodeView> nodes)
    {
        Console.WriteLine($"{record.Id} (process {record.ProcessId})");
        foreach (var node in nodes)
        {
            Console.WriteLine(node.Name);
            Lines("address", node.Addresses);
            Lines("route", node.Routes);
            Lines("virtual server", node.VirtualServers);
            Lines("IPVS connection", node.IpvsConnections);
            Lines("conntrack", node.Conntrack);
        }
    }

    private static void Lines(string title, IReadOnlyList<string> lines)
    {
        foreach (var line in lines)
            Console.WriteLine($"  {title,-16} {line.ReplaceLineEndings("\n" + new string(' ', 19))}");
    }

    private static NodeView View(string name, string path)
    {
        using var ns = NetworkNamespace.Open(name, path);
        using var route = new RouteSocket(ns);
        var links = route.Links().ToDictionary(l => l.Index, l => l.Name);
        return new NodeView(
            name,
            [.. route.Addresses().Where(a => links[a.LinkIndex] != "lo")
            .Select(a => $"{a.Address}/{a.PrefixLength} on {links[a.LinkIndex]}")],
            [.. route.Routes().Select(r => $"{r.Destination} {(r.Gateway is null ? $"on {links[r.LinkIndex]}" : $"through {r.Gateway}")}")],
            [.. (IpvsTable.Read(ns)?.VirtualServers ?? []).Select(v => v.ToString())],
            [.. IpvsConnection.Read(ns).Select(c => c.ToString())],
            [.. ConntrackEntry.Read(ns).Select(e => e.ToString())]);
    }

    private sealed record NodeView(
        string Name, IReadOnlyList<string> Addresses, IReadOnlyList<string> Routes, IReadOnlyList<string> VirtualServers,
        IReadOnlyList<string> IpvsConnections, IReadOnlyList<string> Conntrack);
}
