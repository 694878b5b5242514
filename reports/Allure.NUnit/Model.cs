using System.Text.Json.Serialization;

namespace Allure.Net.Commons;

[JsonConverter(typeof(JsonStringEnumConverter<Status>))]
public enum Status
{
    none,
    failed,
    broken,
    passed,
    skipped,
}

[JsonConverter(typeof(JsonStringEnumConverter<Stage>))]
public enum Stage
{
    scheduled,
    running,
    finished,
    pending,
    interrupted,
}

public class StatusDetails
{
    public string? message { get; set; }

    public string? trace { get; set; }
}

public record Label
{
    public string name { get; set; } = "";

    public string value { get; set; } = "";
}

public class Attachment
{
    public string name { get; set; } = "";

    public string source { get; set; } = "";

    public string type { get; set; } = "";
}

public abstract class ExecutableItem
{
    public string name { get; set; } = "";

    public Status status { get; set; }

    public StatusDetails statusDetails { get; set; } = new();

    public Stage stage { get; set; }

    public string? description { get; set; }

    public List<StepResult> steps { get; set; } = [];

    public List<Attachment> attachments { get; set; } = [];

    public List<object> parameters { get; set; } = [];

    public long start { get; set; }

    public long stop { get; set; }
}

public sealed class StepResult : ExecutableItem;

public sealed class TestResult : ExecutableItem
{
    public string uuid { get; set; } = Guid.NewGuid().ToString();

    public string? historyId { get; set; }

    public string? testCaseId { get; set; }

    public string? fullName { get; set; }

    public List<string> titlePath { get; set; } = [];

    public List<Label> labels { get; set; } = [];

    public List<object> links { get; set; } = [];
}
