using System.Net;
using System.Net.Http.Headers;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using System.Text.RegularExpressions;
using Conformance.Linux;

namespace Conformance.Generator.Sources.Api;

/// <summary>Where an API server is, how it is known, and who we are to it.</summary>
internal sealed partial record ApiConnection
{
    private const string HostVariable = "KUBERNETES_SERVICE_HOST";
    private const string ServiceAccount = "/var/run/secrets/kubernetes.io/serviceaccount";

    internal required Uri Server { get; init; }

    /// <summary>Who may have signed the server's certificate; empty for those whom the machine trusts.</summary>
    internal X509Certificate2Collection Authorities { get; init; } = [];

    internal bool SkipsVerification { get; init; }

    /// <summary>The name that the server's certificate must have, where it is not the address's.</summary>
    internal string? TlsServerName { get; init; }

    internal X509Certificate2? Certificate { get; init; }

    internal Uri? Proxy { get; init; }

    internal NetworkCredential? ProxyCredentials { get; init; }

    /// <summary>Asked for each request, because a service account's token is replaced while we run.</summary>
    internal Func<AuthenticationHeaderValue?> Authorization { get; init; } = () => null;

    /// <param name="kubeconfig">A kubeconfig file; null where there is none.</param>
    /// <param name="master">Address of the server, which wins over the kubeconfig's (kube-proxy's --master).</param>
    /// <exception cref="GeneratorException">The file cannot be used, or nothing says where the server is.</exception>
    internal static ApiConnection Of(string? kubeconfig, string? master)
    {
        var server = master is null ? null : ParseServer(master, "--master");
        if (kubeconfig is not null)
            return Read(kubeconfig, server);
        return server is null
            ? InCluster(Environment.GetEnvironmentVariable(HostVariable)!, Environment.GetEnvironmentVariable("KUBERNETES_SERVICE_PORT"),
                ServiceAccount)
            : new ApiConnection { Server = Bare(server), Authorization = CredentialsIn(server) };
    }

    /// <summary>Whether this process is in a pod that can reach its cluster's API server.</summary>
    internal static bool IsInCluster => Environment.GetEnvironmentVariable(HostVariable) is { Length: > 0 }
        && File.Exists($"{ServiceAccount}/token");

    /// <summary>The API server as a pod finds it (Kubernetes documentation, "Accessing the Kubernetes API from a Pod").</summary>
    /// <exception cref="GeneratorException">The service account's files cannot be used.</exception>
    internal static ApiConnection InCluster(string host, string? port, string serviceAccount)
    {
        try
        {
            return ReadInCluster(host, port, serviceAccount);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or CryptographicException or FormatException)
        {
            throw new GeneratorException("The pod's service account cannot be used.", e.Message, "Nothing was done.",
                $"See that the pod has a service account mounted at {serviceAccount}.");
        }
    }

    private static ApiConnection ReadInCluster(string host, string? port, string serviceAccount) => new()
    {
        Server = ParseServer($"https://{(host.Contains(':', StringComparison.Ordinal) ? $"[{host}]" : host)}:{port ?? "443"}",
            HostVariable),
        Authorities = Authority(Source.ReadSettings($"{serviceAccount}/ca.crt")),
        Authorization = TokenOf($"{serviceAccount}/token"),
    };

    private static ApiConnection Read(string path, Uri? server)
    {
        var folder = Path.GetDirectoryName(Path.GetFullPath(path))!;
        var name = path;
        try
        {
            Tree? tree = null;
            YamlTrees.Read(Source.ReadSettings(path), 1, (found, _) => tree ??= found);
            if (tree is null)
                throw new SyntaxException(1, "the file is empty");
            var root = new Field(tree);
            var context = Named(root, "contexts", root["current-context"].RequiredText)["context"];
            var cluster = Named(root, "clusters", context["cluster"].RequiredText)["cluster"];
            var user = context["user"].IsThere ? Named(root, "users", context["user"].RequiredText)["user"] : default;
            foreach (var unsupported in new[] { "exec", "auth-provider" })
            {
                if (user[unsupported].IsThere)
                    throw user[unsupported]
                        .Invalid("cannot be followed: only token, tokenFile, client-certificate, username and password are supported");
            }
            server ??= ParseServer(cluster["server"].RequiredText, $"server of {path}");
            var proxy = cluster["proxy-url"].Text is { Length: > 0 } proxyUrl ? ParseServer(proxyUrl, $"proxy-url of {path}") : null;
            return new ApiConnection
            {
                Server = Bare(server),
                Authorities = Pem(cluster, "certificate-authority") is { } authority ? Authority(authority) : [],
                SkipsVerification = cluster["insecure-skip-tls-verify"].Bool ?? false,
                TlsServerName = cluster["tls-server-name"] is { Text: { Length: > 0 } serverName } field
                ? Uri.CheckHostName(serverName) != UriHostNameType.Unknown ? serverName
                : throw field.Invalid("must be the name of a host") : null,
                Proxy = proxy is null ? null : Bare(proxy),
                ProxyCredentials = proxy is { UserInfo.Length: > 0 } ? new NetworkCredential(UserOf(proxy).Name, UserOf(proxy).Password)
                : null,
                Certificate = ClientCertificate(user),
                // no secret in clear text, as client-go has it
                Authorization = server.Scheme == Uri.UriSchemeHttps && user.IsThere ? AuthorizationOf(user) : CredentialsIn(server),
            };
        }
        catch (InvalidFieldException e)
        {
            throw Unusable($"{name}:{e.Line}: {e.Field} {e.Message}");
        }
        catch (SyntaxException e)
        {
            throw Unusable($"{name}:{e.Line}: {e.Message}");
        }
        catch (Exception e) when (
            e is IOException or UnauthorizedAccessException or CryptographicException or FormatException or ArgumentException)
        {
            throw Unusable($"{name}: {e.Message}");
        }

        // A file that is named, relative to the kubeconfig, or the same as base64 inside it.
        string? Pem(Field owner, string field)
        {
            if (owner[$"{field}-data"].Text is { Length: > 0 } data)
                return Encoding.UTF8.GetString(Convert.FromBase64String(data));
            return owner[field].Text is { Length: > 0 } file ? Source.ReadSettings(Path.Combine(folder, file)) : null;
        }

        X509Certificate2? ClientCertificate(Field user)
        {
            var (certificate, key) = (Pem(user, "client-certificate"), Pem(user, "client-key"));
            if (certificate is null)
                return null;
            return key is null ? throw user["client-key"].Invalid("is required where there is a client-certificate")
                : X509Certificate2.CreateFromPem(certificate, key);
        }

        Func<AuthenticationHeaderValue?> AuthorizationOf(Field user)
        {
            if (user["token"].Text is { Length: > 0 } token)
            {
                if (!IsToken(token))
                    throw user["token"].InvalidSecret(NoToken);
                return () => new AuthenticationHeaderValue("Bearer", token);
            }
            if (user["tokenFile"].Text is { Length: > 0 } file)
                return TokenOf(Path.Combine(folder, file));
            if (user["username"].Text is not { Length: > 0 } username)
                return () => null;
            return Basic(username, user["password"].Text);
        }

        static GeneratorException Unusable(string evidence) =>
            new("The kubeconfig cannot be used.", evidence, "Nothing was done.",
                "Correct the file; kubectl --kubeconfig FILE get services shows whether it works.", ExitCodes.Usage);
    }

    private static Field Named(Field root, string list, string name)
    {
        foreach (var item in root[list].Items)
        {
            if (item["name"].Text == name)
                return item;
        }
        throw root[list].Invalid($"must have one with the name '{name}'");
    }

    private static X509Certificate2Collection Authority(string pem)
    {
        var certificates = new X509Certificate2Collection();
        certificates.ImportFromPem(pem);
        return certificates.Count > 0 ? certificates : throw new CryptographicException("The certificate authority holds no certificate.");
    }

    private static Func<AuthenticationHeaderValue> TokenOf(string file)
    {
        if (!IsToken(Source.ReadSettings(file).Trim())) // now, so that the user hears of it at the start
            throw new FormatException($"the token in {file} {NoToken}");
        return () => Source.ReadSettings(file).Trim() is var token && IsToken(token)
            ? new AuthenticationHeaderValue("Bearer", token)
            : throw new HttpRequestException($"The token in {file} {NoToken}.");
    }

    private const string NoToken = "must be printable ASCII in one line";

    /// <summary>Whether a text can stand in an HTTP header (RFC 9110, 5.5); .NET would throw at the first request.</summary>
    private static bool IsToken(string text) => text.Length > 0 && text.All(c => c is > ' ' and < (char)127);

    /// <exception cref="GeneratorException">It is no address; the message does not show a password in it.</exception>
    private static Uri ParseServer(string text, string where) =>
        Uri.TryCreate(text, UriKind.Absolute, out var uri) && uri is { Scheme: "http" or "https", Query: "", Fragment: "" }
            ? uri
            : throw new GeneratorException($"{where} is no address of a server.",
                $"It is '{Printable.Of(Credentials().Replace(text, "***@"))}'.", "Nothing was done.",
                "Such as https://192.168.113.101:6443", ExitCodes.Usage);

    /// <summary>The address without a user and a password in it: it stands in messages.</summary>
    private static Uri Bare(Uri server) => new UriBuilder(server) { UserName = "", Password = "" }.Uri;

    private static (string Name, string Password) UserOf(Uri server)
    {
        var words = server.UserInfo.Split(':', 2);
        return (Uri.UnescapeDataString(words[0]), words.Length > 1 ? Uri.UnescapeDataString(words[1]) : "");
    }

    /// <summary>A user and a password in the address itself are sent to it, as Go's HTTP client does.</summary>
    private static Func<AuthenticationHeaderValue?> CredentialsIn(Uri server) => server.UserInfo.Length == 0 ? () => null
        : Basic(UserOf(server).Name, UserOf(server).Password);

    private static Func<AuthenticationHeaderValue?> Basic(string name, string? password)
    {
        var header = new AuthenticationHeaderValue("Basic", Convert.ToBase64String(Encoding.UTF8.GetBytes($"{name}:{password}")));
        return () => header;
    }

    [GeneratedRegex("(?<=//).*@", RegexOptions.None, 1000)]
    private static partial Regex Credentials();
}
