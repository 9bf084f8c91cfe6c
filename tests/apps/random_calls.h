/* The calls that torture_random.c makes of a connection, and what is known of it meanwhile. */
#ifndef RANDOM_CALLS_H
#define RANDOM_CALLS_H

#include "common.h"
#include <sys/sendfile.h>

enum { LENGTH = 120000, LARGE = 60000, SEEDS = 6, GENERATIONS = 3 };

/* What a sequence is made of, beside reading, writing and waiting. */
enum { CALLS = 1, SIGNALS = 2, THREADS = 4, PROCESSES = 8 };

static struct {
	unsigned seed, kinds, client, generation;
	uint64_t random;
	size_t read, written;
	int fd, nonblocking, limited;
} session;

/* Not handed on: made anew by each process. */
static char bytes[LARGE], others[LARGE];
static const char *call = "nothing";
static int instance = -1, file = -1, worker = -1;
static pid_t worker_pid;

static _Noreturn void wrong(const char *what)
{
	say("WRONG: seed %u, %s: %s (%s), %zu read, %zu written", session.seed, call, what, strerrorname_np(errno), session.read,
	    session.written);
	exit(2);
}

/* A number below `limit`: xorshift64. */
static size_t below(size_t limit)
{
	session.random ^= session.random << 13;
	session.random ^= session.random >> 7;
	session.random ^= session.random << 17;
	return (session.random >> 11) % limit;
}

/* Mostly small, never 0, `most` at most. */
static size_t portion(size_t most)
{
	size_t length = 1 + below(below(4) ? 200 : LARGE);
	return length < most ? length : most;
}

/* Whether a call that failed was allowed to. */
static void excuse(int waits)
{
	if (errno == EINTR && session.kinds & SIGNALS)
		return;
	if (errno != EAGAIN || (waits && !session.nonblocking && !session.limited))
		wrong("failed");
}

static void take(const char *buffer, size_t length)
{
	if (strcmp(check(buffer, length, session.read), "right"))
		wrong("other bytes");
	session.read += length;
}

static size_t unread(void)
{
	return LENGTH - session.read;
}

/* Takes what a call read into `bytes`. */
static void took(ssize_t length, int waits)
{
	if (length < 0)
		excuse(waits);
	else if (length == 0)
		wrong("the end");
	else
		take(bytes, length);
}

static void peek_and_read(size_t length)
{
	ssize_t seen = recv(session.fd, others, length, MSG_PEEK | MSG_DONTWAIT);
	if (seen < 0)
		return excuse(0);
	if (strcmp(check(others, seen, session.read), "right"))
		wrong("peeked at other bytes");
	ssize_t got = recv(session.fd, bytes, seen, MSG_DONTWAIT);
	if (got != seen)
		wrong("peeked at more than is there");
	take(bytes, got);
}

static void read_what_is_there(void)
{
	int there = 0;
	must(ioctl(session.fd, FIONREAD, &there), "FIONREAD");
	if ((size_t)there > unread())
		wrong("more than was sent");
	if (there == 0)
		return;
	size_t length = there < LARGE ? there : LARGE;
	if (recv(session.fd, bytes, length, MSG_DONTWAIT) != (ssize_t)length)
		wrong("less than was said");
	take(bytes, length);
}

static void read_messages(size_t length)
{
	struct iovec pieces[3];
	struct mmsghdr messages[3] = {0};
	size_t each = length / COUNT(pieces);
	for (size_t i = 0; i < COUNT(pieces); i++) {
		pieces[i] = (struct iovec){bytes + i * each, each};
		messages[i].msg_hdr = (struct msghdr){.msg_iov = &pieces[i], .msg_iovlen = 1};
	}
	int waits = below(2), count = recvmmsg(session.fd, messages, COUNT(messages), waits ? MSG_WAITFORONE : MSG_DONTWAIT, NULL);
	if (count < 0)
		excuse(waits);
	for (int i = 0; i < count; i++)
		take(bytes + i * each, messages[i].msg_len);
}

static void receive(void)
{
	size_t length = portion(unread()), cut;
	struct sockaddr_storage address;
	socklen_t size = sizeof address;
	if (unread() == 0)
		return;
	cut = below(length + 1);
	struct iovec pieces[] = {{bytes, cut}, {NULL, 0}, {bytes + cut, length - cut}};
	struct msghdr message = {.msg_iov = pieces, .msg_iovlen = COUNT(pieces)};
	switch (below(10)) {
	case 0:
		call = "read";
		return took(read(session.fd, bytes, length), 1);
	case 1:
		call = "recv";
		return took(recv(session.fd, bytes, length, 0), 1);
	case 2:
		call = "recv, MSG_DONTWAIT";
		return took(recv(session.fd, bytes, length, MSG_DONTWAIT), 0);
	case 3:
		call = "recv, MSG_WAITALL";
		ssize_t got = recv(session.fd, bytes, length, MSG_WAITALL);
		if (got >= 0 && got < (ssize_t)length && !session.nonblocking && !session.limited && !(session.kinds & SIGNALS))
			wrong("not all");
		return took(got, 1);
	case 4:
		call = "readv";
		return took(readv(session.fd, pieces, COUNT(pieces)), 1);
	case 5:
		call = "recvmsg";
		return took(recvmsg(session.fd, &message, 0), 1);
	case 6:
		call = "recvfrom";
		return took(recvfrom(session.fd, bytes, length, 0, (struct sockaddr *)&address, &size), 1);
	case 7:
		call = "MSG_PEEK";
		return peek_and_read(length);
	case 8:
		call = "FIONREAD";
		return read_what_is_there();
	default:
		call = "recvmmsg";
		if (length >= COUNT(pieces))
			read_messages(length);
	}
}

/* Notes what a call wrote of `length` bytes. */
static void gave(ssize_t written, size_t length, int waits)
{
	if (written < 0)
		return excuse(waits);
	if (written == 0)
		wrong("nothing");
	if ((size_t)written < length && waits && !session.nonblocking && !session.limited && !(session.kinds & SIGNALS))
		wrong("not all");
	session.written += written;
}

static void splice_all(size_t length)
{
	int ends[2];
	must(pipe(ends), "pipe");
	length = length < 4096 ? length : 4096;
	write_full(ends[1], bytes, length);
	for (size_t left = length; left > 0;) {
		struct pollfd room = {.fd = session.fd, .events = POLLOUT};
		ssize_t n = splice(ends[0], NULL, session.fd, NULL, left, 0);
		if (n > 0) {
			session.written += n;
			left -= n;
			continue;
		}
		/* What is in the pipe has to go out. */
		excuse(1);
		poll(&room, 1, -1);
	}
	close(ends[0]);
	close(ends[1]);
}

static void transmit(void)
{
	size_t left = LENGTH - session.written, length = portion(left), cut;
	off_t position = session.written;
	ssize_t n;
	if (left == 0)
		return;
	fill(bytes, length, session.written);
	cut = below(length + 1);
	struct iovec pieces[] = {{bytes, cut}, {NULL, 0}, {bytes + cut, length - cut}};
	struct mmsghdr message = {.msg_hdr = {.msg_iov = pieces, .msg_iovlen = COUNT(pieces)}};
	switch (below(9)) {
	case 0:
		call = "write";
		return gave(write(session.fd, bytes, length), length, 1);
	case 1:
		call = "send, MSG_DONTWAIT";
		return gave(send(session.fd, bytes, length, MSG_DONTWAIT | MSG_NOSIGNAL), length, 0);
	case 2:
		call = "writev";
		return gave(writev(session.fd, pieces, COUNT(pieces)), length, 1);
	case 3:
		call = "sendmsg";
		return gave(sendmsg(session.fd, &message.msg_hdr, 0), length, 1);
	case 4:
		call = "sendmmsg";
		n = sendmmsg(session.fd, &message, 1, 0);
		return gave(n < 0 ? n : (ssize_t)message.msg_len, length, 1);
	case 5:
		call = "pwritev2";
		return gave(pwritev2(session.fd, pieces, COUNT(pieces), -1, 0), length, 1);
	case 6:
		call = "sendfile";
		n = sendfile(session.fd, file, &position, length);
		if (n > 0 && position != (off_t)(session.written + n))
			wrong("another offset");
		return gave(n, length, 1);
	case 7:
		call = "sendfile, position";
		must(lseek(file, session.written, SEEK_SET), "lseek");
		n = sendfile(session.fd, file, NULL, length);
		if (n > 0 && lseek(file, 0, SEEK_CUR) != (off_t)(session.written + n))
			wrong("another position");
		return gave(n, length, 1);
	default:
		call = "splice";
		splice_all(length);
	}
}

/* What was said to be readable is, unless all has been read. */
static void trust(int readable)
{
	char byte;
	if (readable && unread() > 0 && recv(session.fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0)
		wrong("nothing there");
}

static void waited(int result, int limit)
{
	if (result < 0 && !(errno == EINTR && session.kinds & SIGNALS))
		wrong("failed");
	if (result == 0 && limit < 0)
		wrong("no event");
}

static void forget_instance(void)
{
	if (instance >= 0)
		close(instance);
	instance = -1;
}

static void wait_with_epoll(int limit)
{
	static const uint32_t MODES[] = {0, EPOLLET, EPOLLONESHOT};
	struct epoll_event event = {.events = EPOLLIN | MODES[below(COUNT(MODES))], .data.u64 = session.seed};
	if (instance < 0)
		instance = must(epoll_create1(EPOLL_CLOEXEC), "epoll_create1");
	must(epoll_ctl(instance, EPOLL_CTL_ADD, session.fd, &event), "epoll_ctl");
	if (event.events & EPOLLET && below(2)) {
		/* Once nothing is left, more is an edge. */
		ssize_t n = 0;
		call = "epoll, EPOLLET";
		while (unread() > 0 && (n = recv(session.fd, bytes, unread() < LARGE ? unread() : LARGE, MSG_DONTWAIT)) > 0)
			take(bytes, n);
		if (n < 0)
			excuse(0);
		limit = unread() > 0 && n < 0 && errno == EAGAIN ? -1 : 0;
	}
	int result = epoll_wait(instance, &event, 1, limit);
	waited(result, limit);
	if (result > 0 && event.data.u64 != session.seed)
		wrong("other data");
	trust(result > 0 && event.events & EPOLLIN);
	must(epoll_ctl(instance, EPOLL_CTL_DEL, session.fd, NULL), "EPOLL_CTL_DEL");
}

static void wait_somehow(void)
{
	int limit = below(4) || unread() == 0 ? (int)below(20) : -1, result;
	struct timespec time = {.tv_nsec = limit * 1000000L};
	struct timeval same = {.tv_usec = limit * 1000};
	struct pollfd one = {.fd = session.fd, .events = POLLIN};
	fd_set set;
	FD_ZERO(&set);
	FD_SET(session.fd, &set);
	switch (below(6)) {
	case 0:
		call = "poll";
		result = poll(&one, 1, limit);
		waited(result, limit);
		return trust(result > 0 && one.revents & POLLIN);
	case 1:
		call = "ppoll";
		result = ppoll(&one, 1, limit < 0 ? NULL : &time, NULL);
		waited(result, limit);
		return trust(result > 0 && one.revents & POLLIN);
	case 2:
		call = "select";
		result = select(session.fd + 1, &set, NULL, NULL, limit < 0 ? NULL : &same);
		waited(result, limit);
		return trust(result > 0 && FD_ISSET(session.fd, &set));
	case 3:
		call = "pselect";
		result = pselect(session.fd + 1, &set, NULL, NULL, limit < 0 ? NULL : &time, NULL);
		waited(result, limit);
		return trust(result > 0 && FD_ISSET(session.fd, &set));
	default:
		call = "epoll_wait";
		wait_with_epoll(limit);
	}
}

#endif
