using System.CommandLine;
using System.Net;
using Conformance.Generator.Decisions;
using Conformance.Generator.Explain;
using Conformance.Generator.Sources;
using Conformance.Linux;
using Conformance.Linux.Ipvs;

namespace Conformance.Generator.Verbs;

/// <summary><c>explain [PROTOCOL/]VIP:PORT --from IP</c>: the path that a packet would take. Needs no kernel.</summary>
internal static class ExplainVerb
{
    internal static Command Create()
    {
        var flags = new Flags();
        var target = new Argument<string>(
            "VIP:PORT")
        { Description = "Virtual address and port; udp/ or sctp/ in front where it is not TCP." };
        var from = new Option<string>(
            "--from")
        { Description = "The client's address; one of the node's own stands for a process on the node.", Required = true };
        var addresses = GenerateVerb.NodeAddressesOption();
        var verb = new Command("explain",
            "Say which path a connection's first packet takes: rules, sets, virtual server, masqueraded or not, and why.") { target, from,
            addresses };
        var input = new InputFlags(verb);
        flags.AddTo(verb);
        verb.SetAction(async parsed =>
        {
            var options = flags.Read(parsed);
            var key = ParseTarget(parsed.GetValue(target)!);
            var client = Addresses.Parse(parsed.GetValue(from)!);
            if (client is null || client.AddressFamily != key.Address.AddressFamily)
                throw new GeneratorException("--from is not an address of the target's family.", $"It is '{parsed.GetValue(from)}'.",
                    "Nothing was explained.", "Such as 192.168.113.50", ExitCodes.Usage);
            var cluster = await input.ReadAsync(parsed, options, problem => Console.Error.WriteLine(problem));
            var node = NodeStates.Of(options, cluster, GenerateVerb.NodeAddresses(parsed.GetValue(addresses)));

            var walk = Walk.Of(new World(options, node, cluster), key, client);

            foreach (var step in walk.Steps)
                Console.WriteLine(step);
            Console.WriteLine($"=> {Word(walk)}");
            return ExitCodes.Ok;
        });
        return verb;
    }

    private static string Word(WalkResult walk) => walk.End switch
    {
        WalkEnd.Forwarded => walk.IsMasqueraded ? "forwarded, masqueraded" : "forwarded, the source stays",
        WalkEnd.DeliveredLocally => "delivered to the host itself",
        WalkEnd.Refused => "refused",
        WalkEnd.Dropped => "dropped",
        _ => "routed on",
    };

    private static VirtualServerKey ParseTarget(string text)
    {
        var slash = text.IndexOf('/', StringComparison.Ordinal);
        var protocol = TransportProtocol.Tcp;
        if ((slash < 0 || (Enum.TryParse(text[..slash], ignoreCase: true, out protocol) && Enum.IsDefined(protocol)))
            && IPEndPoint.TryParse(text[(slash + 1)..], out var endPoint) && endPoint.Port > 0)
        {
            return new VirtualServerKey(protocol, endPoint.Address, (ushort)endPoint.Port);
        }
        throw new GeneratorException("The target is no address and port.", $"It is '{text}'.", "Nothing was explained.",
            "Such as 10.96.0.1:80, udp/10.96.0.10:53 or [fd00::1]:443", ExitCodes.Usage);
    }
}
