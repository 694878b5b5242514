using Allure.Net.Commons;
using NUnit.Framework;
using NUnit.Framework.Interfaces;
using TestResult = Allure.Net.Commons.TestResult;

namespace Allure.NUnit;

/// <summary>On a fixture: every test of it leaves an Allure result file.</summary>
[AttributeUsage(AttributeTargets.Class | AttributeTargets.Interface)]
public sealed class AllureNUnitAttribute : Attribute, ITestAction
{
    public ActionTargets Targets => ActionTargets.Test;

    public void BeforeTest(ITest test)
    {
        var labels = new List<Label>
        {
            new() { name = "framework", value = "nunit" },
            new() { name = "language", value = "csharp" },
            new() { name = "testClass", value = test.ClassName ?? "" },
            new() { name = "testMethod", value = test.MethodName ?? "" },
            new() { name = "suite", value = test.Parent?.Name ?? "" },
        };
        foreach (var key in test.Properties.Keys.Where(k => k == "Category"))
            labels.AddRange(test.Properties[key].Cast<object>().Select(v => new Label { name = "tag", value = $"{v}" }));
        AllureLifecycle.Instance.StartTestCase(new TestResult
        {
            name = test.Name.Replace('_', ' '),
            fullName = test.FullName,
            testCaseId = test.FullName,
            historyId = test.FullName,
            titlePath = [.. (test.ClassName ?? "").Split('.')],
            labels = labels,
        });
    }

    public void AfterTest(ITest test)
    {
        var result = TestContext.CurrentContext.Result;
        AllureLifecycle.Instance.UpdateTestCase(t =>
        {
            t.status = (result.Outcome.Status, result.Outcome.Label) switch
            {
                (TestStatus.Passed, _) => Status.passed,
                (TestStatus.Skipped or TestStatus.Inconclusive, _) => Status.skipped,
                (TestStatus.Failed, "Error") => Status.broken,
                _ => Status.failed,
            };
            t.statusDetails = new StatusDetails { message = result.Message, trace = result.StackTrace };
        });
        AllureLifecycle.Instance.StopTestCase().WriteTestCase();
    }
}
