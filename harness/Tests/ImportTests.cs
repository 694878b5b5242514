using CliWrap;
using CliWrap.Buffered;
using Conformance.Labs;
using Conformance.Launcher.Imports;
using Conformance.Topologies;

namespace Conformance.Tests;

/// <summary>Dumps of nodes as people attach them, written for these tests in the formats of several versions of the tools.</summary>
[NonParallelizable]
public sealed class ImportTests
{
    private string _folder = "";

    [SetUp]
    public void MakeFolder() => _folder = Directory.CreateDirectory(
        Path.Combine(ProjectFolder.Root, "artifacts", $"test-import-{Guid.NewGuid():N}")).FullName;

    [TearDown]
    public void RemoveFolder() => Directory.Delete(_folder, recursive: true);

    [Test]
    public void The_list_of_ipvsadm_gives_the_lines_of_its_save()
    {
        var listed = Read("""
            [root@node1 ~]# ipvsadm -L -n
            IP Virtual Server version 1.2.1 (size=1048576)
            Prot LocalAddress:Port Scheduler Flags
              -> RemoteAddress:Port           Forward Weight ActiveConn InActConn
            TCP  10.96.0.10:53 rr persistent 10800 mask 255.255.255.0
              -> 10.244.0.5:53                Masq    1      0          0
            TCP  [fd00::10]:80 sh (sh-port)
              -> [fd00::5]:8080               Tunnel  3      0          0
            UDP  10.96.0.10:53 rr ops
            FWM  7 wlc
            SCTP 10.96.0.11:9000 wrr
              -> 10.244.0.6:9000              Route   1      0          0
            """);

        listed.Problems.ShouldBeEmpty();
        listed.Ipvs.Select(l => l.Text).ShouldBe(Read("""
            -A -t 10.96.0.10:53 -s rr -p 10800 -M 255.255.255.0
            -a -t 10.96.0.10:53 -r 10.244.0.5:53 -m -w 1
            -A -t [fd00::10]:80 -s sh -b sh-port
            -a -t [fd00::10]:80 -r [fd00::5]:8080 -i -w 3
            -A -u 10.96.0.10:53 -s rr -o
            -A -f 7 -s wlc
            -A --sctp-service 10.96.0.11:9000 -s wrr
            -a --sctp-service 10.96.0.11:9000 -r 10.244.0.6:9000 -g -w 1
            """).Ipvs.Select(l => l.Text));
        listed.VirtualAddresses.ShouldBe(["10.96.0.10", "10.96.0.11", "fd00::10"], ignoreOrder: true);
        listed.SharesVirtualAddresses.ShouldBeTrue();
    }

    [Test]
    public void A_virtual_server_that_is_dumped_twice_is_taken_once()
    {
        File.WriteAllText(Path.Combine(_folder, "a"), "-A -t 10.0.0.1:80 -s rr\n-a -t 10.0.0.1:80 -r 10.1.0.1:80 -m -w 1\n");
        File.WriteAllText(Path.Combine(_folder, "b"), "TCP  10.0.0.1:80 rr\n  -> 10.1.0.1:80  Masq  1  0  0\n");

        DumpReader.Read(_folder).Ipvs.Count.ShouldBe(2);
    }

    [Test]
    public void The_list_of_ipset_gives_the_lines_of_its_save()
    {
        var dump = Read("""
            Name: KUBE-CLUSTER-IP
            Type: hash:ip,port
            Revision: 6
            Header: family inet hashsize 1024 maxelem 65536 bucketsize 12 initval 0x6b2c1f00
            Size in memory: 408
            References: 2
            Number of entries: 2
            Members:
            10.96.0.1,tcp:443
            10.96.0.10,udp:53

            Name: KUBE-NODE-PORT-TCP
            Type: bitmap:port
            Revision: 3
            Header: range 0-65535
            Size in memory: 8264
            References: 1
            Members:
            30080
            """);

        dump.Problems.ShouldBeEmpty();
        dump.Sets.Select(l => l.Text).ShouldBe(["create KUBE-CLUSTER-IP hash:ip,port family inet hashsize 1024 maxelem 65536",
            "add KUBE-CLUSTER-IP 10.96.0.1,tcp:443", "add KUBE-CLUSTER-IP 10.96.0.10,udp:53",
            "create KUBE-NODE-PORT-TCP bitmap:port range 0-65535", "add KUBE-NODE-PORT-TCP 30080"]);
    }

    [Test]
    public void The_last_list_of_ipset_ends_where_another_dump_begins()
    {
        var dump = Read("root@n:~# ipset list\nName: A\nType: hash:ip\nHeader: family inet\nMembers:\n10.0.0.1\nroot@n:~# ipvsadm -Ln\n" +
            "TCP  10.0.0.1:80 rr\n  -> 10.1.0.1:80  Masq  1  0  0\nName: B\nType: hash:ip\nHeader: family inet\nMembers:\n10.0.0.2\n" +
            "*nat\n:PREROUTING ACCEPT [0:0]\nCOMMIT\n");

        dump.Problems.ShouldBeEmpty();
        (dump.Sets.Count, dump.Ipvs.Count, dump.Rules.Count).ShouldBe((4, 2, 3));
    }

    [Test]
    public void A_firewall_mark_of_each_family_is_a_virtual_server()
    {
        var saved = Read("-A -f 7 -s rr\n-a -f 7 -r 10.1.0.1:0 -m -w 1\n-A -f 7 -6 -s rr\n-a -f 7 -6 -r [fd00::5]:0 -m -w 1\n");
        var listed = Read("FWM  7 rr\n  -> 10.1.0.1:0  Masq  1  0  0\nFWM  7 IPv6 rr\n  -> [fd00::5]:0  Masq  1  0  0\n");

        saved.Problems.ShouldBeEmpty();
        saved.Ipvs.Select(l => l.Text).ShouldBe(["-A -f 7 -s rr", "-a -f 7 -r 10.1.0.1:0 -m -w 1", "-A -f 7 -6 -s rr",
            "-a -f 7 -6 -r [fd00::5]:0 -m -w 1"]);
        listed.Ipvs.Select(l => l.Text).ShouldBe(saved.Ipvs.Select(l => l.Text));
    }

    [Test]
    public void Real_servers_of_an_unknown_virtual_server_are_nobodys()
    {
        var dump = Read("TCP  10.0.0.1:80 rr\n  -> 10.1.0.1:80  Masq  1  0  0\nTCP  10.0.0.2:80 rr from-the-future\n" +
            "  -> 10.1.0.2:80  Masq  1  0  0\n");

        dump.Problems.Count.ShouldBe(2);
        dump.Ipvs.Count.ShouldBe(2);
    }

    [TestCase("2: eth0: <BROADCAST,UP> mtu 1500 state UP\n    link/ether 00:50:56:00:00:01 brd ff:ff:ff:ff:ff:ff\n" +
        "    inet 192.168.1.10/24 brd 192.168.1.255 scope global eth0\n       valid_lft forever preferred_lft forever\n" +
        "    inet 192.168.1.11/24 scope global secondary eth0:1\n    inet6 fe80::1/64 scope link\n")]
    [TestCase("2: eth0    inet 192.168.1.10/24 brd 192.168.1.255 scope global eth0\\       valid_lft forever preferred_lft forever\n" +
        "2: eth0    inet 192.168.1.11/24 scope global secondary eth0\n")]
    [TestCase("lo               UNKNOWN        127.0.0.1/8 ::1/128 \neth0@if5         UP             192.168.1.10/24 192.168.1.11/24 " +
        "fe80::1/64 \n")]
    public void Addresses_are_read_in_every_form_of_ip(string text)
    {
        var dump = Read($"-A -t 192.168.1.10:80 -s rr\n{text}\ndefault via 192.168.1.1 dev eth0 proto dhcp metric 100\n");

        dump.Problems.ShouldBeEmpty();
        dump.Addresses.ShouldBe([new DumpAddress("eth0", "192.168.1.10/24"), new DumpAddress("eth0", "192.168.1.11/24")]);
        dump.MainDevice.ShouldBe("eth0");
    }

    [Test]
    public void What_is_cut_off_or_unknown_is_reported_and_the_rest_is_taken()
    {
        var dump = Read("\t-A -t 10.0.0.1:80   -s rr\u00a0\n  -a -t 10.0.0.1:80 -r rs1:80 -m -w 1\n-a -t 10.0.0.1:80 -r 10.1.0.1:80 -m " +
            "-w 1\r\n" +
            "something else\n*nat\n:PREROUTING ACCEPT [0:0]\n[5:300] -A PREROUTING -d 10.0.0.1/32 -j ACCEPT\n");

        dump.Problems.Select(p => p.Text).ShouldBe(["rs1:80", "something else", "*nat"]);
        dump.Problems[1].Place.ShouldBe("dump:4");
        dump.Ipvs.Count.ShouldBe(2);
        dump.Rules.Select(r => r.Text).ShouldBe(["*nat", ":PREROUTING ACCEPT [0:0]", "[5:300] -A PREROUTING -d 10.0.0.1/32 -j ACCEPT",
            "COMMIT"]);
    }

    [Test]
    public void Rules_of_both_families_are_kept_apart()
    {
        var dump = Read("# Generated by ip6tables-save v1.8.7 on Mon Jan  1 00:00:00 2024\n*filter\n:INPUT ACCEPT [0:0]\nCOMMIT\n" +
            "# Generated by iptables-save v1.4.21 on Mon Jan  1 00:00:00 2016\n*nat\n:PREROUTING ACCEPT [0:0]\nCOMMIT\n");

        dump.Rules6.Select(r => r.Text).ShouldBe(["*filter", ":INPUT ACCEPT [0:0]", "COMMIT"]);
        dump.Rules[0].Text.ShouldBe("*nat");
    }

    [Test]
    public void Of_all_settings_those_that_steer_packets_are_taken()
    {
        var dump = Read("-A -t 10.0.0.1:80 -s rr\nnet.ipv4.vs.conntrack = 1\nnet.ipv4.ip_forward=1\nkernel.hostname = node1\n" +
            "net.ipv4.conf.eth0.100.rp_filter = 2\nfs.file-nr = 1024\t0\t98\n");

        dump.Problems.ShouldBeEmpty();
        dump.Sysctls.Select(s => s.Text).ShouldBe(["net.ipv4.vs.conntrack=1", "net.ipv4.ip_forward=1",
            "net.ipv4.conf.eth0.100.rp_filter=2"]);
    }

    [TestCase("")]
    [TestCase("2: eth0: <UP> mtu 1500\n    inet 10.9.0.7/32 scope global eth0\n")]
    [TestCase("3: a-device-with-a-long-name: <UP> mtu 1500\n    inet 10.9.0.7/8 scope global x\n    inet6 2001:db8::7/128 scope global\n")]
    public void The_topology_of_any_node_can_be_built(string addresses)
    {
        var topology = Topology.Load(ImportedLab.Write(_folder + "/state", Read($"-A -t 10.96.0.1:80 -s rr\n{addresses}")));

        topology.Nodes.Select(n => n.Name).ShouldBe(["client", "director", "servers"], ignoreOrder: true);
    }

    [Test]
    public void A_folder_without_a_dump_is_refused()
    {
        Should.Throw<HarnessException>(() => DumpReader.Read(_folder + "/none")).Message.ShouldContain("There is no folder");
        Should.Throw<HarnessException>(() => DumpReader.Read(_folder)).Message.ShouldContain("It is empty");
        Should.Throw<HarnessException>(() => Read("hello\n\0\u0001binary\n")).Message.ShouldContain("dump:1: hello");
    }

    [Test]
    public async Task An_imported_node_explains_what_happens_to_a_packet()
    {
        File.WriteAllText(Path.Combine(_folder, "node.txt"), """
            root@node1:~# ipvsadm -Ln
            TCP  10.96.0.10:53 rr
              -> 10.244.1.7:53                Masq    1      0          0
            TCP  [fd00:96::10]:53 rr
              -> [fd00:244::7]:53             Masq    1      0          0
            root@node1:~# ip addr
            2: ens192: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc fq_codel state UP group default qlen 1000
                inet 192.168.1.10/24 brd 192.168.1.255 scope global ens192
            6: cni0: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1450 qdisc noqueue state UP group default qlen 1000
                inet 10.244.1.1/24 brd 10.244.1.255 scope global cni0
            root@node1:~# ipset save
            create KUBE-CLUSTER-IP hash:ip,port family inet hashsize 1024 maxelem 65536
            add KUBE-CLUSTER-IP 10.96.0.10,tcp:53
            create FROM-THE-FUTURE hash:unheard family inet
            root@node1:~# iptables-save
            *nat
            :KUBE-MARK-MASQ - [0:0]
            -A PREROUTING -m set --match-set KUBE-CLUSTER-IP dst,dst -j KUBE-MARK-MASQ
            -A PREROUTING -m unheard --option -j ACCEPT
            -A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000
            -A POSTROUTING -m mark --mark 0x4000/0x4000 -j MASQUERADE
            COMMIT
            root@node1:~# ip6tables-save
            # Generated by ip6tables-save v1.8.9 (nf_tables) on Mon Jan  1 00:00:00 2024
            *nat
            -A POSTROUTING -d fd00:244::7/128 -j MASQUERADE
            COMMIT
            """);

        var shell = await LabProgram.Command("import", _folder).WithWorkingDirectory(ProjectFolder.Root)
            .WithStandardInputPipe(PipeSource.FromString("lab explain client 10.96.0.10:53\nlab explain client '[fd00:96::10]:53'\n"))
            .ExecuteBufferedAsync(new CancellationTokenSource(TimeSpan.FromMinutes(2)).Token);

        shell.ExitCode.ShouldBe(0, shell.StandardError);
        shell.StandardError.ShouldContain("2 virtual servers, 2 real servers, 2 sets, 5 rules, 2 addresses");
        shell.StandardError.ShouldContain("Not imported: node.txt:14 create FROM-THE-FUTURE hash:unheard family inet");
        shell.StandardError.ShouldContain("Not imported: node.txt:19 -A PREROUTING -m unheard --option -j ACCEPT");
        shell.StandardOutput.ShouldContain("asked tcp 10.96.0.10:53: answered by servers, servers saw 100.127.254.1:");
        shell.StandardOutput.ShouldContain("--match-set KUBE-CLUSTER-IP dst,dst -j KUBE-MARK-MASQ");
        shell.StandardOutput.ShouldContain("-> 10.96.0.10:53 -> 10.244.1.7:53");
        shell.StandardOutput.ShouldContain("asked tcp [fd00:96::10]:53: answered by servers, servers saw [fd6c:6162:6c61:6265::1]:");
        shell.StandardOutput.ShouldMatch("-d fd00:244::7/128 -j MASQUERADE|no trace of IPv6 that can be read");
    }

    private NodeDump Read(string text)
    {
        File.WriteAllText(Path.Combine(_folder, "dump"), text);
        return DumpReader.Read(_folder);
    }
}
