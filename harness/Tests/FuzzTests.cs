using Conformance.Fuzzing;
using Conformance.Labs;

namespace Conformance.Tests;

/// <summary>The readers of what others write, on the kept corpus, every past finding in it, and on some inputs made of it.</summary>
public sealed class FuzzTests
{
    private const int Inputs = 1500;
    private static readonly string s_scratch = Path.Combine(RunFolder.Current, "fuzz.scratch");

    private static IEnumerable<string> Names => Target.All(s_scratch).Select(t => t.Name);

    [TestCaseSource(nameof(Names))]
    public void A_reader_ends_with_a_result_or_an_error_of_its_own(string name)
    {
        var scratch = $"{s_scratch}-{name}";
        var target = Target.All(scratch).Single(t => t.Name == name);
        var seed = Random.Shared.Next();
        TestContext.Out.WriteLine($"seed {seed}");
        var corpus = target.Corpus;
        var mutator = new Mutator(corpus, new Random(seed));

        foreach (var input in corpus.Concat(Enumerable.Range(0, Inputs).Select(_ => mutator.Next())))
            Should.NotThrow(() => target.Read(input), $"seed {seed}: {Convert.ToBase64String(input)}");
        for (var i = 0; target.ReadTree is { } read && i < Inputs; i++)
        {
            var tree = mutator.NextTree()!;
            Should.NotThrow(() => read(tree), $"seed {seed}: {tree.ToJsonString()}");
        }
        File.Delete(scratch);
    }

    [Test]
    public void An_object_that_takes_another_with_it_is_a_finding() => Should.Throw<InvalidDataException>(() =>
        Target.DemandSibling(new Conformance.Generator.Sources.Manifest([], [])));
}
