namespace Conformance.Launcher;

/// <summary>Explains a failure of reading or writing.</summary>
internal static class Disk
{
    private const int NoSpace = 28; // ENOSPC, errno(3)
    private const long Little = 64 * 1024;

    /// <summary>The four-part error of a failed read or write.</summary>
    internal static string Describe(Exception e) => IsFull(e)
        ? DescribeFull(e.Message)
        : $"Reading or writing failed.\n  evidence: {e.Message}\n  consequence: the result is not complete\n  fix: see that the path " +
            $"exists and that this user may read and write it";

    /// <summary>The four-part error of a full disk if the file system of a folder has no space left, else null.</summary>
    internal static string? DescribeIfFull(string folder)
    {
        try
        {
            var free = new DriveInfo(folder).AvailableFreeSpace;
            return free < Little ? DescribeFull($"{free} bytes are free for {folder}") : null;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }

    private static bool IsFull(Exception e) => e.HResult == NoSpace
        || e.Message.Contains("No space left on device", StringComparison.Ordinal)
        || e.Message.Contains("the disk was full", StringComparison.Ordinal);

    private static string DescribeFull(string evidence) =>
        $"The disk is full.\n  evidence: {evidence}\n  consequence: the file was not written, and a claim without a record " +
            $"counts as broken\n  fix: free space on that disk (old runs below artifacts/ and kernels that " +
            $"./lab kernels lists can be deleted), then try again";
}
