using CliWrap;
using CliWrap.Buffered;
using Conformance.Labs;
using Conformance.Launcher.LabKernels;
using Conformance.Linux.Features;

namespace Conformance.Tests;

/// <summary>The launcher where a kernel or a machine lacks something.</summary>
public sealed partial class LauncherTests
{
    [Test]
    public async Task Claim_that_the_kernel_cannot_show_is_not_testable()
    {
        var without = KernelWithout("ipvs_mt_init", "ip_set_init");

        var result = await Lab("run", "--kernel", $"uml={without}", "--filter", "SNAT-2,TRAP-5,VS-16").ExecuteBufferedAsync(Limit());

        result.ExitCode.ShouldBe(0, result.StandardError);
        RecordsOf(result).ShouldBe(["SNAT-2 not-testable", "TRAP-5 not-testable", "VS-16 holds"]);
        result.StandardOutput.ShouldContain("has no iptables match 'ipvs' (CONFIG_NETFILTER_XT_MATCH_IPVS)");
        result.StandardOutput.ShouldContain("has no ipset (CONFIG_IP_SET, CONFIG_NETFILTER_XT_SET)");
    }

    [Test]
    public async Task A_kernel_without_ipvs_is_refused_before_anything_runs()
    {
        var result = await Lab("run", "--kernel", $"uml={KernelWithout("ip_vs_init")}", "--filter", "VS-16,CT-1")
            .ExecuteBufferedAsync(Limit());

        result.ExitCode.ShouldBe(3, result.StandardError);
        result.StandardError.ShouldContain("cannot run labs.\n  evidence: Its first process says: this kernel has no IPVS " +
            "(CONFIG_IP_VS): ");
        result.StandardError.ShouldContain("fix: ");
        result.StandardOutput.ShouldNotContain(" holds, ");
    }

    [Test]
    public async Task Claim_about_an_undeclared_feature_is_not_supported()
    {
        var result = await Lab("run", "--filter", "K-1,F-7", "--proxy", "command=/bin/false").ExecuteBufferedAsync(Limit());

        result.ExitCode.ShouldBe(0, result.StandardError);
        RecordsOf(result).ShouldBe(["F-7 not-supported", "K-1 not-supported"]);
    }

    [Test]
    public async Task Without_root_the_lab_kernel_works_all_the_same()
    {
        var result = await OnArtifacts("mode=1777", asNobody: true, "kernel", "--", "id", "-u").ExecuteBufferedAsync(Limit());

        (result.ExitCode, result.StandardOutput).ShouldBe((0, "0\n"), result.StandardError);
    }

    [Test]
    public async Task A_full_disk_is_reported_as_such([Values("8k", "600k")] string size) // before the first record, and between records
    {
        var result = await OnArtifacts($"size={size}", asNobody: false, "run", "--filter", "VS-*,CT-5").ExecuteBufferedAsync(Limit());

        result.ExitCode.ShouldBe(1, result.StandardError);
        result.StandardError.ShouldContain("The disk is full.");
        result.StandardError.ShouldNotContain("   at ", Case.Sensitive, "an error for people has no stack");
    }

    [Test]
    public async Task A_missing_package_is_named_with_its_cure()
    {
        // In the throw-away view of a lab kernel, which has no package sources that it could reach. Root tries to install; an
        // ordinary user, who may not even read the package manager's locks, gets the command printed.
        var isRoot = KernelFeatures.Current.IsRoot;
        var script = isRoot
            ? "dpkg --purge --force-depends net-tools >/dev/null 2>&1; rm -rf /etc/apt/sources.list* /var/lib/apt/lists; ./lab kernel " +
                "-- true"
            : "rm -f /sbin/route /usr/sbin/route; exec setpriv --reuid 65534 --regid 65534 --clear-groups ./lab kernel -- true";

        var result = await Lab("kernel", "--", "sh", "-c", script).WithWorkingDirectory(ProjectFolder.Root).ExecuteBufferedAsync(Limit());

        result.ExitCode.ShouldBe(3, result.StandardError);
        result.StandardError.ShouldContain(isRoot ? "Installing net-tools"
            : "evidence: net-tools (sets the client's route with the article's command)");
        result.StandardError.ShouldContain(isRoot ? "fix: See that this machine has package sources"
            : "fix: sudo sh -c 'apt-get update && apt-get install --no-install-recommends net-tools'");
    }

    [TestCase("gcc", "gcc (compiles a kernel)")]
    [TestCase("ld", "binutils (links a kernel)")]
    public async Task Without_a_compiler_or_a_linker_no_kernel_is_built(string program, string evidence)
    {
        var script = $"rm -f /usr/bin/{program}; cd {ProjectFolder.Root}; XDG_CACHE_HOME=/tmp/cache exec setpriv --reuid 65534 --regid " +
            "65534 --clear-groups ./lab kernels build --source .";

        var result = await Lab("kernel", "--", "sh", "-c", script).WithWorkingDirectory(ProjectFolder.Root).ExecuteBufferedAsync(Limit());

        result.ExitCode.ShouldBe(3, result.StandardError);
        result.StandardError.ShouldContain("Packages are missing.");
        result.StandardError.ShouldContain(evidence);
        result.StandardError.ShouldContain("fix: sudo sh -c 'apt-get update && apt-get install");
    }

    /// <summary>The lab kernel, kept from starting some of its parts.</summary>
    private static string KernelWithout(params string[] initcalls)
    {
        var script = Path.Combine(RunFolder.Current, $"without-{string.Join('-', initcalls)}");
        File.WriteAllText(script, $"#!/bin/sh\nexec {UmlKernel.DebianBinary} initcall_blacklist={string.Join(',', initcalls)} \"$@\"\n");
        File.SetUnixFileMode(script, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
        return script;
    }

    /// <summary>The launcher with another, empty file system on artifacts/, in a mount namespace of its own.</summary>
    private static Command OnArtifacts(string mountOptions, bool asNobody, params string[] arguments)
    {
        var root = ProjectFolder.Root;
        string[] user = KernelFeatures.Current.IsRoot ? [] : ["--user", "--map-root-user"];
        var become = asNobody && KernelFeatures.Current.IsRoot ? "setpriv --reuid 65534 --regid 65534 --clear-groups " : "";
        return CliWrap.Cli.Wrap("unshare")
            .WithArguments([.. user, "--mount", "sh", "-c",
                $"mount -t tmpfs -o {mountOptions} tmpfs {root}/artifacts && exec {become}\"$@\"", "sh", Path.Combine(root, "lab"),
                .. arguments])
            .WithEnvironmentVariables(LabProgram.Variables)
            .WithWorkingDirectory(root)
            .WithValidation(CommandResultValidation.None);
    }
}
