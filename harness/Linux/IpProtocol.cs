namespace Conformance.Linux;

/// <summary>The protocols that IPVS forwards by port, by their numbers in IP (IANA).</summary>
public enum IpProtocol : byte
{
    None = 0,
    Tcp = 6,
    Udp = 17,
    Sctp = 132,
}
