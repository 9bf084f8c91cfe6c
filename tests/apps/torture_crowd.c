/* Many processes and threads on one listener, and a daemon. */
#include "common.h"
#include <sys/resource.h>

#define PROCESSES 64
#define BYTES 2000

/* One client: its bytes, and its end. */
static void serve(int fd)
{
	if (echo(fd) != BYTES)
		say("not all echoed");
	close(fd);
}

/* A child takes connections until a byte of `more` is not there any more: one byte for each connection. */
static void by_accept(int listener, int more)
{
	char byte;
	while (read(more, &byte, 1) == 1)
		serve(must(accept(listener, NULL, NULL), "accept"));
}

/* The same with an instance of its own. All wait for the same listener, and many wake for one connection. */
static void by_epoll(int listener, int more, uint32_t flags)
{
	int epoll = must(epoll_create1(0), "epoll_create1");
	struct epoll_event event = {.events = EPOLLIN | flags, .data.fd = listener};
	struct epoll_event end = {.events = EPOLLIN, .data.fd = more};
	must(epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event), "EPOLL_CTL_ADD");
	must(epoll_ctl(epoll, EPOLL_CTL_ADD, more, &end), "EPOLL_CTL_ADD");
	for (;;) {
		must(epoll_wait(epoll, &event, 1, -1), "epoll_wait");
		if (event.data.fd == more)
			return;
		int fd = accept(listener, NULL, NULL);
		if (fd < 0 && errno == EAGAIN)
			continue;
		must(fd, "accept");
		must(fcntl(fd, F_SETFL, 0), "F_SETFL");
		serve(fd);
	}
}

static void by_level(int listener, int more) { by_epoll(listener, more, 0); }
static void by_exclusive(int listener, int more) { by_epoll(listener, more, EPOLLEXCLUSIVE); }

/* Children that all have the listener; `blocking` ones are given a byte for each connection that they may take. */
static void prefork(int listener, void (*run)(int listener, int more), int blocking)
{
	int more[2];
	must(pipe(more), "pipe");
	must(fcntl(listener, F_SETFL, blocking ? 0 : O_NONBLOCK), "F_SETFL");
	for (int i = 0; i < PROCESSES; i++)
		if (must(fork(), "fork") == 0) {
			alarm(LIFETIME_SECONDS);
			close(more[1]);
			run(listener, more[0]);
			_exit(0);
		}
	for (int i = 0; blocking && i < 2 * PROCESSES; i++)
		must(write(more[1], "", 1), "write");
	ask("crowd %d %d", PROCESSES, BYTES);
	ask("crowd %d %d", PROCESSES, BYTES);
	await_client();
	close(more[1]);
	for (int i = 0; i < PROCESSES; i++) {
		int status;
		must(wait(&status), "wait");
		if (status != 0)
			say("a child ended with %x", status);
	}
}

static void prefork_accept(int listener) { prefork(listener, by_accept, 1); }
static void prefork_epoll(int listener) { prefork(listener, by_level, 0); }
static void prefork_exclusive(int listener) { prefork(listener, by_exclusive, 0); }

static volatile sig_atomic_t terminated;

static void terminate(int signal)
{
	(void)signal;
	terminated = 1;
}

/* A worker that is a program of its own. It ends when it is told to, which is while it waits for a connection. */
static int worker(int listener)
{
	struct sigaction action = {.sa_handler = terminate};
	must(sigaction(SIGTERM, &action, NULL), "sigaction");
	alarm(LIFETIME_SECONDS);
	while (!terminated) {
		int fd = accept(listener, NULL, NULL);
		if (fd >= 0)
			serve(fd);
		else if (errno != EINTR)
			must(fd, "accept");
	}
	return 0;
}

#define PROGRAMS 4
#define ROUNDS 8

/* The same listener in several programs that have nothing else in common, and that block in accept. */
static void programs(int listener)
{
	pid_t pids[PROGRAMS];
	char number[16];
	int status;
	sprintf(number, "%d", listener);
	for (int i = 0; i < PROGRAMS; i++)
		if ((pids[i] = must(fork(), "fork")) == 0) {
			execl("/proc/self/exe", "torture_crowd", "worker", number, NULL);
			_exit(1);
		}
	for (int i = 0; i < ROUNDS; i++) {
		ask("crowd 8 %d", BYTES);
		await_client();
	}
	for (int i = 0; i < PROGRAMS; i++) {
		/* Once more, should the first have come before the call. */
		while (must(waitpid(pids[i], &status, WNOHANG), "waitpid") == 0) {
			must(kill(pids[i], SIGTERM), "kill");
			usleep(10000);
		}
		if (status != 0)
			say("a program ended with %x", status);
	}
}

#define WORKERS 4
#define CROWD 24

static int inner, outer, door, ended;

static void arm(int what, int fd)
{
	struct epoll_event event = {.events = EPOLLIN | EPOLLONESHOT, .data.fd = fd};
	must(epoll_ctl(inner, what, fd, &event), "epoll_ctl");
}

/* Everything is one-shot in an inner instance, which the threads wait for in an outer one. */
static void *work(void *stop)
{
	char buffer[700];
	struct epoll_event event;
	for (;;) {
		must(epoll_wait(outer, &event, 1, -1), "epoll_wait");
		if (event.data.fd != inner)
			return stop;
		int n = must(epoll_wait(inner, &event, 1, 0), "epoll_wait");
		if (n == 0)
			continue;
		if (event.data.fd == door) {
			int fd = accept(door, NULL, NULL);
			if (fd >= 0)
				arm(EPOLL_CTL_ADD, fd);
			arm(EPOLL_CTL_MOD, door);
			continue;
		}
		ssize_t got = recv(event.data.fd, buffer, sizeof buffer, MSG_DONTWAIT);
		if (got < 0 && errno != EAGAIN)
			must(got, "recv");
		if (got == 0) {
			close(event.data.fd);
			if (__atomic_add_fetch(&ended, 1, __ATOMIC_SEQ_CST) == CROWD)
				must(write((int)(intptr_t)stop, "", 1), "write");
			continue;
		}
		if (got > 0)
			write_full(event.data.fd, buffer, got);
		arm(EPOLL_CTL_MOD, event.data.fd);
	}
}

static void nested(int listener)
{
	pthread_t threads[WORKERS];
	int stop[2];
	struct epoll_event event = {.events = EPOLLIN};
	must(pipe(stop), "pipe");
	must(fcntl(listener, F_SETFL, O_NONBLOCK), "F_SETFL");
	door = listener;
	inner = must(epoll_create1(0), "epoll_create1");
	outer = must(epoll_create1(0), "epoll_create1");
	event.data.fd = inner;
	must(epoll_ctl(outer, EPOLL_CTL_ADD, inner, &event), "EPOLL_CTL_ADD");
	event.data.fd = stop[0];
	must(epoll_ctl(outer, EPOLL_CTL_ADD, stop[0], &event), "EPOLL_CTL_ADD");
	arm(EPOLL_CTL_ADD, listener);
	for (int i = 0; i < WORKERS; i++)
		pthread_create(&threads[i], NULL, work, (void *)(intptr_t)stop[1]);
	ask("crowd %d %d", CROWD, 10 * BYTES);
	for (int i = 0; i < WORKERS; i++)
		pthread_join(threads[i], NULL);
	say("ended: %d", ended);
}

/* A daemon that closes whatever it may have inherited, in one process and then in the one that goes on. */
static void daemonized(int listener)
{
	struct rlimit limit;
	must(getrlimit(RLIMIT_NOFILE, &limit), "getrlimit");
	for (int round = 0; round < 2; round++) {
		if (round == 1) {
			fflush(NULL);
			must(daemon(1, 1), "daemon");
			alarm(LIFETIME_SECONDS);
		}
		for (int fd = 3; fd < (int)limit.rlim_cur && fd < 20000; fd++)
			if (fd != listener)
				close(fd);
		int fd = next_client(listener);
		ask("%d echo %d", round, BYTES);
		ask("%d close", round);
		serve(fd);
		ask("%d end", round);
	}
	ask("crowd 4 %d", BYTES);
	for (int i = 0; i < 4; i++)
		serve(must(accept(listener, NULL, NULL), "accept"));
}

int main(int argc, char **argv)
{
	static const struct scenario TABLE[] = {
		{"prefork-accept", prefork_accept}, {"prefork-epoll", prefork_epoll},
		{"prefork-exclusive", prefork_exclusive}, {"nested", nested}, {"daemon", daemonized},
		{"programs", programs},
	};
	if (argc == 3 && strcmp(argv[1], "worker") == 0)
		return worker(atoi(argv[2]));
	return argc == 3 ? play(argv, TABLE, COUNT(TABLE)) : 2;
}
