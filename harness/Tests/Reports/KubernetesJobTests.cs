using CliWrap;
using CliWrap.Buffered;
using Conformance.Labs;
using k8s;
using k8s.Models;

namespace Conformance.Tests.Reports;

/// <summary>The manifest that runs shards as an indexed Job.</summary>
public sealed class KubernetesJobTests
{
    private static readonly V1Job s_job = KubernetesYaml.Deserialize<V1Job>(
        File.ReadAllText(Path.Combine(ProjectFolder.Root, "harness", "kubernetes-job.yaml")), strict: true);

    [Test]
    public void The_job_is_indexed_and_has_a_pod_for_each_shard()
    {
        var container = s_job.Spec.Template.Spec.Containers.Single();

        s_job.Spec.CompletionMode.ShouldBe("Indexed");
        container.Env.Single(e => e.Name == "SHARDS").Value.ShouldBe($"{s_job.Spec.Completions}");
        container.VolumeMounts.Select(m => m.Name).ShouldBe(s_job.Spec.Template.Spec.Volumes.Select(v => v.Name), ignoreOrder: true);
    }

    [Test]
    public async Task The_last_index_runs_the_last_shard()
    {
        // The commands that need a cluster print their words.
        var script = "git() { :; }; apt-get() { :; }; mkdir() { :; }; cp() { echo \"cp $*\"; }; cd() { :; }\n"
            + s_job.Spec.Template.Spec.Containers.Single().Command[^1].Replace("./lab", "echo", StringComparison.Ordinal)
                .Replace("harness/provision.sh", ":", StringComparison.Ordinal);

        var result = await CliWrap.Cli.Wrap("/bin/bash").WithArguments(["-c", script]).WithEnvironmentVariables(
            new Dictionary<string, string?>(StringComparer.Ordinal)
            {
                ["PATH"] = "/nowhere", // no command but these runs
                ["JOB_COMPLETION_INDEX"] = "3",
                ["SHARDS"] = "4",
                ["REPOSITORY"] = "x",
                ["PROXY"] = "generator",
                ["REVISION"] = "x",
                ["JOB"] = "job",
            }).ExecuteBufferedAsync();

        result.StandardOutput.ShouldContain("run --kernel uml --proxy generator --shard 4/4 --keep\n");
        result.StandardOutput.ShouldContain("/results/job/shard-4\n");
    }
}
