/*
 * One process waits for the listener and is told of a connection, another one that it has forked accepts it.
 */
#include "common.h"

/* A child that serves the next connection each time a byte comes, and answers it. */
struct worker {
	pid_t pid;
	int to, from;
};

static void serve(int fd, int client)
{
	char buffer[1000];
	ask("%d send %zu", client, sizeof buffer);
	say_read("read", fd, buffer, sizeof buffer, 0);
	write_full(fd, buffer, sizeof buffer);
	ask("%d expect %zu", client, sizeof buffer);
	/* What the client sends between is over. */
	ask("%d close", client);
	say("end: %zd", read(fd, buffer, 1));
	close(fd);
}

static struct worker hire(int listener)
{
	struct worker worker;
	int to[2], from[2];
	char client;
	must(pipe(to), "pipe");
	must(pipe(from), "pipe");
	worker.pid = must(fork(), "fork");
	worker.to = to[1], worker.from = from[0];
	if (worker.pid == 0) {
		alarm(LIFETIME_SECONDS);
		close(to[1]);
		close(from[0]);
		while (read(to[0], &client, 1) == 1) {
			serve(must(accept(listener, NULL, NULL), "accept"), client);
			must(write(from[1], "", 1), "write");
		}
		_exit(0);
	}
	close(to[0]);
	close(from[1]);
	return worker;
}

static void employ(struct worker worker, char client)
{
	must(write(worker.to, &client, 1), "write");
	if (read(worker.from, &client, 1) != 1)
		say("the worker is gone");
}

static void dismiss(struct worker worker)
{
	int status = -1;
	close(worker.to);
	close(worker.from);
	must(waitpid(worker.pid, &status, 0), "waitpid");
	say("a worker ended with %x", status);
}

static void told(int listener, int timeout)
{
	struct pollfd p = {.fd = listener, .events = POLLIN};
	report("poll", poll(&p, 1, timeout));
}

/* Asks for a client that does not get as far as the listener, then for one that does. */
static void come(int listener)
{
	ask("knock");
	await_client();
	told(listener, 0);
	ask("connect");
	told(listener, -1);
}

static void blocking(int listener, int on)
{
	must(fcntl(listener, F_SETFL, on ? 0 : O_NONBLOCK), "F_SETFL");
}

/* poll, fork, accept in the child, for each client. */
static void forking(int listener)
{
	for (int client = 0; client < 4; client++) {
		blocking(listener, client % 2);
		come(listener);
		struct worker worker = hire(listener);
		employ(worker, client);
		dismiss(worker);
	}
	blocking(listener, 0);
	told(listener, 0);
	report("accept", accept(listener, NULL, NULL));
}

/* Children that are there from the start, and that the master wakes by a pipe. */
static void idle(int listener)
{
	struct worker workers[2] = {hire(listener), hire(listener)};
	for (int client = 0; client < 6; client++) {
		blocking(listener, client / 2 % 2);
		come(listener);
		/* It is there until somebody accepts it. */
		told(listener, 0);
		employ(workers[client % 2], client);
	}
	/* The younger one has a copy of the end of the older one's pipe. */
	dismiss(workers[1]);
	dismiss(workers[0]);
}

/* The parent accepts itself, leaves the next one to its child, and takes over again. */
static void taking_over(int listener)
{
	come(listener);
	serve(must(accept(listener, NULL, NULL), "accept"), 0);
	struct worker worker = hire(listener);
	for (int client = 1; client < 7; client++) {
		blocking(listener, client / 2 % 2);
		come(listener);
		told(listener, -1);
		if (client % 2)
			employ(worker, client);
		else
			serve(must(accept(listener, NULL, NULL), "accept"), client);
	}
	dismiss(worker);
	come(listener);
	serve(must(accept(listener, NULL, NULL), "accept"), 7);
}

/* A child is told of a connection and ends, or closes the listener: the parent finds it. */
static void leaving(int listener)
{
	for (int way = 0; way < 4; way++) {
		int status = -1;
		ask("connect");
		if (must(fork(), "fork") == 0) {
			alarm(LIFETIME_SECONDS);
			told(listener, -1);
			if (way == 0)
				exit(0);
			if (way == 1)
				raise(SIGKILL);
			close(listener);
			if (way == 2)
				execl("/bin/true", "true", (char *)NULL);
			_exit(0);
		}
		must(wait(&status), "wait");
		say("the child ended with %x", status);
		serve(must(accept(listener, NULL, NULL), "accept"), way);
	}
}

/* More than one at a time, each for a child of its own. */
static void several(int listener)
{
	ask("crowd 8 5000");
	for (int client = 0; client < 8; client++) {
		told(listener, -1);
		if (must(fork(), "fork") == 0) {
			alarm(LIFETIME_SECONDS);
			if (echo(must(accept(listener, NULL, NULL), "accept")) != 5000)
				say("not all echoed");
			_exit(0);
		}
	}
	for (int client = 0; client < 8; client++) {
		int status = -1;
		must(wait(&status), "wait");
		say("a child ended with %x", status);
	}
}

/* A child waits with an epoll instance of its own; its parent is told and leaves it. */
static void own_epoll(int listener, uint32_t events)
{
	int ready[2], status = -1;
	char byte;
	must(pipe(ready), "pipe");
	blocking(listener, 0);
	if (must(fork(), "fork") == 0) {
		struct epoll_event event = {.events = EPOLLIN | events, .data.u64 = 7};
		int epoll = must(epoll_create1(EPOLL_CLOEXEC), "epoll_create1");
		alarm(LIFETIME_SECONDS);
		must(epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event), "EPOLL_CTL_ADD");
		must(write(ready[1], "", 1), "write");
		for (int client = 0; client < 3; client++) {
			int fd;
			do {
				if (epoll_wait(epoll, &event, 1, -1) != 1 || event.data.u64 != 7)
					say("WRONG event");
				fd = accept(listener, NULL, NULL);
				if (events & EPOLLONESHOT) {
					event = (struct epoll_event){.events = EPOLLIN | events, .data.u64 = 7};
					must(epoll_ctl(epoll, EPOLL_CTL_MOD, listener, &event), "EPOLL_CTL_MOD");
				}
			} while (fd < 0 && errno == EAGAIN);
			serve(must(fd, "accept"), client);
			must(write(ready[1], "", 1), "write");
		}
		_exit(0);
	}
	for (int client = 0; client < 3; client++) {
		struct pollfd p[2] = {{.fd = listener, .events = POLLIN}, {.fd = ready[0], .events = POLLIN}};
		must(read(ready[0], &byte, 1), "read");
		ask("connect");
		/* Never accepts, however often it is told. */
		do
			must(poll(p, 2, -1), "poll");
		while (!p[1].revents);
	}
	must(read(ready[0], &byte, 1), "read");
	must(wait(&status), "wait");
	say("the child ended with %x", status);
}

static void levels(int listener) { own_epoll(listener, 0); }
static void edges(int listener) { own_epoll(listener, EPOLLET); }
static void single_shots(int listener) { own_epoll(listener, EPOLLONESHOT); }
static void exclusive(int listener) { own_epoll(listener, EPOLLEXCLUSIVE); }

int main(int argc, char **argv)
{
	static const struct scenario TABLE[] = {
		{"forking", forking}, {"idle", idle}, {"taking-over", taking_over}, {"leaving", leaving}, {"several", several},
		{"levels", levels}, {"edges", edges}, {"single-shots", single_shots}, {"exclusive", exclusive},
	};
	return argc == 3 ? play(argv, TABLE, COUNT(TABLE)) : 2;
}
