using Conformance.Clusters.Kubernetes;
using Conformance.Labs;

namespace Conformance.Clusters.Proxies;

/// <summary>What a proxy writes, of much the end, with what it asked its API server in vain.</summary>
/// <param name="server">The API server that it follows; null for none.</param>
internal sealed class ProxyLog(Node node, ApiServer? server)
{
    private static int s_number;
    private readonly string _fileName = $"{RunFolder.Numbered(Interlocked.Increment(ref s_number))}-{node.Name}";
    private readonly CappedText _text = new();

    /// <summary>Adds text of either stream; it may be read meanwhile.</summary>
    internal void Append(string text) => _text.Append(text);

    /// <inheritdoc/>
    public override string ToString()
    {
        var text = _text.ToString();
        return server?.Unknown is { Count: > 0 } unknown
            ? $"{text}The API server has no place for (404):\n  {string.Join("\n  ", unknown)}\n" : text;
    }

    /// <summary>Writes it, and all requests, into the run's folder <c>proxies</c>.</summary>
    internal async Task SaveAsync(string description)
    {
        var file = Path.Combine(Directory.CreateDirectory(Path.Combine(RunFolder.Current, "proxies")).FullName, _fileName);
        await File.WriteAllTextAsync($"{file}.log", $"{description}\n{this}");
        if (server is not null)
            await File.WriteAllLinesAsync($"{file}.requests", server.Answers);
    }
}
