using System.Collections.Concurrent;
using System.IO.Compression;
using System.Net;
using System.Net.Sockets;
using System.Text;
using Conformance.Generator;
using Conformance.Generator.Model;
using Conformance.Generator.Sources.Api;
using Conformance.Labs;
using Conformance.Labs.Waiting;

namespace Conformance.Tests.Generator;

/// <summary>API servers, and what stands before them, that answer wrongly: every answer is scripted byte for byte.</summary>
[Parallelizable(ParallelScope.All)]
[FixtureLifeCycle(LifeCycle.InstancePerTestCase)]
public sealed class HostileApiServerTests : IDisposable
{
    private const string OneService = """{"kind":"ServiceList","apiVersion":"v1","metadata":{"resourceVersion":"7"},"items":[{"metadata":{"name":"one"},"spec":{"clusterIP":"10.96.0.1","ports":[{"port":80}]}}]}""";
    private const string Added = """{"type":"ADDED","object":{"kind":"Service","apiVersion":"v1","metadata":{"name":"two","resourceVersion":"8"},"spec":{"clusterIP":"10.96.0.2","ports":[{"port":80}]}}}""";
    private static readonly GeneratorOptions s_node1 = new() { HostnameOverride = "node1" };
    private readonly ConcurrentQueue<string> _log = new();
    private readonly Cluster _cluster = new();
    private readonly ScriptedServer _server = new();
    private ApiFeed? _feed;

    public void Dispose()
    {
        _feed?.Dispose();
        _server.Dispose();
    }

    [TestCase("{}", "no list")]
    [TestCase("[]", "no list")]
    [TestCase("""{"items":[]}""", "something without a kind instead of a ServiceList of v1")]
    [TestCase("""{"kind":"PodList","apiVersion":"v1","metadata":{"resourceVersion":"7"},"items":[]}""", "v1 PodList instead of a ServiceList of v1")]
    [TestCase("""{"kind":"ServiceList","apiVersion":"v2","metadata":{"resourceVersion":"7"},"items":[]}""", "v2 ServiceList instead of a ServiceList of v1")]
    [TestCase("""{"kind":"ServiceList","apiVersion":"v1","metadata":{},"items":[]}""", "metadata.resourceVersion is required")]
    [TestCase("""{"kind":"ServiceList","apiVersion":"v1","metadata":{"resourceVersion":"7","continue":{}},"items":[]}""", "metadata.continue must be text")]
    [TestCase("""{"kind":"ServiceList","apiVersion":"v1","metadata":{"resourceVersion":"7","continue":"again"},"items":[]}""", "a page that was read already")]
    [TestCase("""{"kind":"ServiceList","apiVersion":"v1","metadata":{"resourceVersion":"7"},"items":[{"metadata":{"name":"a"}},{"metadata":{"name":"a"}}]}""", "Service default/a twice")]
    [TestCase("""{"kind":"Status","apiVersion":"v1","metadata":{},"message":"not now"}""", "a Status: not now")]
    [TestCase("""{"kind":"ServiceList","apiVersion":"v1","metadata":{"resourceVersion":"7"},"items":[{""", "services cannot be read")]
    public async Task List_of_another_kind_is_rejected(string body, string reason)
    {
        _server.Script = (request, stream) => stream.AnswerAsync(200, body);

        (await Should.ThrowAsync<GeneratorException>(ReadOnceAsync)).Message.ShouldContain(reason);
    }

    [Test]
    public async Task What_is_served_outlives_lists_and_events_that_are_not_believed(
        [Values("""{"kind":"PodList","apiVersion":"v1","metadata":{"resourceVersion":"9"},"items":[]}""", "{}", """{"kind":"ServiceList","apiVersion":"v1","metadata":{"resourceVersion":"9"},"items":[""")] string list,
        [Values("""{"type":"DELETED","object":{"kind":"Pod","apiVersion":"v1","metadata":{"name":"one","resourceVersion":"9"}}}""", """{"type":"GONE","object":{}}""", "nonsense")] string happened)
    {
        var lists = 0;
        Follow(
            stream => stream.AnswerAsync(200, Interlocked.Increment(ref lists) == 1 ? OneService : list),
            async stream => await stream.WriteAsync(Head() + happened + "\n"));

        await Eventually.Async("the resource is listed again, and that is refused",
            () => (lists, _log.Count(l => l.Contains("/services: ", StringComparison.Ordinal))), seen => seen is ( > 1, > 1),
            Timeouts.Answer);

        _feed!.Take(_cluster);
        _cluster.Services.Keys.ShouldBe([new ObjectName("default", "one")]);
    }

    [Test]
    public async Task A_list_without_end_is_given_up()
    {
        using var compressed = new MemoryStream();
        using (var gzip = new GZipStream(compressed, CompressionLevel.Fastest, leaveOpen: true))
        {
            await gzip.WriteAsync(Encoding.ASCII.GetBytes("""{"kind":"ServiceList","items":["""));
            for (var i = 0; i < 300; i++)
                await gzip.WriteAsync(new byte[1 << 20]);
        }
        _server.Script = async (_, stream) =>
        {
            await stream.WriteAsync(
                $"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Encoding: gzip\r\nContent-Length: " +
                $"{compressed.Length}\r\n\r\n");
            await stream.Stream.WriteAsync(compressed.GetBuffer().AsMemory(0, (int)compressed.Length));
        };

        (await Should.ThrowAsync<GeneratorException>(ReadOnceAsync)).Message.ShouldContain("the list is larger than 256 MiB");
    }

    [Test]
    public async Task A_watch_that_ends_after_each_event_is_resumed_after_a_pause()
    {
        var watches = 0;
        Follow(stream => stream.AnswerAsync(200, OneService), async stream =>
        {
            Interlocked.Increment(ref watches);
            await stream.WriteAsync(Head() + Added + "\n");
        });
        await ReadAsync();

        await Task.Delay(TimeSpan.FromSeconds(4));

        watches.ShouldBeInRange(2, 6, "a pause is 0.8 s at least");
        _feed!.Take(_cluster);
        _cluster.Services.Count.ShouldBe(2);
    }

    [Test]
    public async Task A_watch_that_worked_and_is_cut_does_not_lengthen_the_pauses()
    {
        Follow(stream => stream.AnswerAsync(200, OneService),
            async stream => await stream.WriteAsync("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + Added + "\n"));

        var cuts = await Eventually.Async("watches are cut", () => _log.Where(l => l.Contains("/services: ", StringComparison.Ordinal))
            .ToList(), found => found.Count >= 4, Timeouts.Answer);

        cuts.ShouldAllBe(l => l.EndsWith("; again in 0.8 s", StringComparison.Ordinal));
    }

    [Test]
    public async Task A_watch_that_never_works_is_tried_with_growing_pauses()
    {
        Follow(stream => stream.AnswerAsync(200, OneService), stream => stream.WriteAsync(Head()));

        var ends = await Eventually.Async("watches end",
            () => _log.Where(l => l.Contains("/services: The watch ended at once.", StringComparison.Ordinal)).ToList(), found =>
            found.Count >= 3, Timeouts.Answer);

        ends.Take(3).Select(l => l.Split("again in ")[1]).ShouldBe(["0.8 s", "1.6 s", "3.2 s"]);
    }

    [Test]
    public async Task A_server_that_asks_to_be_left_alone_is()
    {
        _server.Script = (_, stream) =>
            stream.WriteAsync("HTTP/1.1 429 Too Many Requests\r\nRetry-After: 3\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        _feed = NewFeed();

        await Eventually.Async("the refusal is reported", () => _log.ToList(),
            log => log.Exists(l => l.EndsWith("429 Too Many Requests; again in 3 s", StringComparison.Ordinal)), Timeouts.Answer);
    }

    [Test]
    public async Task What_a_server_says_cannot_forge_a_line_of_the_log()
    {
        _server.Script = (_, stream) => stream.AnswerAsync(500, """{"kind":"Status","message":"no\n2026-01-01T00:00:00.000Z sync: all is well\u001b[2J\u202e"}""");
        _feed = NewFeed();

        var log = await Eventually.Async("the refusal is reported", () => _log.ToList(), log => log.Count > 0, Timeouts.Answer);

        log[0].ShouldContain("""no\x0a2026-01-01T00:00:00.000Z sync: all is well\x1b[2J\u202e""");
        log.ShouldAllBe(l => !l.Any(char.IsControl));
    }

    [Test]
    public async Task A_server_whose_watches_go_wrong_after_an_event_is_asked_less_and_less()
    {
        Follow(stream => stream.AnswerAsync(200, OneService), async stream =>
        {
            await stream.WriteAsync(Head() + Added + "\n");
            await Task.Delay(50);
            await stream.WriteAsync("nonsense");
        });

        var pauses = await Eventually.Async("it goes wrong three times",
            () => _log.Where(l => l.Contains("/services: the stream of events", StringComparison.Ordinal)).ToList(), found =>
            found.Count >= 3, Timeouts.Answer);

        pauses.Take(3).Select(l => l.Split(" in ")[^1]).ShouldBe(["0.8 s", "1.6 s", "3.2 s"]);
    }

    [Test]
    public async Task A_refusal_whose_body_is_broken_is_a_refusal_all_the_same()
    {
        _server.Script = (_, stream) =>
            stream.WriteAsync("HTTP/1.1 410 Gone\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\nConnection: close\r\n\r\nnope");

        (await Should.ThrowAsync<GeneratorException>(ReadOnceAsync)).Message.ShouldContain("410 Gone");
    }

    [Test]
    public async Task Missing_response_head_is_reported()
    {
        Follow(stream => stream.AnswerAsync(200, OneService), _ => Task.Delay(TimeSpan.FromSeconds(30)));

        await Eventually.Async("somebody tells of it", () => _log.ToList(),
            log => log.Exists(l => l.EndsWith("/services: no answer yet", StringComparison.Ordinal)), Timeouts.Answer);
    }

    [Test]
    public async Task A_password_in_an_address_is_sent_and_never_shown()
    {
        string? authorization = null;
        _server.Script = (request, stream) =>
        {
            authorization = request.Split("\r\n").FirstOrDefault(l => l.StartsWith("Authorization: ", StringComparison.Ordinal));
            return stream.AnswerAsync(403, "{}");
        };

        var e = await Should.ThrowAsync<GeneratorException>(
            () => ApiFeed.ReadOnceAsync(ApiConnection.Of(null, $"http://me:s%20ecret@{_server.EndPoint}"), s_node1, _ => { }));

        e.Message.ShouldContain("403");
        e.Message.ShouldNotContain("ecret");
        authorization.ShouldBe($"Authorization: Basic {Convert.ToBase64String("me:s ecret"u8)}");
        Should.Throw<GeneratorException>(() => ApiConnection.Of(null, "ftp://me:secret@host")).Message.ShouldNotContain("secret");
        Should.Throw<GeneratorException>(() => ApiConnection.Of(null, "https://me:sec/ret@host")).Message.ShouldNotContain("sec");
        Should.Throw<GeneratorException>(() => ApiConnection.Of(null, "http://me:secret@host?x=1")).Message.ShouldNotContain("secret");
    }

    [Test]
    public void Events_are_separated_however_they_are_split([Values(1, 2, 3, 7, 11, 40)] int size)
    {
        var events = new[] { """{"a":"}{\"\\"}""", "\n{}", """ {"b":[{"c":"]"}],"d":"\\\\\""}""" };
        var stream = Encoding.UTF8.GetBytes(string.Concat(events));
        var framer = new EventFramer();
        var (found, start) = (new List<string>(), 0);

        for (var end = 0; end < stream.Length;)
        {
            end = Math.Min(end + size, stream.Length);
            while (framer.FindEnd(stream.AsSpan(start, end - start)) is { } length)
            {
                found.Add(Encoding.UTF8.GetString(stream, start, length));
                start += length;
            }
        }

        found.ShouldBe(events);
    }

    private Task<Cluster> ReadOnceAsync() => ApiFeed.ReadOnceAsync(new ApiConnection { Server = _server.Address }, s_node1, _ => { });

    private ApiFeed NewFeed() => new(new ApiConnection { Server = _server.Address }, s_node1, () => { }, p => _log.Enqueue(p.ToString()),
        _log.Enqueue);

    /// <summary>Follows a server whose Services are scripted and which has nothing else.</summary>
    private void Follow(Func<ScriptedStream, Task> list, Func<ScriptedStream, Task> watch)
    {
        _server.Script = async (request, stream) =>
        {
            var isWatch = request.Contains("watch=true", StringComparison.Ordinal);
            if (request.StartsWith("GET /api/v1/services", StringComparison.Ordinal))
                await (isWatch ? watch : list)(stream);
            else if (isWatch)
                await Task.Delay(TimeSpan.FromSeconds(30));
            else
                await stream.AnswerAsync(200, request.Contains("/nodes", StringComparison.Ordinal) ? Empty("NodeList", "v1")
                    : Empty("EndpointSliceList", "discovery.k8s.io/v1"));
        };
        _feed = NewFeed();
    }

    private async Task ReadAsync() => await Eventually.Async("all is listed", () => _feed!.Unread.Count, unread => unread == 0,
        Timeouts.Answer);

    private static string Empty(string kind, string version) => $$"""{"kind":"{{kind}}","apiVersion":"{{version}}","metadata":{"resourceVersion":"7"},"items":null}""";

    private static string Head() => "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n";

    /// <summary>One connection, on which a script writes.</summary>
    private sealed record ScriptedStream(NetworkStream Stream)
    {
        internal async Task WriteAsync(string text) => await Stream.WriteAsync(Encoding.UTF8.GetBytes(text));

        internal Task AnswerAsync(int status, string body) =>
            WriteAsync($"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: " +
                $"{Encoding.UTF8.GetByteCount(body)}\r\nConnection: close\r\n\r\n{body}");
    }

    /// <summary>Reads the head of one request a connection, lets the script answer, and closes.</summary>
    private sealed class ScriptedServer : IDisposable
    {
        private readonly TcpListener _listener = new(IPAddress.Loopback, 0);

        internal ScriptedServer()
        {
            _listener.Start();
            _ = AcceptAsync();
        }

        internal Func<string, ScriptedStream, Task> Script { get; set; } = (_, _) => Task.CompletedTask;

        internal IPEndPoint EndPoint => (IPEndPoint)_listener.LocalEndpoint;

        internal Uri Address => new($"http://{EndPoint}");

        public void Dispose() => _listener.Dispose();

        private async Task AcceptAsync()
        {
            try
            {
                while (true)
                    _ = ServeAsync(await _listener.AcceptTcpClientAsync());
            }
            catch (Exception e) when (e is SocketException or ObjectDisposedException)
            {
                // the end of the test
            }
        }

        private async Task ServeAsync(TcpClient client)
        {
            using (client)
            {
                try
                {
                    var stream = client.GetStream();
                    var head = new StringBuilder();
                    var buffer = new byte[4096];
                    while (!head.ToString().Contains("\r\n\r\n", StringComparison.Ordinal))
                        head.Append(Encoding.ASCII.GetString(buffer, 0, await stream.ReadAsync(buffer)));
                    await Script(head.ToString(), new ScriptedStream(stream));
                }
                catch (Exception e) when (e is IOException or SocketException)
                {
                    // who asked has gone
                }
            }
        }
    }
}
