using Conformance.Linux;
using Conformance.Linux.Features;

namespace Conformance.Suite.Ipset;

/// <summary>A server on the article's port of the director, which rules with sets close to some of the other nodes.</summary>
[Requires(Feature.Ipset)]
public abstract class SetFixture : ArticleFixture
{
    /// <summary>The article's port, here of the director itself.</summary>
    protected const string Website = "director:8410";

    /// <summary>The article's rule, word for word.</summary>
    protected const string BlackRule = "iptables -t filter -I INPUT -m set --match-set black src,dst -j DROP";

    [SetUp]
    public void StartWebsite()
    {
        Director.Serve(TransportProtocol.Tcp, 8410);
        Director.Serve(TransportProtocol.Udp, 8410);
    }

    /// <summary>Makes sets on the director, all by one process: lines of <c>ipset restore</c>.</summary>
    protected Task RestoreAsync(params string[] lines) =>
        Director.Command("ipset", "restore").WithInput(string.Join('\n', lines) + "\n").ExecuteAsync();

    /// <summary>Drops what a set matches, at filter INPUT of the director.</summary>
    /// <param name="match">Such as <c>--match-set black src</c>.</param>
    protected Task DropAsync(string match) => Director.RunAsync($"iptables -w -I INPUT -m set {match} -j DROP");

    /// <summary>The entry of a set that begins with this text, as ipset(8) lists it; null when there is none.</summary>
    protected async Task<string?> EntryAsync(string set, string beginning) => (await Director.RunAsync($"ipset list {set}"))
        .Split('\n').SkipWhile(l => l != "Members:").Skip(1).FirstOrDefault(l => l.StartsWith(beginning, StringComparison.Ordinal));
}
