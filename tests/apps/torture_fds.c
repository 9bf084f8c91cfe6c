/* Duplicates of a connection, numbers that are used again, and descriptors that are none of the library's business. */
#include "common.h"
#include <sys/eventfd.h>
#include <sys/un.h>

static size_t at; /* how far client 0 is, in both directions */

/* `length` bytes in one frame come through `in` one by one, and go back through `out`. */
static void prove(const char *what, int in, int out)
{
	char buffer[5];
	ask("0 whole 5");
	for (int i = 0; i < 5; i++)
		if (read(in, buffer + i, 1) != 1)
			say("%s: no byte", what);
	say("%s: %s", what, check(buffer, 5, at));
	write_full(out, buffer, 5);
	ask("0 expect 5");
	at += 5;
}

static void duplicates(int listener)
{
	int fd = next_client(listener), a, b;
	char byte;
	a = must(dup(fd), "dup");
	prove("dup", fd, a);
	prove("crosswise", a, fd);
	close(fd);
	prove("original closed", a, a);
	b = must(fcntl(a, F_DUPFD, 300), "F_DUPFD");
	say("F_DUPFD: %d", b);
	close(a);
	prove("F_DUPFD", b, b);
	a = must(fcntl(b, F_DUPFD_CLOEXEC, 0), "F_DUPFD_CLOEXEC");
	say("close on exec: %d", fcntl(a, F_GETFD));
	close(b);
	prove("F_DUPFD_CLOEXEC", a, a);
	say("dup2: %d", dup2(a, 400));
	close(a);
	prove("dup2", 400, 400);
	say("dup2 of itself: %d", dup2(400, 400));
	prove("dup2 of itself", 400, 400);
	say("dup3: %d", dup3(400, 401, O_CLOEXEC));
	say("close on exec: %d", fcntl(401, F_GETFD));
	report("dup3 of itself", dup3(400, 400, 0));
	close(400);
	prove("dup3", 401, 401);
	report("dup2 from nothing", dup2(999, 401));
	report("dup3 from nothing", dup3(999, 401, 0));
	prove("still there", 401, 401);
	report("dup2 to a bad number", dup2(401, -1));
	report("F_DUPFD to a bad number", fcntl(401, F_DUPFD, -1));
	prove("still there", 401, 401);
	/* A frame begun under one number ends under another. */
	ask("0 whole 10");
	report("read", read(401, &byte, 1));
	at += 1;
	must(dup2(401, 402), "dup2");
	close(401);
	for (int i = 0; i < 9; i++, at++)
		if (read(402, &byte, 1) != 1 || (unsigned char)byte != pattern(at))
			say("wrong byte");
	close(402);
	ask("0 end");
	report("closed", read(402, &byte, 1));
	report("closed twice", close(402));
}

/* Something else takes the number over: the connection ends, and the number is plain. */
static void replaced(int listener)
{
	char buffer[8] = "";
	int ends[2], fd = next_client(listener), other = next_client(listener);
	must(pipe(ends), "pipe");
	must(dup2(ends[0], fd), "dup2");
	ask("0 end");
	must(write(ends[1], "plain", 5), "write");
	report("pipe", read(fd, buffer, sizeof buffer));
	say("%s", buffer);
	/* One connection over another one. */
	int third = next_client(listener);
	must(dup2(third, other), "dup2");
	ask("1 end");
	ask("2 send 4");
	say_read("third", other, buffer, 4, 0);
	close(third);
	ask("2 send 4");
	say_read("third", other, buffer, 4, 4);
	await_client();
	close(other);
	ask("2 end");
}

static void reused(int listener)
{
	char buffer[64] = "";
	FILE *file = tmpfile();
	for (int client = 0; client < 3; client++) {
		int fd = next_client(listener), next = -1, pair[2];
		ask("%d noise", client);
		ask("%d tease 1", client);
		report("read", read(fd, buffer, 1));
		await_client();
		close(fd);
		if (client == 0)
			next = must(dup(fileno(file)), "dup");
		else if (client == 1)
			next = must(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), "socketpair") + pair[0];
		else
			next = must(eventfd(0, 0), "eventfd");
		say("same number: %d", next == fd);
		ask("%d end", client);
		/* None of these is a frame; nor does anything of the old connection come out of the number. */
		if (client == 0) {
			report("write", write(next, "\x81\x80 plain\n", 9));
			report("seek", lseek(next, 0, SEEK_SET));
			report("read", read(next, buffer, sizeof buffer));
			say("%s", memcmp(buffer, "\x81\x80 plain\n", 9) ? "WRONG" : "right");
		} else if (client == 1) {
			report("write", write(pair[0], "\x88\x80plain", 7));
			report("read", recv(pair[1], buffer, sizeof buffer, 0));
			say("%s", memcmp(buffer, "\x88\x80plain", 7) ? "WRONG" : "right");
			struct pollfd p = {.fd = pair[0], .events = POLLIN};
			report("poll", poll(&p, 1, 0));
		} else {
			uint64_t value = 7;
			report("write", write(next, &value, 8));
			report("read", read(next, &value, 8));
			say("value: %d", (int)value);
		}
		close(next);
	}
	fclose(file);
}

static void copy(const char *what, int out, int in)
{
	char bytes[] = "\x82\x05hello\xff\x00\x88", back[sizeof bytes] = "";
	report(what, send(out, bytes, sizeof bytes, 0));
	report(what, recv(in, back, sizeof back, MSG_WAITALL));
	say("%s: %s", what, memcmp(bytes, back, sizeof bytes) ? "WRONG" : "right");
}

/* Wrapped connections with traffic stand beside all kinds of descriptors. */
static void unrelated(int listener)
{
	struct sockaddr_in name = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t length = sizeof name;
	int pair[2], ends[2], udp[2], plain, out, in, n = -1, wrapped[3];
	char buffer[64];
	for (int i = 0; i < 3; i++)
		wrapped[i] = next_client(listener);
	ask("1 noise");
	must(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), "socketpair");
	copy("unix", pair[0], pair[1]);
	must(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair), "socketpair");
	copy("datagram", pair[0], pair[1]);
	must(pipe(ends), "pipe");
	report("pipe", write(ends[1], "x", 1));
	report("FIONREAD", ioctl(ends[0], FIONREAD, &n) + n);
	report("pipe", read(ends[0], buffer, sizeof buffer));
	for (int i = 0; i < 2; i++)
		udp[i] = must(socket(AF_INET, SOCK_DGRAM, 0), "socket");
	must(bind(udp[0], (struct sockaddr *)&name, sizeof name), "bind");
	must(getsockname(udp[0], (struct sockaddr *)&name, &length), "getsockname");
	must(connect(udp[1], (struct sockaddr *)&name, sizeof name), "connect");
	copy("udp", udp[1], udp[0]);
	/* A second listener on a port that is none of ours, and a connection out of the program. */
	plain = must(socket(AF_INET, SOCK_STREAM, 0), "socket");
	name.sin_port = 0;
	must(bind(plain, (struct sockaddr *)&name, sizeof name), "bind");
	must(listen(plain, 5), "listen");
	must(getsockname(plain, (struct sockaddr *)&name, &length), "getsockname");
	out = must(socket(AF_INET, SOCK_STREAM, 0), "socket");
	must(connect(out, (struct sockaddr *)&name, sizeof name), "connect");
	in = must(accept(plain, NULL, NULL), "accept");
	copy("out", out, in);
	copy("in", in, out);
	report("urgent", send(out, "!", 1, MSG_OOB));
	struct pollfd p[] = {{.fd = wrapped[1], .events = POLLIN}, {.fd = in, .events = POLLPRI}, {.fd = -1, .events = POLLIN}};
	report("poll", poll(p, 3, -1));
	say("revents: %x %x %x", p[0].revents, p[1].revents, p[2].revents);
	close(out);
	report("end", recv(in, buffer, sizeof buffer, 0));
	/* And all of it in one wait: only what has something is told of. */
	must(write(ends[1], "y", 1), "write");
	struct pollfd q[] = {{.fd = wrapped[1], .events = POLLIN}, {.fd = ends[0], .events = POLLIN},
		{.fd = plain, .events = POLLIN}, {.fd = 999, .events = POLLIN}, {.fd = wrapped[2], .events = POLLIN}};
	report("poll", poll(q, 5, -1));
	say("revents: %x %x %x %x %x", q[0].revents, q[1].revents, q[2].revents, q[3].revents, q[4].revents);
	for (int i = 0; i < 3; i++) {
		ask("%d send 20", i);
		say_read("wrapped", wrapped[i], buffer, 20, 0);
	}
}

int main(int argc, char **argv)
{
	static const struct scenario TABLE[] = {
		{"duplicates", duplicates}, {"replaced", replaced}, {"reused", reused}, {"unrelated", unrelated},
	};
	return argc == 3 ? play(argv, TABLE, COUNT(TABLE)) : 2;
}
