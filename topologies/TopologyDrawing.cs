using System.Globalization;
using System.Text;

namespace Conformance.Topologies;

/// <summary>
/// A topology as an SVG picture: nodes as boxes with their interfaces, networks as rounded boxes, a line for each interface. Columns are
/// the distance from the first node, which is the client in most topologies.
/// </summary>
public static class TopologyDrawing
{
    private const int CharacterWidth = 7;
    private const int LineHeight = 16;
    private const int Padding = 8;
    private const int ColumnGap = 48;
    private const int RowGap = 14;

    /// <returns>An SVG document without fixed colours: lines and text have the text colour of the place that shows it.</returns>
    public static string ToSvg(Topology topology)
    {
        var boxes = BoxesOf(topology);
        Place(boxes);
        var width = boxes.Max(b => b.X + b.Width) + Padding;
        var height = boxes.Max(b => b.Y + b.Height) + Padding;
        var svg = new StringBuilder();
        svg.Append(CultureInfo.InvariantCulture, $"<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" " +
            $"width=\"{width}\" height=\"{height}\" role=\"img\" font-family=\"monospace\" font-size=\"11\" fill=\"currentColor\" " +
            $"stroke=\"none\"><title>{Escape($"Topology {topology.Name}")}</title>\n");
        foreach (var box in boxes)
        {
            foreach (var end in box.Neighbours.Where(n => boxes.IndexOf(n) > boxes.IndexOf(box)))
            {
                var (left, right) = box.X <= end.X ? (box, end) : (end, box);
                var isColumn = left.X == right.X;
                var (x1, x2) = (left.X + (isColumn ? left.Width / 2 : left.Width), right.X + (isColumn ? right.Width / 2 : 0));
                svg.Append(CultureInfo.InvariantCulture, $"<line x1=\"{x1}\" y1=\"{left.Y + (left.Height / 2)}\" x2=\"{x2}\" " +
                    $"y2=\"{right.Y + (right.Height / 2)}\" stroke=\"currentColor\"/>\n");
            }
        }
        foreach (var box in boxes)
        {
            var shape = box.IsNode ? "rx=\"2\"" : "rx=\"14\" stroke-dasharray=\"4 3\"";
            svg.Append(CultureInfo.InvariantCulture, $"<rect x=\"{box.X}\" y=\"{box.Y}\" width=\"{box.Width}\" height=\"{box.Height}\" " +
                $"{shape} fill=\"none\" stroke=\"currentColor\"/>\n");
            foreach (var (line, index) in box.Lines.Select((l, i) => (l, i)))
            {
                svg.Append(CultureInfo.InvariantCulture,
                    $"<text x=\"{box.X + Padding}\" y=\"{box.Y + Padding + 10 + (index * LineHeight)}\"" +
                    $"{(index == 0 ? " font-weight=\"bold\"" : "")}>{Escape(line)}</text>\n");
            }
        }
        return svg.Append("</svg>\n").ToString();
    }

    private static List<Box> BoxesOf(Topology topology)
    {
        var networks = topology.Networks.ToDictionary(n => n.Name,
            n => new Box(false, [n.Name, n.Subnet.ToString(), .. n.Subnet6 is { } six ? new[] { six.ToString() } : []]),
                StringComparer.Ordinal);
        var boxes = new List<Box>();
        foreach (var node in topology.Nodes)
        {
            var box = new Box(true, [node.Name, .. node.Interfaces.SelectMany(LinesOf),
                .. node.Serves.Count > 0 ? new[] { $"serves {string.Join(' ', node.Serves)}" } : []]);
            boxes.Add(box);
            foreach (var network in node.Interfaces.Select(i => networks[i.Network.Name]))
            {
                box.Neighbours.Add(network);
                network.Neighbours.Add(box);
            }
        }
        return [.. boxes, .. networks.Values];
    }

    private static IEnumerable<string> LinesOf(Interface end) => end.IsUnnumbered ? [$"{end.Device} unnumbered"]
        : end.Addresses.Select(a => $"{end.Device} {a}");

    /// <summary>A column for each distance from the first box; in it, boxes follow the order of their neighbours on the left.</summary>
    private static void Place(List<Box> boxes)
    {
        var columns = new List<List<Box>>();
        var placed = new HashSet<Box>();
        while (placed.Count < boxes.Count) // a part without a link to the others begins again at the left
        {
            List<Box> column = [boxes.First(b => !placed.Contains(b))];
            for (var depth = 0; column.Count > 0; depth++)
            {
                placed.UnionWith(column);
                if (columns.Count == depth)
                    columns.Add([]);
                columns[depth].AddRange(column);
                column = [.. column.SelectMany(b => b.Neighbours).Where(n => !placed.Contains(n)).Distinct()];
            }
        }
        var heights = columns.Select(c => c.Sum(b => b.Height + RowGap) - RowGap).ToList();
        var x = Padding;
        foreach (var (column, height) in columns.Zip(heights))
        {
            var y = Padding + ((heights.Max() - height) / 2);
            foreach (var box in column)
            {
                (box.X, box.Y) = (x, y);
                y += box.Height + RowGap;
            }
            x += column.Max(b => b.Width) + ColumnGap;
        }
    }

    private static string Escape(string text) => System.Security.SecurityElement.Escape(text);

    private sealed class Box(bool isNode, IReadOnlyList<string> lines)
    {
        internal bool IsNode { get; } = isNode;

        internal IReadOnlyList<string> Lines { get; } = lines;

        internal List<Box> Neighbours { get; } = [];

        internal int Width { get; } = (lines.Max(l => l.Length) * CharacterWidth) + (2 * Padding);

        internal int Height { get; } = (lines.Count * LineHeight) + Padding;

        internal int X { get; set; }

        internal int Y { get; set; }
    }
}
