using System.Globalization;
using System.Text;

namespace Conformance.Launcher.LabKernels;

/// <summary>Measures how fast a kernel runs what a suite consists of: processes, system calls, and its own boot.</summary>
internal static class KernelProbe
{
    /// <summary>Two hundred processes and two hundred thousand system calls, as a tenth of a suite has them.</summary>
    private const string Work =
        "use Time::HiRes 'time'; my $t = time; system 'true' for 1 .. 200; -e '/' for 1 .. 200_000; print int(1000 * (time() - $t))";

    /// <summary>The work takes one to three seconds.</summary>
    private static readonly TimeSpan s_limit = TimeSpan.FromMinutes(1);

    /// <returns>Milliseconds of the work; boot and halt are not counted.</returns>
    /// <exception cref="LabKernelException">The kernel does not boot.</exception>
    internal static async Task<double> MeasureAsync(LabKernel kernel, CancellationToken cancellationToken)
    {
        var folder = Runs.Start();
        using var said = new MemoryStream();
        var result = await kernel.RunAsync(new LabCommand(["perl", "-e", Work], folder)
        {
            Output = said,
            Limit = s_limit,
        }, cancellationToken);
        Runs.Forget(folder);
        return result.ExitCode == ExitCodes.Ok ? double.Parse(Encoding.ASCII.GetString(said.ToArray()), CultureInfo.InvariantCulture)
            : throw new LabKernelException($"The kernel {kernel.Description} could not be measured.",
                $"perl ended with exit code {result.ExitCode} in it.", "It has no measured speed.",
                "Try it with ./lab kernel --kernel …, and delete it if it does not work.", beforeBoot: false);
    }
}
