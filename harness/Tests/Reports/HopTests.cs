using Conformance.Reports;

namespace Conformance.Tests.Reports;

/// <summary>Which captures are one packet on its way from a node to the next.</summary>
public sealed class HopTests
{
    [Test]
    public void A_packet_that_a_bridge_changes_on_its_way_has_arrived()
    {
        var hop = Of([At("web-a", "out", 1, "10.244.0.12:8080 > x SYN-ACK"), At("pod-a", "in", 1, "10.96.1.83:80 > x SYN-ACK")])
            .ShouldHaveSingleItem();

        (hop.From, hop.To, hop.ArrivedAs).ShouldBe(("web-a", "pod-a", "10.96.1.83:80 > x SYN-ACK"));
    }

    [Test]
    public void Of_a_lost_packet_and_its_retransmission_the_second_arrives() =>
        Of([At("client", "out", 1, "SYN"), At("client", "out", 1, "SYN"), At("rs1", "in", 1, "SYN")])
            .Select(h => (h.To, h.IsLost)).ShouldBe([(null, true), ("rs1", false)]);

    [Test]
    public void A_forwarded_packet_is_two_hops() =>
        Of([At("client", "out", 1, "a"), At("director", "in", 1, "a"), At("director", "out", 1, "b"), At("rs1", "in", 1, "b")])
            .Select(h => (h.From, h.To)).ShouldBe([("client", "director"), ("director", "rs1")]);

    [Test]
    public void A_packet_on_loopback_goes_to_its_own_node() =>
        Of([At("node1", "out", 1, "a"), At("node1", "in", 1, "a")]).Select(h => (h.From, h.To)).ShouldBe([("node1", "node1")]);

    [Test]
    public void A_packet_that_nobody_saw_leave_has_no_sender() =>
        Of([At("rs1", "in", 1, "a")]).Select(h => (h.From, h.To)).ShouldBe([(null, "rs1")]);

    [TestCase("answered", false)]
    [TestCase("silence", true)]
    public void A_packet_without_a_receiver_is_lost_if_the_flow_has_no_answer(string outcome, bool isLost) =>
        Of([At("client", "out", 1, "SYN")], outcome).Single().IsLost.ShouldBe(isLost);

    private static IReadOnlyList<Hop> Of(IReadOnlyList<PacketRecord> packets, string outcome = "answered") =>
        Hop.Of(new FlowRecord("client", "tcp", "", "", "", outcome, null, packets, [], []));

    private static PacketRecord At(string node, string direction, int number, string packet) =>
        new(0, number, node, "eth0", direction, packet, null);
}
