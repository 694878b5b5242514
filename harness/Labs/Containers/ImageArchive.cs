using System.Formats.Tar;
using System.Globalization;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using System.Text.Json;
using System.Text.Json.Nodes;
using CliWrap;
using CliWrap.Buffered;

namespace Conformance.Labs;

/// <summary>
/// A container image made of files, programs and links of this machine, in one layer, without an engine and without a registry. The same
/// files give the same bytes. It is written as <c>docker save</c> writes images, which engines load (image-spec v1.2 of Docker).
/// </summary>
public sealed class ImageArchive
{
    /// <summary>The mode of a file that everybody may read.</summary>
    public const UnixFileMode Readable =
        UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.GroupRead | UnixFileMode.OtherRead;

    /// <summary>The mode of a program or folder that everybody may use.</summary>
    public const UnixFileMode Executable =
        Readable | UnixFileMode.UserExecute | UnixFileMode.GroupExecute | UnixFileMode.OtherExecute;

    private readonly SortedDictionary<string, Content> _content = new(StringComparer.Ordinal);

    /// <summary>What is at a path of the image: a file of this machine, a text, or a link.</summary>
    private sealed record Content(string? Source, byte[]? Bytes, string? Target, UnixFileMode Mode);

    /// <summary>The time of every file; 1970 unless it is set.</summary>
    public DateTimeOffset Time { get; init; } = DateTimeOffset.UnixEpoch;

    /// <summary>What a container of the image runs; its arguments come behind it.</summary>
    public IReadOnlyList<string> EntryPoint { get; init; } = [];

    /// <summary>The arguments of a container that is given none.</summary>
    public IReadOnlyList<string> Arguments { get; init; } = [];

    /// <summary>The files of this machine that it has been given, by their path here.</summary>
    public IEnumerable<string> Sources => _content.Values.Select(c => c.Source).OfType<string>();

    /// <summary>Adds a file of this machine; a link is followed.</summary>
    /// <exception cref="HarnessException">It is not there.</exception>
    public void AddFile(string source, string target, bool isExecutable = false)
    {
        var file = File.Exists(source) ? File.ResolveLinkTarget(source, returnFinalTarget: true)?.FullName ?? source
            : throw new HarnessException("A file of the image is missing.", $"{source} is not there.", "No image was made.",
                "Install the Debian package that has it (apt-file search, or dpkg -S on another machine).");
        _content[target] = new Content(file, null, null, isExecutable ? Executable : Readable);
    }

    /// <summary>Adds a file with a text.</summary>
    public void AddText(string target, string text) =>
        _content[target] = new Content(null, System.Text.Encoding.UTF8.GetBytes(text), null, Readable);

    /// <summary>Adds a symbolic link.</summary>
    public void AddLink(string path, string target) => _content[path] = new Content(null, null, target, Executable);

    /// <summary>Adds a folder of its own, which files alone would not make.</summary>
    public void AddFolder(string path, bool isForAll = false) => _content[path.TrimEnd('/') + '/'] =
        new Content(null, null, null, isForAll ? Executable | UnixFileMode.GroupWrite | UnixFileMode.OtherWrite | UnixFileMode.StickyBit
        : Executable);

    /// <summary>Adds a program or library of this machine with the shared libraries that it needs.</summary>
    /// <param name="target">Its path in the image; its path here when it is not given.</param>
    /// <exception cref="HarnessException">It, or one of its libraries, is not there.</exception>
    public async Task AddProgramAsync(string source, string? target = null)
    {
        AddFile(source, target ?? source, isExecutable: true);
        // ldd(1) fails for a program without shared libraries: then there are none.
        var libraries = await Cli.Wrap("ldd").WithArguments([source]).WithValidation(CommandResultValidation.None).ExecuteBufferedAsync();
        foreach (var line in libraries.StandardOutput.Split('\n'))
        {
            // "libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x...)", "/lib64/ld-linux-x86-64.so.2 (0x...)", "libfoo.so => not found"
            var place = line[(line.IndexOf("=>", StringComparison.Ordinal) is var arrow and >= 0 ? arrow + 2 : 0)..].Trim();
            if (place.StartsWith("not found", StringComparison.Ordinal))
                throw new HarnessException($"{source} lacks a shared library.", line.Trim(), "No image was made.", "Install its package.");
            if (place.StartsWith('/') && place.Split(' ')[0] is var library && library != source)
                AddFile(library, library, isExecutable: true);
        }
    }

    /// <summary>Writes the image; a file that was there before is replaced when the new one is whole.</summary>
    /// <param name="reference">Its name, such as <c>ipvs-generator:0.2.0</c>.</param>
    public async Task WriteAsync(string path, string reference)
    {
        var aside = $"{path}.{Environment.ProcessId.ToString(CultureInfo.InvariantCulture)}.new";
        var layer = $"{aside}.layer";
        try
        {
            await WriteLayerAsync(layer);
            string digest;
            await using (var written = File.OpenRead(layer))
                digest = Convert.ToHexStringLower(await SHA256.HashDataAsync(written));
            var configuration = Configuration(digest);
            var id = Convert.ToHexStringLower(SHA256.HashData(configuration));
            await using (var archive = new TarWriter(File.Create(aside), TarEntryFormat.Pax))
            {
                await AddAsync(archive, $"{id}.json", configuration);
                await AddAsync(archive, $"{digest}/layer.tar", layer);
                await AddAsync(archive, "manifest.json", JsonSerializer.SerializeToUtf8Bytes(new JsonArray(new JsonObject
                {
                    ["Config"] = $"{id}.json",
                    ["RepoTags"] = new JsonArray(reference),
                    ["Layers"] = new JsonArray($"{digest}/layer.tar"),
                })));
            }
            File.Move(aside, path, overwrite: true);
        }
        finally
        {
            File.Delete(layer);
            File.Delete(aside);
        }
    }

    /// <summary>Whatever a file is here, in the image it is root's, and everybody may read it.</summary>
    private async Task WriteLayerAsync(string path)
    {
        await using var layer = new TarWriter(File.Create(path), TarEntryFormat.Ustar);
        var folders = new HashSet<string>(StringComparer.Ordinal);
        foreach (var (target, content) in _content)
        {
            for (var slash = target.IndexOf('/', 1); slash > 0; slash = target.IndexOf('/', slash + 1))
            {
                if (folders.Add(target[..slash]) && slash != target.Length - 1)
                    await layer.WriteEntryAsync(Entry(TarEntryType.Directory, $"{target[1..slash]}/", Executable));
            }
            if (target.EndsWith('/'))
                await layer.WriteEntryAsync(Entry(TarEntryType.Directory, target[1..], content.Mode));
            else
                await WriteAsync(layer, target[1..], content);
        }
    }

    private async Task WriteAsync(TarWriter layer, string target, Content content)
    {
        var entry = Entry(content.Target is null ? TarEntryType.RegularFile : TarEntryType.SymbolicLink, target, content.Mode);
        if (content.Target is not null)
            entry.LinkName = content.Target;
        await using Stream? data = content.Bytes is not null ? new MemoryStream(content.Bytes)
            : content.Source is not null ? File.OpenRead(content.Source) : null;
        if (data is not null)
            entry.DataStream = data;
        await layer.WriteEntryAsync(entry);
    }

    private UstarTarEntry Entry(TarEntryType type, string name, UnixFileMode mode) => new(type, name)
    {
        Mode = mode,
        ModificationTime = Time,
    };

    private async Task AddAsync(TarWriter archive, string name, object content)
    {
        await using Stream data = content is byte[] bytes ? new MemoryStream(bytes) : File.OpenRead((string)content);
        await archive.WriteEntryAsync(new UstarTarEntry(TarEntryType.RegularFile, name)
        {
            Mode = Readable,
            ModificationTime = Time,
            DataStream = data,
        });
    }

    private byte[] Configuration(string layer) => JsonSerializer.SerializeToUtf8Bytes(new JsonObject
    {
        ["architecture"] = RuntimeInformation.OSArchitecture == Architecture.Arm64 ? "arm64" : "amd64",
        ["os"] = "linux",
        ["created"] = Time.UtcDateTime.ToString("yyyy-MM-dd'T'HH:mm:ss'Z'", CultureInfo.InvariantCulture),
        ["config"] = new JsonObject
        {
            ["Env"] = new JsonArray("PATH=/usr/sbin:/usr/bin:/sbin:/bin"),
            ["Entrypoint"] = new JsonArray([.. EntryPoint.Select(w => JsonValue.Create(w))]),
            ["Cmd"] = new JsonArray([.. Arguments.Select(w => JsonValue.Create(w))]),
            ["WorkingDir"] = "/",
        },
        ["rootfs"] = new JsonObject { ["type"] = "layers", ["diff_ids"] = new JsonArray($"sha256:{layer}") },
        ["history"] = new JsonArray(new JsonObject { ["created_by"] = "ipvs-conformance" }),
    });
}
