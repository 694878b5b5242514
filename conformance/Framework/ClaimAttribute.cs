using NUnit.Framework.Interfaces;
using NUnit.Framework.Internal;
using NUnit.Framework.Internal.Commands;
using Shouldly;

namespace Conformance.Suite;

/// <summary>
/// Names the claims that a test proves or disproves. They become its categories, so that a filter finds it, and a
/// Shouldly failure becomes NUnit's Failed (violated); every other exception stays an error (broken).
/// </summary>
[AttributeUsage(AttributeTargets.Method)]
public sealed class ClaimAttribute(params string[] ids) : NUnitAttribute, IApplyToTest, IWrapTestMethod
{
    public const string Property = "Claim";

    public IReadOnlyList<string> Ids { get; } = ids;

    public void ApplyToTest(Test test)
    {
        foreach (var id in Ids)
        {
            test.Properties.Add(Property, id);
            test.Properties.Add(PropertyNames.Category, id);
        }
    }

    public TestCommand Wrap(TestCommand command) => new FailureCommand(command);

    private sealed class FailureCommand(TestCommand inner) : DelegatingTestCommand(inner)
    {
        public override TestResult Execute(TestExecutionContext context)
        {
            try
            {
                return innerCommand.Execute(context);
            }
            catch (Exception e)
            {
                var cause = e;
                while (cause is NUnitException or AggregateException && cause.InnerException is { } innerException)
                    cause = innerException;
                if (cause is not ShouldAssertException)
                    throw;
                context.CurrentResult.SetResult(ResultState.Failure, cause.Message, cause.StackTrace);
                return context.CurrentResult;
            }
        }
    }
}

/// <summary>The topology whose lab every test of the fixture gets, fresh; on a method, that test's own.</summary>
[AttributeUsage(AttributeTargets.Class | AttributeTargets.Method)]
public sealed class TopologyAttribute(string name) : PropertyAttribute(name);
