/* Every way to get a connection out of a listener. */
#include "common.h"
#include <sys/resource.h>

/* One byte to and fro shows that the connection is the client's own, and alive. */
static void prove(int fd, int client)
{
	char byte;
	ask("%d send 1", client);
	if (read(fd, &byte, 1) != 1 || write(fd, &byte, 1) != 1)
		say("client %d: no byte", client);
	ask("%d expect 1", client);
}

static void flags(const char *what, int fd)
{
	say("%s: %s, %s", what, fcntl(fd, F_GETFL) & O_NONBLOCK ? "non-blocking" : "blocking",
		fcntl(fd, F_GETFD) & FD_CLOEXEC ? "closed on exec" : "kept on exec");
}

static void same_name(int fd, const struct sockaddr_in *name)
{
	struct sockaddr_in peer;
	socklen_t length = sizeof peer;
	must(getpeername(fd, (struct sockaddr *)&peer, &length), "getpeername");
	say("name: %s", peer.sin_port == name->sin_port && peer.sin_addr.s_addr == name->sin_addr.s_addr ? "the peer" : "WRONG");
}

static void variants(int listener)
{
	struct sockaddr_in name;
	socklen_t length;
	int fd;
	/* A client that says nothing delays nobody. */
	ask("knock");
	ask("connect");
	fd = must(accept(listener, NULL, NULL), "accept");
	flags("accept", fd);
	prove(fd, 0);
	ask("connect");
	length = sizeof name;
	fd = must(accept(listener, (struct sockaddr *)&name, &length), "accept");
	say("length: %u", length);
	same_name(fd, &name);
	prove(fd, 1);
	ask("knock");
	ask("connect");
	memset(&name, 'x', sizeof name);
	length = 5;
	fd = must(accept(listener, (struct sockaddr *)&name, &length), "accept");
	say("short length: %u, family %d, then '%c'", length, name.sin_family, ((char *)&name)[5]);
	prove(fd, 2);
	ask("connect");
	fd = must(accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC), "accept4");
	flags("accept4", fd);
	must(fcntl(fd, F_SETFL, 0), "F_SETFL");
	prove(fd, 3);
	ask("connect");
	fd = must(accept4(listener, (struct sockaddr *)&name, &length, 0), "accept4");
	flags("accept4", fd);
	prove(fd, 4);
	ask("knock");
	report("bad flags", accept4(listener, NULL, NULL, 0x40000000));
	must(fcntl(listener, F_SETFL, O_NONBLOCK), "F_SETFL");
	report("nobody there", accept(listener, NULL, NULL));
	report("nobody there", accept4(listener, NULL, NULL, SOCK_NONBLOCK));
	report("no listener", accept(fd, NULL, NULL));
	report("no socket", accept(STDOUT_FILENO, NULL, NULL));
	report("closed", accept(999, NULL, NULL));
}

/* A listener with SO_RCVTIMEO: accept gives up in time, also while a handshake is on its way. */
static void timed(int listener)
{
	struct timeval limit = {.tv_usec = 300000};
	must(setsockopt(listener, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit), "SO_RCVTIMEO");
	for (int round = 0; round < 2; round++) {
		double start = now();
		report("accept", accept(listener, NULL, NULL));
		lasted("accept", start, 0.3);
		ask("knock");
	}
	limit.tv_usec = 0;
	must(setsockopt(listener, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit), "SO_RCVTIMEO");
	prove(next_client(listener), 0);
}

#define CROWD 8
static int shared;

static void *accept_some(void *unused)
{
	for (int i = 0; i < CROWD / 4; i++) {
		int fd = must(accept(shared, NULL, NULL), "accept");
		if (echo(fd) != 5000)
			say("not all echoed");
		close(fd);
	}
	return unused;
}

static void threads(int listener)
{
	pthread_t all[4];
	shared = listener;
	ask("knock");
	for (size_t i = 0; i < COUNT(all); i++)
		pthread_create(&all[i], NULL, accept_some, NULL);
	ask("crowd %d 5000", CROWD);
	for (size_t i = 0; i < COUNT(all); i++)
		pthread_join(all[i], NULL);
}

static void await_children(int count)
{
	for (int i = 0; i < count; i++) {
		int status = -1;
		must(wait(&status), "wait");
		if (status != 0)
			say("a child ended with %x", status);
	}
}

/* Workers made before any connection share the listener; each serves until it has had its part. */
static void prefork(int listener)
{
	ask("knock");
	for (int i = 0; i < 4; i++)
		if (must(fork(), "fork") == 0) {
			alarm(LIFETIME_SECONDS);
			shared = listener;
			accept_some(NULL);
			_exit(0);
		}
	close(listener);
	ask("crowd %d 5000", CROWD);
	await_children(4);
}

/* Non-blocking workers that poll: all may wake up, one gets the connection, the others wait on. */
static void prefork_poll(int listener)
{
	int served[2], stop[2];
	char token = 0;
	must(fcntl(listener, F_SETFL, O_NONBLOCK), "F_SETFL");
	must(pipe(served), "pipe");
	must(pipe(stop), "pipe");
	for (int i = 0; i < 3; i++)
		if (must(fork(), "fork") == 0) {
			struct pollfd p[2] = {{.fd = listener, .events = POLLIN}, {.fd = stop[0]}};
			alarm(LIFETIME_SECONDS);
			close(stop[1]);
			while (poll(p, 2, -1) > 0 && !p[1].revents) {
				int fd = accept4(listener, NULL, NULL, 0);
				if (fd < 0)
					continue;
				if (echo(fd) != 5000)
					say("not all echoed");
				close(fd);
				must(write(served[1], &token, 1), "write");
			}
			_exit(0);
		}
	ask("crowd %d 5000", CROWD);
	for (int i = 0; i < CROWD; i++)
		must(read(served[0], &token, 1), "read");
	close(stop[1]);
	await_children(3);
}

/* The listener under another number; the first one is closed. */
static void duplicate(int listener)
{
	int other = must(fcntl(listener, F_DUPFD, 200), "F_DUPFD"), third = must(dup(listener), "dup");
	prove(next_client(listener), 0);
	close(listener);
	ask("knock");
	prove(next_client(other), 1);
	must(dup2(third, listener), "dup2");
	close(other);
	close(third);
	prove(next_client(listener), 2);
	report("the closed one", accept(other, NULL, NULL));
}

/* What many daemons do first: everything from 3 up is closed. What the library needs has to survive or come later. */
static void closing_all(int listener)
{
	close(listener);
	for (int fd = 3; fd < 1024; fd++)
		close(fd);
	listener = listen_on(getenv("TORTURE_PORT"));
	say("first descriptor: %d", listener);
	ask("knock");
	prove(next_client(listener), 0);
	int fd = must(open("/dev/null", O_RDONLY), "open");
	say("next number: %d", fd);
	for (int i = 1; i < 3; i++)
		prove(next_client(listener), i);
	/* Once more, with connections open: only what the program has opened is closed by it. */
	for (fd = listener + 1; fd < 1024; fd++)
		close(fd);
	ask("0 end");
	ask("knock");
	prove(next_client(listener), 3);
}

/* The listener goes while handshakes are under way; its successor on the same port works. */
static void closed_listener(int listener)
{
	must(fcntl(listener, F_SETFL, O_NONBLOCK), "F_SETFL");
	for (int i = 0; i < 5; i++) {
		ask("knock");
		/* Connected before the listener goes. */
		await_client();
		report("accept", accept(listener, NULL, NULL));
	}
	close(listener);
	report("closed", accept(listener, NULL, NULL));
	listener = listen_on(getenv("TORTURE_PORT"));
	ask("knock");
	prove(next_client(listener), 0);
}

/* Whether a listener blocks is a matter of the open file: another process that has it may change that. */
static void made_blocking(int listener)
{
	int status;
	struct pollfd p = {.fd = listener, .events = POLLIN};
	must(fcntl(listener, F_SETFL, O_NONBLOCK), "F_SETFL");
	report("nobody there", accept(listener, NULL, NULL));
	if (must(fork(), "fork") == 0)
		_exit(fcntl(listener, F_SETFL, 0));
	must(wait(&status), "wait");
	for (int i = 0; i < 3; i++) {
		ask("knock");
		await_client();
		report("nobody there", poll(&p, 1, 100));
	}
	prove(next_client(listener), 0);
	ask("connect");
	report("somebody there", poll(&p, 1, -1));
	prove(must(accept(listener, NULL, NULL), "accept"), 1);
}

static pid_t waiter;

static void *accept_one(void *unused)
{
	__atomic_store_n(&waiter, gettid(), __ATOMIC_SEQ_CST);
	prove(must(accept(shared, NULL, NULL), "accept"), 0);
	return unused;
}

/* Whether a thread sleeps, proc(5). */
static int sleeps(pid_t thread)
{
	char path[64], state = 0;
	sprintf(path, "/proc/self/task/%d/stat", thread);
	FILE *stat = fopen(path, "r");
	if (stat && fscanf(stat, "%*d (%*[^)]) %c", &state) != 1)
		state = 0;
	if (stat)
		fclose(stat);
	return state == 'S';
}

/* Who waits in accept goes on waiting when the listener stops to block. */
static void unblocked(int listener)
{
	pthread_t thread;
	shared = listener;
	pthread_create(&thread, NULL, accept_one, NULL);
	while (!__atomic_load_n(&waiter, __ATOMIC_SEQ_CST) || !sleeps(waiter))
		sched_yield();
	must(fcntl(listener, F_SETFL, O_NONBLOCK), "F_SETFL");
	ask("knock");
	await_client();
	ask("connect");
	pthread_join(thread, NULL);
	report("nobody there", accept(listener, NULL, NULL));
}

/* Numbers that the program never got are its own to take, whatever the library keeps there. */
static void taken_numbers(int listener)
{
	struct rlimit limit;
	struct rusage before, after;
	struct pollfd p = {.fd = listener, .events = POLLIN};
	int null = must(open("/dev/null", O_RDONLY), "open");
	ask("knock");
	await_client();
	report("nobody there", poll(&p, 1, 100));
	must(getrlimit(RLIMIT_NOFILE, &limit), "getrlimit");
	for (int fd = null + 1; fd < (int)limit.rlim_cur && fd < 70000; fd++)
		if (dup2(null, fd) < 0 && errno != EBUSY)
			must(-1, "dup2");
	for (int fd = null + 1; fd < (int)limit.rlim_cur && fd < 70000; fd++)
		close(fd);
	ask("enter");
	int fd = must(accept(listener, NULL, NULL), "accept");
	prove(fd, 0);
	ask("0 send 1");
	await_bytes(fd, 1);
	/* What it sends is nothing to who waits for others. */
	must(getrusage(RUSAGE_SELF, &before), "getrusage");
	report("nobody there", poll(&p, 1, 300));
	must(getrusage(RUSAGE_SELF, &after), "getrusage");
	long spent = (after.ru_utime.tv_sec - before.ru_utime.tv_sec) * 1000000 + after.ru_utime.tv_usec - before.ru_utime.tv_usec;
	spent += (after.ru_stime.tv_sec - before.ru_stime.tv_sec) * 1000000 + after.ru_stime.tv_usec - before.ru_stime.tv_usec;
	say("waiting: %s", spent < 100000 ? "idle" : "WRONG");
}

/* An array with a place for every number that there may be, as old programs have it: nothing more goes into it. */
static void every_number(int listener)
{
	static struct pollfd all[256];
	struct rlimit limit;
	char byte;
	must(getrlimit(RLIMIT_NOFILE, &limit), "getrlimit");
	limit.rlim_cur = COUNT(all);
	must(setrlimit(RLIMIT_NOFILE, &limit), "setrlimit");
	for (size_t i = 0; i < COUNT(all); i++)
		all[i] = (struct pollfd){.fd = -1, .revents = POLLHUP};
	all[listener] = (struct pollfd){.fd = listener, .events = POLLIN};
	ask("connect");
	report("somebody there", poll(all, COUNT(all), -1));
	int fd = must(accept(listener, NULL, NULL), "accept");
	all[fd] = (struct pollfd){.fd = fd, .events = POLLIN | POLLOUT};
	ask("0 whole 1");
	while (poll(all, COUNT(all), -1) != 1 || all[fd].revents != (POLLIN | POLLOUT))
		sched_yield();
	report("read", read(fd, &byte, 1));
	for (size_t i = 0; i < COUNT(all); i++)
		if ((int)i != fd && all[i].revents)
			say("%zu: %x", i, all[i].revents);
	close(fd);
}

int main(int argc, char **argv)
{
	static const struct scenario TABLE[] = {
		{"variants", variants}, {"timed", timed}, {"threads", threads}, {"prefork", prefork},
		{"prefork-poll", prefork_poll}, {"duplicate", duplicate}, {"closing-all", closing_all},
		{"closed-listener", closed_listener}, {"made-blocking", made_blocking},
		{"taken-numbers", taken_numbers}, {"unblocked", unblocked},
		{"every-number", every_number},
	};
	if (argc != 3)
		return 2;
	setenv("TORTURE_PORT", argv[1], 1);
	return play(argv, TABLE, COUNT(TABLE));
}
