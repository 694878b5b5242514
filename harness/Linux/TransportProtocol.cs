namespace Conformance.Linux;

/// <summary>
/// Protocols of the IP header by their IANA numbers: the three transport protocols that IPVS forwards, and ICMP, which a ping uses.
/// </summary>
public enum TransportProtocol : byte
{
    /// <summary>No protocol, for example in an ipset entry that has no port.</summary>
    None = 0,

    /// <summary>ICMP for IPv4 (RFC 792). It has no ports.</summary>
    Icmp = 1,

    /// <summary>TCP (RFC 9293).</summary>
    Tcp = 6,

    /// <summary>UDP (RFC 768).</summary>
    Udp = 17,

    /// <summary>SCTP (RFC 9260).</summary>
    Sctp = 132,
}

/// <summary>The spellings of a transport protocol.</summary>
public static class TransportProtocols
{
    /// <summary>The name in lower case, as ipset(8), topologies and reports write it: <c>tcp</c>.</summary>
    public static string Name(this TransportProtocol protocol) => protocol switch
    {
        TransportProtocol.Tcp => "tcp",
        TransportProtocol.Udp => "udp",
        TransportProtocol.Sctp => "sctp",
        TransportProtocol.Icmp => "icmp",
        _ => "none",
    };

    /// <summary>The name in upper case, as the Kubernetes API and <c>/proc/net/ip_vs</c> write it: <c>TCP</c>.</summary>
    public static string UpperName(this TransportProtocol protocol) => protocol.Name().ToUpperInvariant();

    /// <summary>The protocol with this name, in upper or lower case; null for another text.</summary>
    public static TransportProtocol? Parse(ReadOnlySpan<char> name)
    {
        foreach (var protocol in (ReadOnlySpan<TransportProtocol>)[TransportProtocol.Tcp, TransportProtocol.Udp, TransportProtocol.Sctp])
        {
            if (name.Equals(protocol.Name(), StringComparison.OrdinalIgnoreCase))
                return protocol;
        }
        return null;
    }
}
