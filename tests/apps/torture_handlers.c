/*
 * Signal handlers that use the very descriptors that the interrupted code uses. A timer storms while the program does its work;
 * each message of a handler, and of the program, arrives whole, and nobody waits for a lock that only he can release.
 */
#include "common.h"
#include <setjmp.h>
#include <sys/time.h>

#define RECORD 16

static int connection, epoll;
static volatile sig_atomic_t written, failed;

/* A record as "records" of the client has it. */
static void make(char *record, int writer, int number)
{
	memset(record, writer * 16 + number % 16, RECORD);
	record[0] = (char)writer;
	record[1] = (char)(number >> 8);
	record[2] = (char)number;
}

static void storm(int on)
{
	struct itimerval span = {{0, on ? 150 : 0}, {0, on ? 150 : 0}};
	must(setitimer(ITIMER_REAL, &span, NULL), "setitimer");
}

static void catch_with(void (*handler)(int), int flags)
{
	struct sigaction action = {.sa_handler = handler, .sa_flags = flags};
	sigemptyset(&action.sa_mask);
	must(sigaction(SIGALRM, &action, NULL), "sigaction");
}

/* Writes from a handler into the connection that the program writes to, blocked or not. */
static int total;

static void writes(int signal)
{
	char record[RECORD];
	int kept = errno;
	(void)signal;
	if (written < total) {
		make(record, 1, written);
		ssize_t n = write(connection, record, RECORD);
		if (n == RECORD)
			written++;
		else
			failed = n < 0 ? errno : 1000 + (int)n;
	}
	errno = kept;
}

static void both_write(int flags, int count)
{
	char record[RECORD];
	total = count;
	written = 0;
	ask("0 records 2 %d %d", count, RECORD);
	catch_with(writes, flags);
	storm(1);
	for (int i = 0; i < count; i++) {
		make(record, 0, i);
		ssize_t n;
		while ((n = write(connection, record, RECORD)) < 0 && errno == EINTR)
			;
		if (n != RECORD)
			say("write: %zd WRONG", n);
	}
	while (written < count && !failed)
		pause();
	storm(0);
	say("handler's: %s, %d", failed ? strerrorname_np(failed) : "all", (int)written);
}

static void writing(int listener)
{
	connection = next_client(listener);
	both_write(SA_RESTART, 3000);
	close(connection);
	ask("0 end");
}

static void writing_interrupted(int listener)
{
	connection = next_client(listener);
	both_write(0, 3000);
	close(connection);
	ask("0 end");
}

/* The client reads nothing until a few signals have come: they find the program's write waiting. */
static char block[8 << 20];
static volatile sig_atomic_t handler_at;

static void notes(int signal)
{
	(void)signal;
	handler_at++;
}

static void notes_and_asks(int signal)
{
	int kept = errno;
	notes(signal);
	if (handler_at == 3)
		ask("0 slow %zu", sizeof block);
	errno = kept;
}

static void blocked(int listener)
{
	size_t sent = 0;
	connection = next_client(listener);
	fill(block, sizeof block, 0);
	catch_with(notes_and_asks, SA_RESTART);
	struct itimerval span = {{0, 20000}, {0, 20000}};
	must(setitimer(ITIMER_REAL, &span, NULL), "setitimer");
	/* A blocking write that is restarted, or reports what it has sent: no byte is lost or doubled. */
	while (sent < sizeof block) {
		ssize_t n = write(connection, block + sent, sizeof block - sent);
		sent += must(n, "write");
	}
	storm(0);
	say("handled: %s", handler_at >= 3 ? "enough" : "WRONG");
	close(connection);
	ask("0 end");
}

/* Reads, polls and closes in a handler. */
static volatile sig_atomic_t events, got;

static void looks(int signal)
{
	int kept = errno;
	char byte;
	struct pollfd p = {.fd = connection, .events = POLLIN | POLLOUT};
	struct epoll_event event;
	fd_set set;
	struct timeval none = {0, 0};
	(void)signal;
	FD_ZERO(&set);
	FD_SET(connection, &set);
	events += poll(&p, 1, 0) > 0;
	events += epoll_wait(epoll, &event, 1, 0) > 0;
	events += select(connection + 1, &set, NULL, NULL, &none) > 0;
	recv(connection, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
	close(dup(connection));
	close(dup2(connection, 90));
	got++;
	errno = kept;
}

static void await_one(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	poll(&p, 1, -1);
}

static void looking(int listener)
{
	static char bytes[200000];
	struct epoll_event event = {.events = EPOLLIN | EPOLLOUT};
	connection = next_client(listener);
	epoll = must(epoll_create1(0), "epoll_create1");
	must(epoll_ctl(epoll, EPOLL_CTL_ADD, connection, &event), "EPOLL_CTL_ADD");
	ask("0 duplex %zu", sizeof bytes);
	catch_with(looks, SA_RESTART);
	storm(1);
	size_t at = 0, back = 0;
	while (back < sizeof bytes) {
		struct pollfd p = {.fd = connection, .events = POLLIN};
		while (poll(&p, 1, -1) < 0 && errno == EINTR)
			;
		ssize_t n = read(connection, bytes + at, at < sizeof bytes ? 700 < sizeof bytes - at ? 700 : sizeof bytes - at : 0);
		at += must(n, "read");
		while (back < at)
			back += must(write(connection, bytes + back, at - back), "write");
		if (at == sizeof bytes)
			break;
	}
	/* On a fast machine all is over before the storm has begun. */
	while (got < 10)
		await_one(connection);
	storm(0);
	say("%zu, %s", at, check(bytes, at, 0));
	close(connection);
	ask("0 end");
}

/* siglongjmp out of calls that wait, on which programs build time limits. */
static sigjmp_buf out;

static void jumps(int signal)
{
	(void)signal;
	siglongjmp(out, 1);
}

static void limit(long microseconds)
{
	struct itimerval span = {{0, 0}, {0, microseconds}};
	must(setitimer(ITIMER_REAL, &span, NULL), "setitimer");
}

static void jumping(int listener)
{
	char buffer[100];
	volatile int rounds = 0;
	connection = next_client(listener);
	epoll = must(epoll_create1(0), "epoll_create1");
	struct epoll_event event = {.events = EPOLLIN};
	must(epoll_ctl(epoll, EPOLL_CTL_ADD, connection, &event), "EPOLL_CTL_ADD");
	catch_with(jumps, SA_RESTART);
	for (volatile int way = 0; way < 6; way++) {
		if (sigsetjmp(out, 1) == 0) {
			struct pollfd p = {.fd = connection, .events = POLLIN};
			limit(30000);
			switch (way) {
			case 0: read(connection, buffer, 1); break;
			case 1: poll(&p, 1, -1); break;
			case 2: epoll_wait(epoll, &event, 1, -1); break;
			case 3: recv(connection, buffer, 5, MSG_WAITALL); break;
			case 4: accept(listener, NULL, NULL); break;
			case 5: recv(connection, buffer, 1, MSG_PEEK); break;
			}
			say("WRONG: no jump");
		}
		rounds++;
		ask("0 whole 5");
		say_read("read", connection, buffer, 5, 5 * (rounds - 1));
	}
	say("rounds: %d", rounds);
	close(connection);
	ask("0 end");
	connection = next_client(listener);
	ask("1 echo 100");
	ask("1 close");
	report("echo", echo(connection));
}

/* A jump out of a write leaves a stream that goes on behind what was sent: how much that is, nobody can say, on TCP either. */
static void jumping_from_a_write(int listener)
{
	connection = next_client(listener);
	memset(block, 'a', sizeof block);
	catch_with(jumps, SA_RESTART);
	for (volatile int round = 0; round < 5; round++)
		if (sigsetjmp(out, 1) == 0) {
			limit(30000);
			write(connection, block, sizeof block);
			say("WRONG: no jump");
		}
	must(fcntl(connection, F_SETFL, O_NONBLOCK), "F_SETFL");
	report("no room", write(connection, block, 1));
	must(fcntl(connection, F_SETFL, 0), "F_SETFL");
	catch_with(notes, SA_RESTART);
	ask("0 until %d", 'z');
	/* The frame that was cut goes on, and in base64 the first byte may be taken for the one that was cut. */
	memcpy(block + (1 << 18), "the endz", 8);
	write_full(connection, block, (1 << 18) + 8);
	close(connection);
	ask("0 end");
}

/* What the program is told of its handlers is what it has set. */
static void info_handler(int signal, siginfo_t *info, void *context)
{
	say("signal %d, code %d, value %d, %s", signal, info->si_code, info->si_value.sival_int, context ? "context" : "WRONG");
}

#pragma GCC diagnostic ignored "-Wdeprecated-declarations" /* sigset and siginterrupt are what old programs use. */

static const char *name(void (*handler)(int))
{
	return handler == SIG_DFL ? "default" : handler == SIG_IGN ? "ignore" : handler == SIG_ERR ? "error"
		: handler == looks ? "looks" : handler == notes ? "notes"
		: handler == (void (*)(int))info_handler ? "info" : "WRONG";
}

static void dispositions(int listener)
{
	struct sigaction action = {.sa_flags = SA_SIGINFO | SA_NODEFER}, old;
	union sigval value = {.sival_int = 42};
	connection = next_client(listener);
	say("signal: %s", name(signal(SIGUSR1, looks)));
	say("signal: %s", name(signal(SIGUSR1, notes)));
	must(sigaction(SIGUSR1, NULL, &old), "sigaction");
	say("sigaction: %s, flags %x", name(old.sa_handler), old.sa_flags & ~0x04000000);
	sigemptyset(&action.sa_mask);
	sigaddset(&action.sa_mask, SIGUSR2);
	action.sa_sigaction = info_handler;
	must(sigaction(SIGUSR1, &action, &old), "sigaction");
	say("old: %s, flags %x", name(old.sa_handler), old.sa_flags & ~0x04000000);
	must(sigaction(SIGUSR1, NULL, &old), "sigaction");
	say("present: %s, flags %x, mask %d", name(old.sa_handler), old.sa_flags & ~0x04000000, sigismember(&old.sa_mask, SIGUSR2));
	must(sigqueue(getpid(), SIGUSR1, value), "sigqueue");
	action.sa_flags = SA_RESETHAND | SA_SIGINFO;
	must(sigaction(SIGUSR1, &action, NULL), "sigaction");
	must(sigaction(SIGUSR1, NULL, &old), "sigaction");
	say("present: %s, flags %x", name(old.sa_handler), old.sa_flags & ~0x04000000);
	raise(SIGUSR1);
	must(sigaction(SIGUSR1, NULL, &old), "sigaction");
	say("after: %s", name(old.sa_handler));
	say("sysv: %s", name(sysv_signal(SIGUSR2, notes)));
	must(sigaction(SIGUSR2, NULL, &old), "sigaction");
	say("present: %s, flags %x", name(old.sa_handler), old.sa_flags & ~0x04000000);
	raise(SIGUSR2);
	say("after: %s", name(signal(SIGUSR2, SIG_IGN)));
	say("ignored: %s", name(signal(SIGUSR2, SIG_DFL)));
	say("sigset: %s", name(sigset(SIGUSR2, notes)));
	must(siginterrupt(SIGUSR2, 1), "siginterrupt");
	must(sigaction(SIGUSR2, NULL, &old), "sigaction");
	say("present: %s, flags %x", name(old.sa_handler), old.sa_flags & ~0x04000000);
	action.sa_sigaction = info_handler;
	report("SIGKILL", sigaction(SIGKILL, &action, NULL));
	report("0", sigaction(0, &action, NULL));
	report("65", sigaction(65, &action, NULL));
	say("signal 99: %s", name(signal(99, notes)));
	/* Realtime signals are queued, with their values, in order. */
	must(sigaction(SIGRTMIN, &action, NULL), "sigaction");
	action.sa_flags = SA_SIGINFO;
	must(sigaction(SIGRTMIN, &action, NULL), "sigaction");
	for (value.sival_int = 0; value.sival_int < 3; value.sival_int++)
		must(sigqueue(getpid(), SIGRTMIN, value), "sigqueue");
	/* SIGPIPE comes in the middle of a write. */
	ask("0 rst");
	catch_with(notes, 0);
	must(signal(SIGPIPE, notes) == SIG_ERR ? -1 : 0, "SIGPIPE");
	struct pollfd p = {.fd = connection, .events = 0};
	must(poll(&p, 1, -1), "poll");
	while (write(connection, "x", 1) >= 0 || errno == ECONNRESET)
		;
	report("write", write(connection, "x", 1));
	say("handled: %s", handler_at >= 3 ? "yes" : "no");
}

/* A storm while the program forks: the child has its parent's locks, free. */
static void forking(int listener)
{
	connection = next_client(listener);
	total = 1 << 30;
	catch_with(looks, SA_RESTART);
	epoll = must(epoll_create1(0), "epoll_create1");
	storm(1);
	for (int i = 0; i < 100; i++) {
		pid_t pid;
		while ((pid = fork()) < 0 && errno == EINTR)
			;
		if (pid == 0) {
			storm(1);
			for (int j = 0; j < 20; j++)
				close(dup(connection));
			_exit(0);
		}
		must(pid, "fork");
		while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
			;
	}
	storm(0);
	say("forked");
	close(connection);
	ask("0 end");
}

int main(int argc, char **argv)
{
	static const struct scenario TABLE[] = {
		{"writing", writing}, {"writing-interrupted", writing_interrupted}, {"blocked", blocked}, {"looking", looking},
		{"jumping", jumping}, {"jumping-from-a-write", jumping_from_a_write}, {"dispositions", dispositions},
		{"forking", forking},
	};
	return argc == 3 ? play(argv, TABLE, COUNT(TABLE)) : 2;
}
