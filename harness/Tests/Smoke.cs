namespace Conformance.Tests;

public sealed class Smoke
{
    [Test]
    public void Ok() => 1.ShouldBe(1);
}
