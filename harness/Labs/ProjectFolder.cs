namespace Conformance.Labs;

/// <summary>The checkout that this program was built in.</summary>
public static class ProjectFolder
{
    private static readonly Lazy<string> s_root = new(Find);

    /// <summary>The nearest folder above the program that holds Conformance.sln; the working folder when there is none.</summary>
    public static string Root => s_root.Value;

    /// <summary>
    /// A built file of another project. Every project builds into the same place below its folder, such as <c>bin/Release/net10.0</c>.
    /// </summary>
    /// <param name="project">The project's folder, relative to <see cref="Root"/>.</param>
    public static string Program(string project, string file)
    {
        var parts = Path.GetRelativePath(Root, AppContext.BaseDirectory).Split(Path.DirectorySeparatorChar);
        var output = string.Join(Path.DirectorySeparatorChar, parts[Math.Max(Array.IndexOf(parts, "bin"), 0)..]);
        return Path.GetFullPath(Path.Combine(Root, project, output, file));
    }

    private static string Find()
    {
        for (var folder = new DirectoryInfo(AppContext.BaseDirectory); folder is not null; folder = folder.Parent)
        {
            if (File.Exists(Path.Combine(folder.FullName, "Conformance.sln")))
                return folder.FullName;
        }
        return Environment.CurrentDirectory;
    }
}
