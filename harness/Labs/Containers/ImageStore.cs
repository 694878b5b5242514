using System.Globalization;
using System.Net.Sockets;
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
    private static readonly Uri s_engine = new(Environment.GetEnvironmentVariable("DOCKER_HOST") is { Length: > 0 } host ? host
        : "unix:///var/run/docker.sock");

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
        var aside = string.Create(CultureInfo.InvariantCulture, $"{archive}.{Environment.ProcessId}.new");
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        limit.CancelAfter(s_limit);
        using var client = new DockerClientConfiguration(s_engine).CreateClient();
        try
        {
            var found = await client.Images.InspectImageAsync(image, limit.Token);
            if (File.Exists(archive) && ImageFile.Read(archive).Id == found.ID)
                return;
            await using var saved = await client.Images.SaveImageAsync(image, limit.Token);
            Directory.CreateDirectory(Path.GetDirectoryName(archive)!);
            await using (var file = File.Create(aside))
                await saved.CopyToAsync(file, limit.Token);
            _ = ImageFile.Read(aside);
            File.Move(aside, archive, overwrite: true);
        }
        catch (DockerApiException e)
        {
            throw new HarnessException($"There is no image '{image}'.", $"The engine at {s_engine} said: {e.ResponseBody?.Trim()}",
                "Nothing was started.", "docker pull it first, or give the path of an archive (docker save IMAGE -o FILE).");
        }
        catch (Exception e) when (e is HttpRequestException or IOException or SocketException or TimeoutException
            or UnauthorizedAccessException || (e is OperationCanceledException && !cancellationToken.IsCancellationRequested))
        {
            if (File.Exists(archive)) // as it was when an engine last answered
                return;
            throw new HarnessException($"There is no image '{image}'.",
                $"It is no file, and no engine answers at {s_engine}" +
                    (s_engine.Scheme == "unix" && !File.Exists(s_engine.LocalPath) ? ", which is not there."
                    : $": {(e.InnerException ?? e).Message}"), "Nothing was started.",
                "Give the path of an archive: docker save IMAGE -o FILE, where there is an engine.");
        }
        finally
        {
            if (File.Exists(aside))
                File.Delete(aside);
        }
    }

    private static string Archive(string image) => Path.Combine(ProjectFolder.Root, "artifacts", "images",
        $"{Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(image)))[..16]}.tar");
}
