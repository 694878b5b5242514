using System.Collections.Concurrent;
using System.Globalization;
using Conformance.Topologies;

namespace Conformance.Labs;

/// <summary>The container that a topology gives to a node.</summary>
internal static class NodeImage
{
    private static readonly ConcurrentDictionary<(string Source, bool IsProgram), Lazy<Task<ImageFile>>> s_images = new();

    /// <summary>What a program that asks for users finds: root, and nobody, as whom servers run their workers.</summary>
    private static readonly (string Path, string Text)[] s_users =
    [
        ("/etc/passwd", "root:x:0:0:root:/:/bin/false\nnobody:x:65534:65534:nobody:/:/bin/false\n"),
        ("/etc/group", "root:x:0:\nnogroup:x:65534:\n"),
    ];

    /// <exception cref="HarnessException">There is no such image or program, or it cannot be started.</exception>
    internal static async Task<Container> StartAsync(Node node, ImageSpec spec, Action<string> said)
    {
        var image = await s_images.GetOrAdd((spec.Source, spec.IsProgram), _ => new(() => spec.IsProgram ? OfProgramAsync(spec.Source)
            : Task.FromResult(ImageFile.Read(ImageStore.PathOf(spec.Source))))).Value;
        var folder = Path.Combine(RunFolder.Current, "containers", $"{node.Lab.Topology.Name}-{node.Name}-{Guid.NewGuid():N}");
        var mounts = new List<ContainerMount>();
        foreach (var (path, text) in spec.Files)
        {
            var file = Path.Combine(Directory.CreateDirectory(folder).FullName, mounts.Count.ToString(CultureInfo.InvariantCulture));
            await File.WriteAllTextAsync(file, text);
            mounts.Add(new ContainerMount(file, path));
        }
        node.Lab.Note(node, $"start a container of {spec.Source}");
        return await (await Engine.CurrentAsync()).StartAsync(node, new ContainerSpec(image, [.. spec.Command.Skip(1)])
        {
            EntryPoint = spec.Command.Count == 0 ? null : spec.Command[0],
            Mounts = mounts,
        }, said);
    }

    /// <summary>An image of a program of this machine, with the libraries that it needs and nothing else.</summary>
    private static async Task<ImageFile> OfProgramAsync(string program)
    {
        // an absolute path stays as it is
        var path = Toolbox.SystemPath.Split(':').Select(f => Path.Combine(f, program)).FirstOrDefault(File.Exists)
            ?? throw new HarnessException($"The program {program} is missing.", $"It is in none of {Toolbox.SystemPath}.",
                "The lab was not built.", "Install its Debian package, or give the node another image.");
        var image = new ImageArchive();
        await image.AddProgramAsync(path);
        foreach (var (file, text) in s_users)
            image.AddText(file, text);
        foreach (var folder in new[] { "/dev", "/proc", "/run", "/sys", "/var/log", "/var/lib" })
            image.AddFolder(folder);
        image.AddFolder("/tmp", isForAll: true);
        var archive = Path.Combine(Directory.CreateDirectory(Path.Combine(RunFolder.Current, "containers")).FullName,
            $"{RunFolder.Numbered(0)}-{Path.GetFileName(path)}.tar");
        await image.WriteAsync(archive, $"{Path.GetFileName(path).ToLowerInvariant()}:host");
        return ImageFile.Read(archive);
    }
}
