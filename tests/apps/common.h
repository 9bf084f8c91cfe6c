/*
 * What every torture server shares.
 *
 * A torture server is run as `PROGRAM PORT SCENARIO` and talks to the test on its standard output. A line that starts
 * with "> " is a request to the client (the verbs are listed in tests/torture_script.rs); any other line belongs to the
 * transcript, which has to be the same bare and wrapped. Nothing in a transcript may depend on timing, on how the
 * stream was cut into pieces, or on buffer sizes.
 *
 * Both directions of a connection carry the same endless pattern, so that each side can check every byte by its
 * position alone.
 */
#ifndef COMMON_H
#define COMMON_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* A server that outlives its test would be in the way of the next one. */
#define LIFETIME_SECONDS 60

/* One line in one write: threads and forked processes share the descriptor. */
static inline void vsay(const char *prefix, const char *format, va_list arguments)
{
	char line[512];
	size_t used = strlen(prefix);
	memcpy(line, prefix, used);
	used += vsnprintf(line + used, sizeof line - used - 1, format, arguments);
	line[used++] = '\n';
	if (write(STDOUT_FILENO, line, used) != (ssize_t)used)
		_exit(3);
}

/* A line of the transcript. */
__attribute__((format(printf, 1, 2))) static inline void say(const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	vsay("", format, arguments);
	va_end(arguments);
}

/* A request to the client. */
__attribute__((format(printf, 1, 2))) static inline void ask(const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	vsay("> ", format, arguments);
	va_end(arguments);
}

/* The result of a call with the name of its error, as a line of the transcript. */
static inline long report(const char *what, long result)
{
	if (result < 0)
		say("%s: %s", what, strerrorname_np(errno));
	else
		say("%s: %ld", what, result);
	return result;
}

/* For a call whose failure is no part of the scenario. */
static inline int must(long result, const char *what)
{
	if (result < 0) {
		say("%s failed: %s", what, strerrorname_np(errno));
		exit(2);
	}
	return (int)result;
}

static inline double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

/*
 * Says whether a wait that began at `start` lasted `seconds`: never less, and more only as far as the machine is busy. One that
 * begins anew with each piece of noise has no end.
 */
static inline void lasted(const char *what, double start, double seconds)
{
	double elapsed = now() - start;
	if (elapsed < seconds - 0.002)
		say("%s: WRONG, %.3f s instead of %.3f s", what, elapsed, seconds);
	else if (elapsed > seconds + 10)
		say("%s: WRONG, %.3f s instead of %.3f s", what, elapsed, seconds);
	else
		say("%s: in time", what);
}

static inline unsigned char pattern(size_t position)
{
	return (unsigned char)(position * 31 + (position >> 8) * 7 + 11);
}

static inline void fill(char *buffer, size_t length, size_t position)
{
	for (size_t i = 0; i < length; i++)
		buffer[i] = (char)pattern(position + i);
}

/* "right" when the bytes are those of the pattern at `position`. A line with "WRONG" fails the test by itself. */
static inline const char *check(const char *buffer, ssize_t length, size_t position)
{
	for (ssize_t i = 0; i < length; i++)
		if ((unsigned char)buffer[i] != pattern(position + i))
			return "WRONG";
	return "right";
}

static inline int listen_on(const char *port)
{
	int fd = must(socket(AF_INET, SOCK_STREAM, 0), "socket"), on = 1;
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port))};
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	must(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on), "SO_REUSEADDR");
	must(bind(fd, (struct sockaddr *)&address, sizeof address), "bind");
	must(listen(fd, 128), "listen");
	return fd;
}

/* Waits until the client has done all it was asked for. */
static inline void await_client(void)
{
	char byte;
	ask("tell");
	must(read(STDIN_FILENO, &byte, 1), "standard input");
}

/* The next client: asks for it and waits for it. */
static inline int next_client(int listener)
{
	ask("connect");
	return must(accept(listener, NULL, NULL), "accept");
}

/* Reads exactly `length` bytes with plain blocking reads, or up to the end. */
static inline size_t read_full(int fd, char *buffer, size_t length)
{
	size_t got = 0;
	while (got < length) {
		ssize_t n = read(fd, buffer + got, length - got);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		got += n;
	}
	return got;
}

/* Reads `length` bytes that stand at `position` of the stream, and says so. */
static inline void say_read(const char *what, int fd, char *buffer, size_t length, size_t position)
{
	size_t got = read_full(fd, buffer, length);
	say("%s: %zu, %s", what, got, check(buffer, got, position));
}

static inline void write_full(int fd, const char *buffer, size_t length)
{
	while (length > 0) {
		ssize_t n = write(fd, buffer, length);
		if (n < 0 && errno == EINTR)
			continue;
		must(n, "write");
		buffer += n;
		length -= n;
	}
}

/* Echoes until the end of the stream; the number of bytes, or -1 after an error. */
static inline long echo(int fd)
{
	char buffer[4096];
	long total = 0;
	for (;;) {
		ssize_t n = read(fd, buffer, sizeof buffer);
		if (n <= 0)
			return n < 0 ? -1 : total;
		write_full(fd, buffer, n);
		total += n;
	}
}

/* Waits until `length` (at most 256) bytes can be peeked at. */
static inline void await_bytes(int fd, size_t length)
{
	char buffer[256];
	while (recv(fd, buffer, length, MSG_PEEK | MSG_DONTWAIT) < (ssize_t)length)
		sched_yield();
}

/* The last line. The client may still have something to read: it closes standard input when it has all. */
static inline int done(void)
{
	char byte;
	say("done");
	return read(STDIN_FILENO, &byte, 1) != 0;
}

struct scenario {
	const char *name;
	void (*run)(int listener);
};

/* The whole of main: `argv` is PROGRAM PORT SCENARIO. */
static inline int play(char **argv, const struct scenario *table, size_t length)
{
	alarm(LIFETIME_SECONDS);
	for (size_t i = 0; i < length; i++)
		if (strcmp(table[i].name, argv[2]) == 0) {
			int listener = listen_on(argv[1]);
			table[i].run(listener);
			return done();
		}
	fprintf(stderr, "no scenario %s\n", argv[2]);
	return 2;
}

#endif
