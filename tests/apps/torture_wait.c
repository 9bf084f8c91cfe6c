/*
 * Every call that waits for readiness, through the same scripts: PROGRAM PORT WAITER-SCRIPT, such as poll-readable.
 * A wait reports a connection only when a read would give payload, the end or an error, and a listener only when
 * accept would give a connection at once; whatever else arrives, the deadline stays exact.
 */
#define _FORTIFY_SOURCE 2
#include "common.h"
#include <sys/time.h>

enum { IN = 1, OUT = 2 };

/* Waits for `want` (IN, OUT or both) on one descriptor; a negative time is for ever. Returns what is ready, or -1. */
typedef int waiter(int fd, int want, int milliseconds);

static struct timespec span(int ms) { return (struct timespec){ms / 1000, ms % 1000 * 1000000L}; }

static int from_poll(int n, const struct pollfd *p)
{
	if (n <= 0)
		return n;
	return (p->revents & (POLLIN | POLLHUP | POLLERR) ? IN : 0) | (p->revents & POLLOUT ? OUT : 0);
}

static struct pollfd to_poll(int fd, int want)
{
	return (struct pollfd){.fd = fd, .events = (want & IN ? POLLIN : 0) | (want & OUT ? POLLOUT : 0)};
}

static int by_poll(int fd, int want, int ms)
{
	struct pollfd p = to_poll(fd, want);
	return from_poll(poll(&p, 1, ms), &p);
}

static int by_ppoll(int fd, int want, int ms)
{
	struct pollfd p = to_poll(fd, want);
	struct timespec t = span(ms);
	return from_poll(ppoll(&p, 1, ms < 0 ? NULL : &t, NULL), &p);
}

/* A count that the compiler cannot know makes it call the checked variant. */
static volatile nfds_t unknown = 1;

static int by_poll_chk(int fd, int want, int ms)
{
	struct pollfd p[2] = {to_poll(fd, want)};
	return from_poll(poll(p, unknown, ms), p);
}

static int by_ppoll_chk(int fd, int want, int ms)
{
	struct pollfd p[2] = {to_poll(fd, want)};
	struct timespec t = span(ms);
	return from_poll(ppoll(p, unknown, ms < 0 ? NULL : &t, NULL), p);
}

static int by_select(int fd, int want, int ms)
{
	fd_set in, out, except;
	struct timeval t = {ms / 1000, ms % 1000 * 1000}, before = t;
	FD_ZERO(&in);
	FD_ZERO(&out);
	FD_ZERO(&except);
	FD_SET(fd, &except);
	if (want & IN)
		FD_SET(fd, &in);
	if (want & OUT)
		FD_SET(fd, &out);
	int n = select(fd + 1, &in, &out, &except, ms < 0 ? NULL : &t);
	if (n < 0)
		return -1;
	/* Linux leaves the rest of the time: all of it used up, or some of it left. */
	if (ms >= 0 && n == 0 && timerisset(&t))
		say("select: time is left after a timeout");
	/* Perhaps none, where the event came with the end of the time. */
	if (ms > 0 && n > 0 && timercmp(&t, &before, >))
		say("select: more time is left than there was");
	if (n != FD_ISSET(fd, &in) + FD_ISSET(fd, &out) + FD_ISSET(fd, &except))
		say("select: %d does not count the sets", n);
	if (FD_ISSET(fd, &except))
		say("select: an exception");
	return (FD_ISSET(fd, &in) ? IN : 0) | (FD_ISSET(fd, &out) ? OUT : 0);
}

static int by_pselect(int fd, int want, int ms)
{
	fd_set in, out;
	struct timespec t = span(ms), before = t;
	FD_ZERO(&in);
	FD_ZERO(&out);
	if (want & IN)
		FD_SET(fd, &in);
	if (want & OUT)
		FD_SET(fd, &out);
	int n = pselect(fd + 1, want & IN ? &in : NULL, want & OUT ? &out : NULL, NULL, ms < 0 ? NULL : &t, NULL);
	if (memcmp(&t, &before, sizeof t) != 0)
		say("pselect: the timeout was changed");
	return n <= 0 ? n : (FD_ISSET(fd, &in) ? IN : 0) | (FD_ISSET(fd, &out) ? OUT : 0);
}

enum epoll_call { WAIT, PWAIT, PWAIT2 };

static int by_epoll(int fd, int want, int ms, enum epoll_call call)
{
	struct epoll_event in = {.events = (want & IN ? EPOLLIN : 0) | (want & OUT ? EPOLLOUT : 0), .data.u64 = ~0ull / 3};
	struct epoll_event out[4];
	struct timespec t = span(ms);
	int epoll = must(epoll_create1(EPOLL_CLOEXEC), "epoll_create1"), n;
	must(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &in), "EPOLL_CTL_ADD");
	if (call == WAIT)
		n = epoll_wait(epoll, out, 4, ms);
	else if (call == PWAIT)
		n = epoll_pwait(epoll, out, 4, ms, NULL);
	else
		n = epoll_pwait2(epoll, out, 4, ms < 0 ? NULL : &t, NULL);
	close(epoll);
	if (n > 1 || (n == 1 && out[0].data.u64 != in.data.u64))
		say("epoll: %d events, data %llx", n, (unsigned long long)out[0].data.u64);
	if (n <= 0)
		return n;
	return (out[0].events & (EPOLLIN | EPOLLHUP | EPOLLERR) ? IN : 0) | (out[0].events & EPOLLOUT ? OUT : 0);
}

static int by_epoll_wait(int fd, int want, int ms) { return by_epoll(fd, want, ms, WAIT); }
static int by_epoll_pwait(int fd, int want, int ms) { return by_epoll(fd, want, ms, PWAIT); }
static int by_epoll_pwait2(int fd, int want, int ms) { return by_epoll(fd, want, ms, PWAIT2); }

static const struct { const char *name; waiter *call; } WAITERS[] = {
	{"poll", by_poll}, {"ppoll", by_ppoll}, {"poll_chk", by_poll_chk}, {"ppoll_chk", by_ppoll_chk},
	{"select", by_select}, {"pselect", by_pselect}, {"epoll_wait", by_epoll_wait}, {"epoll_pwait", by_epoll_pwait},
	{"epoll_pwait2", by_epoll_pwait2},
};

static void readable(int listener, waiter *wait)
{
	char buffer[5000];
	int fd = next_client(listener);
	say("at once: %d", wait(fd, IN, 0));
	for (int round = 0; round < 2; round++) {
		double start = now();
		ask("0 noise");
		int n = wait(fd, IN, 250);
		say("noise: %d", n);
		lasted("noise", start, 0.25);
		ask("0 tease 1");
		say("for ever: %d", wait(fd, IN, -1));
		say("read: %zd", recv(fd, buffer, 1, MSG_DONTWAIT));
	}
	ask("0 tease 2");
	say("with a deadline: %d", wait(fd, IN, 20000));
	say("still: %d", wait(fd, IN, 0));
	say("read: %zd", recv(fd, buffer, 1, 0));
	await_bytes(fd, 1);
	say("one left: %d", wait(fd, IN, 0));
	say("read: %zd", recv(fd, buffer, 10, MSG_DONTWAIT));
	say("none left: %d", wait(fd, IN, 0));
	/* Whenever the wait reports the connection, a read has something; until all is read it reports it. */
	ask("0 send 5000");
	for (size_t got = 0; got < 5000;) {
		ssize_t n = wait(fd, IN, -1) == IN ? recv(fd, buffer, got % 50 + 1, MSG_DONTWAIT) : -2;
		if (n <= 0) {
			say("ready, but read gives %zd at %zu", n, got);
			break;
		}
		got += n;
	}
	say("all read: %d", wait(fd, IN, 0));
	ask("0 close");
	say("end: %d", wait(fd, IN, -1));
	say("read: %zd", recv(fd, buffer, 10, MSG_DONTWAIT));
	say("still: %d", wait(fd, IN, 0));
	say("read: %zd", recv(fd, buffer, 10, MSG_DONTWAIT));
}

static void writable(int listener, waiter *wait)
{
	static char block[65536];
	int fd = next_client(listener), surprises = 0;
	size_t sent = 0;
	ssize_t n;
	ask("0 noise");
	for (double start = now(); now() - start < 0.1;)
		surprises += wait(fd, IN | OUT, -1) != OUT;
	say("surprises: %d", surprises);
	ask("0 tease 1");
	while (wait(fd, IN, -1) != IN)
		say("neither");
	say("both: %d", wait(fd, IN | OUT, -1));
	/* Full means that it stays so: what is on its way to the client first makes room once more. */
	do {
		fill(block, sizeof block, sent);
		n = send(fd, block, sizeof block, MSG_DONTWAIT);
		sent += n > 0 ? n : 0;
	} while (n > 0 || wait(fd, OUT, 100) == OUT);
	say("full: %d", wait(fd, OUT, 0));
	double start = now();
	say("stays full: %d", wait(fd, OUT, 200));
	lasted("stays full", start, 0.2);
	ask("0 expect %zu", sent);
	say("empty: %d", wait(fd, OUT, -1));
	fill(block, 10, sent);
	say("write: %zd", send(fd, block, 10, MSG_DONTWAIT));
	ask("0 expect 10");
}

static void listening(int listener, waiter *wait)
{
	char byte;
	must(fcntl(listener, F_SETFL, fcntl(listener, F_GETFL) | O_NONBLOCK), "F_SETFL");
	ask("knock");
	ask("knock");
	double start = now();
	say("nobody: %d", wait(listener, IN, 250));
	lasted("nobody", start, 0.25);
	report("accept", accept(listener, NULL, NULL));
	for (int round = 0; round < 3; round++) {
		ask("connect");
		say("somebody: %d", wait(listener, IN, round == 0 ? -1 : 20000));
		int fd = must(accept(listener, NULL, NULL), "accept");
		say("nobody else: %d", wait(listener, IN, 0));
		ask("%d tease 1", round);
		say("talks: %d", wait(fd, IN, -1));
		say("read: %zd", read(fd, &byte, 1));
	}
}

int main(int argc, char **argv)
{
	static const struct { const char *name; void (*run)(int, waiter *); } SCRIPTS[] = {
		{"readable", readable}, {"writable", writable}, {"listening", listening},
	};
	char *dash = argc == 3 ? strchr(argv[2], '-') : NULL;
	alarm(LIFETIME_SECONDS);
	for (size_t i = 0; dash && i < COUNT(WAITERS); i++)
		for (size_t j = 0; j < COUNT(SCRIPTS); j++)
			if (strlen(WAITERS[i].name) == (size_t)(dash - argv[2]) &&
			    strncmp(WAITERS[i].name, argv[2], dash - argv[2]) == 0 && strcmp(SCRIPTS[j].name, dash + 1) == 0) {
				SCRIPTS[j].run(listen_on(argv[1]), WAITERS[i].call);
				return done();
			}
	return 2;
}
