using System.CommandLine;
using Conformance.Cli.Labs;
using Conformance.Harness.Labs;
using Conformance.Harness.Observation;
using Conformance.Harness.Traffic;
using Conformance.Topologies;

namespace Conformance.Cli.Verbs;

/// <summary><c>./lab explain NODE TARGET</c>: sends a flow through a lab that is up and tells what happened to it.</summary>
internal static class ExplainVerb
{
    /// <summary>A source port that the kernel gives nobody by itself (ip_local_port_range).</summary>
    private const int SourcePort = 20050;

    internal static Command Create()
    {
        var lab = InspectVerb.CreateLabOption();
        var from = new Argument<string>("NODE") { Description = "Who asks." };
        var target = new Argument<string>("TARGET") { Description = "Whom: ADDRESS:PORT or NODE:PORT." };
        var udp = new Option<bool>("--udp") { Description = "A datagram instead of a TCP connection." };
        var http = new Option<bool>("--http") { Description = "A TCP connection that says GET / first, for servers that wait to be asked." };
        var verb = new Command("explain", "Send a flow through a lab that is up, and tell the rules that it passed, what IPVS and connection tracking made of it, and its packets on every interface.") { lab, from, target, udp, http };
        verb.SetAction(parsed => RunAsync(LabRecord.Find(parsed.GetValue(lab)), parsed.GetValue(from)!, parsed.GetValue(target)!, parsed.GetValue(udp), parsed.GetValue(http)));
        return verb;
    }

    private static async Task<int> RunAsync(LabRecord record, string from, string target, bool isUdp, bool isHttp)
    {
        await using var lab = await Lab.AttachAsync(Topology.Load(record.Topology), record.Nodes);
        var client = lab[from];
        _ = lab.Resolve(target); // a mistyped one is told before anything is sent
        var nodes = lab.Nodes.Where(n => n.Spec.Forwarding).ToList();
        var walks = await RuleWalk.FollowAsync(nodes, SourcePort, port => isUdp ? client.AskUdpAsync(target, port) : isHttp ? client.AskHttpAsync(target, port) : client.AskAsync(target, port));
        Flow flow = walks.Count > 0 ? walks[0].Flow : await client.AskAsync(target);
        Console.WriteLine(flow);
        foreach (var walk in walks)
            Console.Write(walk.Describe());
        Console.WriteLine(flow.Story);
        return ExitCodes.Ok;
    }
}
