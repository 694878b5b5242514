using Conformance.Reports;
using Conformance.Topologies;

namespace Conformance.Suite.Ipvsadm;

/// <summary>What ipvsadm and the kernel refuse, with which words; the table stays as it was.</summary>
[Topology("article-nat")]
public sealed class RefusedCommands : ArticleFixture
{
    [SetUp]
    public async Task AddOneServer()
    {
        await Director.RunAsync("ipvsadm -A -t 10.10.0.1:8410 -s rr");
        await Director.RunAsync("ipvsadm -a -t 10.10.0.1:8410 -r 192.168.113.99:8080 -m");
    }

    [TestCase("-A -t 10.10.0.1:8410 -s rr", "Service already exists")]
    [TestCase("-a -t 10.10.0.1:8410 -r 192.168.113.99:8080 -m", "Destination already exists")]
    [Claim("ADM-6")]
    public Task What_is_there_is_not_added(string command, string words) => ShouldChangeNothingAsync(command, words);

    [TestCase("-D -t 10.10.0.1:81", "No such service")]
    [TestCase("-E -t 10.10.0.1:81 -s rr", "No such service")]
    [TestCase("-a -t 10.10.0.1:81 -r 192.168.113.99:8080 -m", "Service not defined")]
    [TestCase("-d -t 10.10.0.1:8410 -r 192.168.113.100:8080", "No such destination")]
    [TestCase("-e -t 10.10.0.1:8410 -r 192.168.113.100:8080 -m", "No such destination")]
    [TestCase("--stop-daemon master", "No daemon is running")]
    [Claim("ADM-7")]
    public Task What_is_not_there_is_neither_changed_nor_deleted(string command, string words) => ShouldChangeNothingAsync(command, words);

    [TestCase("-A -t 10.10.0.1:81 -s nosuch", "Scheduler or persistence engine not found")]
    [TestCase("-A -u 10.10.0.1:81 -s rr -p 10 --pe nosuch", "Scheduler or persistence engine not found")]
    [TestCase("-A -t 10.10.0.1:81 -s rr -b nosuch", "invalid scheduler flag")]
    [TestCase("-a -t 10.10.0.1:8410 -r 192.168.113.100:8080 -i --tun-type nosuch", "illegal tunnel type specified")]
    [Claim("ADM-8")]
    public Task An_unknown_scheduler_engine_flag_or_tunnel_is_refused(string command, string words) =>
        ShouldChangeNothingAsync(command, words);

    [TestCase("-A -t 10.10.0.1:0 -s rr", "Zero port specified for non-persistent service")]
    [TestCase("-A -t 10.10.0.1:70000 -s rr", "illegal virtual server address[:port] specified")]
    [TestCase("-A -f 0 -s rr", "invalid fwmark value `0' specified")]
    [TestCase("-A -t 10.10.0.1:81 -s rr -p 0", "invalid timeout value `0' specified")]
    [TestCase("-A -t 10.10.0.1:81 -s rr -o", "One-Packet Scheduling is only for UDP virtual services")]
    [TestCase("-a -t 10.10.0.1:8410 -r 192.168.113.100:8080 -m -w -1", "illegal weight specified")]
    [TestCase("-a -t 10.10.0.1:8410 -r 192.168.113.100:8080 -m -x 3 -y 5", "Numerical result out of range")]
    [TestCase("--set 1 2", "--set option requires 3 timeout values")]
    [Claim("ADM-9")]
    public Task A_value_out_of_range_is_refused(string command, string words) => ShouldChangeNothingAsync(command, words);

    [TestCase("-a -t 10.10.0.1:8410 -r [fd00::2]:80 -m", "Different address family is allowed only for tunneling servers")]
    [TestCase("-a -t 10.10.0.1:8410 -r [fd00::2]:80 -g", "Different address family is allowed only for tunneling servers")]
    [TestCase("-a -t 10.10.0.1:8410 -r 224.0.0.1:80 -m", "address not unicast")]
    [TestCase("--start-daemon master --mcast-interface nosuch", "No such device")]
    [Claim("ADM-10")]
    public Task A_server_of_another_family_or_no_address_of_a_host_is_refused(string command, string words) =>
        ShouldChangeNothingAsync(command, words);

    private async Task ShouldChangeNothingAsync(string arguments, string words)
    {
        var before = await Director.RunAsync("ipvsadm -Sn");

        await ShouldBeRefusedAsync($"ipvsadm {arguments}", words);

        (await Director.RunAsync("ipvsadm -Sn")).ShouldBe(before);
    }
}
