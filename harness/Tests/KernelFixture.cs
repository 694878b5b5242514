using System.Globalization;
using CliWrap;
using CliWrap.Buffered;
using Conformance.Labs;

namespace Conformance.Tests;

/// <summary>The launcher with a cache of kernels of its own: what is built in a test must not become the kernel of other runs.</summary>
public abstract class KernelFixture
{
    protected static TimeSpan Limit { get; } = TimeSpan.FromMinutes(3);

    protected string Cache { get; private set; } = "";

    [SetUp]
    public void MakeCache() => Cache = Directory.CreateDirectory(Path.Combine(RunFolder.Current,
        $"cache-{TestContext.CurrentContext.Test.ID}")).FullName;

    [TearDown]
    public void RemoveCache() => Directory.Delete(Cache, recursive: true);

    /// <summary>A program in place of a kernel.</summary>
    protected async Task<string> ScriptAsync(string text, string name = "linux")
    {
        var script = Path.Combine(Cache, name);
        await File.WriteAllTextAsync(script, $"#!/bin/sh\n{text}\n");
        File.SetUnixFileMode(script, UnixFileMode.UserRead | UnixFileMode.UserExecute);
        return script;
    }

    protected string KernelsFolder => Path.Combine(Cache, "ipvs-conformance", "kernels");

    /// <summary>How many processes have a text in their command line.</summary>
    protected static async Task<int> ProcessesAsync(string text) => int.Parse((await CliWrap.Cli.Wrap("pgrep")
        .WithArguments(["-fc", text])
        .WithValidation(CommandResultValidation.None).ExecuteBufferedAsync()).StandardOutput, CultureInfo.InvariantCulture);

    protected async Task<BufferedCommandResult> LabAsync(params string[] arguments)
    {
        using var limit = new CancellationTokenSource(Limit);
        return await Command(arguments).ExecuteBufferedAsync(limit.Token);
    }

    protected Command Command(params string[] arguments) => LabProgram.Command(arguments)
        .WithWorkingDirectory(ProjectFolder.Root)
        .WithEnvironmentVariables(Variables);

    protected Dictionary<string, string?> Variables => new(LabProgram.Variables, StringComparer.Ordinal) { ["XDG_CACHE_HOME"] = Cache };
}
