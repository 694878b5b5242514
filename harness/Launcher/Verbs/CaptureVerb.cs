using System.CommandLine;
using Conformance.Launcher.Labs;
using Conformance.Linux;
using Conformance.Linux.Links;
using Conformance.Linux.Namespaces;
using Conformance.Packets;

namespace Conformance.Launcher.Verbs;

/// <summary><c>./lab capture NODE[:IFACE]</c>: packets of a lab that is up, in words or as pcap.</summary>
internal static class CaptureVerb
{
    private static readonly TimeSpan s_poll = TimeSpan.FromMilliseconds(100);

    internal static Command Create()
    {
        var lab = InspectVerb.CreateLabOption();
        var where = new Argument<string>("NODE[:IFACE]") { Description = "A node, and its interface where it is not the first one." };
        var write = new Option<string?>("-w") { Description = "Write pcap to a file, or with - to standard output." };
        var count = new Option<int>("-c") { Description = "End after so many packets.", DefaultValueFactory = _ => int.MaxValue };
        var verb = new Command("capture", "Show or write the packets of an interface of a lab that is up, until Ctrl-C.") { lab, where,
            write, count };
        verb.SetAction(parsed =>
        {
            using var interrupt = new Interrupt();
            return Run(LabRecord.Find(parsed.GetValue(lab)), parsed.GetValue(where)!, parsed.GetValue(write), parsed.GetValue(count),
                interrupt.Token);
        });
        return verb;
    }

    private static int Run(LabRecord lab, string where, string? file, int count, CancellationToken cancellationToken)
    {
        var parts = where.Split(':', 2);
        using var ns = NetworkNamespace.Open(parts[0], lab.NamespaceOf(parts[0]));
        var device = parts.Length == 2 ? parts[1] : FirstDevice(ns);
        using var capture = new Capture(parts[0], ns, device);
        using var stream = file switch { null => null, "-" => Console.OpenStandardOutput(), _ => File.Create(file) };
        using var pcap = stream is null ? null : new PcapWriter(stream);
        Console.Error.WriteLine($"Capturing on {parts[0]}:{device}; Ctrl-C ends it.");
        pcap?.Flush();
        var seen = 0;
        while (!cancellationToken.IsCancellationRequested && seen < count)
        {
            capture.Wait(s_poll);
            foreach (var packet in capture.Drain().Take(count - seen))
            {
                seen++;
                pcap?.Write(packet);
                if (pcap is null)
                    Console.WriteLine($"{packet.Time:HH:mm:ss.ffffff} {packet}");
            }
            pcap?.Flush(); // a reader of the pipe sees each packet at once
        }
        Console.Error.WriteLine($"{seen} packets{(capture.Dropped > 0 ? $", {capture.Dropped} lost because the buffer was full" : "")}.");
        return ExitCodes.Ok;
    }

    private static string FirstDevice(NetworkNamespace ns)
    {
        using var route = new RouteSocket(ns);
        return route.Links().First(l => l.Kind == "veth").Name;
    }
}
