/* An echo server that goes on after whatever a call may report, and says what that was, each kind once.
 *
 * echo WAY PORT [COUNT [BUFFER]]
 *
 * WAY: epoll (level), edge, poll: non-blocking, in one thread; threads: a blocking thread for each connection; turns:
 * blocking, one connection after the other; oneshot: worker threads on one EPOLLONESHOT instance. COUNT: ends after that
 * many connections; 0: never. BUFFER: the size asked for of the send buffer of each connection.
 *
 * It reads no more of a client than it can give back, so what it needs for one is bounded. */
#include "common.h"

enum { CHUNK = 16 * 1024, EVENTS = 128, WORKERS = 3, POLLS = 4096 };

/* What `serve` waits for. */
enum { ENDED, INPUT, OUTPUT };

struct connection {
	int fd;
	/* What was not taken yet. While there is some nothing more is read. */
	size_t length, at;
	char *rest;
};

static int instance = -1;
static long count, ended;

/* An error of `call` in the transcript; whether to try again. Leaves errno alone. */
static int transient(const char *call)
{
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	static struct {
		const char *call;
		int error;
	} seen[64];
	int error = errno;
	if (error == EAGAIN)
		return 1;
	pthread_mutex_lock(&lock);
	for (size_t i = 0; i < COUNT(seen); i++) {
		if (seen[i].call && strcmp(seen[i].call, call) == 0 && seen[i].error == error)
			break;
		if (seen[i].call)
			continue;
		seen[i].call = call;
		seen[i].error = error;
		say("%s: %s", call, strerrorname_np(error));
		break;
	}
	pthread_mutex_unlock(&lock);
	errno = error;
	return error == EINTR || error == ENOMEM || error == ENOBUFS;
}

/* One connection more is over; the last one ends the program. */
static void over(void)
{
	if (__atomic_add_fetch(&ended, 1, __ATOMIC_SEQ_CST) == count && count > 0)
		exit(done());
}

static int welcome(int listener, int flags)
{
	int fd = accept4(listener, NULL, NULL, flags | SOCK_CLOEXEC), on = 1;
	if (fd < 0) {
		transient("accept");
		return -1;
	}
	must(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on), "TCP_NODELAY");
	return fd;
}

/* Gives back what was kept: ENDED, OUTPUT, or INPUT when it is all out. */
static int give_back(struct connection *c)
{
	while (c->length > 0) {
		ssize_t put = send(c->fd, c->rest + c->at, c->length, 0);
		if (put < 0 && !transient("send"))
			return ENDED;
		if (put < 0 && errno == EAGAIN)
			return OUTPUT;
		c->at += put > 0 ? put : 0;
		c->length -= put > 0 ? put : 0;
	}
	free(c->rest);
	c->rest = NULL;
	return INPUT;
}

/* Echoes without waiting: one read, or with `until_dry` all there is. */
static int serve(struct connection *c, int until_dry)
{
	char bytes[CHUNK];
	do {
		int next = give_back(c);
		if (next != INPUT)
			return next;
		ssize_t got = recv(c->fd, bytes, sizeof bytes, 0);
		if (got == 0 || (got < 0 && !transient("recv")))
			return ENDED;
		if (got < 0 && errno == EAGAIN)
			return INPUT;
		if (got < 0)
			continue;
		ssize_t put = send(c->fd, bytes, got, 0);
		if (put < 0 && !transient("send"))
			return ENDED;
		put = put < 0 ? 0 : put;
		if (put < got) {
			c->at = 0;
			c->length = got - put;
			c->rest = malloc(c->length);
			must(c->rest ? 0 : -1, "malloc");
			memcpy(c->rest, bytes + put, c->length);
			if (!until_dry)
				return OUTPUT;
		}
	} while (until_dry);
	return INPUT;
}

static void drop(struct connection *c)
{
	close(c->fd);
	free(c->rest);
	free(c);
	over();
}

static struct connection *meet(int fd)
{
	struct connection *c = calloc(1, sizeof *c);
	must(c ? 0 : -1, "calloc");
	c->fd = fd;
	return c;
}

/* epoll_ctl may lack memory for a moment. */
static void watch(int what, struct connection *c, uint32_t events)
{
	struct epoll_event event = {.events = events, .data.ptr = c};
	while (epoll_ctl(instance, what, c->fd, &event) != 0)
		if (!transient("epoll_ctl") && errno != ENOSPC)
			must(-1, "epoll_ctl");
}

/* On edges nothing but EAGAIN says that all are accepted. */
static void welcome_all(int listener, int edge)
{
	for (;;) {
		int fd = welcome(listener, SOCK_NONBLOCK);
		if (fd >= 0)
			watch(EPOLL_CTL_ADD, meet(fd), edge ? EPOLLIN | EPOLLOUT | EPOLLET : EPOLLIN);
		else if (!edge || errno == EAGAIN)
			return;
	}
}

static void epoll_loop(int listener, int edge)
{
	struct epoll_event events[EVENTS];
	struct connection door = {.fd = listener};
	uint32_t kind = edge ? EPOLLET : 0;
	instance = must(epoll_create1(EPOLL_CLOEXEC), "epoll_create1");
	watch(EPOLL_CTL_ADD, &door, EPOLLIN | kind);
	for (;;) {
		int n = epoll_wait(instance, events, EVENTS, -1);
		if (n < 0 && !transient("epoll_wait"))
			must(n, "epoll_wait");
		for (int i = 0; i < n; i++) {
			struct connection *c = events[i].data.ptr;
			if (c == &door) {
				welcome_all(listener, edge);
				continue;
			}
			int before = c->rest ? OUTPUT : INPUT, next = serve(c, edge);
			if (next == ENDED)
				drop(c);
			else if (next != before && !edge)
				watch(EPOLL_CTL_MOD, c, next == OUTPUT ? EPOLLOUT : EPOLLIN);
		}
	}
}

static void by_epoll(int listener) { epoll_loop(listener, 0); }
static void by_edge(int listener) { epoll_loop(listener, 1); }

static void by_poll(int listener)
{
	static struct pollfd polls[POLLS];
	static struct connection *met[POLLS];
	int n = 1;
	polls[0] = (struct pollfd){.fd = listener, .events = POLLIN};
	for (;;) {
		if (poll(polls, n, -1) < 0) {
			if (!transient("poll"))
				must(-1, "poll");
			continue;
		}
		for (int i = n - 1; i > 0; i--) {
			if (polls[i].revents == 0)
				continue;
			int next = serve(met[i], 0);
			polls[i].events = next == OUTPUT ? POLLOUT : POLLIN;
			if (next == ENDED) {
				drop(met[i]);
				polls[i] = polls[--n];
				met[i] = met[n];
			}
		}
		int fd = polls[0].revents && n < POLLS ? welcome(listener, SOCK_NONBLOCK) : -1;
		if (fd >= 0) {
			met[n] = meet(fd);
			polls[n++] = (struct pollfd){.fd = fd, .events = POLLIN};
		}
	}
}

/* Echoes with calls that wait. */
static void converse(int fd)
{
	char bytes[CHUNK];
	for (;;) {
		ssize_t got = recv(fd, bytes, sizeof bytes, 0);
		if (got == 0 || (got < 0 && !transient("recv")))
			break;
		for (ssize_t at = 0; at < got;) {
			ssize_t put = send(fd, bytes + at, got - at, 0);
			if (put < 0 && !transient("send"))
				goto end;
			at += put > 0 ? put : 0;
		}
	}
end:
	close(fd);
}

static void *thread(void *fd)
{
	converse((int)(intptr_t)fd);
	return NULL;
}

static void by_threads(int listener)
{
	pthread_attr_t attributes;
	pthread_t threads[256];
	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, 128 * 1024);
	for (long served = 0; count == 0 || served < count;) {
		int fd = welcome(listener, 0);
		if (fd < 0)
			continue;
		pthread_t *place = &threads[served++ % COUNT(threads)];
		/* A failure ends this client alone. */
		if (pthread_create(place, &attributes, thread, (void *)(intptr_t)fd) != 0)
			close(fd);
		else if (count == 0)
			pthread_detach(*place);
	}
	for (long i = 0; i < count; i++)
		pthread_join(threads[i], NULL);
	exit(done());
}

static void by_turns(int listener)
{
	for (;;) {
		int fd = welcome(listener, 0);
		if (fd < 0)
			continue;
		converse(fd);
		over();
	}
}

/* The listener is watched like the connections; whoever is woken by it accepts one. */
__attribute__((noreturn)) static void *work(void *listener)
{
	struct connection *door = listener;
	for (;;) {
		struct epoll_event event;
		int n = epoll_wait(instance, &event, 1, -1);
		if (n <= 0) {
			if (n < 0 && !transient("epoll_wait"))
				must(n, "epoll_wait");
			continue;
		}
		struct connection *c = event.data.ptr;
		if (c == door) {
			int fd = welcome(door->fd, SOCK_NONBLOCK);
			if (fd >= 0)
				watch(EPOLL_CTL_ADD, meet(fd), EPOLLIN | EPOLLONESHOT);
			watch(EPOLL_CTL_MOD, door, EPOLLIN | EPOLLONESHOT);
			continue;
		}
		int next = serve(c, 0);
		if (next == ENDED)
			drop(c);
		else
			watch(EPOLL_CTL_MOD, c, (next == OUTPUT ? EPOLLOUT : EPOLLIN) | EPOLLONESHOT);
	}
}

static void by_oneshot(int listener)
{
	pthread_t threads[WORKERS];
	struct connection door = {.fd = listener};
	instance = must(epoll_create1(EPOLL_CLOEXEC), "epoll_create1");
	watch(EPOLL_CTL_ADD, &door, EPOLLIN | EPOLLONESHOT);
	for (size_t i = 1; i < COUNT(threads); i++)
		pthread_create(&threads[i], NULL, work, &door);
	work(&door);
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*run)(int listener);
		int flags;
	} WAYS[] = {
		{"epoll", by_epoll, O_NONBLOCK}, {"edge", by_edge, O_NONBLOCK}, {"poll", by_poll, O_NONBLOCK},
		{"threads", by_threads, 0}, {"turns", by_turns, 0}, {"oneshot", by_oneshot, O_NONBLOCK},
	};
	if (argc < 3 || argc > 5)
		return 2;
	signal(SIGPIPE, SIG_IGN);
	count = argc > 3 ? atol(argv[3]) : 0;
	int size = argc > 4 ? atoi(argv[4]) : 0;
	for (size_t i = 0; i < COUNT(WAYS); i++)
		if (strcmp(WAYS[i].name, argv[1]) == 0) {
			int listener = listen_on(argv[2]);
			/* Connections inherit it. The way in is left alone: a queue of small segments can be full before its window is
			 * used up, and Linux (from 6.17) then drops all that comes, the acknowledgements that our own queue waits for
			 * among it. */
			if (size > 0)
				must(setsockopt(listener, SOL_SOCKET, SO_SNDBUF, &size, sizeof size), "SO_SNDBUF");
			must(listen(listener, 4096), "listen");
			must(fcntl(listener, F_SETFL, WAYS[i].flags), "F_SETFL");
			WAYS[i].run(listener);
		}
	return 2;
}
