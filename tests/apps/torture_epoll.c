/* The kinds of epoll, and epoll beside another call on the same descriptor. */
#include "common.h"
#include <sys/resource.h>

#define LARGE (8u << 20)

static void unblock(int fd) { must(fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK), "F_SETFL"); }

static int watch(int fd, uint32_t events)
{
	struct epoll_event event = {.events = events, .data.u64 = 0x1234567800000000u | fd};
	int epoll = must(epoll_create(1), "epoll_create");
	must(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event), "EPOLL_CTL_ADD");
	return epoll;
}

/* Waits for one event of `fd`; its bits, 0 after the time. */
static uint32_t event_of(int epoll, int fd, int ms)
{
	struct epoll_event events[8];
	int n = must(epoll_wait(epoll, events, 8, ms), "epoll_wait");
	if (n > 0 && (n != 1 || events[0].data.u64 != (0x1234567800000000u | fd)))
		say("%d events, data %llx", n, (unsigned long long)events[0].data.u64);
	return n > 0 ? events[0].events : 0;
}

/* Pushes LARGE bytes on edges alone; with `short_is_full` a short write is taken for a full socket, as epoll(7) allows. */
static void push(int listener, int short_is_full)
{
	static char block[100000];
	int fd = next_client(listener), room = 60000, epoll;
	size_t sent = 0, length;
	must(setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &room, sizeof room), "SO_SNDBUF");
	unblock(fd);
	epoll = watch(fd, EPOLLIN | EPOLLOUT | EPOLLET);
	ask("0 slow %u", LARGE);
	while (sent < LARGE) {
		if (!(event_of(epoll, fd, -1) & EPOLLOUT))
			continue;
		for (;;) {
			length = LARGE - sent < sizeof block ? LARGE - sent : sizeof block;
			fill(block, length, sent);
			ssize_t n = length ? write(fd, block, length) : -1;
			if (n < 0 && length && errno != EAGAIN)
				must(n, "write");
			sent += n > 0 ? n : 0;
			if (n < 0 || (short_is_full && (size_t)n < length))
				break;
		}
	}
	say("pushed");
}

static void push_until_eagain(int listener) { push(listener, 0); }
static void push_until_short(int listener) { push(listener, 1); }

/* Reads LARGE / 8 bytes on edges alone; with `short_is_empty` a short read is taken for an empty socket. */
static void pull(int listener, int short_is_empty)
{
	static char block[3000];
	int fd = next_client(listener), epoll;
	size_t got = 0;
	unblock(fd);
	epoll = watch(fd, EPOLLIN | EPOLLET);
	for (size_t asked = 0; asked < LARGE / 8; asked += 32768) {
		ask("0 send 32768");
		while (got < asked + 32768) {
			if (!(event_of(epoll, fd, 20000) & EPOLLIN)) {
				say("no edge at %zu", got);
				return;
			}
			for (;;) {
				ssize_t n = read(fd, block, sizeof block);
				if (n < 0 && errno != EAGAIN)
					must(n, "read");
				if (n > 0 && strcmp(check(block, n, got), "right") != 0)
					say("wrong at %zu", got);
				got += n > 0 ? n : 0;
				if (n < 0 || (short_is_empty && n < (ssize_t)sizeof block))
					break;
			}
		}
	}
	ask("0 close");
	say("end: %s", event_of(epoll, fd, -1) & EPOLLIN ? "edge" : "none");
	report("read", read(fd, block, 1));
}

static void pull_until_eagain(int listener) { pull(listener, 0); }
static void pull_until_short(int listener) { pull(listener, 1); }

/* One edge for what has come; none without anything; one for what comes on top of unread bytes. */
static void edges(int listener)
{
	char buffer[16];
	int fd = next_client(listener), epoll = watch(fd, EPOLLIN | EPOLLET);
	say("at first: %d", event_of(epoll, fd, 0) != 0);
	ask("0 noise");
	say("noise: %d", event_of(epoll, fd, 200) != 0);
	/* The last of it is taken alone: what comes between our look and the wait is a new edge, here as in the kernel. */
	await_client();
	say("the end of the noise: %d", event_of(epoll, fd, 0) != 0);
	ask("0 whole 4");
	say("bytes: %d", event_of(epoll, fd, -1) != 0);
	await_bytes(fd, 4);
	say("read: %zd", read(fd, buffer, 2));
	say("no second edge: %d", event_of(epoll, fd, 0) != 0);
	ask("0 whole 4");
	say("more: %d", event_of(epoll, fd, -1) != 0);
	await_bytes(fd, 6);
	say("read: %zd", read(fd, buffer, sizeof buffer));
	say("none: %d", event_of(epoll, fd, 100) != 0);
	struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.u64 = 0x1234567800000000u | fd};
	ask("0 whole 4");
	await_bytes(fd, 4);
	say("before MOD: %d", event_of(epoll, fd, 0) != 0);
	must(epoll_ctl(epoll, EPOLL_CTL_MOD, fd, &event), "EPOLL_CTL_MOD");
	say("MOD gives an edge: %d", event_of(epoll, fd, 0) != 0);
	must(epoll_ctl(epoll, EPOLL_CTL_DEL, fd, NULL), "EPOLL_CTL_DEL");
	say("after DEL: %d", event_of(epoll, fd, 0) != 0);
	report("DEL again", epoll_ctl(epoll, EPOLL_CTL_DEL, fd, NULL));
	report("MOD", epoll_ctl(epoll, EPOLL_CTL_MOD, fd, &event));
	report("ADD", epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event));
	report("ADD again", epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event));
	report("of itself", epoll_ctl(epoll, EPOLL_CTL_ADD, epoll, &event));
	report("no room", epoll_wait(epoll, NULL, 0, 0));
}

#define WORKERS 3
#define CROWD 4
static int shared, ended;

static void *work(void *unused)
{
	char buffer[700];
	struct epoll_event event;
	while (must(epoll_wait(shared, &event, 1, -1), "epoll_wait") == 1 && event.data.fd >= 0) {
		ssize_t n = recv(event.data.fd, buffer, sizeof buffer, MSG_DONTWAIT);
		if (n > 0)
			write_full(event.data.fd, buffer, n);
		if (n < 0)
			say("a wake-up for nothing: %s", strerrorname_np(errno));
		if (n == 0) {
			close(event.data.fd);
			if (__atomic_add_fetch(&ended, 1, __ATOMIC_SEQ_CST) < CROWD)
				continue;
			/* The last one: a readable pipe that is never read ends every worker. */
			int ends[2];
			must(pipe(ends), "pipe");
			must(write(ends[1], "", 1), "write");
			struct epoll_event stop = {.events = EPOLLIN, .data.fd = -1};
			must(epoll_ctl(shared, EPOLL_CTL_ADD, ends[0], &stop), "EPOLL_CTL_ADD");
			continue;
		}
		struct epoll_event again = {.events = EPOLLIN | EPOLLONESHOT, .data.fd = event.data.fd};
		must(epoll_ctl(shared, EPOLL_CTL_MOD, event.data.fd, &again), "EPOLL_CTL_MOD");
	}
	return unused;
}

static void oneshot(int listener)
{
	pthread_t threads[WORKERS];
	shared = must(epoll_create1(0), "epoll_create1");
	for (int i = 0; i < WORKERS; i++)
		pthread_create(&threads[i], NULL, work, NULL);
	ask("crowd %d 20000", CROWD);
	for (int i = 0; i < CROWD; i++) {
		int fd = must(accept(listener, NULL, NULL), "accept");
		struct epoll_event event = {.events = EPOLLIN | EPOLLONESHOT, .data.fd = fd};
		must(epoll_ctl(shared, EPOLL_CTL_ADD, fd, &event), "EPOLL_CTL_ADD");
	}
	for (int i = 0; i < WORKERS; i++)
		pthread_join(threads[i], NULL);
	say("ended: %d", ended);
}

static void nested(int listener)
{
	char buffer[64];
	int fd = next_client(listener), inner = watch(fd, EPOLLIN), outer = watch(inner, EPOLLIN);
	struct pollfd p = {.fd = inner, .events = POLLIN};
	for (int round = 0; round < 3; round++) {
		double start = now();
		ask("0 noise");
		int n = event_of(outer, inner, 200) != 0;
		say("outer, noise: %d", n);
		lasted("outer", start, 0.2);
		start = now();
		ask("0 noise");
		n = poll(&p, 1, 200);
		say("poll of inner, noise: %d", n);
		lasted("poll of inner", start, 0.2);
		ask("0 tease 1");
		if (round == 1)
			say("poll of inner: %d", poll(&p, 1, -1));
		else
			say("outer: %d", event_of(outer, inner, -1) != 0);
		say("inner: %d", event_of(inner, fd, 0) != 0);
		say("read: %zd", recv(fd, buffer, sizeof buffer, MSG_DONTWAIT));
		say("inner: %d, outer: %d", event_of(inner, fd, 0) != 0, event_of(outer, inner, 0) != 0);
	}
}

static double busy(void)
{
	struct timespec t;
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

/* Level-triggered waits sleep through what is no payload: no wake-up, next to no processor time. */
static void quiet(int listener)
{
	static const char *const PARTS[] = {"0 half", "0 rest", "0 ping"};
	char buffer[64];
	int fd = next_client(listener), epoll = watch(fd, EPOLLIN);
	double start = busy();
	ask("0 noise");
	say("noise: %d", event_of(epoll, fd, 300) != 0);
	say("noise: %s", busy() - start < 0.15 ? "idle" : "WRONG");
	for (size_t i = 0; i < COUNT(PARTS); i++) {
		ask("%s", PARTS[i]);
		start = busy();
		say("%s: %d", PARTS[i], event_of(epoll, fd, 300) != 0);
		say("%s: %s", PARTS[i], busy() - start < 0.05 ? "idle" : "WRONG");
	}
	ask("0 tease 1");
	say("byte: %d", event_of(epoll, fd, -1) != 0);
	say("read: %zd", recv(fd, buffer, sizeof buffer, MSG_DONTWAIT));
}

/* The way of a VNC server: a level-triggered epoll, then select with no time, then a blocking recv of what is there. */
static void selecting(int listener)
{
	char buffer[777];
	struct epoll_event event = {0}, got;
	int fd = next_client(listener), epoll = must(epoll_create1(0), "epoll_create1"), disagreed = 0;
	event.data.fd = fd;
	must(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event), "EPOLL_CTL_ADD");
	event.events = EPOLLIN;
	must(epoll_ctl(epoll, EPOLL_CTL_MOD, fd, &event), "EPOLL_CTL_MOD");
	fill(buffer, 12, 0);
	must(send(fd, buffer, 12, MSG_DONTWAIT), "send");
	ask("0 expect 12");
	ask("0 send 50000");
	for (size_t total = 0; total < 50000;) {
		fd_set set;
		struct timeval none = {0};
		FD_ZERO(&set);
		FD_SET(fd, &set);
		must(epoll_wait(epoll, &got, 1, -1), "epoll_wait");
		if (select(fd + 1, &set, NULL, NULL, &none) != 1) {
			disagreed++;
			continue;
		}
		ssize_t n = must(recv(fd, buffer, sizeof buffer, 0), "recv");
		if (n == 0 || strcmp(check(buffer, n, total), "right") != 0)
			say("wrong at %zu", total);
		total += n;
	}
	say("disagreed: %d", disagreed);
}

/* The next event: its data, and what is read from `fd` then. */
static void say_event(int epoll, int fd, int ms)
{
	char buffer[64];
	struct epoll_event event = {0};
	int n = must(epoll_wait(epoll, &event, 1, ms), "epoll_wait");
	say("event of %d, read %zd", n ? (int)event.data.u64 : 0, recv(fd, buffer, sizeof buffer, MSG_DONTWAIT));
}

static void watch_as(int epoll, int what, int fd, uint64_t data)
{
	struct epoll_event event = {.events = EPOLLIN, .data.u64 = data};
	must(epoll_ctl(epoll, what, fd, &event), "epoll_ctl");
}

/* A registration is of the open file: it outlives the number that it was made under, and another file may be registered under that. */
static void displaced(int listener)
{
	int epoll = must(epoll_create1(0), "epoll_create1"), first = next_client(listener);
	watch_as(epoll, EPOLL_CTL_ADD, first, 1);
	int other = must(dup(first), "dup");
	close(first);
	ask("0 send 1");
	say_event(epoll, other, -1);
	int second = next_client(listener);
	say("the number: %s", second == first ? "the same" : "another");
	watch_as(epoll, EPOLL_CTL_ADD, second, 2);
	ask("0 ping");
	say_event(epoll, other, 200);
	ask("0 send 1");
	say_event(epoll, other, -1);
	ask("1 send 1");
	say_event(epoll, second, -1);
	/* Both may change and end what they have. */
	watch_as(epoll, EPOLL_CTL_MOD, second, 3);
	ask("1 send 1");
	say_event(epoll, second, -1);
	must(epoll_ctl(epoll, EPOLL_CTL_DEL, second, NULL), "EPOLL_CTL_DEL");
	ask("1 send 7");
	await_bytes(second, 7);
	ask("0 send 1");
	say_event(epoll, other, -1);
	must(dup2(other, first), "dup2");
	watch_as(epoll, EPOLL_CTL_MOD, first, 4);
	ask("0 send 1");
	say_event(epoll, other, -1);
	must(epoll_ctl(epoll, EPOLL_CTL_DEL, first, NULL), "EPOLL_CTL_DEL");
	ask("0 send 10");
	await_bytes(first, 10);
	say_event(epoll, first, 200);
}

int main(int argc, char **argv)
{
	static const struct scenario TABLE[] = {
		{"push-until-eagain", push_until_eagain}, {"push-until-short", push_until_short},
		{"pull-until-eagain", pull_until_eagain}, {"pull-until-short", pull_until_short}, {"edges", edges},
		{"oneshot", oneshot}, {"nested", nested}, {"quiet", quiet}, {"selecting", selecting},
		{"displaced", displaced},
	};
	return argc == 3 ? play(argv, TABLE, COUNT(TABLE)) : 2;
}
