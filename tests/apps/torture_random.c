/* Random sequences of calls. A connection carries LENGTH bytes each way, by whatever call comes up. Every byte is checked, and every
 * promise: what is said to be readable is, a wait for an edge ends, a blocking call does all of its work. A line with WRONG
 * names the number that the sequence is made of, and the call. */
#include "random_calls.h"
#include <spawn.h>
#include <sys/mman.h>

static void set_nonblocking(int on)
{
	if (below(2))
		must(ioctl(session.fd, FIONBIO, &on), "FIONBIO");
	else
		must(fcntl(session.fd, F_SETFL, on ? O_NONBLOCK : 0), "F_SETFL");
	session.nonblocking = on;
}

static void limit_waits(int on)
{
	struct timeval limit = {.tv_usec = on ? 5000 : 0};
	must(setsockopt(session.fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit), "SO_RCVTIMEO");
	must(setsockopt(session.fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit), "SO_SNDTIMEO");
	session.limited = on;
}

static void another_number(void)
{
	int fd = below(2) ? dup(session.fd) : fcntl(session.fd, F_DUPFD_CLOEXEC, 50 + below(50));
	if (below(2)) {
		close(must(fd, "dup"));
		fd = dup2(session.fd, 100 + (session.fd == 100));
	}
	close(session.fd);
	session.fd = must(fd, "dup");
}

static void *write_on(void *until)
{
	char block[4096];
	while (session.written < *(size_t *)until) {
		size_t left = *(size_t *)until - session.written, length = left < sizeof block ? left : sizeof block;
		struct pollfd room = {.fd = session.fd, .events = POLLOUT};
		fill(block, length, session.written);
		ssize_t n = write(session.fd, block, length);
		if (n >= 0)
			session.written += n;
		else
			poll(&room, 1, -1);
	}
	return NULL;
}

/* One thread reads, another one writes. */
static void at_once(void)
{
	size_t until = session.written + portion(LENGTH - session.written), enough = session.read + portion(unread());
	pthread_t thread;
	call = "two threads";
	must(-pthread_create(&thread, NULL, write_on, &until), "pthread_create");
	while (session.read < enough) {
		struct pollfd more = {.fd = session.fd, .events = POLLIN};
		size_t left = enough - session.read;
		ssize_t n = read(session.fd, others, left < sizeof others ? left : sizeof others);
		if (n == 0)
			wrong("the end");
		if (n > 0)
			take(others, n);
		else
			poll(&more, 1, -1);
	}
	pthread_join(thread, NULL);
}

static void ignore(int signal)
{
	(void)signal;
}

/* A signal every few milliseconds. */
static void disturb(void)
{
	struct sigaction action = {.sa_handler = ignore};
	struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
	struct itimerspec pace = {.it_interval.tv_nsec = 3000000, .it_value.tv_nsec = 3000000};
	timer_t timer;
	must(sigaction(SIGUSR1, &action, NULL), "sigaction");
	must(timer_create(CLOCK_MONOTONIC, &event, &timer), "timer_create");
	must(timer_settime(timer, 0, &pace, NULL), "timer_settime");
}

static void run(void);

/* Another process goes on, and this one waits for it. */
static _Noreturn void leave_to(pid_t process)
{
	int status;
	close(session.fd);
	while (waitpid(process, &status, 0) < 0 && errno == EINTR)
		;
	exit(WIFEXITED(status) ? WEXITSTATUS(status) : 3);
}

/* The program itself, with the connection as standard input and all else in an argument. */
static void to_another_program(int by_spawn)
{
	char words[2 * sizeof session + 1];
	char *arguments[] = {"/proc/self/exe", "-", words, NULL};
	posix_spawn_file_actions_t actions;
	pid_t process;
	int fd = session.fd;
	session.fd = STDIN_FILENO;
	for (size_t i = 0; i < sizeof session; i++)
		sprintf(words + 2 * i, "%02x", ((unsigned char *)&session)[i]);
	session.fd = fd;
	if (!by_spawn) {
		must(dup2(fd, STDIN_FILENO), "dup2");
		if (fd != STDIN_FILENO)
			close(fd);
		must(execv(arguments[0], arguments), "execv");
	}
	must(posix_spawn_file_actions_init(&actions), "file actions");
	must(posix_spawn_file_actions_adddup2(&actions, fd, STDIN_FILENO), "file actions");
	must(-posix_spawn(&process, arguments[0], &actions, NULL, arguments, environ), "posix_spawn");
	leave_to(process);
}

static void to_another_process(void)
{
	char control[CMSG_SPACE(sizeof session.fd)] = {0};
	struct iovec piece = {&session, sizeof session};
	struct msghdr message = {.msg_iov = &piece, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);
	header->cmsg_level = SOL_SOCKET;
	header->cmsg_type = SCM_RIGHTS;
	header->cmsg_len = CMSG_LEN(sizeof session.fd);
	memcpy(CMSG_DATA(header), &session.fd, sizeof session.fd);
	must(sendmsg(worker, &message, 0), "SCM_RIGHTS");
	close(worker);
	leave_to(worker_pid);
}

/* What a worker does when there is something to do. */
static _Noreturn void work(int from)
{
	char control[CMSG_SPACE(sizeof session.fd)];
	struct iovec piece = {&session, sizeof session};
	struct msghdr message = {.msg_iov = &piece, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
	if (recvmsg(from, &message, 0) <= 0)
		exit(0);
	memcpy(&session.fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof session.fd);
	close(from);
	run();
	exit(0);
}

static void change_process(void)
{
	if (session.generation++ == GENERATIONS)
		return;
	forget_instance();
	switch (below(4)) {
	case 0:
		call = "fork";
		pid_t process = must(fork(), "fork");
		if (process > 0)
			leave_to(process);
		close(worker);
		worker = -1;
		return;
	case 1:
		call = "execv";
		return to_another_program(0);
	case 2:
		call = "posix_spawn";
		return to_another_program(1);
	default:
		call = "SCM_RIGHTS";
		if (worker >= 0)
			to_another_process();
	}
}

static void finish(void)
{
	char byte;
	set_nonblocking(0);
	limit_waits(0);
	/* How many numbers were drawn before is a matter of timing; the transcript is not. */
	switch (session.seed % 3) {
	case 0:
		call = "shutdown";
		must(shutdown(session.fd, SHUT_WR), "shutdown");
		ask("%u end", session.client);
		ask("%u close", session.client);
		break;
	case 1:
		call = "the client's end";
		ask("%u close", session.client);
		break;
	default:
		call = "close";
		close(session.fd);
		ask("%u end", session.client);
		return;
	}
	ssize_t n;
	while ((n = read(session.fd, &byte, 1)) < 0 && errno == EINTR)
		;
	if (n != 0)
		wrong("no end");
	close(session.fd);
}

/* Goes on with the session from where it is. */
static void run(void)
{
	static const int SIZES[] = {4096, 65536};
	int size;
	alarm(LIFETIME_SECONDS);
	if (session.kinds & SIGNALS)
		disturb();
	file = must(memfd_create("pattern", MFD_CLOEXEC), "memfd_create");
	fill(bytes, LARGE, 0);
	fill(others, LARGE, LARGE);
	write_full(file, bytes, LARGE);
	write_full(file, others, LENGTH - LARGE);
	while (session.read < LENGTH || session.written < LENGTH) {
		switch (below(32)) {
		case 0:
			set_nonblocking(below(2));
			break;
		case 1:
			limit_waits(below(2));
			break;
		case 2:
			another_number();
			break;
		case 3:
			size = SIZES[below(COUNT(SIZES))];
			must(setsockopt(session.fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size), "SO_SNDBUF");
			break;
		case 4:
			if (session.kinds & THREADS && unread() > 0 && session.written < LENGTH)
				at_once();
			break;
		case 5:
			if (session.kinds & PROCESSES)
				change_process();
			break;
		case 6 ... 12:
			wait_somehow();
			break;
		case 13 ... 21:
			receive();
			break;
		default:
			transmit();
		}
	}
	forget_instance();
	finish();
}

/* A connection for each number; a process for each, since it may end in another one. */
static void sequences(int listener, unsigned kinds)
{
	for (unsigned seed = 1; seed <= SEEDS; seed++) {
		int status, pair[2];
		pid_t process = must(fork(), "fork");
		if (process == 0) {
			must(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), "socketpair");
			worker_pid = must(fork(), "fork");
			if (worker_pid == 0) {
				close(listener);
				close(pair[1]);
				work(pair[0]);
			}
			close(pair[0]);
			worker = pair[1];
			session.seed = seed;
			session.kinds = kinds;
			session.client = seed - 1;
			session.random = seed * 0x9E3779B97F4A7C15 + kinds;
			session.fd = next_client(listener);
			close(listener);
			ask("%u duplex %d", session.client, LENGTH);
			run();
			exit(0);
		}
		must(waitpid(process, &status, 0), "waitpid");
		say("seed %u: %s", seed, WIFEXITED(status) && WEXITSTATUS(status) == 0 ? "right" : "WRONG");
	}
}

static void calls(int listener)
{
	sequences(listener, CALLS);
}

static void signals(int listener)
{
	sequences(listener, CALLS | SIGNALS);
}

static void threads(int listener)
{
	sequences(listener, CALLS | THREADS);
}

static void processes(int listener)
{
	sequences(listener, CALLS | PROCESSES);
}

static void all(int listener)
{
	sequences(listener, CALLS | SIGNALS | THREADS | PROCESSES);
}

static const struct scenario SCENARIOS[] = {
	{"calls", calls}, {"signals", signals}, {"threads", threads}, {"processes", processes}, {"all", all},
};

int main(int argc, char **argv)
{
	if (argc != 3)
		return 2;
	if (strcmp(argv[1], "-") == 0) {
		for (size_t i = 0; i < sizeof session; i++)
			sscanf(argv[2] + 2 * i, "%2hhx", (unsigned char *)&session + i);
		run();
		return 0;
	}
	return play(argv, SCENARIOS, COUNT(SCENARIOS));
}
