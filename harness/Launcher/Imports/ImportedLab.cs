using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text.Json;
using System.Text.RegularExpressions;
using Conformance.Labs;
using Conformance.Linux;

namespace Conformance.Launcher.Imports;

/// <summary>
/// A lab around the state of somebody's node: <c>director</c> has that state, <c>client</c> is in the node's network, and <c>servers</c>
/// owns every address of a real server and answers on every TCP and UDP port.
/// </summary>
internal static partial class ImportedLab
{
    private const string TopologyName = "imported";
    private const string StubPort = "8080";
    private const int LeastForNetwork = 8;
    private const int MaxRefusals = 100; // of one tool; after so many the dump is of another kind of kernel
    private static readonly DumpAddress[] s_unknownNode = [new("eth0", "192.0.2.1/24"), new("eth0", "2001:db8:2::1/64")];

    /// <summary>Writes the topology and the state into a folder.</summary>
    /// <returns>The path of the topology.</returns>
    internal static string Write(string folder, NodeDump dump)
    {
        Directory.CreateDirectory(folder);
        var topology = Path.Combine(folder, $"{TopologyName}.yaml");
        File.WriteAllText(topology, ToTopology(dump));
        File.WriteAllText(StateFile(folder), JsonSerializer.Serialize(dump, Output.JsonOptions));
        return topology;
    }

    /// <summary>Gives the nodes of a lab that is up the state that <see cref="Write"/> stored.</summary>
    /// <returns>What was not understood, and what the kernel did not take.</returns>
    internal static async Task<IReadOnlyList<DumpProblem>> LoadAsync(Lab lab, string folder)
    {
        var dump = JsonSerializer.Deserialize<NodeDump>(await File.ReadAllTextAsync(StateFile(folder)), Output.JsonOptions)!;
        var director = lab["director"];
        var problems = dump.Problems;
        await AnswerForAllAsync(lab["servers"], dump);
        await AddAddressesAsync(director, dump);
        await BatchAsync(director, NetworksOf(dump.RealAddresses.Where(a => !dump.Owns(IPAddress.Parse(a))), lab, dump)
            .Select(n => $"route replace {n} via {Link(n, ".2")}"));
        foreach (var route in dump.Routes)
            await TryAsync(director, route, problems, ["ip", .. Family(route.Text), "route", "replace", .. route.Text.Split(' ')]);
        if (dump.Sysctls.Count == 0 && dump.Rules.Exists(r => r.Text.Contains("KUBE-", StringComparison.Ordinal)))
            await director.SetSysctlAsync("net.ipv4.vs.conntrack", "1"); // what kube-proxy sets, and its rules depend on
        var devices = dump.Addresses.Select(a => a.Device).Append(director.Device).Concat(["all", "default", "lo"])
            .ToHashSet(StringComparer.Ordinal);
        var settings = dump.Sysctls
            .Where(s => DeviceOf().Match(s.Text) is not { Success: true } match || devices.Contains(match.Groups["device"].Value));
        // Not every kernel has each: those that it lacks are passed over.
        await director.Command("sysctl", "-q", "-e", "-p", "-").WithInput(string.Concat(settings.Select(s => $"{s.Text}\n"))).TryAsync();
        await LoadAsync(director, ["ipset", "restore", "-exist"], dump.Sets, problems);
        await LoadAsync(director, ["iptables-restore"], dump.Rules, problems);
        await LoadAsync(director, ["ip6tables-restore"], dump.Rules6, problems);
        await LoadAsync(director, ["ipvsadm", "-R"], IpvsLines.Load(director.Namespace, dump.Ipvs, problems), problems);
        return problems;
    }

    private static string StateFile(string folder) => Path.Combine(folder, "state.json");

    /// <summary>The addresses of the node's main device, or of a network for documentation where the dump has none.</summary>
    private static IReadOnlyList<DumpAddress> MainAddresses(NodeDump dump)
    {
        var device = dump.MainDevice is { } named && dump.Addresses.Exists(a => a.Device == named) ? named
            : dump.Addresses.Select(a => a.Device).FirstOrDefault(d => d is not ("lo" or "kube-ipvs0") && !Virtual().IsMatch(d));
        return device is null ? s_unknownNode : [.. dump.Addresses.Where(a => a.Device == device).Select(a => a with
        {
            Device = device.Length > 15 ? "eth0" : device
        })];
    }

    private static string ToTopology(NodeDump dump)
    {
        var main = MainAddresses(dump);
        var four = main.FirstOrDefault(a => !IsIPv6(a.Address)) ?? s_unknownNode[0];
        var six = main.FirstOrDefault(a => IsIPv6(a.Address)) ?? s_unknownNode[1];
        var (network4, network6) = (NetworkOf(four.Address, most: 24), NetworkOf(six.Address, most: 64));
        var (client4, client6) = (FreeIn(network4, dump), FreeIn(network6, dump));
        var (node4, node6) = (four.Address.Split('/')[0], six.Address.Split('/')[0]);
        return $$"""
            # A node's state that was imported: see ./lab import
            name: {{TopologyName}}
            networks:
              front: { subnet: "{{network4}}", subnet6: "{{network6}}", device: "{{main[0].Device}}" }
              stubs: { subnet: "{{Link("", ".0")}}/24", subnet6: "{{Link(":", ".0")}}/64", device: stubs0 }
            nodes:
              client: { front: ["{{client4}}", "{{client6}}"], gateway: "{{node4}}", routes: { "::/0": "{{node6}}" } }
              director: { front: ["{{node4}}", "{{node6}}"], stubs: ["{{Link("", ".1")}}", "{{Link(":", ".1")}}"], forwarding: true }
              servers:
                stubs: ["{{Link("", ".2")}}", "{{Link(":", ".2")}}"]
                gateway: "{{Link("", ".1")}}"
                routes: { "::/0": "{{Link(":", ".1")}}" }
                serves: [tcp/{{StubPort}}, udp/{{StubPort}}]
                tunnels: true

            """;
    }

    /// <summary>An end of the link to the stubs, in a network that nobody should have (RFC 6598, RFC 4193).</summary>
    private static string Link(string likeThis, string end) => IsIPv6(likeThis)
        ? $"fd6c:6162:6c61:6265::{(end == ".0" ? "" : end[1..])}" : $"100.127.254{end}";

    /// <summary>
    /// Every address is local to the stubs, and every port leads to one server. By direct routing and tunnelling they get packets for the
    /// virtual addresses.
    /// </summary>
    private static async Task AnswerForAllAsync(Node servers, NodeDump dump)
    {
        var addresses = dump.RealAddresses.Where(a => !dump.Owns(IPAddress.Parse(a)))
            .Concat(dump.SharesVirtualAddresses ? dump.VirtualAddresses : []);
        await BatchAsync(servers, NetworksOf(addresses.Distinct(StringComparer.Ordinal), servers.Lab, dump)
            .Select(n => $"route replace local {n} dev lo"));
        foreach (var iptables in new[] { "iptables", "ip6tables" })
        {
            foreach (var protocol in new[] { "tcp", "udp" })
                await servers.Command(iptables, "-w", "-t", "nat", "-A", "PREROUTING", "-p", protocol, "-j", "REDIRECT", "--to-ports",
                    StubPort)
                    .TryAsync();
        }
        if (!dump.SharesVirtualAddresses)
            return;
        await servers.Command("modprobe", "-q", "ipip").TryAsync();
        await servers.Command("ip", "link", "set", "tunl0", "up").TryAsync();
        foreach (var device in new[] { "all", "default", "tunl0" })
            await servers.Command("sysctl", "-q", "-w", $"net.ipv4.conf.{device}.rp_filter=0").TryAsync();
        await servers.Lab["director"].Command("sysctl", "-q", "-w", "net.ipv4.conf.all.accept_local=1").TryAsync();
    }

    /// <summary>
    /// The addresses of all devices; where the dump does not say which device has the virtual addresses, kube-ipvs0 gets them.
    /// </summary>
    private static async Task AddAddressesAsync(Node director, NodeDump dump)
    {
        var missing = dump.VirtualAddresses.Where(a => !dump.Owns(IPAddress.Parse(a)) && !director.Owns(IPAddress.Parse(a)))
            .Select(a => new DumpAddress("kube-ipvs0", $"{a}/{(IsIPv6(a) ? 128 : 32)}"));
        var all = dump.Addresses.Concat(missing).Where(a => !director.Owns(IPAddress.Parse(a.Address.Split('/')[0]))).ToList();
        await BatchAsync(director, all.Select(a => a.Device).Where(d => d != "lo" && d != director.Device).Distinct(StringComparer.Ordinal)
            // addresses of IPv6 do nothing on a device that is down
            .SelectMany(d => new[] { $"link add {d} type dummy", $"link set {d} up" }));
        // Of thousands nearly all are virtual: they are given to the kernel in a few messages.
        var rest = new List<DumpAddress>();
        foreach (var device in all.GroupBy(a => a.Device, StringComparer.Ordinal))
        {
            var hosts = device.Where(a => a.Address.EndsWith(IsIPv6(a.Address) ? "/128" : "/32", StringComparison.Ordinal)).ToList();
            rest.AddRange(device.Except(hosts));
            try
            {
                director.Route.AddHostAddresses(device.Key, hosts.Select(a => IPAddress.Parse(a.Address.Split('/')[0])), isSource: true);
            }
            catch (KernelException)
            {
                rest.AddRange(hosts); // there is no such device: ip says so for each
            }
        }
        await BatchAsync(director, rest.Select(a => $"address add {a.Address} dev {a.Device}{(IsIPv6(a.Address) ? " nodad" : "")}"));
    }

    /// <summary>
    /// Few routes for many addresses: halves of a /24 or /112, which win over the routes that the node's devices have by themselves, where
    /// nobody else has an address in them.
    /// </summary>
    private static IEnumerable<string> NetworksOf(IEnumerable<string> addresses, Lab lab, NodeDump dump)
    {
        var taken = lab.Nodes.SelectMany(n => n.Addresses).Concat(dump.Addresses.Select(a => IPAddress.Parse(a.Address.Split('/')[0])))
            .ToList();
        foreach (var group in addresses.GroupBy(a => NetworkOf(a, IsIPv6(a) ? 113 : 25)))
        {
            if (group.Count() < LeastForNetwork || taken.Exists(group.Key.Contains))
            {
                foreach (var address in group)
                    yield return $"{address}/{(IsIPv6(address) ? 128 : 32)}";
            }
            else
            {
                yield return group.Key.ToString();
            }
        }
    }

    private static Task BatchAsync(Node node, IEnumerable<string> lines)
    {
        var text = string.Concat(lines.Select(l => $"{l}\n"));
        return text.Length == 0 ? Task.CompletedTask : node.Command("ip", "-force", "-batch", "-").WithInput(text).TryAsync();
    }

    /// <summary>
    /// Loads lines by a tool that stops at a line which it does not take: that line is left out, and the others are tried again.
    /// </summary>
    private static async Task LoadAsync(Node node, string[] tool, IReadOnlyList<DumpLine> lines, List<DumpProblem> problems)
    {
        var rest = lines.ToList();
        for (var refused = 0; rest.Count > 0; refused++)
        {
            var result = await node.Command(tool).WithInput(string.Concat(rest.Select(l => $"{l.Text}\n"))).TryAsync();
            if (result.ExitCode == 0)
                return;
            var said = result.StandardError.Trim();
            var at = FailedLine().Match(said) is { Success: true } match
                ? int.Parse(match.Groups["line"].Value, CultureInfo.InvariantCulture) - 1 : -1;
            if (tool[0] == "ipvsadm")
                at = await FirstRefusedAsync(node, rest, problems);
            if (at < 0 || at >= rest.Count || refused == MaxRefusals || rest[at].Text == "COMMIT")
            {
                if (tool[0] != "ipvsadm")
                    problems.Add(new DumpProblem("", string.Join(' ', tool), $"It took nothing more: {said}"));
                return;
            }
            problems.Add(new DumpProblem(rest[at].Place, rest[at].Text, said.Split('\n')[0]));
            rest.RemoveAt(at);
        }
    }

    /// <summary>
    /// ipvsadm does not say which line it refused: each is given to it alone, and those that are there already are no fault.
    /// </summary>
    private static async Task<int> FirstRefusedAsync(Node node, List<DumpLine> lines, List<DumpProblem> problems)
    {
        var refusals = 0;
        foreach (var line in lines)
        {
            var result = await node.Command(["ipvsadm", .. line.Text.Split(' ', StringSplitOptions.RemoveEmptyEntries)]).TryAsync();
            if (result.ExitCode == 0 || result.StandardError.Contains("already exists", StringComparison.Ordinal))
                continue;
            problems.Add(new DumpProblem(line.Place, line.Text, result.StandardError.Trim()));
            if (++refusals == MaxRefusals)
                break;
        }
        return -1;
    }

    private static async Task TryAsync(Node node, DumpLine line, List<DumpProblem> problems, string[] argv)
    {
        var result = await node.Command(argv).TryAsync();
        if (result.ExitCode != 0)
            problems.Add(new DumpProblem(line.Place, line.Text, result.StandardError.Trim().Split('\n')[0]));
    }

    private static string[] Family(string text) => IsIPv6(text) ? ["-6"] : [];

    private static bool IsIPv6(string text) => text.Contains(':', StringComparison.Ordinal);

    /// <summary>The network of an address, no smaller than a prefix length: the client needs an address in it.</summary>
    private static IPNetwork NetworkOf(string address, int most)
    {
        var (text, prefix) = address.Split('/') is [var a, var p] ? (a, int.Parse(p, CultureInfo.InvariantCulture)) : (address, most);
        var bytes = IPAddress.Parse(text).GetAddressBytes();
        var length = Math.Min(prefix, most);
        for (var i = 0; i < bytes.Length; i++)
            bytes[i] &= (byte)(0xFF << Math.Clamp(8 - (length - (8 * i)), 0, 8));
        return new IPNetwork(new IPAddress(bytes), length);
    }

    /// <summary>An address of a network that nobody in the dump has.</summary>
    private static IPAddress FreeIn(IPNetwork network, NodeDump dump)
    {
        var bytes = network.BaseAddress.GetAddressBytes();
        for (byte last = 250; last > 1; last--)
        {
            bytes[^1] = last;
            var address = new IPAddress(bytes);
            if (!dump.Owns(address) && !dump.RealAddresses.Contains(address.ToString())
                && !dump.VirtualAddresses.Contains(address.ToString())
                && !s_unknownNode.Any(a => a.Address.StartsWith($"{address}/", StringComparison.Ordinal)))
                return address;
        }
        throw new HarnessException("There is no address for the client.", $"All that were tried in {network} are in use.",
            "Nothing was imported.", "Leave the address list of the node out.");
    }

    [GeneratedRegex(@"^(docker|br-|cni|flannel|cali|veth|tunl|vxlan|dummy|nodelocaldns|lxc|cilium|weave|kube-)",
        RegexOptions.ExplicitCapture, 1000)]
    private static partial Regex Virtual();

    [GeneratedRegex(@"^net\.ipv[46]\.conf\.(?<device>.+)\.[a-z_]+=", RegexOptions.ExplicitCapture, 1000)]
    private static partial Regex DeviceOf();

    [GeneratedRegex(@"(occurred at line:? ?|[Ee]rror in line |: line |line )(?<line>\d+)", RegexOptions.ExplicitCapture, 1000)]
    private static partial Regex FailedLine();
}
