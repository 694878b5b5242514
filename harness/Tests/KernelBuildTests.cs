using System.Text.Json;
using CliWrap;
using CliWrap.Buffered;
using Conformance.Labs;
using Conformance.Linux;
using Conformance.Linux.Features;
using Conformance.Reports;

namespace Conformance.Tests;

/// <summary>Kernels are built into the cache folder, whole or not at all.</summary>
[NonParallelizable]
public sealed class KernelBuildTests : KernelFixture
{
    [TestCase("linux-source-0.0", 3, "There is no kernel source 'linux-source-0.0'.")]
    [TestCase("./nowhere", 3, "There is no kernel source './nowhere'.")]
    [TestCase("FOLDER", 1, "is no Linux source tree: it has no arch/um")]
    [TestCase("ARCHIVE", 1, "This does not look like a tar archive")]
    public async Task A_source_that_is_none_is_refused_and_leaves_nothing(string source, int exitCode, string evidence)
    {
        if (!HasCompiler)
            exitCode = 3; // and the missing packages are named instead
        var folder = Directory.CreateDirectory(Path.Combine(Cache, "source")).FullName;
        await File.WriteAllTextAsync(Path.Combine(Cache, "linux.tar"), "no archive");

        var result = await LabAsync("kernels", "build", "--source", source.Replace("FOLDER", folder, StringComparison.Ordinal)
            .Replace("ARCHIVE", $"{Cache}/linux.tar", StringComparison.Ordinal));

        result.ExitCode.ShouldBe(exitCode, result.StandardError);
        if (HasCompiler)
            result.StandardError.ShouldContain(evidence);
        result.StandardError.ShouldContain("fix: ");
        Works().ShouldBeEmpty();
    }

    [Test]
    public async Task A_kernel_that_does_not_boot_does_not_take_the_place_of_one_that_does()
    {
        IgnoreWithoutCompiler();
        var tree = await TreeAsync(Cache,
            "allnoconfig:\n\ttouch $(O)/.config\nkernelrelease:\n\t@echo 9.9.9\nlinux:\n\tcp /bin/true $(O)/linux\n");
        var old = Directory.CreateDirectory(Path.Combine(KernelsFolder, "uml-9.9.9")).FullName;
        await File.WriteAllTextAsync(Path.Combine(old, "linux"), "one that boots");

        var result = await LabAsync("kernels", "build", "--source", tree);

        result.ExitCode.ShouldBe(1, result.StandardError);
        result.StandardError.ShouldContain("cannot run labs");
        result.StandardError.ShouldContain("The source has no CONFIG_");
        result.StandardError.ShouldContain("fix: ");
        (await File.ReadAllTextAsync(Path.Combine(old, "linux"))).ShouldBe("one that boots");
        Works().ShouldBeEmpty();
    }

    [Test]
    public async Task A_build_that_is_interrupted_or_killed_leaves_nothing()
    {
        IgnoreWithoutCompiler();
        var tree = await TreeAsync(Cache, "allnoconfig:\n\tsleep 987654\n");
        using var interrupt = new CancellationTokenSource();
        await EndWhenConfiguringAsync(tree, interrupt, CancellationToken.None, interrupt.Token);
        Works().ShouldBeEmpty();

        using var kill = new CancellationTokenSource();
        await EndWhenConfiguringAsync(tree, kill, kill.Token, CancellationToken.None);
        await Labs.Waiting.Eventually.Async("nothing of the build runs any more", () => ProcessesAsync("sleep 987654"), count => count == 0,
            TimeSpan.FromSeconds(10));
        var none = Directory.CreateDirectory(Path.Combine(Cache, "none")).FullName;
        (await LabAsync("kernels", "build", "--source", none)).StandardError.ShouldContain("it has no arch/um");
        Works().ShouldBeEmpty("the next build clears the folder away");
    }

    /// <summary>As in two containers that share a home: what is a process to one is none, or another, to the other.</summary>
    [Test]
    public async Task A_build_keeps_the_folder_of_one_that_runs_in_another_pid_namespace()
    {
        IgnoreWithoutCompiler();
        var tree = await TreeAsync(Cache, "allnoconfig:\n\tsleep 987654\n");
        string[] user = KernelFeatures.Current.IsRoot ? [] : ["--user", "--map-current-user"];
        using var end = new CancellationTokenSource();
        var running = CliWrap.Cli.Wrap("unshare").WithArguments([.. user, "--pid", "--fork", "--kill-child", "--", "./lab", "kernels",
            "build", "--source", tree]).WithWorkingDirectory(ProjectFolder.Root).WithEnvironmentVariables(Variables)
            .WithValidation(CommandResultValidation.None).ExecuteAsync(end.Token);
        try
        {
            var work = (await Labs.Waiting.Eventually.Async("the build has its folder", Works, w => w.Length == 1, Limit))[0];
            var none = Directory.CreateDirectory(Path.Combine(Cache, "none")).FullName;

            (await LabAsync("kernels", "build", "--source", none)).StandardError.ShouldContain("it has no arch/um");

            Works().ShouldBe([work]);
        }
        finally
        {
            await end.CancelAsync();
            await ((Task)running.Task).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }

    [TestCase("head -c 100M /dev/zero > $(O)/objects", "No space left on device")]
    [TestCase("head -c 100M /dev/zero > $(O)/objects 2>/dev/null", "bytes are free on the disk of ")]
    [TestCase("head -c 60M /dev/zero > $(O)/objects; echo error: a fault of its own; false", "error: a fault of its own")]
    public async Task A_build_on_a_disk_that_becomes_full_says_so_and_leaves_nothing(string configure, string evidence)
    {
        IgnoreWithoutCompiler();
        // A tree in which configuring takes more than there is, and a disk of its own for the cache.
        var tree = await TreeAsync(RunFolder.Current, $"allnoconfig:\n\t{configure}\n");
        string[] unshare = ["unshare", .. KernelFeatures.Current.IsRoot ? Array.Empty<string>() : ["--user", "--map-root-user"], "--mount"];

        using var limit = new CancellationTokenSource(Limit);
        var result = await CliWrap.Cli.Wrap(unshare[0]).WithArguments([.. unshare[1..], "sh", "-c",
            "mount -t tmpfs -o size=64m tmpfs \"$0\" && \"$@\"; code=$?; find \"$0\"/*/kernels -mindepth 1 ! -name build.log; exit $code",
            Cache, "./lab", "kernels", "build", "--source", tree]).WithWorkingDirectory(ProjectFolder.Root)
            .WithEnvironmentVariables(Variables).WithValidation(CommandResultValidation.None).ExecuteBufferedAsync(limit.Token);
        Directory.Delete(tree, recursive: true);

        result.ExitCode.ShouldBe(1, result.StandardError);
        result.StandardError.ShouldContain(evidence);
        result.StandardError.ShouldContain("fix: ");
        result.StandardOutput.ShouldBeEmpty("nothing of the build is left");
    }

    [Test]
    public async Task A_kernel_that_stopped_booting_is_not_chosen_by_auto()
    {
        var folder = Directory.CreateDirectory(Path.Combine(KernelsFolder, "uml-9.9.9")).FullName;
        var kernel = Path.Combine(folder, "linux");
        File.Copy("/bin/true", kernel);
        var stamp = new DateTimeOffset(File.GetLastWriteTimeUtc(kernel)).ToUnixTimeSeconds();
        await File.WriteAllTextAsync(Path.Combine(KernelsFolder, "measured.tsv"), $"{kernel}\t{stamp}\t1\n");
        (await MillisecondsAsync()).ShouldBe(1);

        var result = await LabAsync("kernels", "measure");

        result.ExitCode.ShouldBe(1, result.StandardError);
        result.StandardError.ShouldContain($"The lab kernel {kernel} did not come up.");
        (await MillisecondsAsync()).ShouldBeNull();

        async Task<double?> MillisecondsAsync() => JsonDocument.Parse((await LabAsync("kernels", "--format", "json")).StandardOutput)
            .RootElement.EnumerateArray().Single(k => k.GetProperty("path").GetString() == kernel).GetProperty("milliseconds")
            is { ValueKind: JsonValueKind.Number } number ? number.GetDouble() : null;
    }

    [Test]
    public async Task Waiting_for_a_locked_folder_is_reported_and_can_be_interrupted()
    {
        using var taken = FolderLock.TryTake(Cache);
        using var interrupt = new CancellationTokenSource();
        var waits = 0;

        await Should.ThrowAsync<OperationCanceledException>(() => FolderLock.TakeAsync(Cache, () =>
        {
            waits++;
            interrupt.CancelAfter(TimeSpan.FromSeconds(1));
        }, interrupt.Token));
        waits.ShouldBe(1);

        taken!.Dispose();
        (await FolderLock.TakeAsync(Cache, () => waits++, CancellationToken.None)).Dispose();
        waits.ShouldBe(1);
    }

    /// <summary>A source tree of this makefile.</summary>
    private static async Task<string> TreeAsync(string folder, string makefile)
    {
        var tree = Directory.CreateDirectory(Path.Combine(folder, $"tree-{TestContext.CurrentContext.Test.ID}")).FullName;
        Directory.CreateDirectory(Path.Combine(tree, "arch", "um"));
        await File.WriteAllTextAsync(Path.Combine(tree, "Makefile"), makefile);
        return tree;
    }

    private async Task EndWhenConfiguringAsync(string tree, CancellationTokenSource end, CancellationToken forceful,
        CancellationToken graceful)
    {
        using var limit = new CancellationTokenSource(TimeSpan.FromMinutes(1));
        using var killed = CancellationTokenSource.CreateLinkedTokenSource(forceful, limit.Token);
        var running = Command("kernels", "build", "--source", tree).WithStandardErrorPipe(PipeTarget.ToDelegate(line =>
        {
            if (line == "Configuring")
                end.Cancel();
        })).ExecuteAsync(killed.Token, graceful);
        await ((Task)running.Task).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        end.IsCancellationRequested.ShouldBeTrue("it came to configuring");
        limit.IsCancellationRequested.ShouldBeFalse("it ended when it was interrupted or killed");
    }

    private static void IgnoreWithoutCompiler()
    {
        if (!HasCompiler)
            Assert.Ignore($"{Verdicts.NotTestablePrefix}no compiler is installed");
    }

    private static bool HasCompiler => Launcher.Need.ForKernels.All(n => n.IsMet) || KernelFeatures.Current.IsRoot;

    private string[] Works() => Directory.Exists(KernelsFolder) ? Directory.GetDirectories(KernelsFolder, ".work-*") : [];
}
