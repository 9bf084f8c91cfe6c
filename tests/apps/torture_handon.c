/*
 * A master that waits for a listener, and starts the program that accepts from it: PROGRAM PORT WAIT-START, such as
 * poll-execve. The program gets the listener, non-blocking and blocking by turns, and an environment of the master's making.
 * The first one that is started ends without a look at the listener; then the next one finds the connection.
 */
#include "common.h"
#include <spawn.h>
#include <sys/syscall.h>

extern char **environ;

enum { ROUNDS = 3, BYTES = 5000 };

static int epoll = -1, outer = -1;

static void watch(int in, int fd, uint32_t events, int op)
{
	struct epoll_event event = {.events = events, .data.u64 = 4711};
	must(epoll_ctl(in, op, fd, &event), "epoll_ctl");
}

static int by_epoll(int in)
{
	struct epoll_event event;
	int n = epoll_wait(in, &event, 1, -1);
	if (n == 1 && (event.events != EPOLLIN || event.data.u64 != 4711))
		say("WRONG event");
	return n;
}

static int by_poll(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	int n = poll(&p, 1, -1);
	return n == 1 && p.revents != POLLIN ? -1 : n;
}

static int by_select(int fd)
{
	fd_set in;
	FD_ZERO(&in);
	FD_SET(fd, &in);
	return select(fd + 1, &in, NULL, NULL, NULL);
}

static int by_level(int fd) { return (void)fd, by_epoll(epoll); }

/* An edge or a single shot tells of a connection once: a master that starts another program for it arms anew. */
static int by_edge(int fd)
{
	watch(epoll, fd, EPOLLIN | EPOLLET, EPOLL_CTL_MOD);
	return by_epoll(epoll);
}

static int by_oneshot(int fd)
{
	watch(epoll, fd, EPOLLIN | EPOLLONESHOT, EPOLL_CTL_MOD);
	return by_epoll(epoll);
}

static int by_nested(int fd)
{
	(void)fd;
	if (by_epoll(outer) != 1)
		return -1;
	return by_epoll(epoll);
}

static const struct {
	const char *name;
	int (*wait)(int fd);
	uint32_t events;
} WAITS[] = {
	{"poll", by_poll, 0}, {"select", by_select, 0},
	{"level", by_level, EPOLLIN}, {"edge", by_edge, EPOLLIN | EPOLLET}, {"oneshot", by_oneshot, EPOLLIN | EPOLLONESHOT},
	{"nested", by_nested, EPOLLIN}, {"exclusive", by_level, EPOLLIN | EPOLLEXCLUSIVE},
};

/* Another library in the environment is to stay there. */
static char *const CLEAN[] = {"PATH=/usr/bin:/bin", "LD_PRELOAD=libm.so.6", "LANG=C", NULL};

static pid_t forked(void (*run)(char **arguments), char **arguments)
{
	pid_t child = must(fork(), "fork");
	if (child == 0) {
		run(arguments);
		say("exec: %s", strerrorname_np(errno));
		_exit(2);
	}
	return child;
}

static void run_execve(char **a) { execve("/proc/self/exe", a, CLEAN); }
static void run_execvpe(char **a) { execvpe("/proc/self/exe", a, CLEAN); }
static void run_fexecve(char **a) { fexecve(open("/proc/self/exe", O_RDONLY | O_CLOEXEC), a, CLEAN); }
static void run_execveat(char **a) { execveat(AT_FDCWD, "/proc/self/exe", a, CLEAN, 0); }
static void run_raw(char **a) { syscall(SYS_execve, "/proc/self/exe", a, CLEAN); }
static void run_raw_at(char **a) { syscall(SYS_execveat, AT_FDCWD, "/proc/self/exe", a, CLEAN, 0); }
static void run_execle(char **a) { execle("/proc/self/exe", a[0], a[1], a[2], a[3], (char *)NULL, CLEAN); }
static void run_execv(char **a) { environ = (char **)CLEAN, execv("/proc/self/exe", a); }
static void run_execvp(char **a) { environ = (char **)CLEAN, execvp("/proc/self/exe", a); }
static void run_execl(char **a) { environ = (char **)CLEAN, execl("/proc/self/exe", a[0], a[1], a[2], a[3], (char *)NULL); }
static void run_execlp(char **a) { environ = (char **)CLEAN, execlp("/proc/self/exe", a[0], a[1], a[2], a[3], (char *)NULL); }

/* No environment at all, then one of more strings than a small array holds. */
static void run_extremes(char **a)
{
	static char strings[400][16];
	static char *many[401];
	if (a[3][0] == '0')
		execve("/proc/self/exe", a, NULL);
	for (int i = 0; i < 400; i++)
		sprintf(many[i] = strings[i], "V%d=%d", i, i);
	execve("/proc/self/exe", a, many);
}

/* As inetd does: the listener is the new program's standard input. */
static void run_stdin(char **a)
{
	dup2(atoi(a[2]), STDIN_FILENO);
	close(atoi(a[2]));
	a[2] = "0";
	execve("/proc/self/exe", a, CLEAN);
}

static pid_t vforked(char **a)
{
	pid_t child = vfork();
	if (child == 0) {
		execve("/proc/self/exe", a, CLEAN);
		_exit(2);
	}
	return must(child, "vfork");
}

static pid_t vforked_stdin(char **a)
{
	char *arguments[] = {a[0], a[1], "0", a[3], NULL};
	pid_t child = vfork();
	if (child == 0) {
		dup2(atoi(a[2]), STDIN_FILENO);
		close(atoi(a[2]));
		execve("/proc/self/exe", arguments, CLEAN);
		_exit(2);
	}
	return must(child, "vfork");
}

static pid_t spawned(char **a)
{
	pid_t child;
	errno = posix_spawn(&child, "/proc/self/exe", NULL, NULL, a, CLEAN);
	return must(errno ? -1 : child, "posix_spawn");
}

/* The listener is close-on-exec, and the child gets a copy. */
static pid_t spawned_copy(char **a)
{
	pid_t child;
	posix_spawn_file_actions_t actions;
	posix_spawn_file_actions_init(&actions);
	must(fcntl(atoi(a[2]), F_SETFD, FD_CLOEXEC), "F_SETFD");
	posix_spawn_file_actions_adddup2(&actions, atoi(a[2]), 100);
	a[2] = "100";
	errno = posix_spawnp(&child, "/proc/self/exe", &actions, NULL, a, CLEAN);
	return must(errno ? -1 : child, "posix_spawnp");
}

static const struct {
	const char *name;
	void (*run)(char **arguments);
	pid_t (*start)(char **arguments);
} STARTS[] = {
	{"execve", run_execve, NULL}, {"execvpe", run_execvpe, NULL}, {"fexecve", run_fexecve, NULL},
	{"execveat", run_execveat, NULL}, {"raw", run_raw, NULL}, {"raw_at", run_raw_at, NULL}, {"execle", run_execle, NULL},
	{"execv", run_execv, NULL}, {"execvp", run_execvp, NULL}, {"execl", run_execl, NULL}, {"execlp", run_execlp, NULL},
	{"extremes", run_extremes, NULL}, {"stdin", run_stdin, NULL}, {"vfork", NULL, vforked},
	{"vfork_stdin", NULL, vforked_stdin}, {"spawn", NULL, spawned}, {"spawn_copy", NULL, spawned_copy},
};

/* Accepts and serves one client. The rest of a request may be on its way. */
static void serve(int listener, int number)
{
	static char buffer[BYTES];
	int fd;
	do {
		by_poll(listener);
		fd = accept(listener, NULL, NULL);
	} while (fd < 0 && errno == EAGAIN);
	must(fd, "accept");
	ask("%d send %d", number, BYTES);
	say_read("read", fd, buffer, BYTES, 0);
	write_full(fd, buffer, BYTES);
	ask("%d expect %d", number, BYTES);
	/* What the client sends between is over. */
	ask("%d close", number);
	say("end: %zd", read(fd, buffer, 1));
	exit(0);
}

static int child(char **argv)
{
	const char *preload = getenv("LD_PRELOAD"), *other = preload ? strstr(preload, "libm.so.6") : NULL;
	int round = atoi(argv[3]);
	say("child %d: another library is %s", round, other && strcmp(other, "libm.so.6") == 0 ? "there" : "not there");
	if (round == 0)
		return 0;
	serve(atoi(argv[2]), round - 1);
	return 2;
}

int main(int argc, char **argv)
{
	if (argc == 4 && strcmp(argv[1], "child") == 0)
		return child(argv);
	char *dash = argc == 3 ? strchr(argv[2], '-') : NULL;
	size_t wait = 0, start = 0;
	while (dash && wait < COUNT(WAITS) && strncmp(WAITS[wait].name, argv[2], dash - argv[2]) != 0)
		wait++;
	while (dash && start < COUNT(STARTS) && strcmp(STARTS[start].name, dash + 1) != 0)
		start++;
	/* A program of the master's own image, which accepts without being another one. */
	int only_fork = dash && strcmp(dash + 1, "fork") == 0;
	if (!dash || wait == COUNT(WAITS) || (start == COUNT(STARTS) && !only_fork))
		return 2;
	alarm(LIFETIME_SECONDS);
	int listener = listen_on(argv[1]), status;
	if (WAITS[wait].events) {
		epoll = must(epoll_create1(EPOLL_CLOEXEC), "epoll_create1");
		watch(epoll, listener, WAITS[wait].events, EPOLL_CTL_ADD);
		outer = must(epoll_create1(EPOLL_CLOEXEC), "epoll_create1");
		watch(outer, epoll, EPOLLIN, EPOLL_CTL_ADD);
	}
	for (int round = 0; round <= ROUNDS; round++) {
		char number[16], turn[16];
		char *arguments[] = {"torture_handon", "child", number, turn, NULL};
		sprintf(number, "%d", listener);
		sprintf(turn, "%d", round);
		must(fcntl(listener, F_SETFL, round % 2 ? 0 : O_NONBLOCK), "F_SETFL");
		/* One that does not go on wakes nobody. The one of the first round is still there in the second. */
		ask("knock");
		if (round != 1)
			ask("connect");
		say("waited: %d", WAITS[wait].wait(listener));
		pid_t pid;
		if (only_fork) {
			pid = must(fork(), "fork");
			if (pid == 0 && round > 0)
				serve(listener, round - 1);
			if (pid == 0)
				_exit(0);
		} else {
			pid = STARTS[start].run ? forked(STARTS[start].run, arguments) : STARTS[start].start(arguments);
		}
		must(waitpid(pid, &status, 0), "waitpid");
		say("child %d: status %d", round, status);
	}
	return done();
}
