using System.Collections.Concurrent;
using System.Globalization;
using System.Net;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using Conformance.Clusters.Kubernetes;
using Conformance.Generator;
using Conformance.Generator.Model;
using Conformance.Generator.Sources;
using Conformance.Generator.Sources.Api;
using Conformance.Labs;
using Conformance.Labs.Waiting;

namespace Conformance.Tests.Generator;

/// <summary>List and watch against the harness's API server: real HTTP on loopback.</summary>
[Parallelizable(ParallelScope.All)]
[FixtureLifeCycle(LifeCycle.InstancePerTestCase)]
public sealed class ApiFeedTests : IAsyncDisposable
{
    private const string NotOurs = "labelSelector=%21service.kubernetes.io%2Fheadless%2C%21service.kubernetes.io%2Fservice-proxy-name";
    private static readonly IPEndPoint s_anyPort = new(IPAddress.Loopback, 0);
    private static readonly GeneratorOptions s_node1 = new() { HostnameOverride = "node1" };
    private readonly ConcurrentQueue<string> _log = new();
    private readonly ConcurrentQueue<string> _problems = new();
    private readonly Cluster _cluster = new();
    private readonly HashSet<string> _touched = [];
    private ApiServer _server = null!;
    private ApiFeed? _feed;

    public async ValueTask DisposeAsync()
    {
        _feed?.Dispose();
        await _server.DisposeAsync();
    }

    [Test]
    public async Task Everything_is_listed_in_pages_and_then_watched()
    {
        await StartAsync();
        _server.Apply(Node("node1") + Node("node2"));
        for (var i = 0; i < 1201; i++)
            _server.Apply(Service($"s{i.ToString(CultureInfo.InvariantCulture)}", "10.96.0.1"));

        await FollowAsync();

        _cluster.Services.Count.ShouldBe(1201);
        _cluster.Nodes.Keys.ShouldBe(["node1"]);
        _server.Requests.Where(r => r.StartsWith("GET /api/v1/services", StringComparison.Ordinal))
            .Select(r => r.Split("&continue=")[0].Split("&timeoutSeconds=")[0]).ShouldBe(
        [
            .. Enumerable.Repeat($"GET /api/v1/services?{NotOurs}&limit=500", 3),
            $"GET /api/v1/services?{NotOurs}&watch=true&allowWatchBookmarks=true",
        ]);
        _server.Requests.ShouldContain(r => r.StartsWith("GET /api/v1/nodes?fieldSelector=metadata.name%3Dnode1&",
            StringComparison.Ordinal));
        _server.Requests.ShouldContain(r => r.StartsWith($"GET /apis/discovery.k8s.io/v1/endpointslices?{NotOurs}&watch=true",
            StringComparison.Ordinal));

        _server.Apply(Service("new", "10.96.0.2"));
        await SeenAsync(() => _cluster.Services.ContainsKey(Name("new")));
        _server.Apply(Service("new", "10.96.0.3"));
        await SeenAsync(() => _cluster.Services[Name("new")].ClusterIPs[0].ToString() == "10.96.0.3");
        _server.Delete("Service", "default", "new").ShouldBeTrue();
        await SeenAsync(() => !_cluster.Services.ContainsKey(Name("new")));
        _touched.ShouldBe(["default/new"]);
    }

    [Test]
    public async Task A_service_that_another_proxy_gets_goes_and_comes_back_with_the_label()
    {
        await StartAsync();
        _server.Apply(Service("ours", "10.96.0.1")
            + Service("theirs", "10.96.0.2", labels: "{service.kubernetes.io/service-proxy-name: other}"));
        await FollowAsync();
        _cluster.Services.Keys.ShouldBe([Name("ours")]);

        _server.Apply(Service("ours", "10.96.0.1", labels: "{service.kubernetes.io/service-proxy-name: other}"));
        await SeenAsync(() => _cluster.Services.Count == 0);
        _server.Apply(Service("ours", "10.96.0.1"));
        await SeenAsync(() => _cluster.Services.ContainsKey(Name("ours")));
    }

    [Test]
    public async Task A_watch_that_is_cut_off_is_resumed_where_it_was()
    {
        await StartAsync();
        _server.Apply(Service("one", "10.96.0.1"));
        await FollowAsync();

        _server.Disconnect();
        _server.Apply(Service("two", "10.96.0.2"));

        await SeenAsync(() => _cluster.Services.ContainsKey(Name("two")));
        _server.Requests.Count(r => r.StartsWith("GET /api/v1/services", StringComparison.Ordinal)
            && r.Contains("limit=", StringComparison.Ordinal)).ShouldBe(1, "the list is not read again");
        _touched.ShouldBe(["default/two"]);
        _log.ShouldContain(l => l.Contains("/api/v1/services", StringComparison.Ordinal)
            && l.Contains("; again in 0.8 s", StringComparison.Ordinal));
    }

    [Test]
    public async Task After_an_expired_watch_only_differences_are_passed_on()
    {
        await StartAsync();
        for (var i = 0; i < 20; i++)
            _server.Apply(Service($"s{i.ToString(CultureInfo.InvariantCulture)}", "10.96.0.1"));
        await FollowAsync();

        _server.Refuse = _ => 503;
        _server.Disconnect();
        _server.Delete("Service", "default", "s3");
        _server.Apply(Service("s4", "10.96.0.4"));
        _server.Compact();
        _server.Refuse = _ => null;

        await SeenAsync(() => !_cluster.Services.ContainsKey(Name("s3")) && _cluster.Services[Name("s4")].ClusterIPs[0]
            .ToString() == "10.96.0.4");
        _touched.Order(StringComparer.Ordinal).ShouldBe(["default/s3", "default/s4"]);
        _log.ShouldContain(l => l.Contains("410 Expired: too old resource version", StringComparison.Ordinal));
    }

    [Test]
    public async Task Bookmarks_move_the_point_at_which_a_watch_is_resumed()
    {
        await StartAsync(new ApiServerOptions { BookmarkPeriod = TimeSpan.FromMilliseconds(50) });
        await FollowAsync();
        var watched = Resumptions("nodes").Count;

        _server.Apply(Service("one", "10.96.0.1"));
        await Task.Delay(TimeSpan.FromMilliseconds(500)); // several bookmarks
        _server.Disconnect();

        await Eventually.Async("the nodes are watched again", () => Resumptions("nodes"), found => found.Count > watched, Timeouts.Answer);
        Resumptions("nodes")[^1].ShouldBe("resourceVersion=2", "though no node has changed");
    }

    [Test]
    public async Task Nothing_counts_as_read_until_all_is_listed()
    {
        await StartAsync();
        _server.Refuse = path => path.EndsWith("endpointslices", StringComparison.Ordinal) ? 500 : null;
        _feed = Feed(new ApiConnection { Server = _server.Address });
        await Eventually.Async("the first answers are there", () => _log.ToArray(), log => log.Length > 0, Timeouts.Answer);

        _feed.Unread.ShouldContain(u => u.EndsWith("/endpointslices", StringComparison.Ordinal));
        _log.ShouldContain(l => l.Contains("500 Internal Server Error: the test refuses this request", StringComparison.Ordinal));

        _server.Refuse = _ => null;
        await SeenAsync(() => _feed.Unread.Count == 0);
    }

    [Test]
    public async Task Invalid_object_is_reported_and_skipped()
    {
        await StartAsync();
        _server.Apply(Service("good", "10.96.0.1") + Service("bad", "10.96.0.300"));

        await FollowAsync();

        _cluster.Services.Keys.ShouldBe([Name("good")]);
        _problems.ShouldBe([$"{_server.Address}api/v1/services: Service default/bad is left out: spec.clusterIPs[0] must be an IP " +
            $"address, not '10.96.0.300'"]);
    }

    [Test]
    public async Task An_object_whose_end_has_not_come_yet_is_waited_for()
    {
        await StartAsync();
        await FollowAsync();

        // Larger than any buffer on the way, so that it arrives in pieces.
        _server.Apply(Service("large", "10.96.0.1", labels: $"{{note: {new string('x', 500_000)}}}"));

        await SeenAsync(() => _cluster.Services.ContainsKey(Name("large")));
    }

    [Test]
    public async Task Https_with_a_kubeconfig_by_token_or_certificate(
        [Values("token", "tokenFile", "certificate", "certificate in files")] string how)
    {
        using var authority = Authority("/CN=authority");
        await StartAsync(new ApiServerOptions
        {
            Certificate = Signed(authority, "server", isServer: true),
            ClientAuthority = authority,
            Token = "s3cret"
        });
        _server.Apply(Service("one", "10.96.0.1"));
        using var client = Signed(authority, "client", isServer: false);
        var folder = Directory.CreateDirectory(Path.Combine(RunFolder.Current, $"kubeconfig-{how.Replace(' ', '-')}")).FullName;
        await File.WriteAllTextAsync(Path.Combine(folder, "token"), "s3cret\n");
        await File.WriteAllTextAsync(Path.Combine(folder, "ca.crt"), authority.ExportCertificatePem());
        await File.WriteAllTextAsync(Path.Combine(folder, "client.crt"), client.ExportCertificatePem());
        await File.WriteAllTextAsync(Path.Combine(folder, "client.key"), Key(client));
        var user = how switch
        {
            "token" => "token: s3cret",
            "tokenFile" => "tokenFile: token",
            "certificate" => $"client-certificate-data: {Base64(client.ExportCertificatePem())}\nclient-key-data: {Base64(Key(client))}",
            _ => "client-certificate: client.crt\nclient-key: client.key",
        };

        var connection = ApiConnection.Of(Kubeconfig(folder, how == "token" ? "certificate-authority: ca.crt"
            : $"certificate-authority-data: {Base64(authority.ExportCertificatePem())}", user), null);

        (await ApiFeed.ReadOnceAsync(connection, s_node1, _ => { })).Services.Keys.ShouldBe([Name("one")]);
    }

    [Test]
    public async Task A_server_may_be_known_by_another_name_than_its_address()
    {
        using var authority = Authority("/CN=authority");
        await StartAsync(new ApiServerOptions
        {
            Certificate = Signed(authority, "server", isServer: true, "kubernetes"),
            Token = "s3cret"
        });
        var folder = Directory.CreateDirectory(Path.Combine(RunFolder.Current, "server-name")).FullName;
        var authorityData = $"certificate-authority-data: {Base64(authority.ExportCertificatePem())}";

        await Should.ThrowAsync<GeneratorException>(
            () => ApiFeed.ReadOnceAsync(ApiConnection.Of(Kubeconfig(folder, authorityData, "token: s3cret"), null), s_node1, _ => { }));
        await ApiFeed.ReadOnceAsync(
            ApiConnection.Of(Kubeconfig(folder, $"tls-server-name: kubernetes\n    {authorityData}", "token: s3cret"), null), s_node1,
            _ => { });
    }

    [Test]
    public async Task No_token_is_sent_in_clear_text()
    {
        await StartAsync(new ApiServerOptions { Token = "s3cret" });
        var folder = Directory.CreateDirectory(Path.Combine(RunFolder.Current, "clear-text")).FullName;

        (await Should.ThrowAsync<GeneratorException>(
            () => ApiFeed.ReadOnceAsync(ApiConnection.Of(Kubeconfig(folder, "", "token: s3cret"), null), s_node1,
                _ => { }))).Message.ShouldContain("401");
    }

    [Test]
    public async Task A_pod_finds_its_server_and_its_token()
    {
        using var authority = Authority("/CN=authority");
        await StartAsync(new ApiServerOptions { Certificate = Signed(authority, "server", isServer: true), Token = "first" });
        var folder = Directory.CreateDirectory(Path.Combine(RunFolder.Current, "service-account")).FullName;
        await File.WriteAllTextAsync(Path.Combine(folder, "ca.crt"), authority.ExportCertificatePem());
        await File.WriteAllTextAsync(Path.Combine(folder, "token"), "expired");

        var connection = ApiConnection.InCluster("127.0.0.1", _server.Address.Port.ToString(CultureInfo.InvariantCulture), folder);

        (await Should.ThrowAsync<GeneratorException>(() => ApiFeed.ReadOnceAsync(connection, s_node1, _ => { }))).Message.ShouldContain(
            "401 Unauthorized");
        await File.WriteAllTextAsync(Path.Combine(folder, "token"), "first\n"); // tokens are replaced while we run
        await ApiFeed.ReadOnceAsync(connection, s_node1, _ => { });
    }

    [Test]
    public async Task A_server_that_the_authority_did_not_sign_is_not_talked_to()
    {
        using var authority = Authority("/CN=authority");
        using var other = Authority("/CN=other");
        await StartAsync(new ApiServerOptions { Certificate = Signed(other, "server", isServer: true) });
        var folder = Directory.CreateDirectory(Path.Combine(RunFolder.Current, "wrong-authority")).FullName;
        var authorityData = $"certificate-authority-data: {Base64(authority.ExportCertificatePem())}";

        var e = await Should.ThrowAsync<GeneratorException>(
            () => ApiFeed.ReadOnceAsync(ApiConnection.Of(Kubeconfig(folder, authorityData, "token: s3cret"), null), s_node1, _ => { }));
        e.Message.ShouldContain("/api/v1/services cannot be read");
        e.Message.ShouldContain("certificate");
        _server.Requests.ShouldBeEmpty("the token must not be sent");

        await ApiFeed.ReadOnceAsync(ApiConnection.Of(Kubeconfig(folder, "insecure-skip-tls-verify: true", "token: s3cret"), null),
            s_node1, _ => { });
    }

    [TestCase("", "the file is empty")]
    [TestCase("current-context: a\ncontexts: []", ":2: contexts must have one with the name 'a'")]
    [TestCase("current-context: a\ncontexts: [{name: a, context: {cluster: c, user: u}}]\nclusters: [{name: c, cluster: {server: " +
        "'https://127.0.0.1'}}]\nusers: [{name: u, user: {exec: {command: aws}}}]", "users[0].user.exec cannot be followed")]
    [TestCase("current-context: a\ncontexts: [{name: a, context: {cluster: c}}]\n" +
        "clusters: [{name: c, cluster: {server: '127.0.0.1:6443'}}]", "'127.0.0.1:6443'")]
    [TestCase("current-context: a\ncontexts: [{name: a, context: {cluster: c}}]\nclusters: [{name: c, cluster: {server: " +
        "'https://127.0.0.1', certificate-authority: /no/such/file}}]", "/no/such/file")]
    [TestCase("current-context: a\ncontexts: [{name: a, context: {cluster: c, user: u}}]\nclusters: [{name: c, cluster: {server: " +
        "'https://127.0.0.1'}}]\nusers: [{name: u, user: {token: \"one\\ntwo\"}}]",
        "users[0].user.token must be printable ASCII in one line")]
    [TestCase("current-context: a\ncontexts: [{name: a, context: {cluster: c, user: u}}]\nclusters: [{name: c, cluster: {server: " +
        "'https://127.0.0.1'}}]\nusers: [{name: u, user: {token: \"\u00fc\"}}]", "users[0].user.token must be printable ASCII in one line")]
    [TestCase("current-context: a\ncontexts: [{name: a, context: {cluster: c, user: u}}]\nclusters: [{name: c, cluster: {server: " +
        "'https://127.0.0.1'}}]\nusers: [{name: u, user: {tokenFile: /proc/self/status}}]",
        "the token in /proc/self/status must be printable ASCII")]
    public async Task Unusable_kubeconfig_is_reported(string text, string evidence)
    {
        await StartAsync();
        var file = Path.Combine(RunFolder.Current, $"kubeconfig-{Guid.NewGuid():N}");
        await File.WriteAllTextAsync(file, text);

        var e = Should.Throw<GeneratorException>(() => ApiConnection.Of(file, null));

        e.Message.ShouldContain(evidence);
        e.Message.ShouldNotContain("two", Case.Sensitive, "half a token is a secret too");
        e.ExitCode.ShouldBe(64);
    }

    private async Task StartAsync(ApiServerOptions? options = null) => _server = await ApiServer.StartAsync(null, s_anyPort, options);

    private ApiFeed Feed(ApiConnection connection) => new(connection, s_node1, () => { }, p => _problems.Enqueue(p.ToString()),
        _log.Enqueue);

    private async Task FollowAsync()
    {
        _feed = Feed(new ApiConnection { Server = _server.Address });
        await SeenAsync(() => _feed.Unread.Count == 0);
        _feed.Take(_cluster);
        await Eventually.Async("everything is watched",
            () => _server.Requests.Count(r => r.Contains("watch=true", StringComparison.Ordinal)), n => n >= 3, Timeouts.Answer);
        _touched.Clear();
    }

    private async Task SeenAsync(Func<bool> isSo) => await Eventually.Async("the change has come", () =>
    {
        _touched.UnionWith(_feed!.Take(_cluster).Services.Select(s => s.ToString()));
        return isSo();
    }, so => so, Timeouts.Answer);

    private List<string> Resumptions(string plural) =>
        [.. _server.Requests.Where(r => r.Contains($"/{plural}?", StringComparison.Ordinal)
            && r.Contains("watch=true", StringComparison.Ordinal)).Select(r => r.Split('&')[^1])];

    private string Kubeconfig(string folder, string cluster, string user)
    {
        var file = Path.Combine(folder, "kubeconfig");
        File.WriteAllText(file, $"""
            apiVersion: v1
            kind: Config
            current-context: here
            contexts:
            - name: here
              context: {"{cluster: lab, user: me}"}
            clusters:
            - name: lab
              cluster:
                server: {_server.Address}
                {cluster}
            users:
            - name: me
              user:
                {user.Replace("\n", "\n    ", StringComparison.Ordinal)}
            """);
        return file;
    }

    private static ObjectName Name(string name) => new("default", name);

    private static string Service(string name, string address, string labels = "{}") =>
        $"---\napiVersion: v1\nkind: Service\nmetadata: {{name: {name}, labels: {labels}}}\nspec: {{clusterIP: {address}, ports: " +
            $"[{{port: 80}}]}}\n";

    private static string Node(string name) => $"---\napiVersion: v1\nkind: Node\nmetadata: {{name: {name}}}\n";

    private static string Base64(string text) => Convert.ToBase64String(Encoding.UTF8.GetBytes(text));

    private static string Key(X509Certificate2 certificate) => certificate.GetECDsaPrivateKey()!.ExportPkcs8PrivateKeyPem();

    private static X509Certificate2 Authority(string name)
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest(name.Replace("/", "", StringComparison.Ordinal), key, HashAlgorithmName.SHA256);
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(certificateAuthority: true, hasPathLengthConstraint: false,
            pathLengthConstraint: 0, critical: true));
        return request.CreateSelfSigned(DateTimeOffset.UtcNow.AddDays(-1), DateTimeOffset.UtcNow.AddDays(1));
    }

    private static X509Certificate2 Signed(X509Certificate2 authority, string name, bool isServer, string? dnsName = null)
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest($"CN={name}", key, HashAlgorithmName.SHA256);
        if (isServer)
        {
            var names = new SubjectAlternativeNameBuilder();
            if (dnsName is null)
                names.AddIpAddress(IPAddress.Loopback);
            else
                names.AddDnsName(dnsName);
            request.CertificateExtensions.Add(names.Build());
        }
        using var certificate = request.Create(authority, DateTimeOffset.UtcNow.AddHours(-1), DateTimeOffset.UtcNow.AddHours(1),
            [1, 2, 3, (byte)name.Length]);
        return certificate.CopyWithPrivateKey(key);
    }
}
