#!/usr/bin/perl
# The runtime of an engine's containers: crun, or runc where there is no crun, or cgroups are not those of version 2, which crun wants. A
# container whose environment names a network namespace gets that one: engines have no such option.
use strict;
use warnings;

for my $i (0 .. $#ARGV - 1) {
    next unless $ARGV[$i] eq '--bundle';    # of "create": the folder of the container's config.json (OCI runtime-spec, config.md)
    my $path = "$ARGV[$i + 1]/config.json";
    open my $file, '+<', $path or die "$path: $!\n";
    read $file, my $json, -s $file;
    my $changed = 0;
    if ($json =~ s/,?"CONFORMANCE_NETNS=([^"]+)"//) {
        my $namespace = $1;
        $json =~ s/\{"type":"network"[^}]*\}/{"type":"network","path":"$namespace"}/ or die "$path has no network namespace\n";
        $changed = 1;
    }
    # Engines limit the input and output of every container, though by nothing; crun refuses that where the kernel cannot.
    if (!has_controller('io')) {
        my $object = qr/(\{(?:[^{}]|(?-1))*\})/;
        $changed |= $json =~ s/,"blockIO":$object// || $json =~ s/"blockIO":$object,?//;
    }
    if ($changed) {
        seek $file, 0, 0;
        print {$file} $json;
        truncate $file, tell $file;
    }
    close $file or die "$path: $!\n";
}
my @crun = -e '/sys/fs/cgroup/cgroup.controllers' ? '/usr/bin/crun' : ();
my ($runtime) = grep { -x } @crun, '/usr/sbin/runc', '/usr/bin/runc';
exec {$runtime} $runtime, @ARGV or die "$runtime: $!\n";

# Whether the kernel has a controller of cgroups of version 2 (cgroups(7)); of version 1 nothing is asked.
sub has_controller {
    my ($name) = @_;
    open my $list, '<', '/sys/fs/cgroup/cgroup.controllers' or return 1;
    return scalar grep { $_ eq $name } split ' ', <$list> // '';
}
