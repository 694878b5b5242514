using System.CommandLine;
using System.Globalization;
using Conformance.Labs;
using Conformance.Launcher.Imports;
using Conformance.Launcher.LabKernels;
using Conformance.Launcher.Labs;

namespace Conformance.Launcher.Verbs;

/// <summary><c>./lab import</c>: a lab with the state of somebody's node, out of what its tools have printed.</summary>
internal static class ImportVerb
{
    internal static Command Create()
    {
        var folder = new Argument<string>("DIR")
        {
            Description = "Folder with the output of ipvsadm-save -n or ipvsadm -Ln, ipset save, iptables-save, ip addr, ip route, " +
                "sysctl -a."
        };
        var kernel = KernelOption.CreateOption();
        var verb = new Command("import", "Make a lab out of the dumps of a node, and open a shell on it.") { folder, kernel };
        verb.SetAction(async parsed =>
        {
            var dump = DumpReader.Read(Path.GetFullPath(parsed.GetValue(folder)!));
            Console.Error.WriteLine($"{parsed.GetValue(folder)}: {dump.Describe()}.");
            var labKernel = await KernelOption.ChooseAsync(parsed.GetValue(kernel)!, CancellationToken.None);
            var state = Directory.CreateDirectory(Path.Combine(ProjectFolder.Root, "artifacts", "imports",
                Guid.NewGuid().ToString("N"))).FullName;
            try
            {
                var topology = ImportedLab.Write(state, dump);
                return await UpVerb.OpenAsync(labKernel, topology, state);
            }
            finally
            {
                Directory.Delete(state, recursive: true);
            }
        });
        return verb;
    }

    /// <summary>Says what was not imported: the first lines, and how many there are.</summary>
    internal static void Report(IReadOnlyList<DumpProblem> problems, TimeSpan time)
    {
        const int most = 20;
        foreach (var problem in problems.Take(most))
            Console.Error.WriteLine($"Not imported: {$"{problem.Place} {problem.Text}".Trim()}\n  {problem.Reason}");
        if (problems.Count > most)
            Console.Error.WriteLine($"... and {problems.Count - most} more lines.");
        Console.Error.WriteLine(string.Create(CultureInfo.InvariantCulture,
            $"The kernel has the node's state after {time.TotalSeconds:0.0} s."));
    }
}
