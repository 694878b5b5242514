using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using Docker.DotNet;

namespace Conformance.Labs;

/// <summary>
/// Where images come from: archives that a user names, and images of this machine's engine, of which the launcher keeps an archive below
/// <c>artifacts/</c>: no engine of this machine can be reached from a lab kernel.
/// </summary>
public static class ImageStore
{
    private const string HostVariable = "DOCKER_HOST";
    private static readonly TimeSpan s_limit = TimeSpan.FromMinutes(5);

    /// <summary>The archive of an image.</summary>
    /// <param name="image">A path, or a name such as <c>registry.k8s.io/kube-proxy:v1.34.0</c>.</param>
    /// <exception cref="HarnessException">There is none.</exception>
    public static string PathOf(string image) => File.Exists(image) ? Path.GetFullPath(image)
        : Archive(image) is var archive && File.Exists(archive) ? archive
        : throw new HarnessException($"There is no image '{image}'.",
            "It is no file, and the launcher has taken no image of that name out of this machine's engine.", "Nothing was started.",
            "Give the path of an archive: docker save IMAGE -o FILE.");

    /// <summary>Takes an image out of this machine's engine, where a name is given and not a file.</summary>
    /// <exception cref="HarnessException">There is no engine, or it has no such image.</exception>
    public static async Task PrepareAsync(string image, CancellationToken cancellationToken)
    {
        if (File.Exists(image))
        {
            _ = ImageFile.Read(image); // what is no image is refused before a kernel boots for it
            return;
        }
        var archive = Archive(image);
        var engine = FindEngine();
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        limit.CancelAfter(s_limit);
        using var client = new DockerClientConfiguration(engine).CreateClient();
        try
        {
            _ = await client.System.GetVersionAsync(limit.Token).WaitAsync(limit.Token);
        }
        catch (Exception e) when (e is not OutOfMemoryException && !cancellationToken.IsCancellationRequested)
        {
            if (IdOf(archive) is not null)
            {
                Console.Error.WriteLine($"No engine answers at {engine}: the copy of '{image}' of " +
                    $"{File.GetLastWriteTime(archive).ToString("yyyy-MM-dd HH:mm", CultureInfo.InvariantCulture)} is used.");
                return;
            }
            throw new HarnessException($"There is no image '{image}'.",
                $"It is no file, and no engine answers at {engine}" + (engine.Scheme == "unix" && !File.Exists(engine.LocalPath)
                    ? ", which is not there." : $": {(e.InnerException ?? e).Message}"), "Nothing was started.",
                "Give the path of an archive: docker save IMAGE -o FILE, where there is an engine.");
        }
        var aside = string.Create(CultureInfo.InvariantCulture, $"{archive}.{Environment.ProcessId}.new");
        try
        {
            var found = await client.Images.InspectImageAsync(image, limit.Token).WaitAsync(limit.Token);
            if (IdOf(archive) == found.ID)
                return;
            Directory.CreateDirectory(Path.GetDirectoryName(archive)!);
            await using (var saved = await client.Images.SaveImageAsync(image, limit.Token).WaitAsync(limit.Token))
            await using (var file = File.Create(aside))
                await saved.CopyToAsync(file, limit.Token);
            _ = ImageFile.Read(aside);
            File.Move(aside, archive, overwrite: true);
        }
        catch (Exception e) when (e is not (HarnessException or OutOfMemoryException) && !cancellationToken.IsCancellationRequested)
        {
            throw new HarnessException($"The image '{image}' cannot be had.", e is DockerApiException { ResponseBody: { } body }
                ? $"The engine at {engine} said: {body.Trim()}" : e.Message, "Nothing was started.",
                "docker pull it first, or give the path of an archive (docker save IMAGE -o FILE).");
        }
        finally
        {
            if (File.Exists(aside))
                File.Delete(aside);
        }
    }

    /// <summary>What DOCKER_HOST names, else the machine's socket, else an ordinary user's own.</summary>
    /// <exception cref="HarnessException">DOCKER_HOST is of a kind that cannot be asked.</exception>
    private static Uri FindEngine()
    {
        if (Environment.GetEnvironmentVariable(HostVariable) is { Length: > 0 } named)
        {
            return Uri.TryCreate(named, UriKind.Absolute, out var host) && host.Scheme is "unix" or "tcp" or "http" or "https" ? host
                : throw new HarnessException($"{HostVariable} names no engine that can be asked.", $"It is '{named}'.",
                    "No image was taken out of an engine.", "Set it to unix:///PATH or tcp://HOST:PORT, or give the path of an archive.");
        }
        const string machine = "/var/run/docker.sock";
        var own = Path.Combine(Environment.GetEnvironmentVariable("XDG_RUNTIME_DIR") ?? "", "docker.sock");
        return new Uri($"unix://{(!File.Exists(machine) && Path.IsPathRooted(own) && File.Exists(own) ? own : machine)}");
    }

    /// <summary>The id of the image in an archive; null when there is none, or a damaged one.</summary>
    private static string? IdOf(string archive)
    {
        try
        {
            return File.Exists(archive) ? ImageFile.Read(archive).Id : null;
        }
        catch (HarnessException)
        {
            return null;
        }
    }

    private static string Archive(string image) => Path.Combine(ProjectFolder.Root, "artifacts", "images",
        $"{Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(image)))[..16]}.tar");
}
