/* The ways in which a connection ends, from either side. */
#include "common.h"
#include <dirent.h>

static volatile sig_atomic_t pipes;
static void count(int signal) { (void)signal; pipes++; }

static void count_sigpipe(void)
{
	struct sigaction action = {.sa_handler = count};
	must(sigaction(SIGPIPE, &action, NULL), "sigaction");
}

static void read_rest(int fd)
{
	char buffer[10];
	report("read", read(fd, buffer, sizeof buffer));
	report("again", read(fd, buffer, sizeof buffer));
}

/* The server has said all; what the client still sends arrives. */
static void shut_wr(int listener)
{
	char buffer[3000];
	int fd = next_client(listener);
	count_sigpipe();
	fill(buffer, 100, 0);
	write_full(fd, buffer, 100);
	report("shutdown", shutdown(fd, SHUT_WR));
	report("write", write(fd, buffer, 1));
	say("SIGPIPE: %d", pipes);
	report("send", send(fd, buffer, 1, MSG_NOSIGNAL));
	say("SIGPIPE: %d", pipes);
	ask("0 send 3000");
	say_read("read", fd, buffer, 3000, 0);
	ask("0 close");
	read_rest(fd);
	close(fd);
	ask("0 expect 100");
	ask("0 end");
}

static void shut_rd(int listener)
{
	char buffer[100];
	int fd = next_client(listener);
	report("shutdown", shutdown(fd, SHUT_RD));
	read_rest(fd);
	fill(buffer, 100, 0);
	write_full(fd, buffer, 100);
	ask("0 expect 100");
	close(fd);
	ask("0 end");
}

static void shut_both(int listener)
{
	char buffer[100];
	int fd = next_client(listener);
	count_sigpipe();
	fill(buffer, 100, 0);
	write_full(fd, buffer, 100);
	report("bad", shutdown(fd, 7));
	report("shutdown", shutdown(fd, SHUT_RDWR));
	ask("0 expect 100");
	ask("0 end");
	read_rest(fd);
	report("write", write(fd, buffer, 1));
	say("SIGPIPE: %d", pipes);
}

/* The client is gone altogether; its reset is seen by a read first, or by a write first. */
static void reset(int listener)
{
	char byte = 0;
	count_sigpipe();
	for (int round = 0; round < 2; round++) {
		int fd = next_client(listener);
		struct pollfd p = {.fd = fd};
		if (round == 1)
			ask("%d noise", round);
		ask("%d rst", round);
		report("poll", poll(&p, 1, -1));
		say("revents: %x", p.revents);
		if (round == 0)
			read_rest(fd);
		else
			report("write", write(fd, &byte, 1));
		pipes = 0;
		report("write", write(fd, &byte, 1));
		say("SIGPIPE: %d", pipes);
		report("send", send(fd, &byte, 1, MSG_NOSIGNAL));
		say("SIGPIPE: %d", pipes);
		read_rest(fd);
		report("close", close(fd));
	}
}

/* The client closes both ways: the end, and sooner or later EPIPE. */
static void peer_closed(int listener)
{
	char byte = 0;
	long n;
	count_sigpipe();
	int fd = next_client(listener);
	ask("0 leave");
	read_rest(fd);
	do
		n = write(fd, &byte, 1);
	while (n > 0);
	report("write", n);
	say("SIGPIPE: %s", pipes > 0 ? "yes" : "no");
	pipes = 0;
	report("send", send(fd, &byte, 1, MSG_NOSIGNAL));
	say("SIGPIPE: %d", pipes);
}

/* A FIN without a Close is an end of file and no more: the server may go on writing. */
static void fin(int listener)
{
	char buffer[1000];
	int fd = next_client(listener);
	ask("0 send 200");
	ask("0 fin");
	say_read("read", fd, buffer, 200, 0);
	read_rest(fd);
	fill(buffer, 1000, 0);
	write_full(fd, buffer, 1000);
	ask("0 expect 1000");
	close(fd);
	ask("0 end");
}

/* One that ends with its last word hears the answer to it: the server is told of the end when it has read all, not before. */
static void last_word(int listener)
{
	char buffer[3000];
	count_sigpipe();
	for (int round = 0; round < 4; round++) {
		int fd = next_client(listener);
		struct pollfd p = {.fd = fd, .events = POLLIN};
		ask("%d whole 200", round);
		ask("%d close", round);
		await_client();
		if (round == 0)
			say_read("read", fd, buffer, 200, 0);
		else if (round == 1)
			report("read", read(fd, buffer, sizeof buffer));
		else
			report("all", recv(fd, buffer, sizeof buffer, MSG_WAITALL));
		if (round < 3) {
			report("poll", poll(&p, 1, -1));
			fill(buffer, 1000, 0);
			write_full(fd, buffer, 1000);
			ask("%d expect 1000", round);
		}
		say("SIGPIPE: %d", pipes);
		if (round < 2)
			read_rest(fd);
		if (round == 2)
			report("shutdown", shutdown(fd, SHUT_WR));
		close(fd);
		ask("%d end", round);
	}
}

/* The other side is shut down already, and so the connection is over when ours is. */
static void shut_last(int listener)
{
	for (int how = SHUT_WR; how <= SHUT_RDWR; how++) {
		int fd = next_client(listener);
		ask("%d fin", how - SHUT_WR);
		read_rest(fd);
		report("shutdown", shutdown(fd, how));
		close(fd);
		ask("%d end", how - SHUT_WR);
	}
}

static char large[3 << 20];

/* Nothing written before a close gets lost, whatever of no payload is unread. */
static void large_close(int listener)
{
	for (int round = 0; round < 3; round++) {
		int fd = next_client(listener);
		fill(large, sizeof large, 0);
		if (round == 1)
			ask("%d ping", round);
		if (round == 2)
			ask("%d noise", round);
		await_client();
		ask("%d slow %zu", round, sizeof large);
		write_full(fd, large, sizeof large);
		close(fd);
		ask("%d end", round);
	}
}

/* A non-blocking socket without room: what was reported arrives, though nothing fits behind it. */
static void nonblocking_close(int listener)
{
	size_t sent = 0;
	ssize_t n;
	int fd = next_client(listener);
	fill(large, sizeof large, 0);
	must(fcntl(fd, F_SETFL, O_NONBLOCK), "F_SETFL");
	while (sent < sizeof large && (n = write(fd, large + sent, sizeof large - sent)) > 0)
		sent += n;
	close(fd);
	ask("0 expect %zu", sent);
	ask("0 gone");
}

static int descriptors(void)
{
	int count = 0;
	DIR *dir = opendir("/proc/self/fd");
	while (readdir(dir))
		count++;
	closedir(dir);
	return count;
}

/* A client that is still reading when the server has closed, and sends what it sends all the while. */
static void noisy_close(int listener)
{
	struct pollfd p = {.fd = listener, .events = POLLIN};
	must(fcntl(listener, F_SETFL, O_NONBLOCK), "F_SETFL");
	report("nobody there", poll(&p, 1, 20));
	int before = descriptors();
	for (int round = 0; round < 3; round++) {
		size_t sent = 0;
		ssize_t n;
		ask("connect");
		must(poll(&p, 1, -1), "poll");
		int fd = must(accept(listener, NULL, NULL), "accept");
		fill(large, sizeof large, 0);
		must(fcntl(fd, F_SETFL, O_NONBLOCK), "F_SETFL");
		while (sent < sizeof large && (n = write(fd, large + sent, sizeof large - sent)) > 0)
			sent += n;
		close(fd);
		for (int i = 0; i < 3; i++) {
			ask("%d ping", round);
			await_client();
			/* The first client's pings come while nobody looks. */
			if (round > 0)
				report("nobody there", poll(&p, 1, 20));
		}
		ask("%d expect %zu", round, sent);
		ask("%d end", round);
		ask("%d drop", round);
		await_client();
		report("nobody there", poll(&p, 1, 200));
		say("descriptors: %d more", descriptors() - before);
	}
}

/* The same where a child serves the client, with or without the listener, and closes or ends. */
static void noisy_child(int listener)
{
	struct pollfd p = {.fd = listener, .events = POLLIN};
	must(fcntl(listener, F_SETFL, O_NONBLOCK), "F_SETFL");
	for (int round = 0; round < 4; round++) {
		int result[2], before;
		size_t sent = 0;
		ssize_t n;
		ask("connect");
		must(poll(&p, 1, -1), "poll");
		int fd = must(accept(listener, NULL, NULL), "accept");
		must(pipe(result), "pipe");
		if (must(fork(), "fork") == 0) {
			alarm(LIFETIME_SECONDS);
			if (round & 1)
				close(listener);
			fill(large, sizeof large, 0);
			must(fcntl(fd, F_SETFL, O_NONBLOCK), "F_SETFL");
			while (sent < sizeof large && (n = write(fd, large + sent, sizeof large - sent)) > 0)
				sent += n;
			must(write(result[1], &sent, sizeof sent), "write");
			if (round & 2)
				exit(0);
			close(fd);
			_exit(0);
		}
		close(fd);
		must(read(result[0], &sent, sizeof sent), "read");
		must(wait(NULL), "wait");
		close(result[0]);
		close(result[1]);
		report("nobody there", poll(&p, 1, 20));
		before = descriptors();
		for (int i = 0; i < 3; i++) {
			ask("%d ping", round);
			await_client();
			report("nobody there", poll(&p, 1, 20));
		}
		ask("%d expect %zu", round, sent);
		ask("%d end", round);
		ask("%d drop", round);
		await_client();
		report("nobody there", poll(&p, 1, 200));
		say("descriptors: %s", descriptors() <= before ? "no more" : "WRONG");
	}
}

static void leave(int listener, void (*how)(int))
{
	int fd = next_client(listener);
	fill(large, 100000, 0);
	write_full(fd, large, 100000);
	ask("0 expect 100000");
	ask("0 gone");
	say("done");
	how(0);
}

static void exiting(int listener) { leave(listener, exit); }
static void exiting_at_once(int listener) { leave(listener, _exit); }

/* Several closes of one client's connection by the server, one after another on the same number. */
static void again(int listener)
{
	char byte;
	for (int i = 0; i < 20; i++) {
		int fd = next_client(listener);
		ask("%d send 1", i);
		must(read(fd, &byte, 1), "read");
		must(write(fd, &byte, 1), "write");
		await_client();
		close(fd);
		ask("%d expect 1", i);
		ask("%d end", i);
	}
}

int main(int argc, char **argv)
{
	static const struct scenario TABLE[] = {
		{"shut-wr", shut_wr}, {"shut-rd", shut_rd}, {"shut-both", shut_both}, {"reset", reset},
		{"peer-closed", peer_closed}, {"fin", fin}, {"last-word", last_word}, {"shut-last", shut_last}, {"large-close", large_close},
		{"nonblocking-close", nonblocking_close}, {"noisy-close", noisy_close},
		{"noisy-child", noisy_child},
		{"exiting", exiting}, {"exiting-at-once", exiting_at_once},
		{"again", again},
	};
	return argc == 3 ? play(argv, TABLE, COUNT(TABLE)) : 2;
}
