using System.Formats.Tar;
using System.IO.Compression;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace Conformance.Labs;

/// <summary>
/// A container image in a file: what <c>docker save</c> writes, or an OCI image layout as a tar archive (image-spec,
/// image-layout.md); either may be compressed with gzip.
/// </summary>
/// <param name="Path">The file.</param>
/// <param name="Id">The digest of its configuration, by which an engine knows it: <c>sha256:</c> and 64 digits.</param>
/// <param name="Reference">Its name; null when the file has none.</param>
/// <param name="Command">What a container runs that is given no command: entry point and arguments.</param>
public sealed record ImageFile(string Path, string Id, string? Reference, IReadOnlyList<string> Command)
{
    private const string DockerManifest = "manifest.json";
    private const string OciIndex = "index.json";
    private const int MaxJson = 4 << 20;
    private const int GzipMagic = 0x8b1f; // RFC 1952

    /// <summary>The manifest that an engine needs beside an OCI layout, which it does not know; null when the file has one.</summary>
    private byte[]? AddedManifest { get; init; }

    private static string ThisArchitecture => RuntimeInformation.OSArchitecture == Architecture.Arm64 ? "arm64" : "amd64";

    /// <exception cref="HarnessException">It is no image, or one for another machine.</exception>
    public static ImageFile Read(string path)
    {
        try
        {
            var entries = SmallEntries(path);
            if (entries.TryGetValue(DockerManifest, out var manifest))
                return Of(path, entries, Only(Json(manifest).AsArray()).AsObject(), addsManifest: false);
            if (entries.TryGetValue(OciIndex, out var index))
                return Of(path, entries, DockerManifestOf(entries, Json(index)), addsManifest: true);
            throw NoImage(path, $"It has neither {DockerManifest} nor {OciIndex}.");
        }
        catch (Exception e) when (e is IOException or InvalidDataException or JsonException or KeyNotFoundException
            or NullReferenceException or ArgumentOutOfRangeException or InvalidOperationException or FormatException
            or UnauthorizedAccessException)
        {
            throw NoImage(path, e is KeyNotFoundException or NullReferenceException or ArgumentOutOfRangeException
                ? "A part that its manifest names is missing." : e.Message);
        }
    }

    /// <exception cref="InvalidDataException">There are several.</exception>
    private static JsonNode Only(JsonArray images) => images.Count < 2 ? images[0]!
        : throw new InvalidDataException($"It has {images.Count} images: " +
            $"{string.Join(", ", images.SelectMany(i => Words(i!["RepoTags"])))}. Save one alone.");

    /// <summary>Opens it as an engine loads it.</summary>
    internal async Task<Stream> OpenAsync()
    {
        if (AddedManifest is null)
            return File.OpenRead(Path);
        var whole = new FileStream(System.IO.Path.Combine(RunFolder.Current, $"{Guid.NewGuid():N}.tar"), FileMode.CreateNew,
            FileAccess.ReadWrite, FileShare.None, 1 << 16, FileOptions.DeleteOnClose);
        try
        {
            await using (var reader = new TarReader(Open(Path)))
            await using (var writer = new TarWriter(whole, leaveOpen: true))
            {
                while (await reader.GetNextEntryAsync() is { } entry)
                    await writer.WriteEntryAsync(entry);
                await writer.WriteEntryAsync(new PaxTarEntry(TarEntryType.RegularFile, DockerManifest)
                {
                    DataStream = new MemoryStream(AddedManifest)
                });
            }
            whole.Position = 0;
            return whole;
        }
        catch
        {
            await whole.DisposeAsync();
            throw;
        }
    }

    private static ImageFile Of(string path, Dictionary<string, byte[]> entries, JsonObject manifest, bool addsManifest)
    {
        var bytes = entries[Normal(manifest["Config"]!.GetValue<string>())];
        var configuration = Json(bytes);
        if (configuration["architecture"]?.GetValue<string>() is { } architecture && architecture != ThisArchitecture)
        {
            throw new HarnessException($"The image {path} is for another machine.",
                $"It is for {architecture}, and this machine is {ThisArchitecture}.", "No container was started.",
                $"Give an image that was built for linux/{ThisArchitecture}.");
        }
        var config = configuration["config"];
        return new ImageFile(path, $"sha256:{Convert.ToHexStringLower(SHA256.HashData(bytes))}",
            manifest["RepoTags"]?.AsArray().FirstOrDefault()?.GetValue<string>(),
            [.. Words(config?["Entrypoint"]), .. Words(config?["Cmd"])])
        {
            AddedManifest = addsManifest ? JsonSerializer.SerializeToUtf8Bytes(new JsonArray(manifest)) : null
        };
    }

    /// <summary>
    /// The image of an OCI layout for this architecture, as a manifest of Docker's: both name the configuration and the layers, which lie
    /// at <c>blobs/ALGORITHM/DIGEST</c>.
    /// </summary>
    private static JsonObject DockerManifestOf(Dictionary<string, byte[]> entries, JsonNode index)
    {
        var choices = index["manifests"]!.AsArray();
        var chosen = choices.FirstOrDefault(m => m!["platform"]?["architecture"]?.GetValue<string>() == ThisArchitecture
            && m["platform"]!["os"]?.GetValue<string>() is null or "linux")
            ?? choices.FirstOrDefault(m => m!["platform"] is null)
            ?? throw new InvalidDataException($"It has no image for linux/{ThisArchitecture}.");
        var manifest = Json(entries[Blob(chosen)]);
        if (manifest["layers"]?.AsArray().Any(l => l!["mediaType"]?.GetValue<string>().EndsWith("zstd", StringComparison.Ordinal) == true)
            == true)
            throw new InvalidDataException("Its layers are compressed with zstd, which Debian's engine cannot read: gzip them.");
        if (manifest["manifests"] is not null)
            return DockerManifestOf(entries, manifest); // an index in the index: one image for several architectures
        return new JsonObject
        {
            ["Config"] = Blob(manifest["config"]!),
            ["RepoTags"] = new JsonArray(chosen["annotations"]?["org.opencontainers.image.ref.name"]?.GetValue<string>() is { } name
                && name.Contains(':', StringComparison.Ordinal) ? [JsonValue.Create(name)] : []),
            ["Layers"] = new JsonArray([.. manifest["layers"]!.AsArray().Select(l => JsonValue.Create(Blob(l!)))]),
        };
    }

    private static string Blob(JsonNode descriptor) => $"blobs/{descriptor["digest"]!.GetValue<string>().Replace(':', '/')}";

    /// <summary>The entries that look like JSON, by name without a leading "./" or "/".</summary>
    private static Dictionary<string, byte[]> SmallEntries(string path)
    {
        var entries = new Dictionary<string, byte[]>(StringComparer.Ordinal);
        using var file = Open(path);
        using var reader = new TarReader(file);
        while (reader.GetNextEntry() is { } entry)
        {
            if (entry.DataStream is not { } data || entry.Length > MaxJson)
                continue;
            using var bytes = new MemoryStream();
            data.CopyTo(bytes);
            if (bytes.GetBuffer().AsSpan(0, (int)bytes.Length).TrimStart(" \t\r\n"u8) is [(byte)'{' or (byte)'[', ..])
                entries[Normal(entry.Name)] = bytes.ToArray();
        }
        return entries;
    }

    private static string Normal(string name) => name.TrimStart('.', '/') is { Length: > 0 } bare
        && (name[0] == '/' || name.StartsWith("./", StringComparison.Ordinal)) ? bare : name;

    private static Stream Open(string path)
    {
        var file = File.OpenRead(path);
        var magic = file.ReadByte() | (file.ReadByte() << 8);
        file.Position = 0;
        if (magic is 0xb528 or 0x37fd or 0x5a42) // zstd, xz, bzip2
        {
            file.Dispose();
            throw new InvalidDataException("It is compressed, and not with gzip: decompress it first.");
        }
        return magic == GzipMagic ? new GZipStream(file, CompressionMode.Decompress) : file;
    }

    private static JsonNode Json(byte[] bytes) => JsonNode.Parse(bytes)!;

    private static IEnumerable<string> Words(JsonNode? list) => (list as JsonArray)?.Select(w => w!.GetValue<string>()) ?? [];

    private static HarnessException NoImage(string path, string evidence) => new($"{path} is no container image.", evidence,
        "No container was started.", "Give an archive that docker save, or skopeo copy … oci-archive:FILE, has written.");
}
