using System.Text.RegularExpressions;
using Conformance.Labs;
using Conformance.Linux;
using YamlDotNet.Core;
using YamlDotNet.Serialization;
using YamlDotNet.Serialization.NamingConventions;

namespace Conformance.Launcher.Tours;

/// <summary>What a node does in a tour.</summary>
/// <param name="Text">As it stands in the file.</param>
internal abstract record TourAction(string Node, string Text);

/// <summary><c>director$ ipvsadm -Ln</c>: a command in a node.</summary>
internal sealed record TourCommand(string Node, string Text, string CommandLine) : TourAction(Node, Text);

/// <summary><c>client asks tcp 10.10.0.1:8410: answered</c>: a connection or a datagram, and what becomes of it.</summary>
/// <param name="Expected">answered, refused or unanswered.</param>
internal sealed record TourQuestion(string Node, string Text, bool IsUdp, string Target, string Expected) : TourAction(Node, Text);

/// <summary><c>director serves tcp/8410</c>: a server that the article's machine has and the topology has not.</summary>
internal sealed record TourServer(string Node, string Text, TransportProtocol Protocol, int Port) : TourAction(Node, Text);

/// <summary>A step: the claim that it shows, and what it does.</summary>
internal sealed record TourStep(string Claim, IReadOnlyList<TourAction> Actions);

/// <summary>A walk through a part of the article in a lab: the file <c>NAME.yaml</c> beside this one.</summary>
internal sealed partial record Tour(string Name, string Topology, IReadOnlyList<TourStep> Steps)
{
    private static readonly string s_folder = Path.Combine(AppContext.BaseDirectory, "Tours");

    internal static IReadOnlyList<string> Names { get; } =
        [.. Directory.EnumerateFiles(s_folder, "*.yaml").Select(f => Path.GetFileNameWithoutExtension(f)).Order(StringComparer.Ordinal)];

    /// <exception cref="HarnessException">The file cannot be read.</exception>
    internal static Tour Load(string name) => Parse(name, File.ReadAllText(Path.Combine(s_folder, $"{name}.yaml")));

    /// <exception cref="HarnessException">The text is no tour.</exception>
    internal static Tour Parse(string name, string yaml)
    {
        try
        {
            var file = new DeserializerBuilder().WithNamingConvention(CamelCaseNamingConvention.Instance).Build()
                .Deserialize<TourFile?>(yaml);
            if (file is not { Topology.Length: > 0, Steps.Count: > 0 } || file.Steps.Any(s => s.Does is not { Count: > 0 }))
                throw new FormatException("It has no topology, no steps, or a step that does nothing.");
            return new Tour(name, file.Topology, [.. file.Steps.Select(s => new TourStep(s.Claim, [.. s.Does!.Select(ParseAction)]))]);
        }
        catch (Exception e) when (e is YamlException or FormatException)
        {
            throw new HarnessException($"The tour {name} cannot be read.", e.Message, "Nothing was started.",
                "A step has a claim, and lines such as 'director$ ipvsadm -Ln', 'client asks tcp 10.10.0.1:80: answered' or " +
                "'director serves tcp/80'.");
        }
    }

    private static TourAction ParseAction(string text)
    {
        if (CommandLine().Match(text) is { Success: true } command)
            return new TourCommand(command.Groups["node"].Value, text, command.Groups["argv"].Value);
        if (Question().Match(text) is { Success: true } question)
            return new TourQuestion(question.Groups["node"].Value, text, question.Groups["protocol"].Value == "udp",
                question.Groups["target"].Value, question.Groups["expected"].Value);
        if (Server().Match(text) is { Success: true } server)
            return new TourServer(server.Groups["node"].Value, text,
                server.Groups["protocol"].Value == "udp" ? TransportProtocol.Udp : TransportProtocol.Tcp,
                int.Parse(server.Groups["port"].ValueSpan, System.Globalization.CultureInfo.InvariantCulture));
        throw new FormatException($"'{text}'");
    }

    [GeneratedRegex(@"^(?<node>[\w-]+)\$ (?<argv>.+)$", RegexOptions.ExplicitCapture, 1000)]
    private static partial Regex CommandLine();

    [GeneratedRegex(@"^(?<node>[\w-]+) asks (?<protocol>tcp|udp) (?<target>\S+): (?<expected>answered|refused|unanswered)$",
        RegexOptions.ExplicitCapture, 1000)]
    private static partial Regex Question();

    [GeneratedRegex(@"^(?<node>[\w-]+) serves (?<protocol>tcp|udp)/(?<port>\d{1,5})$", RegexOptions.ExplicitCapture, 1000)]
    private static partial Regex Server();

    private sealed class TourFile
    {
        public string Topology { get; set; } = "";

        public List<StepOfFile>? Steps { get; set; } = [];
    }

    private sealed class StepOfFile
    {
        public string Claim { get; set; } = "";

        public List<string>? Does { get; set; }
    }
}
