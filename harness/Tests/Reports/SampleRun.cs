using Conformance.Labs;
using Conformance.Reports;

namespace Conformance.Tests.Reports;

/// <summary>A stored run in a folder of its own, written for a test, with one claim of each kind.</summary>
internal sealed class SampleRun : IDisposable
{
    internal const string Core = "ADDR-1";
    internal const string Story = "SNAT-1";
    internal static readonly ImplementationRecord Proxy = new("command=/opt/my-proxy", "1.2.3");

    private static readonly Lazy<Catalogue> s_catalogue = new(() => Catalogue.Load(Path.Combine(ProjectFolder.Root, "conformance")));
    private static readonly KernelRecord s_kernel = new("uml", "6.1.176");
    private static readonly Dictionary<string, string> s_tools = new(StringComparer.Ordinal) { ["ipvsadm"] = "1.31" };

    internal SampleRun(params (string Claim, Verdict Verdict)[] claims)
    {
        foreach (var (id, verdict) in claims)
            Add(id, TestOf(id, verdict));
        (RunRecord.Of(Folder) with
        {
            StartedAt = DateTimeOffset.UnixEpoch,
            Implementation = Proxy,
            SupportedFeatures = ["ipv6", "sctp"],
            UnsupportedFeatures = ["node-hints"],
            Kernel = s_kernel,
            Tools = s_tools,
            DurationMs = 84_000,
            Command = "./lab run",
            CatalogueSize = Claims.Claims.Count,
            Claims = [.. claims.Select(c => c.Claim).Distinct(StringComparer.Ordinal)],
            Facts = [new FactRecord("ping-from-pod", "ping of a ClusterIP from a pod", "refused"),
                FactRecord.OfTime("time-to-converge", "a change", TimeSpan.FromMilliseconds(59))],
        }).Write(Folder);
        Directory.CreateDirectory(Path.Combine(Folder, "topologies"));
        File.WriteAllText(Path.Combine(Folder, "topologies", "article-nat.svg"),
            Topologies.TopologyDrawing.ToSvg(Topologies.Topology.Load("article-nat")));
        Directory.CreateDirectory(Path.Combine(Folder, "captures"));
        File.WriteAllText(Path.Combine(Folder, "captures", "x.pcap"), "");
    }

    /// <summary>The claims of the catalogue.</summary>
    internal static Catalogue Claims => s_catalogue.Value;

    internal string Folder { get; } = Directory.CreateTempSubdirectory("run-test-").FullName;

    internal RunResults Results => RunResults.Load(Folder);

    internal string PathOf(string id) => Path.Combine(ClaimRecord.Folder(Folder), $"{id}.json");

    internal void Add(string id, TestRecord test)
    {
        var claim = Claims.Claims[id];
        var record = ClaimRecord.Of(claim, Claims.ChapterOf(claim), s_kernel, s_tools, Path.GetFileName(Folder), DateTimeOffset.UnixEpoch);
        (ClaimRecord.Exists(Folder, id) ? ClaimRecord.Parse(File.ReadAllText(PathOf(id))) : record).With([test]).Write(Folder);
    }

    /// <summary>A test of one TCP connection through NAT, whose reply went past the director.</summary>
    internal static TestRecord TestOf(string id, Verdict verdict, string outcomeClass = "answer-from-wrong-address") => new(
        $"Conformance.Suite.Snat.WithoutSnat.Test_of_{id.Replace('-', '_')}(\"a.b\")", "article-nat", Proxy, verdict, 1500,
        verdict == Verdict.Holds ? null : "not what was expected <script>alert(1)</script>",
        ["client asked", "director: IPVS connections: …"],
        [new StepRecord(0.5, "director", "add the address 10.10.0.1/24 to ens33")],
        [new FlowRecord("client", "tcp", "192.168.113.102:43731", "10.10.0.1:8410",
            "an answer came from the wrong address 192.168.113.99 (rs1)",
            outcomeClass, null,
            [
                new PacketRecord(0, 1, "client", "ens33", "out", "192.168.113.102:43731 > 10.10.0.1:8410 SYN", null),
                new PacketRecord(0.003, 1, "director", "ens33", "in", "192.168.113.102:43731 > 10.10.0.1:8410 SYN", null),
                new PacketRecord(0.038, 1, "director", "ens33", "out", "192.168.113.102:43731 > 192.168.113.99:8080 SYN",
                    "destination 10.10.0.1:8410 -> 192.168.113.99:8080"),
                new PacketRecord(0.039, 1, "rs1", "ens33", "in", "192.168.113.102:43731 > 192.168.113.99:8080 SYN", null),
                new PacketRecord(0.065, 2, "rs1", "ens33", "out", "192.168.113.99:8080 > 192.168.113.102:43731 SYN-ACK", null),
            ],
            [new EntryRecord("director", "IPVS connection",
            "TCP 192.168.113.102:43731 -> 10.10.0.1:8410 -> 192.168.113.99:8080 SYN_RECV 58 s")],
            [new RuleRecord("director", "nat PREROUTING -j KUBE-SERVICES")])],
        [new TableRecord("director", "virtual servers", "tcp 10.10.0.1:8410 rr")],
        [new AttachmentRecord("packets on rs1:ens33", "captures/x.pcap", "application/vnd.tcpdump.pcap")]);

    public void Dispose() => Directory.Delete(Folder, recursive: true);
}
