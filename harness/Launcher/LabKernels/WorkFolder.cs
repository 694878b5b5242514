using Conformance.Linux;

namespace Conformance.Launcher.LabKernels;

/// <summary>A folder of the cache for work that ends in a kernel of the store. It goes when the work ends.</summary>
internal sealed class WorkFolder : IDisposable
{
    private readonly FolderLock _use;

    private WorkFolder(string path, FolderLock use) => (Path, _use) = (path, use);

    internal string Path { get; }

    /// <summary>Makes a folder. Those whose work was killed in the middle are deleted.</summary>
    internal static async Task<WorkFolder> StartAsync(CancellationToken cancellationToken)
    {
        // One at a time: a folder that is made and not yet locked looks like one that was left.
        using var alone = await KernelStore.LockAsync(cancellationToken);
        foreach (var old in Directory.GetDirectories(KernelStore.Folder, ".work-*"))
        {
            using var left = FolderLock.TryTake(old);
            if (left is null)
                continue;
            Delete(old);
        }
        var path = Directory.CreateDirectory(System.IO.Path.Combine(KernelStore.Folder, $".work-{Guid.NewGuid():N}")).FullName;
        return new WorkFolder(path, await FolderLock.TakeAsync(path, () => { }, cancellationToken));
    }

    public void Dispose()
    {
        Delete(Path);
        _use.Dispose();
    }

    private static void Delete(string folder)
    {
        try
        {
            Directory.Delete(folder, recursive: true);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // The last processes of that work are about to end; the next start deletes it.
        }
    }
}
