using System.Reflection;
using Conformance.Reports;
using NUnit.Framework.Interfaces;

namespace Conformance.Suite;

/// <summary>The catalogue, as it was built into the suite.</summary>
internal static class Claims
{
    private const string File = "claims.yaml";
    private static readonly Lazy<Catalogue> s_catalogue = new(Read);

    internal static Catalogue Catalogue => s_catalogue.Value;

    /// <summary>The rows of the claims that a test names.</summary>
    internal static IEnumerable<Claim> Of(ITest test) => IdsOf(test).Select(id => Catalogue.Claims[id]);

    /// <summary>The ids; NUnit puts an attribute of a method with cases on the suite of the cases.</summary>
    internal static IEnumerable<string> IdsOf(ITest? test) => test is null ? []
        : test.Properties[ClaimAttribute.Property].Cast<string>().Concat(IdsOf(test.Parent));

    private static Catalogue Read()
    {
        var assembly = Assembly.GetExecutingAssembly();
        return Catalogue.Parse([.. assembly.GetManifestResourceNames().Where(n => n.EndsWith(File, StringComparison.Ordinal)).Select(name =>
        {
            using var reader = new StreamReader(assembly.GetManifestResourceStream(name)!);
            return (name, reader.ReadToEnd());
        })]);
    }
}
