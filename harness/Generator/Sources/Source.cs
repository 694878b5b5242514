using System.Text;
using Conformance.Generator.Model;
using Conformance.Linux;

namespace Conformance.Generator.Sources;

/// <summary>Objects out of files, folders (their *.yaml, *.yml and *.json) and standard input (-).</summary>
public static class Source
{
    private const int MaxBytes = 256 << 20;
    private const int MaxSettings = 4 << 20;

    /// <summary>Why a file is passed over.</summary>
    internal const string NoRegularFile = "It is a pipe or a device, and no regular file.";

    private static readonly string[] s_extensions = [".yaml", ".yml", ".json"];

    /// <summary>Whether a file is read: its name ends in .yaml, .yml or .json.</summary>
    public static bool IsManifest(string path) => s_extensions.Contains(Path.GetExtension(path), StringComparer.OrdinalIgnoreCase)
        && !Path.GetFileName(path).StartsWith('.');

    /// <summary>
    /// The files that the paths stand for, folders unfolded, in order of their full names: an object that stands in several is the one of
    /// the last.
    /// </summary>
    /// <exception cref="GeneratorException">A path does not exist.</exception>
    public static IEnumerable<string> FilesOf(IEnumerable<string> paths)
    {
        var files = new List<string>();
        foreach (var path in paths)
        {
            if (path == "-" || File.Exists(path))
                files.Add(path);
            else if (Directory.Exists(path))
                files.AddRange(Directory.GetFiles(path).Where(IsManifest));
            else
                throw new GeneratorException($"There is no {path}.", "It is neither a file nor a folder.", "Nothing was done.",
                    "Give files, folders, or - for standard input.");
        }
        return files.OrderBy(f => f == "-" ? f : Path.GetFullPath(f), StringComparer.Ordinal);
    }

    /// <summary>Reads everything into a cluster.</summary>
    /// <param name="report">Called with everything that was skipped.</param>
    public static Cluster Read(IEnumerable<string> paths, Action<InputProblem> report)
    {
        var cluster = new Cluster();
        var named = paths.ToHashSet(StringComparer.Ordinal);
        foreach (var file in FilesOf(named))
        {
            if (!named.Contains(file) && FileKind.IsSpecial(file))
            {
                report(new InputProblem(file, 0, "this entry of the folder", "", NoRegularFile));
                continue;
            }
            var manifest = ReadFile(file);
            foreach (var problem in manifest.Problems)
                report(problem);
            if (manifest.Torn is { } torn)
            {
                throw new GeneratorException($"{file} cannot be read to its end.", torn.ToString(),
                    "Nothing was done: what is missing would be taken for deleted.",
                    "Correct the file, or leave it out.");
            }
            foreach (var item in manifest.Objects)
                Put(cluster, item);
        }
        return cluster;
    }

    /// <summary>Reads one file. A pipe is read to its end, where somebody named it: a shell makes one of &lt;(command).</summary>
    /// <exception cref="GeneratorException">It cannot be read, or is a device.</exception>
    public static Manifest ReadFile(string file)
    {
        if (file != "-" && FileKind.IsSpecial(file) && !FileKind.IsPipe(file))
            throw new GeneratorException($"{file} cannot be read.", NoRegularFile, "Nothing was done.",
                "Give a regular file, a pipe, or - for standard input.");
        try
        {
            return ManifestReader.Read(file == "-" ? "standard input" : file, file == "-" ? ReadStandardInput()
                : ReadAll(File.OpenRead(file)));
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new GeneratorException($"{file} cannot be read.", e.Message, "Nothing was done: what it holds might be wanted.",
                "Make the file readable.");
        }
    }

    /// <summary>Puts an object that was read into a cluster.</summary>
    public static void Put(Cluster cluster, object item) => cluster.Replace(ObjectKey.Of(item), item);

    private static byte[] ReadStandardInput()
    {
        return ReadAll(Console.OpenStandardInput());
    }

    /// <summary>Reads a stream to its end, which a device may not have.</summary>
    /// <exception cref="IOException">It is too long.</exception>
    private static byte[] ReadAll(Stream input)
    {
        using (input)
        {
            // What says its length is not copied again and again as it grows.
            using var copy = new MemoryStream(input.CanSeek ? (int)Math.Min(input.Length, MaxBytes) : 0);
            var buffer = new byte[128 * 1024];
            int count;
            while ((count = input.Read(buffer)) > 0)
            {
                copy.Write(buffer, 0, count);
                if (copy.Length > MaxBytes)
                    throw new IOException($"It is larger than {MaxBytes >> 20} MiB.");
            }
            return copy.Length == copy.Capacity ? copy.GetBuffer() : copy.ToArray();
        }
    }

    /// <summary>Reads a file of settings, a certificate, or a token.</summary>
    /// <exception cref="IOException">It cannot be read, or is too long for such a file.</exception>
    internal static string ReadSettings(string path)
    {
        using var reader = new StreamReader(path);
        var text = new StringBuilder();
        var buffer = new char[4096];
        int count;
        while ((count = reader.Read(buffer)) > 0)
        {
            if (text.Append(buffer, 0, count).Length > MaxSettings)
                throw new IOException($"{path} is longer than {MaxSettings >> 20} Mi characters.");
        }
        return text.ToString();
    }
}
