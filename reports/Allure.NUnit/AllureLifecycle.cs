using System.Text.Json;
using System.Text.Json.Serialization;

namespace Allure.Net.Commons;

/// <summary>Keeps the result of the test that is running, and writes it into the results folder.</summary>
public sealed class AllureLifecycle
{
    private const string ConfigVariable = "ALLURE_CONFIG";

    private static readonly JsonSerializerOptions s_options = new()
    {
        DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull,
        Encoder = System.Text.Encodings.Web.JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
    };

    private static readonly Lazy<AllureLifecycle> s_instance = new(() => new AllureLifecycle());
    private static readonly AsyncLocal<Current?> s_current = new();

    private AllureLifecycle()
    {
        ResultsDirectory = Directory.CreateDirectory(ConfiguredDirectory()).FullName;
    }

    public static AllureLifecycle Instance => s_instance.Value;

    public string ResultsDirectory { get; }

    public AllureLifecycle StartTestCase(TestResult testResult)
    {
        testResult.stage = Stage.running;
        testResult.start = Now();
        s_current.Value = new Current(testResult);
        return this;
    }

    public AllureLifecycle UpdateTestCase(Action<TestResult> updateTest)
    {
        updateTest(Required().Test);
        return this;
    }

    public AllureLifecycle StopTestCase()
    {
        UpdateTestCase(t =>
        {
            t.stage = Stage.finished;
            t.stop = Now();
        });
        return this;
    }

    public AllureLifecycle WriteTestCase()
    {
        var test = Required().Test;
        File.WriteAllText(Path.Combine(ResultsDirectory, $"{test.uuid}-result.json"), JsonSerializer.Serialize(test, s_options));
        s_current.Value = null;
        return this;
    }

    /// <summary>Begins a step of the running test, inside the step that is open; nothing happens outside a test.</summary>
    public AllureLifecycle StartStep(StepResult step)
    {
        step.stage = Stage.running;
        step.start = Now();
        if (s_current.Value is { } current)
        {
            current.Innermost.steps.Add(step);
            current.Open.Push(step);
        }
        return this;
    }

    public AllureLifecycle StopStep(Action<StepResult> updateStep)
    {
        if (s_current.Value is { } current && current.Open.TryPop(out var step))
        {
            updateStep(step);
            step.stage = Stage.finished;
            step.stop = Now();
        }
        return this;
    }

    internal void AddAttachment(string name, string type, string extension, Action<string> write)
    {
        if (s_current.Value is not { } current)
            return;
        var source = $"{Guid.NewGuid()}-attachment{extension}";
        write(Path.Combine(ResultsDirectory, source));
        current.Innermost.attachments.Add(new Attachment { name = name, type = type, source = source });
    }

    private static Current Required() => s_current.Value ?? throw new InvalidOperationException("No test is running.");

    private static long Now() => DateTimeOffset.UtcNow.ToUnixTimeMilliseconds();

    private static string ConfiguredDirectory()
    {
        const string standard = "allure-results";
        if (Environment.GetEnvironmentVariable(ConfigVariable) is not { Length: > 0 } file)
            return Path.Combine(AppContext.BaseDirectory, standard);
        using var document = JsonDocument.Parse(File.ReadAllText(file));
        return document.RootElement.GetProperty("allure").GetProperty("directory").GetString() ?? standard;
    }

    private sealed class Current(TestResult test)
    {
        internal TestResult Test { get; } = test;

        internal Stack<StepResult> Open { get; } = new();

        internal ExecutableItem Innermost => Open.TryPeek(out var step) ? step : Test;
    }
}

/// <summary>What tests call.</summary>
public static class AllureApi
{
    /// <summary>Replaces the name of the parent suite.</summary>
    public static void SetParentSuite(string newParentSuite) => SetLabel("parentSuite", newParentSuite);

    /// <summary>Replaces the name of the suite.</summary>
    public static void SetSuite(string newSuite) => SetLabel("suite", newSuite);

    public static void AddEpic(string epic) => AddLabel("epic", epic);

    public static void AddFeature(string feature) => AddLabel("feature", feature);

    public static void AddStory(string story) => AddLabel("story", story);

    public static void AddLabel(string name, string value) =>
        AllureLifecycle.Instance.UpdateTestCase(t => t.labels.Add(new Label { name = name, value = value }));

    public static void SetDescription(string description) => AllureLifecycle.Instance.UpdateTestCase(t => t.description = description);

    public static void Step(string name) => Step(name, () => { });

    public static void Step(string name, Action action)
    {
        AllureLifecycle.Instance.StartStep(new StepResult { name = name });
        try
        {
            action();
            AllureLifecycle.Instance.StopStep(s => s.status = Status.passed);
        }
        catch (Exception e)
        {
            AllureLifecycle.Instance.StopStep(s =>
            {
                s.status = Status.failed;
                s.statusDetails.message = e.Message;
            });
            throw;
        }
    }

    public static void AddAttachment(string name, string type, byte[] content, string fileExtension = "") =>
        AllureLifecycle.Instance.AddAttachment(name, type, fileExtension, path => File.WriteAllBytes(path, content));

    public static void AddAttachment(string name, string type, string path) =>
        AllureLifecycle.Instance.AddAttachment(name, type, Path.GetExtension(path), copy => File.Copy(path, copy));

    private static void SetLabel(string name, string value) => AllureLifecycle.Instance.UpdateTestCase(t =>
    {
        t.labels.RemoveAll(l => l.name == name);
        t.labels.Add(new Label { name = name, value = value });
    });
}
