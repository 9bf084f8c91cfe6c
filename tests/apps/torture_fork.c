/* Connections across fork. */
#include "common.h"

static int child(void)
{
	int pid = must(fork(), "fork");
	if (pid == 0)
		alarm(LIFETIME_SECONDS);
	return pid == 0;
}

static void reap(void)
{
	int status = -1;
	must(wait(&status), "wait");
	if (status != 0)
		say("a child ended with %x", status);
}

/* The parent's close is no end: the child uses the connection; the child's close is. */
static void per_connection(int listener)
{
	int go[2], fd = next_client(listener);
	char byte;
	must(pipe(go), "pipe");
	if (child()) {
		close(listener);
		must(read(go[0], &byte, 1), "read");
		ask("0 echo 5000");
		ask("0 close");
		if (echo(fd) != 5000)
			say("not all echoed");
		close(fd);
		_exit(0);
	}
	close(fd);
	say("parent has closed");
	must(write(go[1], "", 1), "write");
	reap();
	ask("0 end");
	ask("crowd 4 5000");
	for (int i = 0; i < 4; i++) {
		fd = must(accept(listener, NULL, NULL), "accept");
		if (child()) {
			close(listener);
			if (echo(fd) != 5000)
				say("not all echoed");
			_exit(0);
		}
		close(fd);
	}
	for (int i = 0; i < 4; i++)
		reap();
}

/* Of two owners the first one goes, whichever it is; the last one's close is the end. */
static void last_owner(int listener)
{
	char byte;
	int fd = next_client(listener);
	if (child()) {
		close(fd);
		_exit(0);
	}
	reap();
	for (size_t i = 0; i < 10; i++) {
		ask("0 whole 1");
		if (read(fd, &byte, 1) != 1 || (unsigned char)byte != pattern(i))
			say("wrong byte");
		write_full(fd, &byte, 1);
		ask("0 expect 1");
	}
	close(fd);
	ask("0 end");
}

/* One process reads, the other one writes, both at full speed. */
static void apart(int listener)
{
	static char block[2 << 20];
	int fd = next_client(listener);
	ask("0 duplex %zu", sizeof block);
	if (child()) {
		size_t got = read_full(fd, block, sizeof block);
		say("child: %zu, %s", got, check(block, got, 0));
		_exit(0);
	}
	fill(block, sizeof block, 0);
	write_full(fd, block, sizeof block);
	reap();
	close(fd);
	ask("0 end");
}

/* A fork in the middle of a frame: the child goes on where the parent was. */
static void middle(int listener)
{
	char buffer[100];
	int fd = next_client(listener);
	ask("0 whole 100");
	say_read("parent", fd, buffer, 37, 0);
	if (child()) {
		say_read("child", fd, buffer, 63, 37);
		fill(buffer, 100, 0);
		write_full(fd, buffer, 100);
		close(fd);
		_exit(0);
	}
	close(fd);
	reap();
	ask("0 expect 100");
	ask("0 end");
}

/* Parent and child take turns, a frame each. */
static void turns(int listener)
{
	char buffer[100];
	int fd = next_client(listener);
	for (size_t round = 0; round < 3; round++) {
		ask("0 whole 100");
		say_read("parent", fd, buffer, 100, 200 * round);
		write_full(fd, buffer, 100);
		ask("0 expect 100");
		if (child()) {
			ask("0 whole 100");
			say_read("child", fd, buffer, 100, 200 * round + 100);
			write_full(fd, buffer, 100);
			_exit(0);
		}
		reap();
		ask("0 expect 100");
	}
	close(fd);
	ask("0 end");
}

/* A fork has no part in what the parent accepts later, nor in a handshake that is under way. */
static void later(int listener)
{
	int go[2];
	char byte;
	must(pipe(go), "pipe");
	must(fcntl(listener, F_SETFL, O_NONBLOCK), "F_SETFL");
	ask("knock");
	report("accept", accept(listener, NULL, NULL));
	if (child()) {
		must(read(go[0], &byte, 1), "read");
		_exit(0);
	}
	must(fcntl(listener, F_SETFL, 0), "F_SETFL");
	for (int i = 0; i < 3; i++) {
		int fd = next_client(listener);
		ask("%d send 1", i);
		report("read", read(fd, &byte, 1));
		await_client();
		close(fd);
		ask("%d end", i);
	}
	must(write(go[1], "", 1), "write");
	reap();
}

int main(int argc, char **argv)
{
	static const struct scenario TABLE[] = {
		{"per-connection", per_connection}, {"last-owner", last_owner}, {"apart", apart}, {"middle", middle},
		{"turns", turns}, {"later", later},
	};
	return argc == 3 ? play(argv, TABLE, COUNT(TABLE)) : 2;
}
