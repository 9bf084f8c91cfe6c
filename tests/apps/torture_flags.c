/* Flags of the receiving and sending calls, FIONREAD, O_NONBLOCK and the socket timeouts. */
#include "common.h"
#include <sys/syscall.h>

static void peek(int listener)
{
	static const size_t SIZES[] = {1, 2, 3, 4, 5, 7, 8, 16, 31, 32, 63, 64};
	char first[64], second[64];
	int fd = next_client(listener);
	ask("0 send 64");
	for (size_t i = 0; i < COUNT(SIZES); i++) {
		await_bytes(fd, SIZES[i]);
		ssize_t a = recv(fd, first, SIZES[i], MSG_PEEK), b = recv(fd, second, SIZES[i], MSG_PEEK);
		say("peek %zu: %zd %s, again %zd %s", SIZES[i], a, check(first, a, 0), b, check(second, b, 0));
	}
	/* At every offset into a frame and into a base64 quantum. */
	for (size_t position = 0; position < 64; position++) {
		ssize_t a = recv(fd, first, sizeof first, MSG_PEEK), b = read(fd, second, 1);
		say("at %zu: peek %zd %s, read %zd %s", position, a, check(first, a, position), b, check(second, b, position));
	}
	report("peek at nothing", recv(fd, first, sizeof first, MSG_PEEK | MSG_DONTWAIT));
	ask("0 close");
	report("peek at the end", recv(fd, first, sizeof first, MSG_PEEK));
	report("again", recv(fd, first, sizeof first, MSG_PEEK));
	report("read at the end", read(fd, first, sizeof first));
}

static void waitall(int listener)
{
	char buffer[5000];
	struct iovec vector[] = {{buffer, 0}, {buffer, 1}, {buffer + 1, 7}, {buffer + 8, 4096}, {buffer + 4104, 96}};
	struct msghdr message = {.msg_iov = vector, .msg_iovlen = COUNT(vector)};
	struct timeval limit = {.tv_usec = 200000};
	int fd = next_client(listener);
	ask("0 send 1000");
	report("recv", recv(fd, buffer, 1000, MSG_WAITALL));
	say("%s", check(buffer, 1000, 0));
	ask("0 send 4200");
	report("recvmsg", recvmsg(fd, &message, MSG_WAITALL));
	say("%s", check(buffer, 4200, 1000));
	ask("0 send 50");
	report("peek", recv(fd, buffer, 50, MSG_WAITALL | MSG_PEEK));
	say("%s", check(buffer, 50, 5200));
	report("recv", recv(fd, buffer, 50, MSG_WAITALL));
	ask("0 send 20");
	await_bytes(fd, 20);
	report("not waiting", recv(fd, buffer, 1000, MSG_WAITALL | MSG_DONTWAIT));
	must(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit), "SO_RCVTIMEO");
	ask("0 send 30");
	await_bytes(fd, 30);
	report("with a time limit", recv(fd, buffer, 1000, MSG_WAITALL));
	limit.tv_usec = 0;
	must(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit), "SO_RCVTIMEO");
	ask("0 send 10");
	ask("0 close");
	report("up to the end", recv(fd, buffer, 1000, MSG_WAITALL));
	report("at the end", recv(fd, buffer, 1000, MSG_WAITALL));
}

static void truncated(int listener)
{
	char buffer[64];
	int fd = next_client(listener);
	ask("0 send 100");
	await_bytes(fd, 100);
	memset(buffer, 'x', sizeof buffer);
	report("count", recv(fd, NULL, 50, MSG_PEEK | MSG_TRUNC));
	report("count all", recv(fd, buffer, 1 << 20, MSG_PEEK | MSG_TRUNC));
	report("drop", recv(fd, buffer, 10, MSG_TRUNC));
	say("buffer %s", buffer[0] == 'x' && !memcmp(buffer, buffer + 1, sizeof buffer - 1) ? "untouched" : "written");
	report("drop into nothing", recv(fd, NULL, 7, MSG_TRUNC));
	report("read", recv(fd, buffer, 20, 0));
	say("%s", check(buffer, 20, 17));
	report("drop all", recv(fd, NULL, 1000, MSG_TRUNC));
	report("more", recv(fd, NULL, 1000, MSG_TRUNC | MSG_DONTWAIT));
	report("count nothing", recv(fd, NULL, 1000, MSG_PEEK | MSG_TRUNC | MSG_DONTWAIT));
	ask("0 send 40000");
	while (recv(fd, NULL, 40000, MSG_PEEK | MSG_TRUNC | MSG_DONTWAIT) < 40000)
		sched_yield();
	report("count many", recv(fd, NULL, 1 << 20, MSG_PEEK | MSG_TRUNC));
	report("count some", recv(fd, NULL, 30000, MSG_PEEK | MSG_TRUNC));
	report("drop many", recv(fd, NULL, 1 << 20, MSG_TRUNC));
	ask("0 send 4010");
	report("drop when all is there", recv(fd, NULL, 4000, MSG_TRUNC | MSG_WAITALL));
	report("the rest", recv(fd, buffer, 10, MSG_WAITALL));
	say("%s", check(buffer, 10, 100 + 40000 + 4000));
}

/* Whoever peeks until a large record is complete. */
static void peek_much(int listener)
{
	static char record[92000];
	int fd = next_client(listener);
	ask("0 whole %zu", sizeof record);
	while (recv(fd, record, sizeof record, MSG_PEEK | MSG_DONTWAIT) < (ssize_t)sizeof record)
		sched_yield();
	say("peeked: %s", check(record, sizeof record, 0));
	say_read("read", fd, record, sizeof record, 0);
}

static void peek_off(int listener)
{
	char buffer[10];
	int zero = 0, fd = next_client(listener);
	report("SO_PEEK_OFF", setsockopt(fd, SOL_SOCKET, SO_PEEK_OFF, &zero, sizeof zero));
	ask("0 send 10");
	await_bytes(fd, 10);
	report("peek", recv(fd, buffer, 10, MSG_PEEK));
	say_read("read", fd, buffer, 10, 0);
}

/* Nothing is there in no time. */
static void nothing(int listener)
{
	char byte;
	struct iovec iov[2] = {{&byte, 0}, {&byte, 0}};
	int fd = next_client(listener);
	for (int flags = 0; flags <= O_NONBLOCK; flags += O_NONBLOCK) {
		must(fcntl(fd, F_SETFL, flags), "F_SETFL");
		report("read", read(fd, &byte, 0));
		report("readv", readv(fd, iov, 2));
		report("readv of no buffer", readv(fd, NULL, 0));
		report("preadv2", preadv2(fd, iov, 2, -1, 0));
		report("SYS_read", syscall(SYS_read, fd, &byte, 0));
		report("write", write(fd, &byte, 0));
		report("writev", writev(fd, iov, 2));
	}
	ask("0 send 1");
	await_bytes(fd, 1);
	report("read", read(fd, &byte, 0));
	report("read", read(fd, &byte, 1));
}

static void dontwait(int listener)
{
	static char block[65536];
	char buffer[64];
	size_t sent = 0;
	int fd = next_client(listener), surprises = 0;
	ssize_t n;
	report("nothing there", recv(fd, buffer, sizeof buffer, MSG_DONTWAIT));
	ask("0 noise");
	for (double start = now(); now() - start < 0.2;)
		surprises += recv(fd, buffer, sizeof buffer, MSG_DONTWAIT) != -1 || errno != EAGAIN;
	say("surprises: %d", surprises);
	ask("0 send 40");
	await_bytes(fd, 40);
	report("bytes there", recv(fd, buffer, sizeof buffer, MSG_DONTWAIT));
	do {
		fill(block, sizeof block, sent);
		n = send(fd, block, sizeof block, MSG_DONTWAIT);
		sent += n > 0 ? n : 0;
	} while (n > 0);
	report("no room", n);
	ask("0 expect %zu", sent);
	/* What was cut for want of room holds back nothing: each of these is with the client before the next one. */
	for (size_t length = 1; length <= 10; length++) {
		fill(block, length, sent);
		report("blocking", write(fd, block, length));
		sent += length;
		ask("0 expect %zu", length);
		await_client();
	}
}

static void oob(int listener)
{
	char byte;
	int fd = next_client(listener);
	report("send", send(fd, "!", 1, MSG_OOB));
	report("recv", recv(fd, &byte, 1, MSG_OOB));
	fill(&byte, 1, 0);
	report("write", write(fd, &byte, 1));
	ask("0 expect 1");
}

static int waiting(int fd)
{
	int n = -1;
	must(ioctl(fd, FIONREAD, &n), "FIONREAD");
	return n;
}

static void fionread(int listener)
{
	char buffer[3000];
	int fd = next_client(listener), surprises = 0;
	say("at first: %d", waiting(fd));
	ask("0 noise");
	for (double start = now(); now() - start < 0.2;)
		surprises += waiting(fd) != 0;
	say("surprises: %d", surprises);
	ask("0 send 100");
	await_bytes(fd, 100);
	for (int left = 100; left > 0; left--) {
		int seen = waiting(fd);
		if (seen != left || read(fd, buffer, 1) != 1)
			say("%d instead of %d", seen, left);
	}
	ask("0 send 3000");
	while (waiting(fd) < 3000)
		sched_yield();
	report("read", recv(fd, buffer, sizeof buffer, MSG_DONTWAIT));
	ask("0 close");
	report("end", read(fd, buffer, 1));
	say("at the end: %d", waiting(fd));
}

static void nonblock(int listener)
{
	char byte;
	int fd = next_client(listener), on = 1, off = 0;
	must(fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK), "F_SETFL");
	report("fcntl on", read(fd, &byte, 1));
	must(fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK), "F_SETFL");
	ask("0 tease 1");
	report("fcntl off", read(fd, &byte, 1));
	must(ioctl(fd, FIONBIO, &on), "FIONBIO");
	say("flags: %s", fcntl(fd, F_GETFL) & O_NONBLOCK ? "non-blocking" : "blocking");
	report("FIONBIO on", read(fd, &byte, 1));
	must(ioctl(fd, FIONBIO, &off), "FIONBIO");
	say("flags: %s", fcntl(fd, F_GETFL) & O_NONBLOCK ? "non-blocking" : "blocking");
	ask("0 tease 1");
	report("FIONBIO off", read(fd, &byte, 1));
	say("access: %d", fcntl(fd, F_GETFL) & O_ACCMODE);
	say("close on exec: %d", fcntl(fd, F_GETFD));
}

static void rcvtimeo(int listener)
{
	struct timeval limit = {.tv_usec = 300000};
	char buffer[100];
	struct iovec vector = {buffer, sizeof buffer};
	struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1};
	int fd = next_client(listener);
	must(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit), "SO_RCVTIMEO");
	for (int quiet = 0; quiet < 2; quiet++) {
		if (!quiet)
			ask("0 noise");
		double start = now();
		ssize_t n = read(fd, buffer, sizeof buffer);
		report("read", n);
		lasted("read", start, 0.3);
		start = now();
		report("recvmsg", recvmsg(fd, &message, 0));
		lasted("recvmsg", start, 0.3);
	}
	ask("0 send 100");
	say_read("then", fd, buffer, 100, 0);
}

static void sndtimeo(int listener)
{
	static char block[16 << 20];
	struct timeval limit = {.tv_usec = 200000};
	int fd = next_client(listener);
	must(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit), "SO_SNDTIMEO");
	fill(block, sizeof block, 0);
	double start = now();
	ssize_t sent = must(write(fd, block, sizeof block), "first write");
	say("first write: %s", sent > 0 && sent < (ssize_t)sizeof block ? "a part" : "WRONG");
	lasted("first write", start, 0.2);
	/* What is on its way to the client makes room for some more; in the end there is none. */
	ssize_t n;
	do {
		start = now();
		n = write(fd, block + sent, sizeof block - sent);
		sent += n > 0 ? n : 0;
	} while (n > 0);
	report("last write", n);
	lasted("last write", start, 0.2);
	ask("0 expect %zd", sent);
	/* How soon the client reads is none of this scenario's business. */
	limit.tv_usec = 0;
	must(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit), "SO_SNDTIMEO");
	write_full(fd, block + sent, 1000);
	ask("0 expect 1000");
}

static char letters[16 << 20];
static int blocked;

static void *write_letters(void *unused)
{
	write_full(blocked, letters, sizeof letters);
	return unused;
}

/* The limit holds for a call whatever another thread is doing, here one that waits for room without a limit. */
static void sndtimeo_beside(int listener)
{
	struct timeval limit = {.tv_usec = 200000};
	pthread_t writer;
	memset(letters, 'a', sizeof letters);
	blocked = next_client(listener);
	pthread_create(&writer, NULL, write_letters, NULL);
	/* Until it waits, and what is on its way to the client has stopped to make room. */
	struct pollfd p = {.fd = blocked, .events = POLLOUT};
	for (int full = 0; full < 10; full = poll(&p, 1, 20) == 0 ? full + 1 : 0)
		;
	must(setsockopt(blocked, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit), "SO_SNDTIMEO");
	double start;
	ssize_t n;
	do {
		start = now();
		n = write(blocked, letters, sizeof letters);
	} while (n > 0);
	report("write", n);
	lasted("write", start, 0.2);
	limit.tv_usec = 0;
	must(setsockopt(blocked, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit), "SO_SNDTIMEO");
	ask("0 until 46");
	pthread_join(writer, NULL);
	write_full(blocked, "the end.", 8);
}

int main(int argc, char **argv)
{
	static const struct scenario TABLE[] = {
		{"peek", peek}, {"waitall", waitall}, {"trunc", truncated}, {"dontwait", dontwait}, {"oob", oob},
		{"fionread", fionread}, {"nonblock", nonblock}, {"rcvtimeo", rcvtimeo}, {"sndtimeo", sndtimeo},
		{"sndtimeo-beside", sndtimeo_beside}, {"peek-much", peek_much}, {"nothing", nothing}, {"peek-off", peek_off},
	};
	return argc == 3 ? play(argv, TABLE, COUNT(TABLE)) : 2;
}
