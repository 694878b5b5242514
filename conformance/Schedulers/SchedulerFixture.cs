using Conformance.Labs;
using Conformance.Traffic;
using Conformance.Traffic.Assertions;

namespace Conformance.Suite.Schedulers;

/// <summary>Four real servers behind a NAT director, two clients, and the order in which the servers answer.</summary>
public abstract class SchedulerFixture(SetUpBy by) : NatFixture(by)
{
    protected static readonly string[] Four = ["rs1:8080", "rs2:8080", "rs3:8080", "rs4:8080"];
    protected static readonly string[] Two = ["rs1:8080", "rs2:8080"];

    protected Node Client2 => Lab["client2"];

    /// <summary>Asks so many times, each connection after the last one is closed.</summary>
    /// <returns>The numbers of the real servers that answered, in order: <c>1212</c>. A connection without an answer fails the
    /// test.</returns>
    protected async Task<string> SequenceAsync(int count, Node? from = null, string target = Service)
    {
        var answered = new List<Flow>();
        for (var i = 0; i < count; i++)
            answered.Add(await (from ?? Client).AskAsync(target));
        return await NumbersAsync(answered);
    }

    /// <summary>Opens so many connections one after another and holds them open until the lab ends.</summary>
    /// <inheritdoc cref="SequenceAsync"/>
    protected async Task<string> HeldSequenceAsync(int count, Node? from = null) => await NumbersAsync(await HoldAsync(count, from));

    /// <summary>Opens so many connections one after another and holds them open.</summary>
    protected async Task<List<Flow>> HoldAsync(int count, Node? from = null)
    {
        var held = new List<Flow>();
        for (var i = 0; i < count; i++)
            held.Add(await (from ?? Client).ConnectAsync(Service));
        return held;
    }

    /// <summary>The numbers of a sequence in ascending order, where only their counts matter.</summary>
    protected static string Sorted(string sequence) => string.Concat(sequence.Order());

    /// <summary>The numbers of the real servers that answered.</summary>
    protected static async Task<string> NumbersAsync(IEnumerable<Flow> flows)
    {
        var numbers = "";
        foreach (var flow in flows)
        {
            await flow.ShouldBeAnsweredAsync();
            numbers += flow.Answer!.Server[^1];
        }
        return numbers;
    }
}
