# Process 1 of the lab kernel: makes a root that can be written to and thrown away, runs one command, halts.
#
#   perl guest-init.pl LINE MODULES
#
# LINE is the device of the line to the launcher. MODULES is the folder of this machine that has the kernel's modules, by release.
#
# It is one Perl process (perl-base is on every Debian) and not a shell script because in a user-mode kernel every
# process costs 20-60 ms and a system call nothing.
#
# Everything that goes in and out travels in frames over one serial line: type (1 byte), length (2 bytes, big
# endian), payload. To the guest: K the command (empty: its end), I standard input (empty: its end), T relayed bytes (empty:
# closed), S signal number, W rows and columns of the terminal. From the guest: R ready for the command, B the command was
# started, O standard output, E standard error, C the relayed connection was opened, T its bytes, A number of streamed bytes
# (K, I, T) taken, H still alive (once a second), X exit code, F failure of this script or the kernel in words.
#
# The command is, each part ended by a zero byte: working directory, writable folder, TCP port to relay or 0, "tty" or "",
# number of environment variables, the variables, the arguments. It comes over the line and not in a file, because the
# variables may hold secrets and a killed run would leave the file behind.
use strict;
use warnings;

use constant {    # x86-64 system call numbers and ioctls
    SYS_mount => 165, SYS_pivot_root => 155, SYS_finit_module => 313, SYS_reboot => 169, SYS_setrlimit => 160, SYS_umount2 => 166,
    TCGETS => 0x5401, TCSETS => 0x5402, TCSBRK => 0x5409, TIOCSCTTY => 0x540E, TIOCSWINSZ => 0x5414,
    TIOCSPTLCK => 0x40045431, TIOCGPTN => 0x80045430, SIOCSIFFLAGS => 0x8914, MAX_FRAME => 16384, MAX_BUFFER => 1 << 20,
};

my ($line_device, $module_root) = @ARGV;
my $line;

sub halt { syscall(SYS_reboot, 0xfee1dead, 672274793, 0x4321fedc, 0) }

sub send_frame {
    my ($type, $payload) = @_;
    my $bytes = $type . pack('n', length $payload) . $payload;
    while (length $bytes) {
        my $count = syswrite $line, $bytes;
        halt() unless defined $count || $!{EINTR};
        substr($bytes, 0, $count // 0, '');
    }
}

sub fail { refuse("@_: $!") }

sub refuse {
    my ($words) = @_;
    print STDERR "guest-init: $words\n";
    if ($line) {
        send_frame('F', $words);
        ioctl($line, TCSBRK, 1);
    }
    halt();
}

sub mount {    # syscall() wants strings that it could change: these copies are
    my ($source, $target, $type, $options, $flags) = @_;
    $options = '' unless defined $options;
    $flags //= 0;
    syscall(SYS_mount, $source, $target, $type, $flags, $options) == 0 or fail("mount $type on $target");
}

sub raw {    # no echo, no translation, eight bits
    my ($tty) = @_;
    my $termios = "\0" x 60;
    ioctl($tty, TCGETS, $termios) or fail('TCGETS');
    my @words = unpack 'L4a*', $termios;
    @words[0, 1, 3] = (0, 0, 0);
    ioctl($tty, TCSETS, my $new = pack('L4a*', @words)) or fail('TCSETS');
}

sub slurp {
    my ($path) = @_;
    open my $file, '<', $path or fail("read $path");
    local $/;
    return scalar <$file>;
}

# A throw-away view of the host's files: overlay them with memory.
mount('proc', '/proc', 'proc');
my $release = slurp('/proc/sys/kernel/osrelease');
chomp $release;
mount('tmpfs', '/run', 'tmpfs');
my $modules = "$module_root/$release";
if (slurp('/proc/filesystems') !~ /\boverlay$/m && open my $module, '<', "$modules/kernel/fs/overlayfs/overlay.ko") {
    syscall(SYS_finit_module, fileno $module, my $none = '', 0) == 0 or fail('load overlay.ko');
}
mkdir "/run/$_" for qw(upper work root);

# Started by an ordinary user, the kernel sees root's files as nobody's: without nosuid, mount(8) would become nobody.
use constant MS_NOSUID => 2;
mount('overlay', '/run/root', 'overlay', 'lowerdir=/,upperdir=/run/upper,workdir=/run/work', MS_NOSUID);
chdir '/run/root';
mkdir '.host';
if (-d $modules) {
    mkdir 'lib/modules';
    symlink $modules, "lib/modules/$release" unless -e "lib/modules/$release";
}
# pivot_root moves the kernel's own threads too, so that modprobe, which they start, finds the modules.
syscall(SYS_pivot_root, my $new_root = '.', my $old_root = '.host') == 0 or fail('pivot_root');
chroot '.';
chdir '/';
syscall(SYS_umount2, my $host = '/.host', 2);    # MNT_DETACH: the overlay keeps what it needs
rmdir '/.host';
mount('proc', '/proc', 'proc');
mount('sysfs', '/sys', 'sysfs');
mount('tmpfs', '/run', 'tmpfs');
mount('devtmpfs', '/dev', 'devtmpfs');
mkdir '/dev/shm';
mount('tmpfs', '/dev/shm', 'tmpfs', 'mode=1777');
mkdir '/dev/pts';
mount('devpts', '/dev/pts', 'devpts', 'ptmxmode=0666');
symlink '/proc/self/fd', '/dev/fd';
syscall(SYS_setrlimit, 7, my $files = pack('QQ', 1048576, 1048576));    # RLIMIT_NOFILE
socket(my $control, 2, 2, 0) or fail('socket');
ioctl($control, SIOCSIFFLAGS, my $lo_up = pack('a16s', 'lo', 1)) or fail('set lo up');
close $control;

open $line, '+<', $line_device or fail('open the serial line');
raw($line);

# Labs need IPVS: a kernel without it is refused before the command starts.
my $missing = -e '/proc/net/ip_vs' ? '' : `/sbin/modprobe ip_vs 2>&1`;
refuse("this kernel has no IPVS (CONFIG_IP_VS): " . ($missing =~ s/\s+$//r || 'there is no /proc/net/ip_vs')) unless -e '/proc/net/ip_vs';

# The next whole frame of what has arrived; nothing when there is none yet.
my $from_host = '';
my $taken = 0;

sub next_frame {
    return if length $from_host < 3;
    my ($type, $length) = unpack 'a n', $from_host;
    return if length $from_host < 3 + $length;
    my $payload = substr $from_host, 3, $length;
    substr($from_host, 0, 3 + $length, '');
    $taken += $length if $type =~ /[KIT]/;
    return ($type, $payload);
}

send_frame('R', '');
my $command = '';
for (my $whole = 0 ; !$whole ;) {
    halt() unless sysread $line, $from_host, MAX_FRAME, length $from_host;    # the launcher is gone
    while (my ($type, $payload) = next_frame()) {
        if    ($type eq 'K') { $command .= $payload; $whole = $payload eq '' }
        elsif ($type eq 'S') { halt() }    # interrupted before it began
        last if $whole;
    }
    send_frame('A', $taken) if $taken;
    $taken = 0;
}

my ($cwd, $writable, $relay_port, $tty, $variables, @rest) = split /\0/, $command, -1;
pop @rest;    # behind the last zero
my %environment = map { split /=/, $_, 2 } splice @rest, 0, $variables;
if ($writable ne '') {
    if (slurp('/proc/filesystems') =~ /\bhostfs$/m) { mount('none', $writable, 'hostfs', $writable) }
    else { mount('run', $writable, '9p', 'trans=virtio,version=9p2000.L,msize=1048576') }
}

my $listener;
if ($relay_port) {
    socket($listener, 2, 1, 0) or fail('socket');
    setsockopt($listener, 1, 2, 1);
    bind($listener, pack('S n C4 x8', 2, $relay_port, 127, 0, 0, 1)) or fail("listen on port $relay_port");
    listen($listener, 1);
}

# Start the command.
my ($in, $out, $err, $in_child, $out_child, $err_child, $terminal);
if ($tty) {
    open $terminal, '+<', '/dev/ptmx' or fail('open a terminal');
    ioctl($terminal, TIOCSPTLCK, my $unlock = pack('i', 0));
    ioctl($terminal, TIOCGPTN, my $number = pack('i', 0)) or fail('TIOCGPTN');
    open $in_child, '+<', '/dev/pts/' . unpack('i', $number) or fail('open the terminal');
    ($in, $out, $out_child, $err_child) = ($terminal, $terminal, $in_child, $in_child);
}
else {
    pipe $in_child, $in or fail('pipe');
    pipe $out, $out_child or fail('pipe');
    pipe $err, $err_child or fail('pipe');
}

my ($child, $exit_code);
$SIG{CHLD} = sub {
    while ((my $pid = waitpid -1, 1) > 0) {
        $exit_code = $? & 127 ? 128 + ($? & 127) : $? >> 8 if $pid == $child;
    }
};
$child = fork;
fail('fork') unless defined $child;
if ($child == 0) {
    require POSIX;
    POSIX::setsid();
    POSIX::dup2(fileno $in_child, 0);
    POSIX::dup2(fileno $out_child, 1);
    POSIX::dup2(fileno $err_child, 2);
    ioctl(STDIN, TIOCSCTTY, my $force = pack('i', 0)) if $tty;
    POSIX::close($_) for 3 .. 20;
    $SIG{CHLD} = 'DEFAULT';
    %ENV = %environment;
    chdir $cwd or do { print STDERR "guest-init: chdir $cwd: $!\n"; POSIX::_exit(126) };
    exec { $rest[0] } @rest or do { print STDERR "$rest[0]: $!\n"; POSIX::_exit(127) };
}
close $in_child;
close $out_child unless $tty;
close $err_child unless $tty;
send_frame('B', '');

# Move bytes until the command has ended and its output is drained.
my ($to_command, $command_input_ended, $connection, $to_connection, $connection_ended) = ('', 0, undef, '', 0);
my %open = map { fileno($_->[0]) => $_ } grep { $_->[0] } ([$out, 'O'], [$err, 'E']);
my ($grace, $alive) = (0, time);
while (1) {
    if (time != $alive) { send_frame('H', ''); $alive = time }
    # A process in the background may keep the output open: it does not keep the kernel running.
    last if defined $exit_code && (!%open || $grace++ > 5);
    my ($read, $write) = ('', '');
    vec($read, fileno $line, 1) = 1;
    vec($read, $_, 1) = 1 for keys %open;
    vec($read, fileno $listener, 1) = 1 if $listener && !$connection;
    vec($read, fileno $connection, 1) = 1 if $connection;
    vec($write, fileno $in, 1) = 1 if $in && length $to_command;
    vec($write, fileno $connection, 1) = 1 if $connection && length $to_connection;
    my $ready = select $read, $write, undef, defined $exit_code ? 0.02 : 0.5;
    next if $ready <= 0;
    $grace = 0;

    for my $fd (keys %open) {
        next unless vec $read, $fd, 1;
        my ($handle, $type) = @{ $open{$fd} };
        if (sysread $handle, my $bytes, MAX_FRAME) { send_frame($type, $bytes) }
        elsif (!$!{EINTR}) { delete $open{$fd} }
    }
    if ($connection && vec $read, fileno $connection, 1) {
        if (sysread $connection, my $bytes, MAX_FRAME) { send_frame('T', $bytes) }
        else { send_frame('T', ''); close $connection; undef $connection; undef $listener }
    }
    elsif ($listener && !$connection && vec $read, fileno $listener, 1) {
        accept $connection, $listener;
        send_frame('C', '');
    }
    if (vec $read, fileno $line, 1) {
        halt() unless sysread $line, $from_host, MAX_FRAME, length $from_host;    # the launcher is gone
        while (my ($type, $payload) = next_frame()) {
            if ($type eq 'I') { length $payload ? ($to_command .= $in ? $payload : '') : ($command_input_ended = 1) }
            elsif ($type eq 'T') { length $payload ? ($to_connection .= $payload) : ($connection_ended = 1) }
            elsif ($type eq 'S') { kill -$payload, $child }
            elsif ($type eq 'W' && $terminal) { ioctl($terminal, TIOCSWINSZ, my $size = pack('SSSS', split(/ /, $payload), 0, 0)) }
        }
    }
    if ($in && length $to_command && vec $write, fileno $in, 1) {
        local $SIG{PIPE} = 'IGNORE';
        my $count = syswrite $in, $to_command, 4096;
        if (defined $count) { substr($to_command, 0, $count, '') }
        elsif (!$!{EINTR}) { close $in unless $tty; undef $in; $to_command = '' }
    }
    if ($in && !$tty && $command_input_ended && !length $to_command) { close $in; undef $in }
    if ($connection && length $to_connection) {
        local $SIG{PIPE} = 'IGNORE';
        my $count = syswrite $connection, $to_connection;
        substr($to_connection, 0, $count // 0, '');
    }
    # What the command or the connection does not read stays with the sender.
    if ($taken && length($to_command) + length($to_connection) < MAX_BUFFER) { send_frame('A', $taken); $taken = 0 }
    if ($connection && $connection_ended && !length $to_connection) { shutdown $connection, 1; $connection_ended = 0 }
}
send_frame('X', $exit_code);
# The frame is out when the line is drained; a halted kernel sends nothing more.
ioctl($line, TCSBRK, 1);
halt();
