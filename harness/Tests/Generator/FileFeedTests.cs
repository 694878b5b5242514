using System.Collections.Concurrent;
using Conformance.Generator.Model;
using Conformance.Generator.Sources.Files;
using Conformance.Labs.Waiting;
using Conformance.Linux;

namespace Conformance.Tests.Generator;

/// <summary>What is followed of files and folders when they themselves are exchanged.</summary>
[Parallelizable(ParallelScope.All)]
[FixtureLifeCycle(LifeCycle.InstancePerTestCase)]
public sealed class FileFeedTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("feed-test").FullName;
    private readonly Cluster _cluster = new();
    private readonly ConcurrentQueue<string> _problems = new();
    private FileFeed? _feed;

    public void Dispose()
    {
        _feed?.Dispose();
        Directory.Delete(_folder, recursive: true);
    }

    [Test]
    public async Task A_file_of_a_config_map_is_followed_through_its_link()
    {
        Write("..1/s.yaml", "one");
        Link("..data", "..1");
        Link("s.yaml", "..data/s.yaml");
        await FollowAsync("s.yaml", "one");

        Write("..2/s.yaml", "two");
        Link("..data_new", "..2");
        await RenameAsync("..data_new", "..data");

        await ServicesAsync("two");
    }

    [Test]
    public async Task Everything_that_changes_while_it_is_read_for_the_first_time_is_read_again()
    {
        Write("..1/s.yaml", "one");
        Write("..2/s.yaml", "two");
        File.AppendAllText(At("..1/s.yaml"), "\n---\nkind: Service\n"); // a problem is reported while the file is read
        Link("..data", "..1");
        Link("..data_new", "..2");
        Link("s.yaml", "..data/s.yaml");
        _feed = new FileFeed([At("s.yaml")], () => Interlocked.Increment(ref _reports), _ =>
        {
            RenameAsync("..data_new", "..data").GetAwaiter().GetResult();
            SpinWait.SpinUntil(() => Volatile.Read(ref _reports) > 0, Timeouts.Answer).ShouldBeTrue();
        });
        _feed.Take(_cluster);

        await ServicesAsync("two");
    }

    [Test]
    public async Task Folder_that_is_removed_and_created_again_is_followed()
    {
        Write("services/s.yaml", "one");
        await FollowAsync("services", "one");

        Directory.Delete(At("services"), recursive: true);
        await ServicesAsync();
        Write("services/t.yaml", "two");
        await ServicesAsync("two");
        Write("services/u.yaml", "three");

        await ServicesAsync("three", "two");
    }

    [Test]
    public async Task A_link_to_a_folder_that_is_removed_takes_its_services_away()
    {
        Write("a/s.yaml", "one");
        Link("current", "a");
        await FollowAsync("current", "one");

        File.Delete(At("current")); // nothing happens to the file itself

        await ServicesAsync();
    }

    [Test]
    public async Task A_link_to_a_folder_that_is_pointed_elsewhere_is_followed()
    {
        Write("a/s.yaml", "one");
        Write("b/s.yaml", "two");
        Link("current", "a");
        await FollowAsync("current", "one");

        Link("new", "b");
        await RenameAsync("new", "current");
        await ServicesAsync("two");
        Write("b/t.yaml", "three");

        await ServicesAsync("three", "two");
    }

    [Test]
    public async Task What_is_no_manifest_is_not_read()
    {
        Write("services/s.yaml", "one");
        await FollowAsync("services", "one");
        var before = _reports;

        Write("services/notes.txt", "two");
        File.Move(At("services/notes.txt"), At("services/more.txt"));
        Write("services/t.yaml", "three");
        await ServicesAsync("one", "three");

        (_reports - before).ShouldBe(1, "the manifest alone");
    }

    [Test]
    public async Task A_service_that_becomes_invalid_stays_as_it_was_until_it_is_valid_or_gone()
    {
        Write("services/s.yaml", "one");
        _feed = new FileFeed([At("services")], () => { }, _ => { });
        await ServicesAsync("one");

        File.WriteAllText(At("services/s.yaml"), """{"kind":"Service","apiVersion":"v1","metadata":{"name":"one"},"spec":{"clusterIP":"10.96.0.1","ports":[{"port":0}]}}""");
        Write("services/t.yaml", "two");
        await ServicesAsync("one", "two");
        _cluster.Services.Values.Single(s => s.Name.Name == "one").Ports.ShouldHaveSingleItem().Port.ShouldBe((ushort)80);
        File.Delete(At("services/s.yaml"));

        await ServicesAsync("two");
    }

    [Test]
    public async Task Changes_are_followed_after_an_overflow_of_the_inotify_queue()
    {
        Write("services/s.yaml", "one");
        var problems = 0;
        var mayTell = true; // nothing that would have to be disposed: the feed may still tell when this test has ended
        _feed = new FileFeed([At("services")], () => SpinWait.SpinUntil(() => Volatile.Read(ref mayTell)),
            _ => Interlocked.Increment(ref problems));
        await ServicesAsync("one");

        Volatile.Write(ref mayTell, false); // nobody reads the queue
        try
        {
            Write("services/other.yaml", "two");
            var limit = int.Parse(await File.ReadAllTextAsync("/proc/sys/fs/inotify/max_queued_events"),
                System.Globalization.CultureInfo.InvariantCulture);
            for (var i = 0; i < limit; i++)
                File.Move(At(i % 2 == 0 ? "services/other.yaml" : "services/again.yaml"),
                    At(i % 2 == 0 ? "services/again.yaml" : "services/other.yaml"));
        }
        finally
        {
            Volatile.Write(ref mayTell, true);
        }
        await Eventually.Async("the overflow is reported", () => Volatile.Read(ref problems), count => count > 0);
        await ServicesAsync("one", "two");
        Write("services/t.yaml", "three");

        await ServicesAsync("one", "three", "two");
    }

    private int _reports;

    private async Task FollowAsync(string path, params string[] expected)
    {
        _feed = new FileFeed([At(path)], () => Interlocked.Increment(ref _reports), problem => _problems.Enqueue(problem.ToString()));
        await ServicesAsync(expected);
    }

    private async Task ServicesAsync(params string[] expected)
    {
        await Eventually.Async($"the Services are {string.Join(", ", expected)}", () =>
        {
            _feed!.Take(_cluster);
            return _cluster.Services.Keys.Select(k => k.Name).Order(StringComparer.Ordinal).ToList();
        }, names => names.SequenceEqual(expected, StringComparer.Ordinal));
        _problems.ShouldBeEmpty();
    }

    private string At(string path) => Path.Combine(_folder, path);

    /// <summary>rename(2), of links to folders too, which .NET does not offer.</summary>
    private Task RenameAsync(string from, string to) => CliWrap.Cli.Wrap("mv").WithArguments(["--no-target-directory", At(from), At(to)])
        .ExecuteAsync();

    private void Link(string link, string target) => File.CreateSymbolicLink(At(link), target);

    private void Write(string path, string name)
    {
        Directory.CreateDirectory(Path.GetDirectoryName(At(path))!);
        File.WriteAllText(At(path), $$$"""{"kind":"Service","apiVersion":"v1","metadata":{"name":"{{{name}}}"},"spec":{"clusterIP":"10.96.0.1","ports":[{"port":80}]}}""");
    }
}
