using Conformance.Labs;

namespace Conformance.Suite;

/// <summary>The network between nodes that carries the pods' packets.</summary>
internal static class Overlay
{
    private const int Port = 8472;

    /// <summary>
    /// No outer packet of the node is masqueraded: the mark of an inner packet comes with it through the tunnel
    /// (kubernetes/kubernetes#88986).
    /// </summary>
    internal static void ShouldNotMasquerade(Node node)
    {
        var outer = node.Conntrack().Where(e => e.Protocol == "udp" && e.Original.DestinationPort == Port
            && node.Addresses.Contains(e.Original.Source)).ToList();
        if (outer.Count == 0)
            Not.Testable("the overlay's packets are not tracked here");
        outer.ShouldAllBe(e => e.Reply.Destination.Equals(e.Original.Source) && e.Reply.DestinationPort == e.Original.SourcePort);
    }
}
