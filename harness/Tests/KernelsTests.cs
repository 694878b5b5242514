using System.Text.Json;
using CliWrap;
using CliWrap.Buffered;
using Conformance.Labs;
using Conformance.Launcher.LabKernels;
using Conformance.Linux.Features;
using Conformance.Reports;

namespace Conformance.Tests;

/// <summary>The kernels that labs can run on: found, fetched, and refused when they cannot be used.</summary>
[NonParallelizable]
public sealed class KernelsTests : KernelFixture
{
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
        await File.WriteAllBytesAsync(Path.Combine(Cache, "linux"), image);

        ShouldBeRefused(await LabAsync("run", "--kernel", $"uml={Cache}/linux", "--filter", "VS-16"),
            "is a kernel for another architecture", "machine 183");
    }

    [Test]
    public async Task A_file_that_is_no_kernel_is_refused_by_qemu()
    {
        await File.WriteAllTextAsync(Path.Combine(Cache, "vmlinuz"), "no kernel");

        var result = await LabAsync("run", "--kernel", $"qemu={Cache}/vmlinuz", "--filter", "VS-16");

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

        var given = await Should.ThrowAsync<LabKernelException>(() => kernel.RunAsync(new LabCommand(["true"], Cache), limit.Token));

        given.BeforeBoot.ShouldBeTrue();
        given.Message.ShouldContain("did not come up");
        given.Message.ShouldContain("did not say within 1 s that it is up");
        given.Message.ShouldContain("fix: ");
        (await ProcessesAsync("sleep 987653")).ShouldBe(0, "it was ended");
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
        var without = Path.Combine(Cache, "without-match");
        await File.WriteAllTextAsync(without, "#!/bin/sh\nexec /usr/bin/linux.uml initcall_blacklist=ipvs_mt_init \"$@\"\n");
        File.SetUnixFileMode(without, UnixFileMode.UserRead | UnixFileMode.UserExecute);

        var result = await LabAsync("run", "--kernel", $"uml,uml={without}", "--filter", "SNAT-2,VS-16");

        result.ExitCode.ShouldBe(0, result.StandardError);
        result.StandardError.ShouldContain("1 claims differ between 2 kernels");
        var matrix = await MatrixOfAsync(result);
        matrix.ShouldContain("| SNAT-2 | holds | not-testable |");
        matrix.ShouldNotContain("VS-16");
    }

    [Test]
    public async Task A_matrix_names_a_kernel_that_does_not_boot_and_keeps_what_the_others_show()
    {
        var dead = await ScriptAsync("echo dead; exit 1");

        var result = await LabAsync("run", "--kernel", $"uml,uml={dead}", "--filter", "VS-16");

        result.ExitCode.ShouldBe(3, result.StandardError);
        result.StandardError.ShouldContain($"The lab kernel {dead} did not come up.\n  evidence: Its console says: dead");
        result.StandardError.ShouldContain($"Only uml ran, so there is nothing to compare (nothing ran on uml={dead}): ");
        var matrix = await MatrixOfAsync(result);
        matrix.ShouldContain($"| uml={dead} | nothing ran |");
        matrix.ShouldContain("One kernel ran: there is nothing to compare.");
    }

    [Test]
    public async Task Where_one_of_two_kernels_does_not_boot_the_results_of_the_other_count()
    {
        var half = await ScriptAsync("case \"$*\" in *kernel-2*) echo dead; exit 1 ;; esac\nexec /usr/bin/linux.uml \"$@\"");

        var result = await LabAsync("run", "--kernel", $"uml={half}", "--kernels", "2", "--filter", "VS-16,VS-17,CT-1,CT-5");

        result.ExitCode.ShouldBe(1, result.StandardError);
        result.StandardOutput.ShouldContain("2 holds, 0 not-supported, 0 not-testable, 0 violated, 2 broken");
        result.StandardError.ShouldContain($"Kernel 2 of 2, whose tests have no result: The lab kernel {half} did not come up.");
    }

    [Test]
    public async Task Each_of_two_kernels_that_fail_at_once_keeps_its_own_console()
    {
        var first = await ScriptAsync("echo first; exit 1");
        var second = await ScriptAsync("echo second; exit 1", "linux2");

        var result = await LabAsync("run", "--kernel", $"uml={first},uml={second}", "--kernels", "2", "--filter", "VS-*");

        result.ExitCode.ShouldBe(3, result.StandardError);
        var consoles = result.StandardError.Split('\n').Where(l => l.Contains("Read its console, ", StringComparison.Ordinal))
            .Select(l => l.Split("Read its console, ")[1].Split(';')[0]).ToList();
        consoles.Count.ShouldBe(2, "an error for each of the two, and not one for each of the machine's processors");
        consoles.Select(c => File.ReadAllText(c).Trim()).ShouldBe(["first", "second"]);
    }

    [Test]
    public async Task A_kernel_that_kvm_does_not_boot_runs_without_it_and_is_remembered()
    {
        if (KernelStore.Find("qemu", "") is not { } stock || Launcher.Need.ForQemu.Any(n => !n.IsMet))
        {
            Assert.Ignore($"{Verdicts.NotTestablePrefix}QEMU or a kernel for it is not installed");
            return;
        }
        var said = new List<string>();
        var device = Path.Combine(Cache, "kvm");
        await File.WriteAllTextAsync(device, "");
        var kernel = new QemuKernel(stock.Path, stock.Modules)
        {
            Program = await ScriptAsync("case \"$*\" in *'-accel kvm'*) echo no guest >&2; exit 1 ;; esac\n" +
                "exec qemu-system-x86_64 \"$@\""),
            Kvm = new Kvm(device, Cache, said.Add),
        };
        using var limit = new CancellationTokenSource(TimeSpan.FromMinutes(4)); // more than a boot without KVM may take

        (await kernel.RunAsync(new LabCommand(["true"], Cache), limit.Token)).ExitCode.ShouldBe(0);

        said.ShouldHaveSingleItem().ShouldContain($"KVM did not boot Linux {stock.Version}.\n  evidence: Its console says: no guest");
        kernel.Kvm.MayBoot(stock.Version).ShouldBeFalse("it is remembered");
        kernel.Kvm.MayBoot("9.9").ShouldBeTrue("another kernel has its own try");
    }

    [Test]
    public void Kvm_that_refused_a_kernel_is_tried_with_others_and_again_after_an_hour()
    {
        var said = new List<string>();
        var device = Path.Combine(Cache, "device");
        File.WriteAllText(device, "");
        var kvm = new Kvm(device, Cache, said.Add);
        kvm.MayBoot("6.12").ShouldBeTrue();

        kvm.Refused("6.12", "no guest");

        said.ShouldHaveSingleItem().ShouldContain("evidence: no guest");
        (kvm.MayBoot("6.12"), kvm.MayBoot("6.1")).ShouldBe((false, true));
        File.SetLastWriteTimeUtc(Path.Combine(Cache, "kvm-refused-6.12"), DateTime.UtcNow - TimeSpan.FromMinutes(61));
        kvm.MayBoot("6.12").ShouldBeTrue();
    }

    [Test]
    public void Kvm_that_this_user_may_not_open_is_reported()
    {
        var said = new List<string>();

        var kvm = new Kvm(Cache, Cache, said.Add); // a folder, which root cannot open as a file either
        (kvm.MayBoot("9.9"), kvm.MayBoot("9.9")).ShouldBe((false, false), "and reported once");
        new Kvm(Path.Combine(Cache, "nowhere"), Cache, said.Add).MayBoot("9.9").ShouldBeFalse();

        said.ShouldHaveSingleItem("a machine without KVM is no fault").ShouldContain("fix: ");
    }

    [Test]
    public async Task A_command_past_its_limit_is_ended()
    {
        using var limit = new CancellationTokenSource(Limit);

        var given = await Should.ThrowAsync<LabKernelException>(() => new UmlKernel(UmlKernel.DebianBinary).RunAsync(
            new LabCommand(["sleep", "987652"], Cache) { Limit = TimeSpan.FromSeconds(5) }, limit.Token));

        given.Message.ShouldContain("evidence: 'sleep 987652' had 5 s.");
        given.Message.ShouldContain("fix: ");
        (await ProcessesAsync(Cache)).ShouldBe(0, "the kernel was ended");
    }

    [TestCase("uml,uml")]
    [TestCase("uml,umll")]
    public async Task A_matrix_that_names_a_kernel_twice_or_an_unknown_one_is_refused(string kernels)
    {
        var result = await LabAsync("run", "--kernel", kernels, "--filter", "VS-16");

        result.ExitCode.ShouldBe(64, result.StandardError);
    }

    private static Task<string> MatrixOfAsync(BufferedCommandResult result) => File.ReadAllTextAsync(Path.Combine(ProjectFolder.Root,
        result.StandardError.Split('\n').Single(l => l.EndsWith("/matrix.md", StringComparison.Ordinal)).Split(": ")[^1]));

    /// <summary>Debian's user-mode kernel with another word in its command line.</summary>
    private Task<string> DebianKernelAsync(string word, string other) => ScriptAsync(
        $"for a; do shift; [ \"$a\" = {word} ] && a={other}; set -- \"$@\" \"$a\"; done\nexec /usr/bin/linux.uml \"$@\"");

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
}
