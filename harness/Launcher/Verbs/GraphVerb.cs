using System.CommandLine;
using System.Globalization;
using System.Text;
using Conformance.Topologies;

namespace Conformance.Launcher.Verbs;

/// <summary><c>./lab graph TOPOLOGY</c>: a drawing of a topology.</summary>
internal static class GraphVerb
{
    internal static Command Create()
    {
        var topology = new Argument<string>("TOPOLOGY") { Description = "Name of a topology, or path of a .yaml file." };
        topology.CompletionSources.Add(Words.Topologies);
        var format = new Option<string>("--format") { Description = "mermaid, dot or svg.", DefaultValueFactory = _ => "mermaid" };
        format.AcceptOnlyFromAmong("mermaid", "dot", "svg");
        var verb = new Command("graph", "Draw a topology.") { topology, format };
        verb.SetAction(parsed =>
        {
            var drawn = Topology.Load(parsed.GetValue(topology)!);
            Console.Write(parsed.GetValue(format) switch
            {
                "mermaid" => Mermaid(drawn),
                "dot" => Dot(drawn),
                _ => TopologyDrawing.ToSvg(drawn),
            });
            return ExitCodes.Ok;
        });
        return verb;
    }

    internal static string Mermaid(Topology topology)
    {
        var text = new StringBuilder("graph LR\n");
        foreach (var network in topology.Networks)
            text.Append(CultureInfo.InvariantCulture, $"  {Id(network.Name)}(({network.Name}<br/>{network.Subnet}))\n");
        foreach (var node in topology.Nodes)
            text.Append(CultureInfo.InvariantCulture, $"  {Id(node.Name)}[{node.Name}{Serves(node, "<br/>")}]\n");
        foreach (var (node, end) in topology.Nodes.SelectMany(n => n.Interfaces.Select(i => (n, i))))
            text.Append(CultureInfo.InvariantCulture, $"  {Id(node.Name)} ---|{end.Device} {end.Address}| {Id(end.Network.Name)}\n");
        return text.ToString();
    }

    internal static string Dot(Topology topology)
    {
        var text = new StringBuilder(
            $"graph \"{topology.Name}\" {{\n  rankdir=LR;\n  node [fontname=\"sans-serif\"];\n  edge [fontname=\"sans-serif\", " +
            $"fontsize=10];\n");
        foreach (var network in topology.Networks)
            text.Append(CultureInfo.InvariantCulture,
                $"  \"{network.Name}\" [shape=ellipse, label=\"{network.Name}\\n{network.Subnet}\"];\n");
        foreach (var node in topology.Nodes)
            text.Append(CultureInfo.InvariantCulture, $"  \"{node.Name}\" [shape=box, label=\"{node.Name}{Serves(node, "\\n")}\"];\n");
        foreach (var (node, end) in topology.Nodes.SelectMany(n => n.Interfaces.Select(i => (n, i))))
            text.Append(CultureInfo.InvariantCulture,
                $"  \"{node.Name}\" -- \"{end.Network.Name}\" [label=\"{end.Device}\\n{end.Address}\"];\n");
        return text.Append("}\n").ToString();
    }

    private static string Id(string name) => name.Replace('-', '_');

    private static string Serves(NodeSpec node, string lineBreak) => node.Serves.Count == 0 ? ""
        : $"{lineBreak}{string.Join(' ', node.Serves)}";
}
