using System.Formats.Tar;
using System.IO.Compression;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json.Nodes;
using Conformance.Labs;

namespace Conformance.Tests;

/// <summary>Archives of container images, as others write them and as we do.</summary>
public sealed class ImageTests
{
    private const string Architecture = "amd64";
    private string _folder = "";

    [SetUp]
    public void MakeFolder() => _folder = Directory.CreateTempSubdirectory("image-tests-").FullName;

    [TearDown]
    public void RemoveFolder() => Directory.Delete(_folder, recursive: true);

    [Test]
    public async Task An_image_that_we_write_is_one_that_we_read_and_has_the_same_bytes_again()
    {
        var first = await WriteAsync("first.tar");
        var again = await WriteAsync("again.tar");

        var image = ImageFile.Read(first);

        image.Reference.ShouldBe("tool:1");
        image.Command.ShouldBe(["/bin/tool", "--help"]);
        (await System.IO.File.ReadAllBytesAsync(again)).ShouldBe(await System.IO.File.ReadAllBytesAsync(first));
        Directory.GetFiles(_folder).Length.ShouldBe(2, "and nothing else is left");
        var layer = Layer(first);
        layer["bin/tool"].Mode.HasFlag(UnixFileMode.OtherExecute).ShouldBeTrue();
        layer["etc/text"].Mode.HasFlag(UnixFileMode.OtherExecute).ShouldBeFalse();
        layer["bin/link"].LinkName.ShouldBe("tool");
        layer["tmp/"].Mode.HasFlag(UnixFileMode.StickyBit).ShouldBeTrue();
        layer.Keys.ShouldContain(name => name.Contains("libc.so", StringComparison.Ordinal), "the program's libraries are there as well");
        layer.Values.ShouldAllBe(e => e.Uid == 0 && e.Gid == 0);
    }

    [TestCase(false, false)]
    [TestCase(true, false)]
    [TestCase(false, true)]
    public async Task An_oci_layout_is_an_image_as_well(bool isCompressed, bool isNested)
    {
        var path = Oci(Architecture, isCompressed, isNested);

        var image = ImageFile.Read(path);

        image.Id.ShouldBe($"sha256:{Hash(Configuration(Architecture))}");
        image.Reference.ShouldBe("example.org/proxy:1.0");
        image.Command.ShouldBe(["/proxy"]);
        await using var loaded = await image.OpenAsync();
        using var reader = new TarReader(loaded);
        var names = new List<string>();
        while (await reader.GetNextEntryAsync() is { } entry)
            names.Add(entry.Name);
        names.ShouldContain("manifest.json");
        names.ShouldContain($"blobs/sha256/{Hash(Configuration(Architecture))}");
    }

    [Test]
    public void An_image_for_another_machine_is_refused() =>
        Refusal(Oci("s390x", isCompressed: false, isNested: false)).ShouldContain("for another machine");

    [Test]
    public void What_is_no_image_is_refused_with_a_reason()
    {
        Refusal(File("text.tar", "no archive"u8.ToArray())).ShouldContain("is no container image");
        Refusal(File("empty.tar", [])).ShouldContain("is no container image");
        Refusal(Archive("other.tar", ("readme", "hello"u8.ToArray()))).ShouldContain("It has neither manifest.json nor index.json.");
        Refusal(Archive("broken.tar", ("manifest.json", "[{\"Config\": \"gone.json\"}]"u8.ToArray()))).ShouldContain("is missing");
        Refusal(Archive("list.tar", ("manifest.json", "[]"u8.ToArray()))).ShouldContain("is no container image");
        Refusal(Archive("word.tar", ("manifest.json", "\"x\""u8.ToArray()))).ShouldContain("is no container image");
        Refusal(Archive("index.tar", ("index.json", "{\"manifests\": []}"u8.ToArray()))).ShouldContain("no image for linux/");
        Refusal(Archive("number.tar", ("index.json", "{\"manifests\": 7}"u8.ToArray()))).ShouldContain("is no container image");
        var whole = System.IO.File.ReadAllBytes(Oci(Architecture, isCompressed: false, isNested: false));
        Refusal(File("cut.tar", whole[..(whole.Length / 3)])).ShouldContain("is no container image");
    }

    [Test]
    public void A_program_that_is_not_there_is_named() =>
        Should.Throw<HarnessException>(() => new ImageArchive().AddFile("/nowhere/tool", "/bin/tool")).Message
            .ShouldContain("/nowhere/tool is not there");

    private async Task<string> WriteAsync(string name)
    {
        var image = new ImageArchive { EntryPoint = ["/bin/tool"], Arguments = ["--help"] };
        await image.AddProgramAsync("/bin/true", "/bin/tool");
        image.AddText("/etc/text", "text");
        image.AddLink("/bin/link", "tool");
        image.AddFolder("/tmp", isForAll: true);
        var path = Path.Combine(_folder, name);
        await image.WriteAsync(path, "tool:1");
        return path;
    }

    private static Dictionary<string, TarEntry> Layer(string archive)
    {
        var entries = new Dictionary<string, TarEntry>(StringComparer.Ordinal);
        using var reader = new TarReader(System.IO.File.OpenRead(archive));
        while (reader.GetNextEntry() is { } entry)
        {
            if (!entry.Name.EndsWith("layer.tar", StringComparison.Ordinal))
                continue;
            using var layer = new TarReader(entry.DataStream!);
            while (layer.GetNextEntry() is { } file)
                entries.Add(file.Name, file);
        }
        return entries;
    }

    private static string Refusal(string path) => Should.Throw<HarnessException>(() => ImageFile.Read(path)).Message;

    /// <summary>A layout as image-spec has it: an index, a manifest, a configuration and a layer, each a blob by its digest.</summary>
    /// <param name="isNested">Whether the index names another one, with an image for each architecture.</param>
    private string Oci(string architecture, bool isCompressed, bool isNested)
    {
        var (configuration, layer) = (Configuration(architecture), "layer"u8.ToArray());
        var manifest = Bytes(new JsonObject
        {
            ["config"] = new JsonObject { ["digest"] = $"sha256:{Hash(configuration)}" },
            ["layers"] = new JsonArray(new JsonObject { ["digest"] = $"sha256:{Hash(layer)}" }),
        });
        var inner = Bytes(new JsonObject
        {
            ["manifests"] = new JsonArray(
                new JsonObject
                {
                    ["digest"] = "sha256:0",
                    ["platform"] = new JsonObject { ["architecture"] = "riscv64" }
                },
                new JsonObject
                {
                    ["digest"] = $"sha256:{Hash(manifest)}",
                    ["platform"] = new JsonObject { ["architecture"] = architecture },
                    ["annotations"] = new JsonObject { ["org.opencontainers.image.ref.name"] = "example.org/proxy:1.0" },
                }),
        });
        var index = Bytes(new JsonObject
        {
            ["manifests"] = new JsonArray(new JsonObject
            {
                ["digest"] = $"sha256:{Hash(isNested ? inner : manifest)}",
                ["annotations"] = new JsonObject { ["org.opencontainers.image.ref.name"] = "example.org/proxy:1.0" },
            }),
        });
        var path = Archive("oci.tar", ("oci-layout", "{\"imageLayoutVersion\": \"1.0.0\"}"u8.ToArray()), ("index.json", index),
            ($"blobs/sha256/{Hash(inner)}", inner), ($"blobs/sha256/{Hash(manifest)}", manifest),
            ($"blobs/sha256/{Hash(configuration)}", configuration), ($"blobs/sha256/{Hash(layer)}", layer));
        if (!isCompressed)
            return path;
        using var compressed = new MemoryStream();
        using (var gzip = new GZipStream(compressed, CompressionMode.Compress, leaveOpen: true))
            gzip.Write(System.IO.File.ReadAllBytes(path));
        return File("oci.tar.gz", compressed.ToArray());
    }

    private static byte[] Configuration(string architecture) => Bytes(new JsonObject
    {
        ["architecture"] = architecture,
        ["os"] = "linux",
        ["config"] = new JsonObject { ["Entrypoint"] = new JsonArray("/proxy") },
    });

    private static byte[] Bytes(JsonObject json) => Encoding.UTF8.GetBytes(json.ToJsonString());

    private static string Hash(byte[] bytes) => Convert.ToHexStringLower(SHA256.HashData(bytes));

    private string Archive(string name, params (string Name, byte[] Bytes)[] entries)
    {
        var path = Path.Combine(_folder, name);
        using var writer = new TarWriter(System.IO.File.Create(path));
        foreach (var (entry, bytes) in entries)
            writer.WriteEntry(new PaxTarEntry(TarEntryType.RegularFile, entry) { DataStream = new MemoryStream(bytes) });
        return path;
    }

    private string File(string name, byte[] bytes)
    {
        var path = Path.Combine(_folder, name);
        System.IO.File.WriteAllBytes(path, bytes);
        return path;
    }
}
