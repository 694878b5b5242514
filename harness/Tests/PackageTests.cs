using System.Globalization;
using System.Security.Cryptography;
using CliWrap.Buffered;
using Conformance.Labs;
using Conformance.Launcher;
using Conformance.Reports;

namespace Conformance.Tests;

/// <summary>The generator's packages, installed where there is no .NET: on the lab kernel, over this machine's files.</summary>
[NonParallelizable]
public sealed class PackageTests
{
    /// <summary>
    /// What is written goes to a tmpfs; dpkg's database is a copy, which an ordinary user can read as well. The Service is applied in
    /// a network namespace of its own.
    /// </summary>
    private const string Enter = """
        set -eu
        top=$(mktemp -d) && mount -t tmpfs tmpfs "$top"
        for folder in usr etc; do
            mkdir -p "$top/$folder/upper" "$top/$folder/work"
            mount -t overlay overlay -o "nosuid,lowerdir=/$folder,upperdir=$top/$folder/upper,workdir=$top/$folder/work" "/$folder"
        done
        mkdir -p "$top/dpkg/info" "$top/dpkg/updates" "$top/dpkg/triggers"
        cp /var/lib/dpkg/status "$top/dpkg/"
        mount --bind "$top/dpkg" /var/lib/dpkg
        rm -rf /usr/share/dotnet /usr/lib/dotnet /usr/bin/dotnet /usr/local/bin/dotnet
        unset DOTNET_ROOT
        export PATH=/usr/sbin:/usr/bin:/sbin:/bin
        if command -v dotnet; then echo 'there is a dotnet'; exit 1; fi
        cat >"$top/objects.yaml" <<'OBJECTS'
        {apiVersion: v1, kind: List, items: [
          {apiVersion: v1, kind: Service, metadata: {name: web, namespace: default}, spec: {clusterIP: 10.96.0.10, ports: [{port: 80}]}},
          {apiVersion: discovery.k8s.io/v1, kind: EndpointSlice,
           metadata: {name: web-1, namespace: default, labels: {kubernetes.io/service-name: web}}, addressType: IPv4,
           endpoints: [{addresses: [10.244.0.5], conditions: {ready: true}}], ports: [{port: 8080, protocol: TCP}]}]}
        OBJECTS

        """;

    private const string Use = """

        ip link set lo up
        ipvs-generator apply -f "$top/objects.yaml"
        ipvsadm -Ln
        ipvs-generator explain 10.96.0.10:80 --from 10.0.0.9 -f "$top/objects.yaml"
        ipvs-generator cleanup

        """;

    private string _folder = "";

    [OneTimeSetUp]
    public async Task MakePackages()
    {
        _folder = Directory.CreateDirectory(Path.Combine(ProjectFolder.Root, "artifacts", "test-packages")).FullName;
        var made = await PackageAsync(_folder);
        if (IsThere)
            made.ExitCode.ShouldBe(0, made.StandardError);
        else
            made.ExitCode.ShouldBe(3, made.StandardError);
    }

    [OneTimeTearDown]
    public void RemovePackages() => Directory.Delete(_folder, recursive: true);

    [Test]
    public async Task The_debian_package_installs_and_serves_without_dotnet()
    {
        RequirePackages();
        var said = await InsideAsync($"""
            dpkg --install {Made("*.deb")}
            {Use}
            dpkg --verify ipvs-generator
            dpkg --remove ipvs-generator
            test ! -e /usr/bin/ipvs-generator
            test -e /etc/ipvs-generator/config.yaml
            dpkg --purge ipvs-generator
            test ! -e /etc/ipvs-generator
            """);

        said.ShouldContain("TCP  10.96.0.10:80 rr");
        said.ShouldContain("-> 10.244.0.5:8080");
    }

    [Test]
    public async Task The_services_capabilities_are_enough()
    {
        RequirePackages();
        var said = await InsideAsync($"""
            dpkg --install {Made("*.deb")}
            unit=/usr/lib/systemd/system/ipvs-generator.service
            capabilities=-all
            for name in $(sed -n 's/^CapabilityBoundingSet=//p' $unit); do
                capabilities=$capabilities,+$(echo "$name" | tr A-Z a-z | sed s/^cap_//)
            done
            ip link set lo up
            setpriv --no-new-privs --bounding-set "$capabilities" ipvs-generator apply -f "$top/objects.yaml"
            ipvsadm -Ln
            """);

        said.ShouldContain("-> 10.244.0.5:8080");
    }

    [Test]
    public async Task The_archive_installs_as_its_README_says_and_serves_without_dotnet()
    {
        RequirePackages();
        var said = await InsideAsync($"""
            cd "$top"
            tar xf {Made("*.tar.gz")}
            cd ipvs-generator-*
            test -s LICENSE
            sh -eu -c "$(grep '^    install ' README.md)"
            ls -l /etc/systemd/system/ipvs-generator.service /etc/ipvs-generator/config.yaml
            {Use}
            """);

        said.ShouldContain("TCP  10.96.0.10:80 rr");
        said.ShouldContain("-> 10.244.0.5:8080");
    }

    [Test]
    public async Task The_same_program_makes_the_same_packages()
    {
        RequirePackages();
        var again = Directory.CreateDirectory(Path.Combine(_folder, "again")).FullName;
        (await PackageAsync(again)).ExitCode.ShouldBe(0);

        Digests(again).ShouldBe(Digests(_folder));
        Digests(_folder).Count.ShouldBe(2);
    }

    /// <summary>
    /// The DaemonSet's two containers, with the rights that its manifest gives them: read-only roots, and few capabilities.
    /// </summary>
    [Test]
    public async Task The_image_serves_with_the_rights_of_its_daemonset()
    {
        RequirePackages();
        if (!File.Exists("/usr/sbin/dockerd"))
            Assert.Ignore($"{Verdicts.NotTestablePrefix}docker.io is not installed");
        var (image, manifest) = await ImageAsync();
        var capabilities = System.Text.RegularExpressions.Regex.Match(await File.ReadAllTextAsync(manifest), @"add: \[(?<names>[^\]]*)\]",
            System.Text.RegularExpressions.RegexOptions.ExplicitCapture, TimeSpan.FromSeconds(1)).Groups["names"].Value;
        capabilities.ShouldBe("NET_ADMIN, NET_RAW");
        var said = await InsideAsync($$"""
            cd {{ProjectFolder.Root}}
            unshare --mount --propagation private -- harness/Labs/Containers/engine.sh $PWD/harness/Labs/Containers/runtime.pl < <(sleep 1000) &
            engine=$!
            docker() { /usr/bin/docker --host unix:///proc/$engine/root/run/conformance-engine/docker.sock "$@"; }
            until docker version >/dev/null 2>&1; do kill -0 $engine; sleep 0.1; done
            docker load --quiet --input {{image}}
            image=$(docker images --quiet)
            touch /run/xtables.lock
            ip link set lo up
            run() { docker run --runtime node --network none --env CONFORMANCE_NETNS=/run/conformance-engine/proc/$$/ns/net --read-only \
                --volume /run/xtables.lock:/run/xtables.lock --tmpfs /tmp --volume "$top/objects.yaml:/objects.yaml:ro" "$@"; }
            modules=/lib/modules/$(uname -r)
            run --privileged --volume "$(readlink -f $modules):$modules:ro" "$image" watch --init-only -f /objects.yaml
            run --cap-drop ALL --cap-add NET_ADMIN --cap-add NET_RAW --security-opt no-new-privileges --detach "$image" \
                watch -f /objects.yaml --conntrack-max-per-core 0 --conntrack-min 0
            for i in $(seq 100); do ipvsadm -Ln | grep -q 10.244.0.5:8080 && break; sleep 0.1; done
            docker logs $(docker ps --latest --quiet) 2>&1
            curl --silent --max-time 5 --output /dev/null --write-out 'healthz %{http_code}\n' http://127.0.0.1:10256/healthz
            ipvsadm -Ln
            iptables-legacy-save -t nat
            iptables-nft-save -t nat
            kill $engine
            """);

        said.ShouldContain("-> 10.244.0.5:8080");
        said.ShouldContain("healthz 200");
        said.ShouldContain("KUBE-SERVICES");
        said.ShouldNotContain("error:");
        new FileInfo(image).Length.ShouldBeLessThan(40_000_000);
    }

    /// <summary>The article's chapters on clusters.</summary>
    [Test]
    public async Task The_image_is_a_proxy_under_test_that_holds()
    {
        RequirePackages();
        var (image, _) = await ImageAsync();
        var result = await LabProgram.Command("run", "--filter", "K-*,F-*,NP-*,DNS-*", "--proxy",
            "image:+ipvs,+refuses-other-ports[watch --kubeconfig {kubeconfig} --hostname-override {node} " +
            "--cluster-cidr=10.244.0.0/16,fd00:10:244::/48 --conntrack-max-per-core=0 --conntrack-min=0]=" + image)
            .ExecuteBufferedAsync();
        if (result.ExitCode == 3 && !File.Exists("/usr/sbin/dockerd")) // and an ordinary user may not install it
            Assert.Ignore($"{Verdicts.NotTestablePrefix}docker.io is not installed");

        result.ExitCode.ShouldBe(0, result.StandardOutput + result.StandardError);
        result.StandardOutput.ShouldContain(" 0 violated, 0 broken");
        int.Parse(result.StandardOutput.Split(" holds,")[0].Split('\n')[^1], CultureInfo.InvariantCulture).ShouldBeGreaterThanOrEqualTo(10);
    }

    private async Task<(string Image, string Manifest)> ImageAsync()
    {
        var folder = Directory.CreateDirectory(Path.Combine(_folder, "image")).FullName;
        var made = await LabProgram.Command("package", "--image", "--output", folder).ExecuteBufferedAsync();
        made.ExitCode.ShouldBe(0, made.StandardError);
        return (Directory.GetFiles(folder, "*-image.tar").ShouldHaveSingleItem(),
            Directory.GetFiles(folder, "*.yaml").ShouldHaveSingleItem());
    }

    private static bool IsThere => File.Exists(Programs.NativeGenerator);

    private static void RequirePackages()
    {
        if (!IsThere)
            Assert.Ignore($"{Verdicts.NotTestablePrefix}no native program was built, and ./lab package refused with exit code 3");
    }

    private string Made(string pattern) => Directory.GetFiles(_folder, pattern).ShouldHaveSingleItem();

    private static List<string> Digests(string folder) => [.. Directory.GetFiles(folder).Order(StringComparer.Ordinal)
        .Select(f => $"{Path.GetFileName(f)} {Convert.ToHexString(SHA256.HashData(File.ReadAllBytes(f)))}")];

    private static async Task<BufferedCommandResult> PackageAsync(string folder) =>
        await LabProgram.Command("package", "--output", folder).ExecuteBufferedAsync();

    private static async Task<string> InsideAsync(string script)
    {
        using var limit = new CancellationTokenSource(TimeSpan.FromMinutes(2));
        var result = await LabProgram.Command("kernel", "--", "unshare", "--mount", "--net", "bash", "-c", Enter + script)
            .ExecuteBufferedAsync(limit.Token);
        result.ExitCode.ShouldBe(0, result.StandardOutput + result.StandardError);
        return result.StandardOutput;
    }
}
