using System.CommandLine;
using System.Globalization;
using System.Text.Json;
using Conformance.Launcher.LabKernels;
using Conformance.Linux.Features;
using Spectre.Console;

namespace Conformance.Launcher.Verbs;

/// <summary><c>./lab kernels</c>: the kernels that labs can run on; <c>build</c> adds one, <c>measure</c> compares them.</summary>
internal static class KernelsVerb
{
    internal static Command Create()
    {
        var format = Output.CreateOption();
        var verb = new Command("kernels", "List the kernels that labs can run on; build one, measure them.") { format, CreateBuild(),
            CreateMeasure() };
        verb.SetAction(parsed =>
        {
            List(parsed.GetValue(format)!);
            return ExitCodes.Ok;
        });
        return verb;
    }

    private static Command CreateBuild()
    {
        var source = new Option<string?>("--source")
        {
            Description = "A package (linux-source-6.12), a source tree, or its archive; the newest package when nothing is given."
        };
        source.Validators.Add(result =>
        {
            if (string.IsNullOrWhiteSpace(result.GetValueOrDefault<string?>() ?? "newest"))
                result.AddError("--source is empty: give a package, a folder or an archive.");
        });
        var verb = new Command("build", "Build a user-mode kernel with the project's configuration into the cache folder.") { source };
        verb.SetAction(async parsed =>
        {
            using var interrupt = new Interrupt();
            var built = await KernelBuild.BuildAsync(parsed.GetValue(source), Console.Error.WriteLine, interrupt.Token);
            await MeasureAsync([built, .. KernelStore.UserMode().Where(k => k != built)], interrupt.Token);
            Console.WriteLine($"{built.Option} is built: {built.Path}");
            if (KernelStore.Fastest() is { } fastest)
                Console.WriteLine($"--kernel auto takes {fastest.Option} now, the fastest.");
            return ExitCodes.Ok;
        });
        return verb;
    }

    private static Command CreateMeasure()
    {
        var verb = new Command("measure", "Measure each user-mode kernel once more; --kernel auto takes the fastest.");
        verb.SetAction(async _ =>
        {
            using var interrupt = new Interrupt();
            var isWhole = await MeasureAsync(KernelStore.UserMode(), interrupt.Token);
            List("text");
            return isWhole ? ExitCodes.Ok : ExitCodes.Violated;
        });
        return verb;
    }

    /// <summary>Each kernel three times, in turns; the best counts, which other load disturbs least.</summary>
    /// <returns>Whether all could be measured.</returns>
    private static async Task<bool> MeasureAsync(IEnumerable<KernelImage> kernels, CancellationToken cancellationToken)
    {
        var best = kernels.ToDictionary(k => k, _ => (double?)double.MaxValue);
        for (var turn = 0; turn < 3; turn++)
        {
            foreach (var kernel in best.Keys.Where(k => best[k] is not null).ToList())
            {
                try
                {
                    best[kernel] = Math.Min(best[kernel]!.Value, await KernelProbe.MeasureAsync(kernel.ToLabKernel(), cancellationToken));
                }
                catch (LabKernelException e)
                {
                    Console.Error.WriteLine(e.Message); // the others are measured all the same
                    best[kernel] = null;
                }
            }
        }
        foreach (var (kernel, milliseconds) in best)
            await KernelStore.StoreMillisecondsAsync(kernel, milliseconds, cancellationToken);
        return !best.ContainsValue(null);
    }

    private static void List(string format)
    {
        var kernels = KernelStore.All();
        var features = KernelFeatures.Current;
        if (format == Output.Json)
        {
            Console.WriteLine(JsonSerializer.Serialize(kernels.Select(k => new
            {
                option = k.Option,
                release = k.Version,
                origin = k.Origin,
                path = k.Path,
                milliseconds = KernelStore.Milliseconds(k)
            }), Output.JsonOptions));
            return;
        }
        var table = new Table().Border(TableBorder.Minimal).AddColumns("--kernel", "release", "where it comes from", "ms of work");
        table.AddRow("host", features.Release, features.CanRunLabs ? "this machine's own" : "this machine's own: cannot run labs", "");
        foreach (var kernel in kernels)
            table.AddRow(kernel.Option, kernel.Version, kernel.Origin,
                KernelStore.Milliseconds(kernel)?.ToString("0", CultureInfo.InvariantCulture) ?? "not measured");
        Output.Console.Write(table);
        Console.WriteLine("To be had: './lab kernels build' builds a user-mode kernel; '--kernel qemu=6.12' fetches a stock kernel of " +
            "Debian.");
    }
}
