using System.CommandLine;
using CliWrap;
using CliWrap.Buffered;
using Conformance.Linux.Features;

namespace Conformance.Generator.Verbs;

/// <summary><c>doctor</c>: checks each requirement of the generator, and prints how to fix each missing one.</summary>
internal static class DoctorVerb
{
    internal static System.CommandLine.Command Create()
    {
        var verb = new System.CommandLine.Command("doctor", "Check each requirement by using it, and print how to fix each missing one.");
        verb.SetAction(async _ =>
        {
            var good = true;
            foreach (var (name, isMet, found, fix) in await CheckAsync())
            {
                good &= isMet;
                Console.WriteLine($"{(isMet ? '✔' : '✘')} {name}: {found}{(isMet ? "" : $"\n    fix: {fix}")}");
            }
            return good ? ExitCodes.Ok : ExitCodes.CannotRunHere;
        });
        return verb;
    }

    private static async Task<IReadOnlyList<(string Name, bool IsMet, string Found, string Fix)>> CheckAsync()
    {
        var features = KernelFeatures.Current;
        // What is installed as a module is loaded by its first use, which apply would be.
        if (features.IsRoot && File.Exists("/usr/sbin/modprobe"))
            await CliWrap.Cli.Wrap("/usr/sbin/modprobe")
                .WithArguments(["--all", "--quiet", "ip_vs", "nf_conntrack", "ip_set", "xt_set", "xt_ipvs"])
                .WithValidation(CommandResultValidation.None).ExecuteAsync();
        var checks = new List<(string, bool, string, string)> { ("root", features.IsRoot, features.IsRoot ? "yes" : "no",
            "sudo ipvs-generator ...") };
        foreach (var tool in new[] { "iptables-restore", "iptables-save", "ip6tables-restore", "ip6tables-save" })
            checks.Add(await ToolAsync(tool));
        foreach (var feature in new[] { Feature.Ipvs, Feature.Ipset, Feature.IpvsMatch, Feature.IpvsConntrack })
            checks.Add((feature.Describe(), features.Has(feature), features.Has(feature) ? "yes" : "no",
                "a kernel with it: modprobe -a ip_vs ip_set xt_set xt_ipvs, where the modules are installed"));
        return checks;
    }

    /// <summary>Started, not only found; its modules are then loaded for the features asked below.</summary>
    private static async Task<(string, bool, string, string)> ToolAsync(string tool)
    {
        try
        {
            var result = await CliWrap.Cli.Wrap(tool)
                .WithArguments([tool.EndsWith("save", StringComparison.Ordinal) ? "-t" : "--version",
                    .. tool.EndsWith("save", StringComparison.Ordinal) ? new[] { "nat" } : []])
                .WithValidation(CommandResultValidation.None).ExecuteBufferedAsync();
            return (tool, result.IsSuccess, result.IsSuccess ? "works" : result.StandardError.Trim(),
                "update-alternatives --config iptables: choose the variant that this kernel supports");
        }
        catch (System.ComponentModel.Win32Exception)
        {
            return (tool, false, "missing", "apt-get install iptables");
        }
    }
}
