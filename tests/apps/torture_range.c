/* Many numbers closed at once, and what must survive that: the library's own descriptors, and nothing of what was closed. */
#include "common.h"
#include <linux/close_range.h>
#include <sys/syscall.h>

static size_t at[8]; /* how far each client is, in both directions */

static void prove(int client, int fd)
{
	char buffer[5];
	ask("%d whole 5", client);
	say_read("bytes", fd, buffer, 5, at[client]);
	write_full(fd, buffer, 5);
	ask("%d expect 5", client);
	at[client] += 5;
}

/* A number of the program's own choice. */
static int move(int fd, int number)
{
	must(dup2(fd, number), "dup2");
	close(fd);
	return number;
}

static void ranges(int listener)
{
	int fd[4];
	for (int i = 0; i < 4; i++)
		fd[i] = move(next_client(listener), 100 + i);
	int copy = must(dup2(fd[2], 200), "dup2");
	report("to be closed on exec", close_range(100, ~0U, CLOSE_RANGE_CLOEXEC));
	say("flags: %d %d", fcntl(fd[0], F_GETFD), fcntl(copy, F_GETFD));
	report("unknown flag", close_range(100, ~0U, 1 << 10));
	report("backwards", close_range(101, 100, 0));
	for (int i = 0; i < 4; i++)
		prove(i, fd[i]);
	report("close_range", close_range(101, 102, 0));
	ask("1 end");
	report("closed", read(fd[1], fd, 1));
	prove(2, copy);
	report("the other number", close_range(150, ~0U, CLOSE_RANGE_UNSHARE));
	ask("2 end");
	prove(0, fd[0]);
	prove(3, fd[3]);
	closefrom(103);
	ask("3 end");
	closefrom(50);
	ask("0 end");
	/* The numbers are plain ones. */
	int ends[2];
	must(pipe(ends), "pipe");
	move(ends[0], 100);
	must(write(ends[1], "\x82plain", 6), "write");
	report("pipe", read(100, fd, sizeof fd));
}

/* daemon(3) leaves by _exit(2): the parent, which nobody has waited for, is no owner of the connection any more. */
static void become_daemon(void)
{
	pid_t parent = getpid();
	must(daemon(1, 1), "daemon");
	alarm(LIFETIME_SECONDS);
	while (getppid() == parent)
		sched_yield();
}

/* Each way to close "everything from here up", amid handshakes and with connections open. */
static void sweep(int listener)
{
	int null = must(open("/dev/null", O_RDWR), "open");
	for (int way = 0, client = 0; way < 5; way++, client += 1) {
		int flags = fcntl(listener, F_GETFL);
		ask("knock");
		must(fcntl(listener, F_SETFL, flags | O_NONBLOCK), "F_SETFL");
		report("accept", accept(listener, NULL, NULL));
		must(fcntl(listener, F_SETFL, flags), "F_SETFL");
		int fd = next_client(listener);
		prove(client, fd);
		if (way == 0)
			for (int i = null + 1; i < 1100; i++)
				close(i);
		else if (way == 1)
			report("close_range", close_range(null + 1, ~0U, 0));
		else if (way == 2)
			closefrom(null + 1);
		else if (way == 3)
			for (int i = null + 1; i < 1024; i++)
				dup2(null, i);
		else
			become_daemon();
		if (way == 3)
			closefrom(null + 1);
		if (way == 4)
			close(fd);
		ask("%d end", client);
		ask("knock");
	}
	int fd = next_client(listener);
	prove(5, fd);
}

/* A number that was closed behind the library's back and is something else since. */
static void unseen(int listener)
{
	char buffer[16] = "", name[] = "/tmp/wstests-XXXXXX";
	int pair[2];
	for (int way = 0; way < 6; way++) {
		int fd = next_client(listener), now = -1;
		prove(way, fd);
		syscall(SYS_close, fd);
		if (way == 0)
			now = must(open("/dev/zero", O_RDONLY), "open");
		else if (way == 1)
			now = must(openat(AT_FDCWD, "/dev/zero", O_RDONLY), "openat");
		else if (way == 2)
			now = must(pipe(pair), "pipe") + pair[0];
		else if (way == 3)
			now = must(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), "socketpair") + pair[0];
		else if (way == 4)
			now = must(creat(mktemp(name), 0600), "creat");
		else
			now = must(dup(STDERR_FILENO), "dup");
		say("same number: %d", now == fd);
		if (way == 2 || way == 3)
			must(write(pair[1], "\x81\x85hello", 7), "write");
		if (way < 4)
			report("read", read(now, buffer, 7));
		if (way == 4)
			report("unlink", unlink(name));
		must(close(now), "close");
		if (way == 2 || way == 3)
			must(close(pair[1]), "close");
		ask("%d gone", way);
	}
}

static void options(int listener)
{
	int value, fd;
	char buffer[10];
	socklen_t length = sizeof value;
	fd = next_client(listener);
	value = 9;
	report("SO_RCVLOWAT", setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &value, sizeof value));
	report("a short one", setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &value, 3));
	ask("0 whole 9");
	struct pollfd p = {.fd = fd, .events = POLLIN};
	report("poll", poll(&p, 1, -1));
	report("read", read(fd, buffer, 9));
	report("SO_ERROR", getsockopt(fd, SOL_SOCKET, SO_ERROR, &value, &length));
	say("%d", value);
	ask("0 rst");
	while (p.revents != (POLLIN | POLLERR | POLLHUP))
		must(poll(&p, 1, -1), "poll");
	report("SO_ERROR", getsockopt(fd, SOL_SOCKET, SO_ERROR, &value, &length));
	say("%s", strerrorname_np(value));
	report("SO_ERROR", getsockopt(fd, SOL_SOCKET, SO_ERROR, &value, &length));
	say("%d", value);
	report("read", read(fd, buffer, 9));
}

int main(int argc, char **argv)
{
	static const struct scenario TABLE[] = {
		{"ranges", ranges}, {"sweep", sweep}, {"unseen", unseen}, {"options", options},
	};
	return argc == 3 ? play(argv, TABLE, COUNT(TABLE)) : 2;
}
