/*
 * Signals in calls that wait: EINTR, restarting, and masks that are in force exactly while the call waits.
 * A timer sends SIGUSR1 every few milliseconds until the call is over, so that no signal can come too early for it.
 */
#include "common.h"

static volatile sig_atomic_t handled, release_at;
static timer_t timer;

static void handler(int signal)
{
	(void)signal;
	/* A call that is restarted goes on waiting: after some signals the client is asked to let it end. */
	if (++handled == release_at && write(STDOUT_FILENO, "> 0 tease 1\n", 12) != 12)
		_exit(3);
}

static void catch_with(int flags)
{
	struct sigaction action = {.sa_handler = handler, .sa_flags = flags};
	sigemptyset(&action.sa_mask);
	must(sigaction(SIGUSR1, &action, NULL), "sigaction");
}

/* Starts (or with 0 stops) the signals. */
static void every(long milliseconds)
{
	struct timespec t = {0, milliseconds * 1000000};
	struct itimerspec span = {t, t};
	must(timer_settime(timer, 0, &span, NULL), "timer_settime");
}

static void make_timer(void)
{
	struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
	must(timer_create(CLOCK_MONOTONIC, &event, &timer), "timer_create");
}

static struct pollfd one(int fd) { return (struct pollfd){.fd = fd, .events = POLLIN}; }

static long call_read(int fd) { char c; return read(fd, &c, 1); }
static long call_recv(int fd) { char c; return recv(fd, &c, 1, MSG_WAITALL); }
static long call_accept(int fd) { return accept(fd, NULL, NULL); }
static long call_poll(int fd) { struct pollfd p = one(fd); return poll(&p, 1, -1); }
static long call_timed_poll(int fd) { struct pollfd p = one(fd); return poll(&p, 1, 20000); }
static long call_ppoll(int fd) { struct pollfd p = one(fd); return ppoll(&p, 1, NULL, NULL); }

static long call_select(int fd)
{
	fd_set set;
	FD_ZERO(&set);
	FD_SET(fd, &set);
	return select(fd + 1, &set, NULL, NULL, NULL);
}

static long call_pselect(int fd)
{
	fd_set set;
	FD_ZERO(&set);
	FD_SET(fd, &set);
	return pselect(fd + 1, &set, NULL, NULL, NULL, NULL);
}

static long through_epoll(int fd, int with_mask, const sigset_t *mask, int ms)
{
	struct epoll_event event = {.events = EPOLLIN};
	int epoll = must(epoll_create1(0), "epoll_create1");
	must(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event), "EPOLL_CTL_ADD");
	long n = with_mask ? epoll_pwait(epoll, &event, 1, ms, mask) : epoll_wait(epoll, &event, 1, ms);
	int kept = errno;
	close(epoll);
	errno = kept;
	return n;
}

static long call_epoll_wait(int fd) { return through_epoll(fd, 0, NULL, -1); }
static long call_epoll_pwait(int fd) { return through_epoll(fd, 1, NULL, -1); }

static const struct { const char *name; long (*call)(int); int restarts; } CALLS[] = {
	{"read", call_read, 1}, {"recv", call_recv, 1}, {"accept", call_accept, 1},
	{"poll", call_poll, 0}, {"timed poll", call_timed_poll, 0}, {"ppoll", call_ppoll, 0}, {"select", call_select, 0},
	{"pselect", call_pselect, 0}, {"epoll_wait", call_epoll_wait, 0}, {"epoll_pwait", call_epoll_pwait, 0},
};

static void interrupted(int listener, int flags, int with_noise)
{
	int fd = next_client(listener);
	make_timer();
	catch_with(flags);
	for (size_t i = 0; i < COUNT(CALLS); i++) {
		if (flags && CALLS[i].restarts)
			continue;
		if (with_noise)
			ask("0 noise");
		handled = 0;
		every(30);
		long n = CALLS[i].call(CALLS[i].call == call_accept ? listener : fd);
		int error = errno;
		every(0);
		errno = error;
		report(CALLS[i].name, n);
		say("handled: %s", handled > 0 ? "yes" : "no");
	}
}

static void eintr(int listener) { interrupted(listener, 0, 0); }
static void eintr_noise(int listener) { interrupted(listener, 0, 1); }
static void never_restarted(int listener) { interrupted(listener, SA_RESTART, 1); }

/* SA_RESTART: reading goes on, unless the socket has a time limit, signal(7). */
static void restarted(int listener)
{
	struct timeval limit = {.tv_sec = 20};
	char byte;
	int fd = next_client(listener);
	make_timer();
	catch_with(SA_RESTART);
	release_at = 4;
	for (int round = 0; round < 2; round++) {
		handled = 0;
		every(30);
		long n = round ? recv(fd, &byte, 1, MSG_WAITALL) : read(fd, &byte, 1);
		every(0);
		report("reading", n);
		say("handled: %s", handled >= 4 ? "enough" : "too few");
	}
	release_at = 0;
	must(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit), "SO_RCVTIMEO");
	every(30);
	report("with a time limit", read(fd, &byte, 1));
	every(0);
}

/* MSG_WAITALL that is interrupted gives what it has. */
static void part(int listener)
{
	char buffer[100];
	int fd = next_client(listener);
	make_timer();
	catch_with(0);
	ask("0 send 40");
	await_bytes(fd, 40);
	every(30);
	report("recv", recv(fd, buffer, sizeof buffer, MSG_WAITALL));
	every(0);
	say("%s", check(buffer, 40, 0));
}

enum masked { PPOLL, PSELECT, EPOLL_PWAIT, MASKED };

static long masked_wait(enum masked call, int fd, const sigset_t *mask, int ms)
{
	struct timespec t = {ms / 1000, ms % 1000 * 1000000L};
	struct pollfd p = one(fd);
	fd_set set;
	FD_ZERO(&set);
	FD_SET(fd, &set);
	if (call == PPOLL)
		return ppoll(&p, 1, &t, mask);
	if (call == PSELECT)
		return pselect(fd + 1, &set, NULL, NULL, &t, mask);
	return through_epoll(fd, 1, mask, ms);
}

static int pending(void)
{
	sigset_t set;
	sigpending(&set);
	return sigismember(&set, SIGUSR1);
}

static void masks(int listener)
{
	sigset_t blocked, open;
	char byte;
	int fd = next_client(listener);
	sigemptyset(&open);
	sigemptyset(&blocked);
	sigaddset(&blocked, SIGUSR1);
	catch_with(0);
	must(sigprocmask(SIG_BLOCK, &blocked, NULL), "sigprocmask");
	for (enum masked call = 0; call < MASKED; call++) {
		handled = 0;
		say("call %d", call);
		raise(SIGUSR1);
		report("blocked, no mask", masked_wait(call, fd, NULL, 50));
		say("handled: %d, pending: %d", handled, pending());
		report("blocked, nothing there, open mask", masked_wait(call, fd, &open, 20000));
		say("handled: %d, pending: %d", handled, pending());
		raise(SIGUSR1);
		ask("0 tease 1");
		await_bytes(fd, 1);
		report("byte there, open mask", masked_wait(call, fd, &open, 20000));
		say("handled: %d, pending: %d", handled, pending());
		report("read", read(fd, &byte, 1));
		report("nothing there, open mask", masked_wait(call, fd, &open, 20000));
		say("handled: %d, pending: %d", handled, pending());
		/* The mask of the call blocks what the program has open, whatever arrives meanwhile. */
		must(sigprocmask(SIG_UNBLOCK, &blocked, NULL), "sigprocmask");
		make_timer();
		every(20);
		ask("0 noise");
		double start = now();
		report("open, blocking mask", masked_wait(call, fd, &blocked, 300));
		every(0);
		lasted("open, blocking mask", start, 0.3);
		must(timer_delete(timer), "timer_delete");
		must(sigprocmask(SIG_BLOCK, &blocked, NULL), "sigprocmask");
	}
}

int main(int argc, char **argv)
{
	static const struct scenario TABLE[] = {
		{"eintr", eintr}, {"eintr-noise", eintr_noise}, {"never-restarted", never_restarted},
		{"restarted", restarted}, {"part", part}, {"masks", masks},
	};
	return argc == 3 ? play(argv, TABLE, COUNT(TABLE)) : 2;
}
