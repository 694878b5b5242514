using System.CommandLine;
using Conformance.Labs;
using Conformance.Launcher.Labs;
using Conformance.Linux.Features;
using Conformance.Topologies;
using Conformance.Traffic;
using Conformance.Traffic.Tracing;

namespace Conformance.Launcher.Verbs;

/// <summary><c>./lab explain NODE TARGET</c>: sends a flow through a lab that is up and tells what happened to it.</summary>
internal static class ExplainVerb
{
    /// <summary>
    /// Source ports that the kernel gives nobody by itself (ip_local_port_range); another one each time, since connection tracking
    /// remembers them.
    /// </summary>
    private static readonly Range s_sourcePorts = 20_000..32_000;

    internal static Command Create()
    {
        var lab = InspectVerb.CreateLabOption();
        var from = new Argument<string>("NODE") { Description = "Who asks." };
        var target = new Argument<string>("TARGET") { Description = "Whom: ADDRESS:PORT or NODE:PORT." };
        var udp = new Option<bool>("--udp") { Description = "A datagram instead of a TCP connection." };
        var http = new Option<bool>(
            "--http")
        { Description = "A TCP connection that says GET / first, for servers that wait to be asked." };
        var verb = new Command("explain",
            "Send a flow through a lab that is up, and tell the rules that it passed, what IPVS and connection tracking made of it, and " +
            "its packets on every interface.") { lab, from, target, udp, http };
        verb.SetAction(parsed => RunAsync(LabRecord.Find(parsed.GetValue(lab)), parsed.GetValue(from)!, parsed.GetValue(target)!,
            parsed.GetValue(udp), parsed.GetValue(http)));
        return verb;
    }

    private static async Task<int> RunAsync(LabRecord record, string from, string target, bool isUdp, bool isHttp)
    {
        using var interrupt = new Interrupt(); // a flow takes seconds at most: it is printed completely, and its tracing rule is removed
        await using var lab = await Lab.AttachAsync(Topology.Load(record.Topology), record.Nodes);
        var client = lab[from];
        // A mistyped target is reported before anything is sent.
        var isIPv6 = lab.Resolve(target).AddressFamily == System.Net.Sockets.AddressFamily.InterNetworkV6;
        var nodes = lab.Nodes.Where(n => n.Spec.Forwarding).ToList();
        var sourcePort = Random.Shared.Next(s_sourcePorts.Start.Value, s_sourcePorts.End.Value);
        var walks = nodes.Count == 0 ? [] : await RuleWalk.FollowAsync(nodes, sourcePort, AskAsync, isIPv6);
        var flow = walks.Count > 0 ? walks[0].Flow : await AskAsync(sourcePort);
        Console.WriteLine(flow);
        foreach (var walk in walks)
            Console.Write(walk.Describe());
        Console.WriteLine(flow.ReadStory());
        return interrupt.Token.IsCancellationRequested ? ExitCodes.Interrupted : ExitCodes.Ok;

        Task<Flow> AskAsync(int port) => isUdp ? client.AskUdpAsync(target, port) : isHttp ? client.AskHttpAsync(target, port)
            : client.AskAsync(target, port);
    }
}
