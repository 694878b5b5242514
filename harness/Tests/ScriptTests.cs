using CliWrap;
using CliWrap.Buffered;
using Conformance.Labs;
using Conformance.Launcher;
using Conformance.Linux.Features;

namespace Conformance.Tests;

/// <summary>The form of the sources, and what is not C#, judged by others' tools.</summary>
[NonParallelizable]
public sealed class ScriptTests
{
    private static readonly string s_root = ProjectFolder.Root;

    [OneTimeSetUp]
    public Task InstallJudges() => Need.EnsureAsync(Need.ForTests, CancellationToken.None);

    [Test]
    public async Task Shell_scripts_pass_shellcheck()
    {
        string[] scripts = ["lab", ".ci/run", "harness/provision.sh", "harness/Generator/Documents/apply.sh",
            "harness/Clusters/Proxies/sample-proxy.sh",
            .. Directory.GetFiles(Path.Combine(s_root, "harness", "Launcher", "LabKernels"), "*.sh")];

        var result = await RunAsync("shellcheck", scripts);

        result.ExitCode.ShouldBe(0, result.StandardOutput + result.StandardError);
    }

    /// <summary>Style and naming are warnings of the build, and so errors.</summary>
    [Test]
    public async Task Sources_have_the_white_space_that_the_formatter_gives_them()
    {
        var result = await RunAsync("dotnet", "format", "whitespace", s_root, "--folder", "--verify-no-changes", "--exclude",
            Path.Combine(s_root, "artifacts"));

        result.ExitCode.ShouldBe(0, result.StandardOutput + result.StandardError);
    }

    [Test]
    public async Task The_vagrantfile_is_valid()
    {
        var result = await RunAsync("vagrant", "validate", "--ignore-provider");

        result.ExitCode.ShouldBe(0, result.StandardOutput + result.StandardError);
    }

    [Test]
    public async Task Provisioning_again_changes_nothing_and_takes_root()
    {
        var script = Path.Combine(s_root, "harness", "provision.sh");
        var first = await RunAsync("bash", script);
        if (!KernelFeatures.Current.IsRoot)
        {
            (first.ExitCode, first.StandardError).ShouldBe((1, $"provision.sh must be root: sudo {script}\n"));
            return;
        }

        first.ExitCode.ShouldBe(0, first.StandardOutput + first.StandardError);
        var again = await RunAsync("bash", script);
        again.ExitCode.ShouldBe(0, again.StandardError);
        again.StandardOutput.ShouldNotContain("Installing");
    }

    private static async Task<BufferedCommandResult> RunAsync(string program, params string[] arguments)
    {
        using var limit = new CancellationTokenSource(TimeSpan.FromMinutes(2));
        return await CliWrap.Cli.Wrap(program).WithArguments(arguments).WithWorkingDirectory(s_root)
            .WithEnvironmentVariables(new Dictionary<string, string?>(StringComparer.Ordinal)
            {
                ["VAGRANT_HOME"] = Path.Combine(RunFolder.Current, "vagrant"),
                ["VAGRANT_DOTFILE_PATH"] = Path.Combine(RunFolder.Current, "vagrant-dotfile"),
            })
            .WithValidation(CommandResultValidation.None).ExecuteBufferedAsync(limit.Token);
    }
}
