using System.Text;
using Conformance.Generator.Model;
using Conformance.Generator.Sources;

namespace Conformance.Tests.Generator;

/// <summary>Files that are too large, too deep, torn, or no text: what is wrong is reported, and the rest is read.</summary>
public sealed class HostileManifestTests
{
    [Test]
    public void Items_of_a_list_are_read_as_each_by_itself()
    {
        var deep = string.Concat(Enumerable.Repeat("[", 101)) + string.Concat(Enumerable.Repeat("]", 101));
        string[] items =
        [
            Object("a", """
                "spec":{"clusterIP":"10.96.0.1","clusterIP":"10.96.0.2"}
                """),
            Object("b", $$"""
                "metadata":{},"spec":{{deep}}
                """),
            Object("c", $$"""
                "spec":{"selector":{{{Items(100, k => $"\"k{k}\":[{k}]")}}},"ports":[{{Items(2000, Port)}}],"clusterIP":"10.96.0.3"}
                """),
            "null", "1", "[]",
            Object("d", """
                "spec":null
                """),
            Object("e", """
                "spec":{"ports":"none"}
                """),
            Object("f", """
                "spec":{"clusterIP":"10.96.0.6","ports":[{"port":80}]}
                """),
        ];

        var list = Read($$"""{"apiVersion":"v1","kind":"List","items":[{{string.Join(',', items)}}]}""");

        var alone = items.Select(Read).ToList();
        Words(list).ShouldBe(alone.SelectMany(Words), ignoreOrder: true);
        list.Objects.Count.ShouldBeGreaterThanOrEqualTo(2);
        list.Problems.Count.ShouldBeGreaterThanOrEqualTo(3);

        static IEnumerable<string> Words(Manifest manifest) => manifest.Problems.Select(p => p.ToString()).Concat(manifest.Objects
            .OfType<Service>().Select(s => $"{s.Name} {string.Join(' ', s.ClusterIPs)} {string.Join(' ', s.Ports)}"));
    }

    [Test]
    public void A_file_of_nul_bytes_is_torn()
    {
        var manifest = ManifestReader.Read("s.yaml", new byte[4096]);

        manifest.IsTorn.ShouldBeTrue("what it held before stays");
        manifest.Problems.ShouldHaveSingleItem().ToString().ShouldContain("has NUL bytes");
    }

    [Test]
    public void Thirty_thousand_ports_are_read_and_a_product_without_end_is_refused()
    {
        var many = Read(Object("web", $$"""
            "spec":{"clusterIP":"10.96.0.1","ports":[{{Items(30_000,
                p => $$"""{"name":"port-number-{{p}}","protocol":"TCP","port":{{p}},"targetPort":{{p}}}""")}}]}
            """));
        many.Objects.ShouldHaveSingleItem().ShouldBeOfType<Service>().Ports.Count.ShouldBe(30_000);

        var product = Read(Object("web", $$"""
            "spec":{"clusterIP":"10.96.0.1",
                "externalIPs":[{{Items(15_000, i => $"\"203.{i >> 16}.{i >> 8 & 255}.{i & 255}\"")}}],"ports":[{{Items(900, Port)}}]}
            """));
        product.Objects.ShouldBeEmpty();
        product.Problems.ShouldHaveSingleItem().Message.ShouldContain("more than 100000 virtual servers");
    }

    [TestCase("{\"\\ud800\":1}")]
    [TestCase("! {t,\"items\":[{\"\"},c:")]
    [TestCase("{\"a\":\"\\ud800\"")]
    [TestCase("a: \"\\Uffffffff\"")]
    [TestCase("- - - {a: [")]
    [TestCase("%YAML 9.9\n---\n? !<tag:x> &a [*a]: {")]
    [TestCase("\u0000\u0001\u0002")]
    public void Whatever_a_parser_throws_is_a_problem_of_that_file(string text)
    {
        var manifest = ManifestReader.Read("odd.yaml", Encoding.UTF8.GetBytes(text));

        manifest.Objects.ShouldBeEmpty();
        manifest.Problems.ShouldNotBeEmpty();
        manifest.Problems.ShouldAllBe(p => p.File == "odd.yaml");
    }

    [Test]
    public void Truncated_json_is_reported_and_earlier_objects_are_kept()
    {
        var manifest = Read($"{{\"items\":[{Object("a", Spec)},\n{{\"kind\":");

        (manifest.Objects.Count, manifest.IsTorn).ShouldBe((1, true));
        manifest.Problems.ShouldHaveSingleItem().Line.ShouldBe(2);
    }

    [Test]
    public void Too_deep_too_large_and_too_many_aliases_are_refused([Values("json", "yaml")] string format)
    {
        var deep = string.Concat(Enumerable.Repeat("{\"a\":", 101)) + "1" + new string('}', 101);
        var big = new string('x', 9 << 20);
        foreach (var (value, words) in new[] { (deep, "nested more than 100 levels deep"), ($"\"{big}\"", "is larger than 8388608 bytes") })
        {
            var document = Annotated(value);
            var manifest = Read(format == "json" ? document : $"--- \n{document}\n");
            manifest.Problems.ShouldHaveSingleItem().Message.ShouldBe(words);
            manifest.Objects.ShouldBeEmpty();
        }
        var wide = Annotated($"\"{new string('é', 4_300_000)}\"");
        Read(format == "json" ? wide : $"--- \n{wide}\n").Problems.ShouldHaveSingleItem().Message.ShouldBe("is larger than 8388608 bytes",
            "bytes, not characters");
        if (format == "json")
            return;
        var bomb = "a: &a [x, x, x, x, x, x, x, x, x, x]\n"
            + string.Concat(Enumerable.Range('b', 8)
            .Select(c => $"{(char)c}: &{(char)c} [{string.Join(", ", Enumerable.Repeat($"*{(char)(c - 1)}", 10))}]\n"))
            + "kind: Service\napiVersion: v1\n";
        Read(bomb).Problems.ShouldHaveSingleItem().Message.ShouldBe("has more than 400000 values, aliases expanded");

        static string Annotated(string value) => "{\"kind\":\"Service\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"a\",\"annotations\":"
            + value + "},\"spec\":{\"clusterIP\":\"10.96.0.1\"}}";
    }

    [Test]
    public void Excessive_text_is_rejected_and_a_large_object_keeps_its_siblings()
    {
        var good = Object("good", Spec);
        var note = new string('n', 900_000); // room for so many values
        var many = Object("many", $"\"note\":\"{note}{note}\",\"spec\":[{Items(400_001, _ => "1")}]");

        foreach (var text in new[] { $"{{\"items\":[{many},{good}]}}", $"kind: List\nitems:\n- {many}\n- {good}\n" })
        {
            var manifest = Read(text);
            ((Service)manifest.Objects.ShouldHaveSingleItem()).Name.Name.ShouldBe("good");
            manifest.Problems.ShouldHaveSingleItem().ToString().ShouldContain("Service many is left out: has more than 400000 values");
        }
        Read($"kind: Service\napiVersion: v1\nspec: [{string.Join(',', Enumerable.Repeat("1", 1_000_000))}]\n").Torn!.Message.ShouldBe(
            "is nested deeper, or has more values, than any manifest of its size");
        Read(string.Concat(Enumerable.Repeat("{}", 200_000))).ShouldSatisfyAllConditions(
            m => m.Torn!.Message.ShouldContain("more than 100000 objects are invalid"), m => m.Problems.Count.ShouldBeLessThan(1100));
        Read(string.Concat(Enumerable.Repeat("---\n# nothing\n\n", 100_000))).Problems.ShouldBeEmpty();
    }

    [Test]
    public void Alias_of_a_large_object_does_not_remove_siblings()
    {
        var note = new string('n', 1_800_000);
        var manifest = Read($"kind: List\nitems:\n- &a {{ kind: Service, apiVersion: v1, note: \"{note}\", x: " +
            $"[{string.Join(',', Enumerable.Repeat("1", 400_001))}] }}\n- *a\n- {{ kind: Service, apiVersion: v1, metadata: {{ name: " +
            $"good, namespace: }}, spec: {{ clusterIP: 240.10.0.1, ports: [ {{ port: 80 }} ] }} }}\n");

        ((Service)manifest.Objects.ShouldHaveSingleItem()).Name.ShouldBe(new ObjectName("default", "good"));
        manifest.Problems.Count.ShouldBe(2);
    }

    [Test]
    public void Text_that_is_no_unicode_is_refused_and_only_its_object_is_left_out()
    {
        var manifest = Read(
            $$$"""{"items":[{"kind":"Service","apiVersion":"v1","metadata":{"name":"\ud800"}},{{{Object("a", Spec)}}}]}""");

        manifest.Objects.Count.ShouldBe(1);
        manifest.Problems.ShouldHaveSingleItem().Message.ShouldBe("is no valid Unicode text");
    }

    [Test]
    public void Chain_of_aliases_counts_with_its_full_depth()
    {
        var items = string.Concat(Enumerable.Range(0, 300).Select(i =>
            $"- a: &a{i} {new string('[', 95)}{(i == 0 ? "x" : $"*a{i - 1}")}{new string(']', 95)}\n  kind: Service\n  apiVersion: v1\n"));

        var manifest = Read($"kind: List\napiVersion: v1\nitems:\n{items}");

        manifest.Objects.ShouldBeEmpty();
        manifest.Problems.Select(p => p.Message).ShouldContain("nested more than 100 levels deep");
    }

    [Test]
    public void A_list_is_read_to_its_end_whatever_brackets_its_texts_and_items_have()
    {
        var texts = string.Concat(Enumerable.Range(0, 6000)
            .Select(_ => "- { kind: ConfigMap, apiVersion: v1, note: \"see [1\", other: '[[' }\n"));
        var deep = $"- kind: Service\n  apiVersion: v1\n  metadata: {{ name: deep }}\n  spec: " +
            $"{new string('[', 1200)}{new string(']', 1200)}\n";
        var good = "- { kind: Service, apiVersion: v1, metadata: { name: good }, spec: { clusterIP: 10.96.0.1, ports: [ { port: 80 } ] " +
            "} }\n";

        var manifest = Read($"kind: List\napiVersion: v1\nitems:\n{texts}{deep}{good}");

        manifest.IsTorn.ShouldBeFalse();
        manifest.Objects.ShouldHaveSingleItem();
        manifest.Problems.Select(p => p.ToString()).ShouldBe(
        [
            "test:6007: Service deep is left out: nested more than 100 levels deep",
            "test:4: ConfigMap is skipped: a service proxy needs Services, EndpointSlices and Nodes only, as are 5999 more of its kind",
        ]);
    }

    [Test]
    public void Endless_brackets_are_reported_at_once_behind_any_quotes()
    {
        var manifest = Read($"note: |\n  it's one\nspec: {new string('[', 200_000)}\n");

        manifest.Objects.ShouldBeEmpty();
        manifest.Problems.ShouldHaveSingleItem().Message.ShouldBe("is nested deeper, or has more values, than any manifest of its size");
    }

    [Test]
    public void Thousands_of_aliases_of_a_large_object_are_reported()
    {
        var large = $"- &large {{ kind: Service, apiVersion: v1, metadata: {{ name: large }}, spec: {{ clusterIP: 10.96.0.1, ports: [ " +
            $"{{ port: 80 }} ], x: [{string.Join(',', Enumerable.Repeat("x", 90_000))}] }} }}\n";

        var manifest = Read($"kind: List\napiVersion: " +
            $"v1\nitems:\n{large}{string.Concat(Enumerable.Repeat("- *large\n", 50_000))}{List("good")}");

        manifest.Objects.Cast<Service>().Select(s => s.Name.Name).Distinct().ShouldBe(["large", "good"]);
        manifest.Problems.Select(p => p.Message).Distinct()
            .ShouldBe(["the document's aliases stand for more than 1000000 values", "the first 1000 say enough"]);

        static string List(string name) =>
            $"- {{ kind: Service, apiVersion: v1, metadata: {{ name: {name} }}, spec: {{ clusterIP: 10.96.0.2, ports: [ {{ port: 80 }} " +
            $"] }} }}\n";
    }

    private const string Spec = """
        "spec":{"clusterIP":"10.96.0.1","ports":[{"port":80}]}
        """;

    /// <summary>A Service in JSON; the rest is what follows its metadata.</summary>
    private static string Object(string name, string rest) =>
        $$"""{"apiVersion":"v1","kind":"Service","metadata":{"name":"{{name}}"},{{rest.ReplaceLineEndings("").Trim()}}}""";

    private static string Port(int number) => $$"""{"name":"p{{number}}","port":{{number}}}""";

    private static string Items(int count, Func<int, string> make) => string.Join(',', Enumerable.Range(1, count).Select(make));

    private static Manifest Read(string text) => ManifestReader.Read("test", Encoding.UTF8.GetBytes(text));
}
