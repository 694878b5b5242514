using System.Globalization;
using System.Text.Json;
using CliWrap;
using CliWrap.Buffered;
using Conformance.Labs;
using Conformance.Launcher.LabKernels;
using Conformance.Linux.Features;
using Conformance.Reports;

namespace Conformance.Tests;

/// <summary>The kernels that labs can run on: found, built, fetched, and refused when they cannot be used.</summary>
[NonParallelizable]
public sealed class KernelsTests
{
    private static readonly TimeSpan s_limit = TimeSpan.FromMinutes(3);

    /// <summary>Of this fixture alone: what is built here must not become the kernel of other runs.</summary>
    private string _cache = "";

    [SetUp]
    public void MakeCache() => _cache = Directory.CreateDirectory(Path.Combine(RunFolder.Current,
        $"cache-{TestContext.CurrentContext.Test.ID}")).FullName;

    [TearDown]
    public void RemoveCache() => Directory.Delete(_cache, recursive: true);

    [Test]
    public async Task The_list_has_debians_user_mode_kernel_and_says_how_to_choose_it()
    {
        var result = await LabAsync("kernels", "--format", "json");

        result.ExitCode.ShouldBe(0, result.StandardError);
        var kernels = JsonDocument.Parse(result.StandardOutput).RootElement.EnumerateArray()
            .Select(k => (k.GetProperty("option").GetString(), k.GetProperty("path").GetString())).ToList();
        kernels.ShouldContain(("uml", "/usr/bin/linux.uml"));
    }

    [TestCase("uml=9.9", "There is no user-mode kernel 9.9.")]
    [TestCase("uml=./nothing/linux", "nothing/linux.")]
    [TestCase("qemu=./nothing/vmlinuz", "nothing/vmlinuz.")]
    public async Task A_kernel_that_is_not_there_is_refused(string kernel, string what) =>
        ShouldBeRefused(await LabAsync("run", "--kernel", kernel, "--filter", "VS-16"), what, "Nothing ran.");

    [Test]
    public async Task A_kernel_of_another_architecture_is_refused()
    {
        var image = new byte[64];
        "\x7FELF"u8.CopyTo(image);
        image[18] = 183; // EM_AARCH64 of elf.h
        await File.WriteAllBytesAsync(Path.Combine(_cache, "linux"), image);

        ShouldBeRefused(await LabAsync("run", "--kernel", $"uml={_cache}/linux", "--filter", "VS-16"),
            "is a kernel for another architecture", "machine 183");
    }

    [Test]
    public async Task A_file_that_is_no_kernel_is_refused_by_qemu()
    {
        await File.WriteAllTextAsync(Path.Combine(_cache, "vmlinuz"), "no kernel");

        var result = await LabAsync("run", "--kernel", $"qemu={_cache}/vmlinuz", "--filter", "VS-16");

        ShouldBeRefused(result, NeedsQemu(result) ? "Packages are missing." : "is no kernel for this machine", "consequence");
    }

    [Test]
    public async Task A_kernel_that_panics_at_boot_is_reported_with_its_words()
    {
        var kernel = await DebianKernelAsync("init=/usr/bin/perl", "init=/nowhere");

        var result = await LabAsync("kernel", "--kernel", $"uml={kernel}", "--", "true");

        ShouldBeRefused(result, "did not come up", "Requested init /nowhere failed");
    }

    [Test]
    public async Task A_kernel_without_overlayfs_is_reported_with_the_words_of_its_first_process()
    {
        // Debian's has overlayfs as a module, and a parameter says where its modules are.
        var kernel = await DebianKernelAsync("/usr/lib/uml/modules", "/nowhere");

        var result = await LabAsync("kernel", "--kernel", $"uml={kernel}", "--", "true");

        ShouldBeRefused(result, "did not come up", "guest-init: mount overlay on /run/root: No such device");
    }

    [Test]
    public async Task A_kernel_that_never_says_hello_is_given_up()
    {
        var kernel = new UmlKernel(await ScriptAsync("exec sleep 987653")) { BootLimit = TimeSpan.FromSeconds(1) };
        using var limit = new CancellationTokenSource(TimeSpan.FromMinutes(1));

        var given = await Should.ThrowAsync<LabKernelException>(() => kernel.RunAsync(new LabCommand(["true"], _cache), limit.Token));

        given.BeforeBoot.ShouldBeTrue();
        given.Message.ShouldContain("did not come up");
        given.Message.ShouldContain("did not say within 1 s that it is up");
        given.Message.ShouldContain("fix: ");
        (await SleepersAsync("987653")).ShouldBe(0, "it was ended");
    }

    [TestCase("linux-source-0.0", 3, "There is no kernel source 'linux-source-0.0'.")]
    [TestCase("./nowhere", 3, "There is no kernel source './nowhere'.")]
    [TestCase("FOLDER", 1, "is no Linux source tree: it has no arch/um")]
    [TestCase("ARCHIVE", 1, "This does not look like a tar archive")]
    public async Task A_source_that_is_none_is_refused_and_leaves_nothing(string source, int exitCode, string evidence)
    {
        if (!HasCompiler)
            exitCode = 3; // and the missing packages are named instead
        var folder = Directory.CreateDirectory(Path.Combine(_cache, "source")).FullName;
        await File.WriteAllTextAsync(Path.Combine(_cache, "linux.tar"), "no archive");

        var result = await LabAsync("kernels", "build", "--source", source.Replace("FOLDER", folder, StringComparison.Ordinal)
            .Replace("ARCHIVE", $"{_cache}/linux.tar", StringComparison.Ordinal));

        result.ExitCode.ShouldBe(exitCode, result.StandardError);
        if (HasCompiler)
            result.StandardError.ShouldContain(evidence);
        result.StandardError.ShouldContain("fix: ");
        Works().ShouldBeEmpty();
    }

    [Test]
    public async Task A_kernel_that_does_not_boot_does_not_take_the_place_of_one_that_does()
    {
        if (!HasCompiler)
            Assert.Ignore($"{Verdicts.NotTestablePrefix}no compiler is installed");
        var tree = await TreeAsync(_cache,
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
        if (!HasCompiler)
            Assert.Ignore($"{Verdicts.NotTestablePrefix}no compiler is installed");
        var tree = await TreeAsync(_cache, "allnoconfig:\n\tsleep 987654\n");
        using var interrupt = new CancellationTokenSource();
        await EndWhenConfiguringAsync(tree, interrupt, CancellationToken.None, interrupt.Token);
        Works().ShouldBeEmpty();

        using var kill = new CancellationTokenSource();
        await EndWhenConfiguringAsync(tree, kill, kill.Token, CancellationToken.None);
        await Labs.Waiting.Eventually.Async("nothing of the build runs any more", () => SleepersAsync("987654"), count => count == 0,
            TimeSpan.FromSeconds(10));
        var none = Directory.CreateDirectory(Path.Combine(_cache, "none")).FullName;
        (await LabAsync("kernels", "build", "--source", none)).StandardError.ShouldContain("it has no arch/um");
        Works().ShouldBeEmpty("the next build clears the folder away");
    }

    /// <summary>As in two containers that share a home: what is a process to one is none, or another, to the other.</summary>
    [Test]
    public async Task A_build_keeps_the_folder_of_one_that_runs_in_another_pid_namespace()
    {
        if (!HasCompiler)
            Assert.Ignore($"{Verdicts.NotTestablePrefix}no compiler is installed");
        var tree = await TreeAsync(_cache, "allnoconfig:\n\tsleep 987654\n");
        string[] user = KernelFeatures.Current.IsRoot ? [] : ["--user", "--map-current-user"];
        using var end = new CancellationTokenSource();
        var running = CliWrap.Cli.Wrap("unshare").WithArguments([.. user, "--pid", "--fork", "--kill-child", "--", "./lab", "kernels",
            "build", "--source", tree]).WithWorkingDirectory(ProjectFolder.Root).WithEnvironmentVariables(Variables)
            .WithValidation(CommandResultValidation.None).ExecuteAsync(end.Token);
        try
        {
            var work = (await Labs.Waiting.Eventually.Async("the build has its folder", Works, w => w.Length == 1, s_limit))[0];
            var none = Directory.CreateDirectory(Path.Combine(_cache, "none")).FullName;

            (await LabAsync("kernels", "build", "--source", none)).StandardError.ShouldContain("it has no arch/um");

            Works().ShouldBe([work]);
        }
        finally
        {
            await end.CancelAsync();
            await ((Task)running.Task).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }

    [Test]
    public async Task A_build_on_a_disk_that_becomes_full_says_so_and_leaves_nothing()
    {
        if (!HasCompiler)
            Assert.Ignore($"{Verdicts.NotTestablePrefix}no compiler is installed");
        // A tree in which configuring takes more than there is, and a disk of its own for the cache.
        var tree = await TreeAsync(RunFolder.Current, "allnoconfig:\n\thead -c 100M /dev/zero > $(O)/objects\n");
        string[] unshare = ["unshare", .. KernelFeatures.Current.IsRoot ? Array.Empty<string>() : ["--user", "--map-root-user"], "--mount"];

        using var limit = new CancellationTokenSource(s_limit);
        var result = await CliWrap.Cli.Wrap(unshare[0]).WithArguments([.. unshare[1..], "sh", "-c",
            "mount -t tmpfs -o size=16m tmpfs \"$0\" && \"$@\"; code=$?; find \"$0\"/*/kernels -mindepth 1 ! -name build.log; exit $code",
            _cache, "./lab", "kernels", "build", "--source", tree]).WithWorkingDirectory(ProjectFolder.Root)
            .WithEnvironmentVariables(Variables).WithValidation(CommandResultValidation.None).ExecuteBufferedAsync(limit.Token);
        Directory.Delete(tree, recursive: true);

        result.ExitCode.ShouldBe(1, result.StandardError);
        result.StandardError.ShouldContain("No space left on device");
        result.StandardError.ShouldContain("fix: ");
        result.StandardOutput.ShouldBeEmpty("nothing of the build is left");
    }

    /// <summary>With the kernel that is installed, else Debian's newest, which then stays in the cache: it is 100 MB.</summary>
    [Test]
    public async Task A_stock_kernel_boots_under_qemu_and_proves_a_claim_with_nft()
    {
        using var limit = new CancellationTokenSource(TimeSpan.FromMinutes(5));
        var result = await LabProgram.Command("run", "--kernel", "qemu", "--filter", "SNAT-2").WithWorkingDirectory(ProjectFolder.Root)
            .ExecuteBufferedAsync(limit.Token);

        if (NeedsQemu(result))
        {
            ShouldBeRefused(result, "Packages are missing.", "sudo sh -c");
            Assert.Ignore($"{Verdicts.NotTestablePrefix}QEMU is not installed");
        }
        result.ExitCode.ShouldBe(0, result.StandardError);
        result.StandardOutput.ShouldContain("1 holds");
        var run = Directory.GetDirectories(Path.Combine(ProjectFolder.Root, "artifacts"), "2*").Order(StringComparer.Ordinal)
            .Last(f => File.Exists(Path.Combine(f, "run.json")) && File.ReadAllText(Path.Combine(f, "run.json"))
                .Contains("\"kind\": \"qemu\"", StringComparison.Ordinal));
        File.Exists(Path.Combine(run, "claims", "SNAT-2.json")).ShouldBeTrue("records come through");
    }

    [Test]
    public async Task A_matrix_runs_each_kernel_and_says_which_claims_differ()
    {
        var without = Path.Combine(_cache, "without-match");
        await File.WriteAllTextAsync(without, "#!/bin/sh\nexec /usr/bin/linux.uml initcall_blacklist=ipvs_mt_init \"$@\"\n");
        File.SetUnixFileMode(without, UnixFileMode.UserRead | UnixFileMode.UserExecute);

        var result = await LabAsync("run", "--kernel", $"uml,uml={without}", "--filter", "SNAT-2,VS-16");

        result.ExitCode.ShouldBe(0, result.StandardError);
        result.StandardError.ShouldContain("1 claims differ between 2 kernels");
        var matrix = await File.ReadAllTextAsync(Path.Combine(ProjectFolder.Root,
            result.StandardError.Split('\n').Single(l => l.EndsWith("/matrix.md", StringComparison.Ordinal)).Split(": ")[^1]));
        matrix.ShouldContain("| SNAT-2 | holds | not-testable |");
        matrix.ShouldNotContain("VS-16");
    }

    [TestCase("uml,uml")]
    [TestCase("uml,umll")]
    public async Task A_matrix_that_names_a_kernel_twice_or_an_unknown_one_is_refused(string kernels)
    {
        var result = await LabAsync("run", "--kernel", kernels, "--filter", "VS-16");

        result.ExitCode.ShouldBe(64, result.StandardError);
    }

    /// <summary>A source tree in which configuring never ends.</summary>
    /// <summary>Debian's user-mode kernel with another word in its command line.</summary>
    private Task<string> DebianKernelAsync(string word, string other) => ScriptAsync(
        $"for a; do shift; [ \"$a\" = {word} ] && a={other}; set -- \"$@\" \"$a\"; done\nexec /usr/bin/linux.uml \"$@\"");

    /// <summary>A program in place of a kernel.</summary>
    private async Task<string> ScriptAsync(string text)
    {
        var script = Path.Combine(_cache, "linux");
        await File.WriteAllTextAsync(script, $"#!/bin/sh\n{text}\n");
        File.SetUnixFileMode(script, UnixFileMode.UserRead | UnixFileMode.UserExecute);
        return script;
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

    private static bool HasCompiler => new[] { "make", "gcc", "flex", "bison", "bc", "xz" }.All(p => Launcher.Need.PathOf(p) is not null)
        || KernelFeatures.Current.IsRoot;

    /// <summary>Whether QEMU is missing and this user may not install it; root installs it.</summary>
    private static bool NeedsQemu(BufferedCommandResult result) => !KernelFeatures.Current.IsRoot
        && result.StandardError.Contains("Packages are missing.", StringComparison.Ordinal);

    private static void ShouldBeRefused(BufferedCommandResult result, string what, string evidence)
    {
        result.ExitCode.ShouldBe(3, result.StandardError);
        result.StandardError.ShouldContain(what);
        result.StandardError.ShouldContain(evidence);
        result.StandardError.ShouldContain("fix: ");
    }

    private string[] Works() => Directory.Exists(KernelsFolder) ? Directory.GetDirectories(KernelsFolder, ".work-*") : [];

    private string KernelsFolder => Path.Combine(_cache, "ipvs-conformance", "kernels");

    private static async Task<int> SleepersAsync(string seconds) => int.Parse((await CliWrap.Cli.Wrap("pgrep")
        .WithArguments(["-fc", $"sleep {seconds}"])
        .WithValidation(CommandResultValidation.None).ExecuteBufferedAsync()).StandardOutput, CultureInfo.InvariantCulture);

    private async Task<BufferedCommandResult> LabAsync(params string[] arguments)
    {
        using var limit = new CancellationTokenSource(s_limit);
        return await Command(arguments).ExecuteBufferedAsync(limit.Token);
    }

    private Command Command(params string[] arguments) => LabProgram.Command(arguments)
        .WithWorkingDirectory(ProjectFolder.Root)
        .WithEnvironmentVariables(Variables);

    private Dictionary<string, string?> Variables => new(LabProgram.Variables, StringComparer.Ordinal) { ["XDG_CACHE_HOME"] = _cache };
}
