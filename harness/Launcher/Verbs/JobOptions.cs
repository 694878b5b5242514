using System.CommandLine;

namespace Conformance.Launcher.Verbs;

/// <summary>The options that jobs with random values have in common.</summary>
internal static class JobOptions
{
    /// <summary>A number of at least 1, such as how many flows are sent.</summary>
    internal static Option<int> CreateCount(string name, string description, int usual)
    {
        var option = new Option<int>(name) { Description = description, DefaultValueFactory = _ => usual };
        option.Validators.Add(result =>
        {
            if (result.GetValueOrDefault<int>() < 1)
                result.AddError($"{name} must be at least 1.");
        });
        return option;
    }

    /// <summary>The seed of random values; a random one when it is not given.</summary>
    internal static Option<int?> CreateSeed(string description)
    {
        var option = new Option<int?>("--seed") { Description = description };
        option.Validators.Add(result =>
        {
            if (result.GetValueOrDefault<int?>() < 0)
                result.AddError("--seed must not be negative.");
        });
        return option;
    }
}
