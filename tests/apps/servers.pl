# Servers of Perl that echo: servers.pl KIND PORT
use strict;
use warnings;
use IO::Select;
use IO::Socket::INET;

my ($kind, $port) = @ARGV;
my @address = (LocalAddr => '127.0.0.1', LocalPort => $port, Listen => 20, ReuseAddr => 1);

if ($kind eq 'http') {
    require HTTP::Daemon;
    my $server = HTTP::Daemon->new(@address) or die "$@";
    local $SIG{CHLD} = 'IGNORE';
    while (my $client = $server->accept) {
        if (!fork) {
            while (my $request = $client->get_request) {
                $client->send_response(HTTP::Response->new(200, 'OK', undef, $request->content));
            }
            exit;
        }
    }
}

my $server = IO::Socket::INET->new(@address) or die "$@";

if ($kind eq 'forks') {
    # Buffered both ways, as <$fh> and print are; the child's line is the unit.
    $SIG{CHLD} = 'IGNORE';
    while (my $client = $server->accept) {
        if (fork) {
            close $client;
            next;
        }
        binmode $client;
        while (sysread $client, my $data, 50000) {
            print {$client} $data;
            $client->flush;
        }
        exit;
    }
} else {
    my $select = IO::Select->new($server);
    while (my @ready = $select->can_read) {
        for my $socket (@ready) {
            if ($socket == $server) {
                $select->add(scalar $server->accept);
            } elsif (sysread $socket, my $data, 50000) {
                while (length $data) {
                    my $n = syswrite $socket, $data;
                    last if !defined $n;
                    substr($data, 0, $n) = '';
                }
            } else {
                $select->remove($socket);
                close $socket;
            }
        }
    }
}
