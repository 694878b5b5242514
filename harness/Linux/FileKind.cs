using Conformance.Linux.Interop;

namespace Conformance.Linux;

/// <summary>
/// What a path leads to, symbolic links followed (statx(2)). .NET calls pipes and devices files as well, and waits for them when it opens
/// them.
/// </summary>
public static class FileKind
{
    private const int StructSize = 256;
    private const int ModeOffset = 28;

    /// <returns>Whether the path leads to a pipe, a device or a socket; false for a file, and where that is unknown: opening it reports
    /// why.</returns>
    public static bool IsSpecial(string path) => TypeOf(path) is not (0 or Libc.S_IFREG or Libc.S_IFDIR);

    /// <returns>Whether the path leads to a pipe.</returns>
    public static bool IsPipe(string path) => TypeOf(path) == Libc.S_IFIFO;

    private static unsafe int TypeOf(string path)
    {
        var buffer = stackalloc byte[StructSize];
        return Libc.statx(Libc.AT_FDCWD, path, 0, Libc.STATX_TYPE, buffer) == 0 ? *(ushort*)(buffer + ModeOffset) & Libc.S_IFMT : 0;
    }
}
