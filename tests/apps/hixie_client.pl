# A client on Protocol::WebSocket: hixie_client.pl VERSION PORT [CAFILE], VERSION as that module names the drafts. With CAFILE it
# speaks TLS, to a server with a certificate of that authority.
# Every line of the standard input goes out as one frame of base64; what the frames received carry is written to the
# standard output. The end of the input closes the connection as the draft does.
use strict;
use warnings;

use IO::Handle;
use IO::Select;
use IO::Socket::INET;
use MIME::Base64;
use Protocol::WebSocket::Frame;
use Protocol::WebSocket::Handshake::Client;

my ($version, $port, $cafile) = @ARGV;
my $socket;
if (defined $cafile) {
    require IO::Socket::SSL;
    $socket = IO::Socket::SSL->new(
        PeerAddr => '127.0.0.1', PeerPort => $port, SSL_ca_file => $cafile, SSL_verifycn_scheme => 'http',
    ) or die "connect: $IO::Socket::SSL::SSL_ERROR";
} else {
    $socket = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port, Proto => 'tcp') or die "connect: $!";
}
my $scheme = defined $cafile ? 'wss' : 'ws';
my $handshake = Protocol::WebSocket::Handshake::Client->new(
    url     => "$scheme://127.0.0.1:$port/chat",
    version => $version,
    origin  => 'http://example.com',
);
my $frame = Protocol::WebSocket::Frame->new(version => $version);
STDOUT->autoflush(1);

sub send_all {
    my ($bytes) = @_;
    while (length $bytes) {
        my $n = syswrite $socket, $bytes;
        die "write: $!" unless defined $n;
        substr $bytes, 0, $n, '';
    }
}

send_all($handshake->to_string);
until ($handshake->is_done) {
    die 'the server ended the handshake' unless sysread $socket, my $bytes, 4096;
    # parse takes what belongs to the handshake and leaves the frames behind it.
    $handshake->parse($bytes) or die 'handshake: ' . $handshake->error;
    $frame->append($bytes) if $handshake->is_done;
}
# The module itself does not look at it.
my $location = $handshake->res->location;
die "location $location" unless $location eq "$scheme://127.0.0.1:$port/chat";
print "open\n";

my $select = IO::Select->new($socket, \*STDIN);
my $input = '';
CHAT: while (1) {
    while (defined(my $text = $frame->next_bytes)) {
        last CHAT if $frame->can('is_close') && $frame->is_close;
        print decode_base64($text);
    }
    # What TLS has decrypted is no longer in the socket.
    my @waiting = defined $cafile && $socket->pending ? ($socket) : $select->can_read;
    for my $ready (@waiting) {
        my $n = sysread $ready, my $bytes, 65536;
        if ($ready == $socket) {
            last CHAT unless $n;
            last CHAT if $bytes eq "\xFF\x00";
            $frame->append($bytes);
        } elsif ($n) {
            $input .= $bytes;
            while ($input =~ s/^(.*\n)//) {
                send_all(Protocol::WebSocket::Frame->new(buffer => encode_base64($1, ''), version => $version)->to_bytes);
            }
        } else {
            $select->remove(\*STDIN);
            send_all("\xFF\x00") if $version eq 'draft-ietf-hybi-00';
            # TLS has no end of one side alone; draft 75 has no frame that closes.
            shutdown $socket, 1 unless defined $cafile;
            last CHAT if defined $cafile && $version eq 'draft-hixie-75';
        }
    }
}
print "closed\n";
