using System.Net;

namespace Conformance.Topologies;

public enum TransportProtocol
{
    Tcp,
    Udp,
}

/// <summary>A switch: what its subnet is and what the interface on it is called in every node.</summary>
public sealed record Network(string Name, IPNetwork Subnet, string Device);

/// <summary>One end of a link: a node's interface on a network, with its address.</summary>
public sealed record Interface(Network Network, IPAddress Address)
{
    public string Device => Network.Device;
}

/// <summary>A port on which a node's server answers from the start.</summary>
public sealed record ServedPort(TransportProtocol Protocol, int Port)
{
    public override string ToString() => $"{Protocol.ToString().ToLowerInvariant()}/{Port}";
}

/// <summary>A host of the lab.</summary>
public sealed record NodeSpec(
    string Name, IReadOnlyList<Interface> Interfaces, bool Forwarding, IPAddress? Gateway, IReadOnlyList<ServedPort> Serves);

/// <summary>The description of a lab; see <c>topology.schema.json</c> for its YAML form.</summary>
public sealed record Topology(string Name, IReadOnlyList<Network> Networks, IReadOnlyList<NodeSpec> Nodes)
{
    /// <summary>The folder with the topologies that come with the project.</summary>
    public static string Folder => Path.Combine(AppContext.BaseDirectory, "topologies");

    /// <summary>Loads a topology by name, or a file by its path (which ends in .yaml).</summary>
    /// <exception cref="TopologyException">No such topology, or the document is wrong.</exception>
    public static Topology Load(string nameOrPath)
    {
        if (nameOrPath.EndsWith(".yaml", StringComparison.Ordinal))
            return TopologyReader.Read(nameOrPath, ReadFile(nameOrPath));
        var path = Path.Combine(Folder, nameOrPath + ".yaml");
        if (!File.Exists(path))
        {
            throw new TopologyException(
                $"There is no topology '{nameOrPath}'.",
                $"Known are: {string.Join(", ", Names())}.{Nearest.Hint(nameOrPath, Names())}",
                "Nothing was built.",
                "Name one of them, or give the path of a .yaml file.");
        }
        return TopologyReader.Read(path, ReadFile(path));
    }

    public static IReadOnlyList<string> Names() =>
        [.. Directory.GetFiles(Folder, "*.yaml").Select(Path.GetFileNameWithoutExtension).Order(StringComparer.Ordinal)!];

    private static string ReadFile(string path)
    {
        try
        {
            return File.ReadAllText(path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new TopologyException($"Cannot read the topology {path}.", e.Message, "Nothing was built.", "Give the path of a readable .yaml file.");
        }
    }
}

/// <summary>A topology that cannot be used: what, evidence, consequence, fix.</summary>
public sealed class TopologyException(string what, string evidence, string consequence, string fix)
    : Exception($"{what}\n  evidence: {evidence}\n  consequence: {consequence}\n  fix: {fix}");
