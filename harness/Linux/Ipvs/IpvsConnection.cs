using System.Globalization;
using System.Net;
using Conformance.Linux.Namespaces;

namespace Conformance.Linux.Ipvs;

/// <summary>
/// One entry of the IPVS connection table, from <c>/proc/net/ip_vs_conn</c>: client, virtual address, real server.
/// The kernel does not tell entries of one namespace's client from a persistence template by state alone: a
/// template has client port 0.
/// </summary>
public sealed record IpvsConnection(string Protocol, IPEndPoint Client, IPEndPoint Virtual, IPEndPoint Destination, string State,
    int ExpiresInSeconds)
{
    private const string File = "/proc/thread-self/net/ip_vs_conn";

    /// <summary>As much as one call of read(2) gives at most (fs/seq_file.c).</summary>
    private const int PageSize = 4096;

    /// <summary>The longest line: a persistence engine adds up to 255 bytes.</summary>
    private const int LineSize = 512;

    private const int MaxReadings = 10;

    /// <summary>Reads the connections of a namespace; empty where the kernel has no IPVS.</summary>
    /// <remarks>
    /// The kernel gives the file page by page. Before 6.14 it finds the place of the next page by counting the connections of all
    /// namespaces (ip_vs_conn_array): when one of them has come or ended meanwhile, a connection is repeated or missed. So a table longer
    /// than a page is read until a reading adds none; a connection that ends meanwhile may still be among them.
    /// </remarks>
    public static IReadOnlyList<IpvsConnection> Read(NetworkNamespace ns) => ns.Run(() =>
    {
        var found = new Dictionary<(string, IPEndPoint, IPEndPoint, IPEndPoint), IpvsConnection>();
        for (var i = 0; i < MaxReadings && System.IO.File.Exists(File); i++)
        {
            var text = System.IO.File.ReadAllText(File);
            var known = found.Count;
            foreach (var c in Parse(text))
                found[(c.Protocol, c.Client, c.Virtual, c.Destination)] = c;
            if (text.Length <= PageSize - LineSize || (i > 0 && found.Count == known))
                break;
        }
        return found.Values.ToList();
    });

    /// <summary>Parses the text of <c>/proc/net/ip_vs_conn</c>.</summary>
    public static IReadOnlyList<IpvsConnection> Parse(string text) =>
        [.. from line in text.Split('\n', StringSplitOptions.RemoveEmptyEntries)
            let w = HexAddress.Words(line)
            where w.Length >= 9 && w[0] != "Pro"
            select new IpvsConnection(w[0], At(w[1], w[2]), At(w[3], w[4]), At(w[5], w[6]), w[7],
                int.Parse(w[8], CultureInfo.InvariantCulture))];

    /// <inheritdoc/>
    public override string ToString() => $"{Protocol} {Client} -> {Virtual} -> {Destination} {State} {ExpiresInSeconds} s";

    private static IPEndPoint At(string address, string port) => new(HexAddress.Address(address), HexAddress.Port(port));
}
