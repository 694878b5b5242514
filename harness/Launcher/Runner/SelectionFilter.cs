using System.Collections.Concurrent;
using NUnit.Framework.Interfaces;
using NUnit.Framework.Internal;

namespace Conformance.Launcher.Runner;

/// <summary>
/// Selects tests by words with commas between them: a claim's id (<c>SNAT-1</c>), ids with a star (<c>SNAT-*</c>), or
/// a part of a test's full name. A word behind a minus leaves out the tests of a category (<c>-slow</c>). Case does not matter.
/// </summary>
internal sealed class SelectionFilter : TestFilter
{
    /// <summary>The word that leaves out the tests that take minutes.</summary>
    internal const string WithoutSlow = "-slow";

    private readonly ConcurrentDictionary<string, bool> _matched = new(StringComparer.Ordinal);
    private readonly string[] _words;
    private readonly string[] _leftOut;

    private SelectionFilter(string[] words)
    {
        _words = [.. words.Where(w => w[0] != '-')];
        _leftOut = [.. words.Where(w => w[0] == '-').Select(w => w[1..])];
    }

    internal static ITestFilter Parse(string text)
    {
        var words = text.Split(',', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries);
        return words.Length == 0 ? Empty : new SelectionFilter(words);
    }

    /// <summary>The words that have not selected any test so far.</summary>
    internal IEnumerable<string> UnmatchedWords => _words.Where(w => !_matched.ContainsKey(w));

    public override bool Match(ITest test)
    {
        if (test.IsSuite || _leftOut.Any(category => IsOf(test, category)))
            return false;
        if (_words.Length == 0)
            return true;
        var matching = _words.Where(word => IsMatch(test, word)).ToList();
        foreach (var word in matching)
            _matched[word] = true;
        return matching.Count > 0;
    }

    public override TNode AddToXml(TNode parentNode, bool recursive) => parentNode.AddElement("selection", string.Join(',', _words));

    /// <summary>A category of the test or of its fixture.</summary>
    private static bool IsOf(ITest? test, string category) =>
        test is not null && (test.Properties[PropertyNames.Category].Cast<string>().Contains(category, StringComparer.OrdinalIgnoreCase)
            || IsOf(test.Parent, category));

    private static bool IsMatch(ITest test, string word)
    {
        var claims = TestRunner.ClaimsOf(test).ToList();
        if (word.EndsWith('*'))
            return claims.Any(c => c.StartsWith(word[..^1], StringComparison.OrdinalIgnoreCase));
        return claims.Contains(word, StringComparer.OrdinalIgnoreCase)
            || (!LooksLikeClaim(word) && test.FullName.Contains(word, StringComparison.OrdinalIgnoreCase));
    }

    /// <summary>SNAT-1 must not also match a test whose name happens to contain it.</summary>
    private static bool LooksLikeClaim(string word) => word.IndexOf('-', StringComparison.Ordinal) > 0 && char.IsAsciiDigit(word[^1]);
}
