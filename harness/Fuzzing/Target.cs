using System.Text;
using System.Text.Json.Nodes;
using Conformance.Generator;
using Conformance.Generator.Model;
using Conformance.Generator.Sources;
using Conformance.Generator.Sources.Api;
using Conformance.Generator.Verbs;
using Conformance.Linux;
using Conformance.Linux.Conntrack;
using Conformance.Linux.Ipset;
using Conformance.Linux.Ipvs;
using Conformance.Linux.Netlink;
using Conformance.Packets;
using Conformance.Topologies;

namespace Conformance.Fuzzing;

/// <summary>A reader of what others write. On any input it ends soon, with a result or with an error of its own.</summary>
/// <param name="Name">The folder of its corpus.</param>
/// <param name="Read">Reads an input. An exception that is none of its own errors is a finding.</param>
internal sealed record Target(string Name, Action<byte[]> Read)
{
    /// <summary>Beside this program, whoever uses it.</summary>
    private static readonly string s_corpus = Path.Combine(Path.GetDirectoryName(typeof(Target).Assembly.Location)!, "corpus");

    private const string Sibling =
        """{"apiVersion":"v1","kind":"Service","metadata":{"name":"sibling"},"spec":{"clusterIP":"10.96.9.9","ports":[{"port":80}]}}""";

    /// <summary>Reads an input that is still JSON, beside others that are good; null where there are no others.</summary>
    internal Action<JsonNode>? ReadTree { get; init; }

    /// <summary>The inputs that are kept for it, every past finding among them.</summary>
    internal IReadOnlyList<byte[]> Corpus =>
        [.. Directory.GetFiles(Path.Combine(s_corpus, Name)).Order(StringComparer.Ordinal).Select(File.ReadAllBytes)];

    /// <param name="scratch">A file for readers that take the name of one.</param>
    internal static IReadOnlyList<Target> All(string scratch) =>
    [
        new("manifest", input => ManifestReader.Read("input", input)) { ReadTree = ReadBesideSibling },
        new("events", ReadEvents),
        new("kubeconfig", input => ReadFile(scratch, input, file => ApiConnection.Of(file, master: null))),
        new("settings", input => ReadFile(scratch, input, file => ConfigFile.Read(file, ["ipvs-scheduler", "masquerade-all"], _ => { }))),
        new("topology", ReadTopology),
        new("netlink", ReadNetlink),
        new("packet", ReadPacket),
    ];

    /// <summary>An object that is wrong does not take another with it.</summary>
    private static void ReadBesideSibling(JsonNode item)
    {
        var list = $$"""{"apiVersion":"v1","kind":"List","items":[{{item.ToJsonString()}},{{Sibling}}]}""";
        DemandSibling(ManifestReader.Read("input", Encoding.UTF8.GetBytes(list)));
    }

    /// <exception cref="InvalidDataException">The good object is not among those that were read.</exception>
    internal static void DemandSibling(Manifest manifest)
    {
        if (!manifest.Objects.OfType<Service>().Any(s => s.Name.Name == "sibling"))
            throw new InvalidDataException($"The Service beside it is lost: {string.Join("; ", manifest.Problems)}");
    }

    /// <summary>As the stream of a watch is read: framed, parsed, decoded.</summary>
    private static void ReadEvents(byte[] input)
    {
        var framer = new EventFramer();
        var rest = input.AsSpan();
        try
        {
            while (framer.FindEnd(rest) is { } length)
            {
                JsonTrees.Read(rest[..length], (tree, size) =>
                {
                    foreach (var resource in ApiResource.All(new GeneratorOptions { HostnameOverride = "node1" }))
                    {
                        if (tree["object"] is { Kind: TreeKind.Mapping } item)
                            resource.Decode(item, size, "input", problem => problem.ToString());
                    }
                });
                rest = rest[length..];
            }
        }
        catch (Exception e) when (e is SyntaxException or TooManyValuesException)
        {
            // the watch ends, and the resource is listed again
        }
    }

    private static void ReadFile(string file, byte[] input, Action<string> read)
    {
        File.WriteAllBytes(file, input);
        try
        {
            read(file);
        }
        catch (GeneratorException)
        {
            // as it must be
        }
    }

    private static void ReadTopology(byte[] input)
    {
        try
        {
            _ = TopologyDrawing.ToSvg(TopologyReader.Read("input", Encoding.UTF8.GetString(input)));
        }
        catch (TopologyException)
        {
            // as it must be
        }
    }

    /// <summary>As answers of the kernel to each of our questions.</summary>
    private static void ReadNetlink(byte[] input)
    {
        foreach (var read in new Action[]
        {
            () => IpvsSocket.ParseService(new NetlinkAttributes(input)),
            () => IpvsSocket.ParseDestination(new NetlinkAttributes(input), isIPv6: false),
            () => IpsetSocket.Parse(new NetlinkAttributes(input), IpsetType.HashIpPortNet),
            () => IpsetSocket.Parse(new NetlinkAttributes(input), IpsetType.HashIp),
            () => ConntrackEventSocket.Parse(new NetlinkMessage(0x100, NetlinkFlags.None, 1, input)),
        })
        {
            try
            {
                read();
            }
            catch (KernelException)
            {
                // as it must be
            }
        }
    }

    private static void ReadPacket(byte[] input)
    {
        _ = Packet.Parse(input).ToString();
        _ = Packet.ParseIp(input).ToString();
    }
}
