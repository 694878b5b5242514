namespace Conformance.Launcher.LabKernels;

/// <summary>
/// Whether guests may be booted by KVM here. Some machines have the device and refuse the guest, or accept one that then stands still:
/// only a boot shows it, and one that failed is remembered for a while.
/// </summary>
/// <param name="device">The device of KVM.</param>
/// <param name="folder">Where refusals are remembered.</param>
/// <param name="say">Called with what a person should know.</param>
internal sealed class Kvm(string device, string folder, Action<string> say)
{
    private const string Slower = "the kernel runs by QEMU's own translation, which is 5 to 10 times slower";

    /// <summary>A guest under KVM is up in two seconds.</summary>
    internal static readonly TimeSpan BootLimit = TimeSpan.FromSeconds(8);

    /// <summary>A kernel is tried again by KVM after this time: the machine may only have been busy.</summary>
    private static readonly TimeSpan s_retry = TimeSpan.FromHours(1);

    private bool _isReported;

    /// <summary>That of this machine.</summary>
    internal static Kvm Default { get; } = new("/dev/kvm", KernelStore.Folder, Console.Error.WriteLine);

    /// <summary>Whether a boot by KVM is worth a try. A device that is there, but not for this user, is reported.</summary>
    /// <param name="version">The release of the kernel.</param>
    internal bool MayBoot(string version)
    {
        if (!Path.Exists(device) || DateTime.UtcNow - File.GetLastWriteTimeUtc(Marker(version)) < s_retry)
            return false;
        try
        {
            using var opened = File.Open(device, FileMode.Open, FileAccess.ReadWrite);
            return true;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            if (!Interlocked.Exchange(ref _isReported, true)) // once, and not for each of several kernels
            {
                say($"This user cannot open {device}.\n  evidence: {e.Message}\n  consequence: {Slower}\n  fix: add this user to the " +
                    $"group of {device} (ls -l {device}; sudo usermod -aG GROUP USER); in a container, pass the device to it");
            }
            return false;
        }
    }

    /// <summary>Remembers and reports that a kernel, which boots without KVM, did not boot by it.</summary>
    internal void Refused(string version, string evidence)
    {
        say($"KVM did not boot Linux {version}.\n  evidence: {evidence}\n  consequence: {Slower}, also for the next hour\n  fix: where " +
            $"this machine is itself a guest, its host must allow nested guests; delete {Marker(version)} to try again at once");
        try
        {
            Directory.CreateDirectory(folder);
            File.WriteAllText(Marker(version), evidence);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // without a cache KVM is tried again the next time
        }
    }

    private string Marker(string version) => Path.Combine(folder, $"kvm-refused-{version}");
}
