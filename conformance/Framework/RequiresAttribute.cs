using Conformance.Linux.Features;
using NUnit.Framework.Interfaces;

namespace Conformance.Suite;

/// <summary>
/// What a test, or every test of a fixture, needs of the kernel. On a kernel without it the claim is not testable, and
/// its record says what is missing.
/// </summary>
[AttributeUsage(AttributeTargets.Class | AttributeTargets.Method, AllowMultiple = true)]
public sealed class RequiresAttribute(params Feature[] features) : Attribute, ITestAction
{
    public ActionTargets Targets => ActionTargets.Test;

    public void BeforeTest(ITest test)
    {
        var missing = features.Where(f => !KernelFeatures.Current.Has(f)).ToList();
        if (missing.Count > 0)
            Not.Testable($"the kernel {KernelFeatures.Current.Release} has no {string.Join(", no ", missing.Select(f => f.Describe()))}");
    }

    public void AfterTest(ITest test)
    {
    }
}
