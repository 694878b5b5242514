using Conformance.Generator.Sync;
using Conformance.Linux;
using Conformance.Linux.Iptables;
using Conformance.Packets;
using Conformance.Traffic.Tracing;

namespace Conformance.Tests;

/// <summary>A trace that lacks a part of a packet's way is found out.</summary>
public sealed class PassageTests
{
    private const string Rules = """
        *filter
        :INPUT ACCEPT [0:0]
        :FORWARD ACCEPT [0:0]
        :OUTPUT ACCEPT [0:0]
        -A FORWARD -j KUBE-FORWARD
        -A OUTPUT -j KUBE-IPVS-OUT-FILTER
        COMMIT
        *nat
        :PREROUTING ACCEPT [0:0]
        :POSTROUTING ACCEPT [0:0]
        -A POSTROUTING -j KUBE-POSTROUTING
        COMMIT
        """;

    private static readonly WalkStep[] s_whole =
    [
        Step("nat", "PREROUTING", TraceKind.Rule, "-j KUBE-SERVICES"), Step("nat", "KUBE-SERVICES", TraceKind.Rule, "-j ACCEPT"),
        Step("filter", "INPUT", TraceKind.Policy), Step("filter", "OUTPUT", TraceKind.Policy),
        Step("nat", "POSTROUTING", TraceKind.Rule, "-j KUBE-POSTROUTING"),
        Step("nat", "KUBE-POSTROUTING", TraceKind.Rule, "-j MASQUERADE --random-fully"),
    ];

    [TestCase("-A INPUT -m comment --comment \"a\n:x\nb \\\" c\" -j ACCEPT", 1)]
    [TestCase("-A", 0)]
    [TestCase("-A NOBODY -j ACCEPT", 0)]
    [TestCase("-A INPUT", 1)]
    [TestCase(":", 0)]
    public void Odd_lines_of_iptables_save_are_read_as_far_as_they_go(string odd, int rules)
    {
        var live = SavedRules.Parse($"*filter\n:INPUT ACCEPT [0:0]\n{odd}\n-A INPUT -j DROP\nCOMMIT\n");

        live.Of("filter", "INPUT").Count.ShouldBe(rules + 1);
        live.Of("filter", "INPUT")[^1].Text.ShouldBe("-j DROP");
    }

    [Test]
    public void Where_there_is_no_rule_a_trace_need_not_report_any()
    {
        Passed().Missing([]).ShouldNotBeNull();
        (Passed() with { Rules = SavedRules.Parse("*filter\n:INPUT ACCEPT [0:0]\nCOMMIT\n") }).Missing([]).ShouldBeNull();
    }

    [Test]
    public void A_whole_trace_lacks_nothing() => Passed().Missing(s_whole).ShouldBeNull();

    [Test]
    public void Every_beginning_of_a_trace_lacks_something([Range(0, 5)] int length) => Passed().Missing(s_whole[..length])
        .ShouldNotBeNull();

    [Test]
    public void A_packet_that_was_dropped_on_the_node_needs_no_output() => (Passed() with { HasLeft = false }).Missing(s_whole[..3])
        .ShouldBeNull();

    [Test]
    public void An_untracked_packet_passes_no_table_nat() => (Passed() with { IsTracked = false }).Missing(s_whole[2..4]).ShouldBeNull();

    [Test]
    public void A_node_that_the_packet_does_not_pass_reports_nothing() => (Passed() with { IsFollowed = false }).Missing([]).ShouldBeNull();

    private static Passage Passed() => new(IsFollowed: true, HasLeft: true, IsTracked: true, SavedRules.Parse(Rules));

    private static WalkStep Step(string table, string chain, TraceKind kind, string rule = "") =>
        new(table, chain, kind, rule, 0, new Packet());
}
