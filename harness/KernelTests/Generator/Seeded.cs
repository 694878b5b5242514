using System.Globalization;
using Conformance.Labs;
using FsCheck;
using FsCheck.Fluent;

namespace Conformance.KernelTests.Generator;

/// <summary>
/// Checks what holds for any value. The seed of a run is printed, and taken again from the variable CONFORMANCE_SEED.
/// </summary>
internal static class Seeded
{
    /// <summary>The seed of this run, which is printed.</summary>
    internal static ulong Seed()
    {
        var given = Environment.GetEnvironmentVariable(RunFolder.SeedVariable);
        var seed = given is { Length: > 0 } ? ulong.Parse(given, CultureInfo.InvariantCulture) : (ulong)Random.Shared.NextInt64();
        TestContext.Out.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{RunFolder.SeedVariable}={seed}"));
        return seed;
    }

    /// <param name="cases">How many values are tried.</param>
    /// <param name="size">How large FsCheck makes them: 1 to 100.</param>
    internal static void Check<T>(Arbitrary<T> arbitrary, Func<T, Task> property, int cases, int? size = null)
    {
        var seed = Seed();
        var config = Config.QuickThrowOnFailure.WithMaxTest(cases).WithReplay(seed, 1);
        Prop.ForAll(arbitrary, value =>
        {
            try
            {
                property(value).GetAwaiter().GetResult();
            }
            catch (Exception e)
            {
                throw new InvalidOperationException(string.Create(CultureInfo.InvariantCulture,
                    $"{RunFolder.SeedVariable}={seed}: {e.Message}"), e);
            }
        }).Check(size is { } fixedSize ? config.WithStartSize(fixedSize).WithEndSize(fixedSize) : config);
    }
}
