using System.CommandLine;
using System.Diagnostics;
using System.Net.Sockets;
using System.Text.Json;
using Conformance.Generator.Decisions;
using Conformance.Generator.Model;
using Conformance.Generator.Sources;
using Conformance.Generator.Sync;
using Conformance.Linux;
using Conformance.Linux.Features;
using Conformance.Linux.Iptables;
using Conformance.Linux.Namespaces;

namespace Conformance.Generator.Verbs;

/// <summary>What the verbs that work on the kernel have in common: flags, files, the kernel, and the world that follows.</summary>
internal sealed class Session : IDisposable
{
    private Session(GeneratorOptions options, KernelPort kernel)
    {
        Options = options;
        Kernel = kernel;
    }

    internal GeneratorOptions Options { get; }

    internal KernelPort Kernel { get; }

    /// <summary>How many parts of the input were left out.</summary>
    internal int Problems { get; private set; }

    /// <exception cref="GeneratorException">We are not root, or the kernel has no IPVS.</exception>
    internal static Session Open(GeneratorOptions options)
    {
        if (!KernelFeatures.Current.IsRoot)
            throw new GeneratorException("Root is needed.", "The effective user is another.", "Nothing was done.",
                "sudo ipvs-generator ...; generate works without.", ExitCodes.CannotRunHere);
        var kernel = new KernelPort(NetworkNamespace.Open("this namespace", "/proc/self/ns/net"), IptablesVariant.Choose());
        if (kernel.WhyNoIPv6 is { } why)
            Console.Error.WriteLine($"IPv4 alone is served: {why}.");
        return new Session(options, kernel);
    }

    internal void Report(InputProblem problem)
    {
        Problems += problem.Effect == ProblemEffect.NotOurs ? 0 : 1;
        Console.Error.WriteLine(problem);
    }

    internal World Decide(Cluster cluster)
    {
        if (NodeStates.WhyNotOurs(Options, cluster, Kernel.NodeAddresses()) is { } why)
            Console.Error.WriteLine(why);
        return Decide(Options, NodeStates.Of(Options, cluster, Kernel.NodeAddresses(), Kernel.HasIPv6), cluster);
    }

    /// <summary>Decides, and tells what is wrong with valid objects.</summary>
    internal static World Decide(GeneratorOptions options, NodeState node, Cluster cluster)
    {
        var world = new World(options, node, cluster);
        foreach (var warning in world.Warnings)
            Console.Error.WriteLine(warning);
        return world;
    }

    public void Dispose() => Kernel.Dispose();

    internal static Option<string> FormatOption()
    {
        var format = new Option<string>("--format") { Description = "text (default) or json.", DefaultValueFactory = _ => "text" };
        format.AcceptOnlyFromAmong("text", "json");
        return format;
    }

    /// <summary>Changes as lines, or as a JSON array of kind, verb, what.</summary>
    internal static void Print(IEnumerable<Change> changes, string format)
    {
        if (format == "json")
        {
            PrintJson(changes, (writer, change) =>
            {
                writer.WriteString("kind", change.Kind);
                writer.WriteString("verb", change.Verb);
                writer.WriteString("what", change.What);
            });
            return;
        }
        // One write for many lines: a hundred thousand by themselves take longer than making the changes.
        using var lines = new StreamWriter(Console.OpenStandardOutput(), bufferSize: 64 << 10);
        foreach (var change in changes)
            lines.Write($"{change}\n");
    }

    /// <summary>
    /// A JSON array with an object for each item. Written by hand: a serializer would need reflection, or code for each type.
    /// </summary>
    /// <param name="write">Writes the members of an object.</param>
    internal static void PrintJson<T>(IEnumerable<T> items, Action<Utf8JsonWriter, T> write)
    {
        using var output = Console.OpenStandardOutput();
        using var writer = new Utf8JsonWriter(output, new JsonWriterOptions
        {
            Indented = true,
            Encoder = System.Text.Encodings.Web.JavaScriptEncoder.UnsafeRelaxedJsonEscaping
        });
        writer.WriteStartArray();
        foreach (var item in items)
        {
            writer.WriteStartObject();
            write(writer, item);
            writer.WriteEndObject();
        }
        writer.WriteEndArray();
        writer.Flush();
        Console.WriteLine();
    }

    internal static int Report(SyncResult result)
    {
        if (!result.IsGood)
        {
            Console.Error.WriteLine(
                $"Not everything could be made.\n  evidence: " +
                $"{string.Join("\n            ", result.Errors.Select(e => e.ReplaceLineEndings(" | ")))}\n  consequence: "
                + (result.IsBroken ? "nothing is served that was not before" : "what is named is not served, everything else is")
                + "\n  fix: see what each line says; a scheduler or a type of set may need a module of the kernel (modprobe " +
                    "ip_vs_NAME); then run it again");
        }
        return result.IsGood ? ExitCodes.Ok : ExitCodes.Failed;
    }
}

/// <summary>
/// Holds the one place in a network namespace that a generator can have. An abstract socket belongs to its namespace
/// and goes with its process (unix(7)): there is nothing to be left behind.
/// </summary>
internal sealed class Instance : IDisposable
{
    private readonly Socket _socket;

    private Instance(Socket socket) => _socket = socket;

    /// <exception cref="GeneratorException">Another instance has it.</exception>
    internal static Instance Take()
    {
        var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        try
        {
            socket.Bind(new UnixDomainSocketEndPoint("\0ipvs-generator"));
            return new Instance(socket);
        }
        catch (SocketException e)
        {
            socket.Dispose();
            throw new GeneratorException("Another ipvs-generator works in this network namespace.", e.Message,
                "Nothing was done: two would undo each other's work.",
                "Stop the other one (it holds the abstract socket @ipvs-generator: ss -xlp), or use another namespace.");
        }
    }

    public void Dispose() => _socket.Dispose();
}

/// <summary>The duration of each stage of a command, printed to stderr.</summary>
internal sealed class Stages
{
    private readonly List<(string Name, TimeSpan Time)> _stages = [];
    private readonly Stopwatch _watch = Stopwatch.StartNew();

    internal Stages() => _stages.Add(("start", DateTime.Now - Process.GetCurrentProcess().StartTime));

    internal T Measure<T>(string name, Func<T> work)
    {
        _watch.Restart();
        var result = work();
        _stages.Add((name, _watch.Elapsed));
        return result;
    }

    internal async Task<T> MeasureAsync<T>(string name, Func<Task<T>> work)
    {
        _watch.Restart();
        var result = await work();
        _stages.Add((name, _watch.Elapsed));
        return result;
    }

    public override string ToString() =>
        FormattableString.Invariant($"{Times}, peak {Process.GetCurrentProcess().PeakWorkingSet64 >> 20} MB");

    private string Times =>
        string.Join(", ", _stages.Select(s => FormattableString.Invariant($"{s.Name} {s.Time.TotalMilliseconds:0} ms")));
}
