using Conformance.Labs;
using Conformance.Linux;
using Conformance.Linux.Features;
using Conformance.Linux.Ipvs;
using Conformance.Traffic;

namespace Conformance.Suite;

/// <summary>The article's set-up, in its own numbers: the virtual address, and the steps that lead to it.</summary>
[Requires(Feature.Ipvs, Feature.ConntrackNetlink)]
public abstract class ArticleFixture : ConformanceFixture
{
    /// <summary>The article's virtual address.</summary>
    protected const string Vip = "10.10.0.1";

    /// <summary>The article's virtual server.</summary>
    protected const string Service = "10.10.0.1:8410";

    /// <summary>The article's SNAT rule, word for word.</summary>
    protected const string SnatRule = "iptables -t nat -A POSTROUTING -m ipvs --vaddr 10.10.0.1 --vport 8410 -j MASQUERADE";

    /// <summary>In the order of the path.</summary>
    private static readonly string[] s_chains = ["PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"];

    /// <summary>Virtual address on the director, virtual server with round robin and NAT, and the client's static route.</summary>
    protected async Task SetUpServiceAsync(params string[] realServers)
    {
        await Director.AddAddressAsync($"{Vip}/24");
        await Director.Ipvs.AddAsync(VirtualServerSpec.Tcp(Service, Scheduler.RoundRobin).Masquerading(realServers));
        if (Client.Spec.Gateway is null)
            await Client.AddRouteAsync("10.10.0.0/16", via: Director);
    }

    /// <summary>The same with what the article adds to make it work: the SNAT rule and the sysctl.</summary>
    protected async Task SetUpServiceWithSnatAsync(params string[] realServers)
    {
        await SetUpServiceAsync(realServers);
        await RunAsInTheArticleAsync(Director, SnatRule);
        await Director.SetSysctlAsync("net.ipv4.vs.conntrack", "1");
    }

    /// <summary>Runs a command line of the article, unchanged. That it fails is a finding, not a fault of the harness.</summary>
    /// <returns>What it printed.</returns>
    protected static async Task<string> RunAsInTheArticleAsync(Node node, string commandLine)
    {
        var command = node.Command(commandLine.Split(' '));
        var result = await command.TryAsync();
        if (result.ExitCode == 127)
            throw new CommandFailedException(command, result.ExitCode, result.StandardError); // no such program: our own fault
        result.ExitCode.ShouldBe(0, $"On {node.Name}: '{commandLine}' failed: {result.StandardError}");
        return result.StandardOutput;
    }

    /// <summary>The director refuses a command line with these words.</summary>
    protected async Task ShouldBeRefusedAsync(string commandLine, string words)
    {
        var result = await Director.Command(commandLine.Split(' ')).TryAsync();
        result.ExitCode.ShouldNotBe(0, $"'{commandLine}' was accepted");
        result.StandardError.ShouldContain(words);
    }

    /// <summary>Counts the packets that pass the chains of the mangle table, one rule a chain for each direction of the service.</summary>
    protected async Task CountChainsAsync(Node node)
    {
        await CountChainsAsync(node, "request", $"-p tcp -s {Client.Address}");
        await CountChainsAsync(node, "reply", $"-p tcp -d {Client.Address}");
    }

    /// <summary>Counts the packets of a match that pass the chains of the mangle table.</summary>
    /// <param name="direction">By it <see cref="ChainsPassedAsync"/> finds the counters.</param>
    protected static Task CountChainsAsync(Node node, string direction, string match) => node.Iptables.AddAsync(
        s_chains.Select(chain => ("mangle", $"-A {chain} {match} -m comment --comment {direction}-{chain}")));

    /// <summary>The chains whose counter for a direction (such as request, reply) is not zero, in the order of the path.</summary>
    protected static async Task<string[]> ChainsPassedAsync(Node node, string direction)
    {
        var counters = await node.Iptables.CountersAsync();
        return [.. s_chains.Where(chain => counters.Any(c => c.Packets > 0
                && c.Text.EndsWith($"--comment {direction}-{chain}", StringComparison.Ordinal)))];
    }
}
