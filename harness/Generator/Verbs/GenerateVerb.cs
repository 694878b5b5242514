using System.CommandLine;
using System.Net;
using Conformance.Generator.Decisions;
using Conformance.Generator.Documents;
using Conformance.Generator.Sources;

namespace Conformance.Generator.Verbs;

/// <summary><c>generate</c>: the state as documents for the stock tools. Needs no kernel.</summary>
internal static class GenerateVerb
{
    internal static Command Create()
    {
        var flags = new Flags();
        var output = new Option<string?>("--output",
            "-o")
        { Description = "Folder to write the documents to; without it they are printed." };
        var addresses = NodeAddressesOption();
        var verb = new Command("generate", "Print or write what ipset, iptables-restore, ipvsadm, ip and sysctl load.") { output,
            addresses };
        var input = new InputFlags(verb);
        flags.AddTo(verb);
        verb.SetAction(async parsed =>
        {
            var options = flags.Read(parsed);
            var problems = 0;
            var cluster = await input.ReadAsync(parsed, options, problem =>
            {
                problems += problem.Effect == ProblemEffect.NotOurs ? 0 : 1;
                Console.Error.WriteLine(problem);
            });
            var node = NodeStates.Of(options, cluster, NodeAddresses(parsed.GetValue(addresses)));
            var documents = DocumentSet.Of(Session.Decide(options, node, cluster).Desired, node);
            if (parsed.GetValue(output) is { } folder)
                documents.Write(folder);
            else
                Print(documents);
            return problems == 0 ? ExitCodes.Ok : ExitCodes.Failed;
        });
        return verb;
    }

    internal static Option<string?> NodeAddressesOption() => new("--node-addresses")
    {
        Description = "Addresses of this node, with commas between; without them those of this machine.",
    };

    internal static IReadOnlyList<IPAddress> NodeAddresses(string? given)
    {
        if (given is null)
            return NodeStates.AddressesHere();
        try
        {
            var addresses = Flags.IpAddresses(given);
            return addresses.All(NodeStates.IsNodeAddress) ? addresses
                : throw new FormatException("must not be loopback or link-local addresses: they are not the node's alone");
        }
        catch (FormatException e)
        {
            throw new GeneratorException($"--node-addresses {e.Message}.", $"It is '{given}'.", "Nothing was done.",
                "Such as 192.168.113.101,fd00:113::101", ExitCodes.Usage);
        }
    }

    private static void Print(DocumentSet documents)
    {
        foreach (var (name, text) in new[] { ("sysctls", documents.Sysctls), ("ipset", documents.Ipset), ("iptables", documents.Iptables),
            ("ip6tables", documents.Ip6tables), ("addresses", documents.Addresses), ("ipvsadm", documents.Ipvsadm) })
            Console.Write($"### {name}\n{text}");
    }
}
