/* What threads do to one connection, or to one epoll instance, at the same time. */
#include "common.h"

enum { THREADS = 6, ROUNDS = 1500, CONNECTIONS = 100, SHARED = 300 };

static int connection, epoll;
static volatile int over;

/* Copies come and go, under numbers of each thread's own and under one that all of them fight for. */
static void *copies(void *argument)
{
	int own = 200 + (int)(intptr_t)argument;
	for (int i = 0; i < ROUNDS; i++) {
		int copy = must(dup(connection), "dup");
		must(dup2(copy, own), "dup2");
		dup2(own, SHARED);
		if (i % 3 == 0)
			close(SHARED);
		close(own);
		must(close(copy), "close");
	}
	return NULL;
}

static void run(void *(*body)(void *), int threads)
{
	pthread_t ids[THREADS];
	for (int i = 0; i < threads; i++)
		must(-pthread_create(&ids[i], NULL, body, (void *)(intptr_t)i), "pthread_create");
	for (int i = 0; i < threads; i++)
		must(-pthread_join(ids[i], NULL), "pthread_join");
}

static void copying(int listener)
{
	char buffer[5];
	for (int client = 0; client < 3; client++) {
		connection = next_client(listener);
		run(copies, THREADS);
		close(SHARED);
		/* One number is left, and it is the connection. */
		ask("%d whole 5", client);
		say_read("bytes", connection, buffer, 5, 0);
		write_full(connection, buffer, 5);
		ask("%d expect 5", client);
		close(connection);
		ask("%d end", client);
	}
}

/* Each thread closes a number of its own; the last of them ends the connection, once. */
static int numbers[2][CONNECTIONS];
static int arrived;

static void *closes(void *argument)
{
	for (int i = 0; i < CONNECTIONS; i++) {
		/* Not a barrier of the system's, which lets them go one behind the other. */
		__atomic_add_fetch(&arrived, 1, __ATOMIC_SEQ_CST);
		while (__atomic_load_n(&arrived, __ATOMIC_SEQ_CST) < 2 * (i + 1))
			;
		must(close(numbers[(intptr_t)argument][i]), "close");
	}
	return NULL;
}

static void closing(int listener)
{
	for (int i = 0; i < CONNECTIONS; i++) {
		numbers[0][i] = next_client(listener);
		numbers[1][i] = must(dup(numbers[0][i]), "dup");
	}
	run(closes, 2);
	for (int i = 0; i < CONNECTIONS; i++)
		ask("%d end", i);
}

/* A registration comes, changes and goes while others wait: whatever they are told has a name that the program has given. */
enum { NAMES = 1000 };

static void *waits(void *unused)
{
	struct epoll_event events[4];
	while (!over) {
		int n = must(epoll_wait(epoll, events, 4, 10), "epoll_wait");
		for (int i = 0; i < n; i++)
			if (events[i].data.u64 < 1 || events[i].data.u64 > NAMES)
				say("WRONG: %llx", (unsigned long long)events[i].data.u64);
	}
	return unused;
}

static void churning(int listener)
{
	pthread_t waiters[3];
	static char block[300000];
	connection = next_client(listener);
	epoll = must(epoll_create1(0), "epoll_create1");
	for (size_t i = 0; i < COUNT(waiters); i++)
		must(-pthread_create(&waiters[i], NULL, waits, NULL), "pthread_create");
	must(fcntl(listener, F_SETFL, O_NONBLOCK), "F_SETFL");
	ask("0 send %zu", sizeof block);
	ask("knock");
	size_t at = 0;
	for (unsigned round = 0; at < sizeof block; round++) {
		struct epoll_event event = {.events = EPOLLIN | EPOLLOUT, .data.u64 = 1 + round % NAMES};
		int copy = must(dup(connection), "dup");
		if (round % 4 == 1)
			event.events |= EPOLLET;
		if (round % 4 == 2)
			event.events |= EPOLLONESHOT;
		must(epoll_ctl(epoll, EPOLL_CTL_ADD, connection, &event), "ADD");
		must(epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event), "ADD");
		must(epoll_ctl(epoll, EPOLL_CTL_ADD, copy, &event), "ADD");
		event.data.u64 = 1 + (round + 7) % NAMES;
		must(epoll_ctl(epoll, EPOLL_CTL_MOD, connection, &event), "MOD");
		ssize_t n = recv(connection, block + at, 400, MSG_DONTWAIT);
		if (n > 0)
			at += n;
		must(epoll_ctl(epoll, EPOLL_CTL_DEL, copy, NULL), "DEL");
		must(epoll_ctl(epoll, EPOLL_CTL_DEL, connection, NULL), "DEL");
		must(epoll_ctl(epoll, EPOLL_CTL_DEL, listener, NULL), "DEL");
		close(copy);
	}
	over = 1;
	for (size_t i = 0; i < COUNT(waiters); i++)
		must(-pthread_join(waiters[i], NULL), "pthread_join");
	say("%zu, %s", at, check(block, at, 0));
	close(connection);
	ask("0 end");
}

/* A writer waits for room; another thread's send that must not wait does not. */
static char large[8 << 20];

static void *writes(void *unused)
{
	write_full(connection, large, sizeof large);
	return unused;
}

static void beside(int listener)
{
	pthread_t writer;
	connection = next_client(listener);
	memset(large, 'a', sizeof large);
	must(-pthread_create(&writer, NULL, writes, NULL), "pthread_create");
	/* The writer waits when there has been no room for a while. */
	struct pollfd p = {.fd = connection, .events = POLLOUT};
	while (poll(&p, 1, 100) > 0)
		sched_yield();
	double start = now();
	for (int i = 0; i < 100; i++)
		if (send(connection, "a", 1, MSG_DONTWAIT) != 1 && errno != EAGAIN)
			report("WRONG: send", -1);
	say("%s", now() - start < 5 ? "at once" : "WRONG: it waited");
	ask("0 until %d", 'z');
	must(-pthread_join(writer, NULL), "pthread_join");
	write_full(connection, "the endz", 8);
	close(connection);
	ask("0 end");
}

int main(int argc, char **argv)
{
	static const struct scenario TABLE[] = {
		{"copying", copying}, {"closing", closing}, {"churning", churning}, {"beside", beside},
	};
	return argc == 3 ? play(argv, TABLE, COUNT(TABLE)) : 2;
}
