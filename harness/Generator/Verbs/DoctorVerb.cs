using System.CommandLine;
using Conformance.Linux;
using Conformance.Linux.Features;
using Conformance.Linux.Processes;

namespace Conformance.Generator.Verbs;

/// <summary><c>doctor</c>: checks each requirement of the generator, and prints how to fix each missing one.</summary>
internal static class DoctorVerb
{
    private static readonly TimeSpan s_limit = TimeSpan.FromSeconds(30);

    internal static System.CommandLine.Command Create()
    {
        var verb = new System.CommandLine.Command("doctor", "Check each requirement by using it, and print how to fix each missing one.");
        verb.SetAction(_ =>
        {
            var good = true;
            foreach (var (name, isMet, found, fix) in Check())
            {
                good &= isMet;
                Console.WriteLine($"{(isMet ? '✔' : '✘')} {name}: {found}{(isMet ? "" : $"\n    fix: {fix}")}");
            }
            return good ? ExitCodes.Ok : ExitCodes.CannotRunHere;
        });
        return verb;
    }

    private static IReadOnlyList<(string Name, bool IsMet, string Found, string Fix)> Check()
    {
        var features = KernelFeatures.Current;
        // What is installed as a module is loaded by its first use, which apply would be.
        if (features.IsRoot && File.Exists("/usr/sbin/modprobe"))
            Tool.Run(["/usr/sbin/modprobe", "--all", "--quiet", "ip_vs", "nf_conntrack", "ip_set", "xt_set", "xt_ipvs"], input: null,
                s_limit,
                CancellationToken.None);
        var checks = new List<(string, bool, string, string)> { ("root", features.IsRoot, features.IsRoot ? "yes" : "no",
            "sudo ipvs-generator ...") };
        foreach (var tool in new[] { "iptables-restore", "iptables-save", "ip6tables-restore", "ip6tables-save" })
            checks.Add(Try(tool));
        foreach (var feature in new[] { Feature.Ipvs, Feature.Ipset, Feature.IpvsMatch, Feature.IpvsConntrack })
            checks.Add((feature.Describe(), features.Has(feature), features.Has(feature) ? "yes" : "no",
                "a kernel with it: modprobe -a ip_vs ip_set xt_set xt_ipvs, where the modules are installed"));
        return checks;
    }

    /// <summary>Started, not only found; its modules are then loaded for the features asked below.</summary>
    private static (string, bool, string, string) Try(string tool)
    {
        try
        {
            string[] arguments = tool.EndsWith("save", StringComparison.Ordinal) ? ["-t", "nat"] : ["--version"];
            var result = Tool.Run([tool, .. arguments], input: null, s_limit, CancellationToken.None);
            return (tool, result.ExitCode == 0, result.ExitCode == 0 ? "works" : result.Error.Trim(),
                "update-alternatives --config iptables: choose the variant that this kernel supports");
        }
        catch (KernelException)
        {
            return (tool, false, "missing", "apt-get install iptables");
        }
    }
}
