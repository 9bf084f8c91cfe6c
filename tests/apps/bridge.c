/*
 * A server whose connections leave its code: `bridge PORT MODE`. For each connection it takes a byte from its standard input, looks
 * at the connection, reads as many bytes as the byte says and echoes them, and then hands the connection on as MODE has it;
 * whoever gets it echoes the rest. `bridge - ROLE ...` is a program that gets one.
 */
#include "common.h"
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pty.h>
#include <spawn.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <termios.h>

extern char **environ;
static const char *self;
static int listener, helper;

#define CAT "/bin/cat"

static void standard(int fd)
{
	must(dup2(fd, STDIN_FILENO), "dup2");
	must(dup2(fd, STDOUT_FILENO), "dup2");
	if (fd > STDERR_FILENO)
		close(fd);
	close(listener);
}

/* What each function of exec(3) makes of the same arguments. */
static void call(const char *name)
{
	char *argv[] = {"cat", "-", NULL};
	if (strcmp(name, "execl") == 0)
		execl(CAT, "cat", "-", (char *)NULL);
	else if (strcmp(name, "execlp") == 0)
		execlp("cat", "cat", "-", (char *)NULL);
	else if (strcmp(name, "execle") == 0)
		/* More than registers hold, and an environment behind them. */
		execle("/bin/sh", "sh", "-c", "test \"$1$2$3$4$5$6$7$8\" = 12345678 && test \"$MARK\" = set && exec cat", "sh", "1",
		       "2", "3", "4", "5", "6", "7", "8", (char *)NULL, (char *[]){"MARK=set", "PATH=/bin:/usr/bin", NULL});
	else if (strcmp(name, "execv") == 0)
		execv(CAT, argv);
	else if (strcmp(name, "execve") == 0)
		execve(CAT, argv, environ);
	else if (strcmp(name, "execvp") == 0)
		execvp("cat", argv);
	else if (strcmp(name, "execvpe") == 0)
		execvpe("cat", argv, environ);
	else if (strcmp(name, "fexecve") == 0)
		fexecve(open(CAT, O_RDONLY), argv, environ);
	else if (strcmp(name, "execveat") == 0)
		execveat(AT_FDCWD, CAT, argv, environ, 0);
	else if (strcmp(name, "raw_execve") == 0)
		syscall(SYS_execve, CAT, argv, environ);
	else if (strcmp(name, "raw_execveat") == 0)
		syscall(SYS_execveat, AT_FDCWD, CAT, argv, environ, 0);
	else if (strcmp(name, "stdio") == 0)
		execl(self, "bridge", "-", "stdio", (char *)NULL);
	else if (strcmp(name, "half") == 0)
		execl(self, "bridge", "-", "half", (char *)NULL);
	else if (strcmp(name, "address") == 0)
		execl(self, "bridge", "-", "address", (char *)NULL);
	else if (strcmp(name, "retry") == 0) {
		execl("/nonexistent", "nonexistent", (char *)NULL);
		execl(CAT, "cat", (char *)NULL);
	} else if (strcmp(name, "failed") == 0) {
		/* No program: this one goes on with what it has. */
		execl("/nonexistent", "nonexistent", (char *)NULL);
		echo(STDIN_FILENO);
		exit(0);
	}
	_exit(9);
}

static pid_t forked(int fd, const char *name)
{
	pid_t child = must(fork(), "fork");
	if (child == 0) {
		standard(fd);
		call(name);
	}
	return child;
}

static pid_t vforked(int fd)
{
	pid_t child = vfork();
	if (child == 0) {
		dup2(fd, STDIN_FILENO);
		dup2(STDIN_FILENO, STDOUT_FILENO);
		close(fd);
		execl(CAT, "cat", (char *)NULL);
		_exit(9);
	}
	return must(child, "vfork");
}

static pid_t spawned(int fd)
{
	posix_spawn_file_actions_t actions;
	pid_t child;
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, fd, STDIN_FILENO);
	posix_spawn_file_actions_adddup2(&actions, fd, STDOUT_FILENO);
	posix_spawn_file_actions_addclose(&actions, fd);
	must(-posix_spawnp(&child, "cat", &actions, NULL, (char *[]){"cat", NULL}, environ), "posix_spawnp");
	posix_spawn_file_actions_destroy(&actions);
	return child;
}

/* The connection as a standard descriptor of a process that stays itself. */
static pid_t shelled(int fd, const char *mode)
{
	pid_t child = must(fork(), "fork");
	if (child == 0) {
		standard(fd);
		if (strcmp(mode, "system") == 0)
			exit(system("head -c 10; cat"));
		FILE *cat = popen("cat", "w");
		char buffer[4096];
		ssize_t n;
		while ((n = read(STDIN_FILENO, buffer, sizeof buffer)) > 0) {
			fwrite(buffer, 1, n, cat);
			fflush(cat);
		}
		exit(pclose(cat));
	}
	return child;
}

/* The calls that send a message. */
static ssize_t send_message(const char *call, int socket, struct msghdr *msg)
{
	/* The one that carries it is not the first. */
	char byte = 0;
	struct iovec iov = {&byte, 1};
	struct mmsghdr both[] = {{.msg_hdr = {.msg_iov = &iov, .msg_iovlen = 1}}, {.msg_hdr = *msg}};
	if (strcmp(call, "sendmmsg") == 0)
		return sendmmsg(socket, both, 2, 0) - 1;
	if (strcmp(call, "raw_sendmmsg") == 0)
		return syscall(SYS_sendmmsg, socket, both, 2, 0) - 1;
	if (strcmp(call, "raw_sendmsg") == 0)
		return syscall(SYS_sendmsg, socket, msg, 0);
	return sendmsg(socket, msg, 0);
}

static void send_descriptor(const char *call, int socket, int fd)
{
	char byte = 0, control[CMSG_SPACE(sizeof fd)] = {0};
	struct iovec iov = {&byte, 1};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
	struct cmsghdr *header = CMSG_FIRSTHDR(&msg);
	*header = (struct cmsghdr){.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof fd)};
	memcpy(CMSG_DATA(header), &fd, sizeof fd);
	must(send_message(call, socket, &msg), call);
}

static int receive_descriptor(int socket)
{
	int fd;
	char byte, control[CMSG_SPACE(sizeof fd)];
	struct iovec iov = {&byte, 1};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
	do {
		msg.msg_controllen = sizeof control;
		if (recvmsg(socket, &msg, 0) <= 0)
			exit(0);
	} while (!CMSG_FIRSTHDR(&msg));
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof fd);
	return fd;
}

/* A process that gets connections and echoes. */
static void start_helper(void)
{
	int pair[2];
	must(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), "socketpair");
	if (must(fork(), "fork") == 0) {
		close(pair[1]);
		for (;;) {
			int fd = receive_descriptor(pair[0]);
			if (fork() == 0) {
				echo(fd);
				_exit(0);
			}
			close(fd);
		}
	}
	close(pair[0]);
	helper = pair[1];
}

static pid_t sandboxed(int fd, int filter)
{
	struct sock_filter program[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_read, 3, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_write, 2, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_exit, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog all = {COUNT(program), program};
	pid_t child = must(fork(), "fork");
	if (child == 0) {
		if (filter) {
			must(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "PR_SET_NO_NEW_PRIVS");
			must(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &all), "PR_SET_SECCOMP");
		} else
			must(prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT), "PR_SET_SECCOMP");
		echo(fd);
		syscall(SYS_exit, 0);
	}
	return child;
}

/* From here on nobody is to ask for the limits of the process. */
static void deny_limits(void)
{
	struct sock_filter program[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_prlimit64, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog all = {COUNT(program), program};
	must(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "PR_SET_NO_NEW_PRIVS");
	must(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &all), "PR_SET_SECCOMP");
}

/* Fills the connection until it takes no more, and leaves a further megabyte to another program. */
static pid_t filled(int fd)
{
	static char buffer[3000];
	size_t written = 0;
	fcntl(fd, F_SETFL, O_NONBLOCK);
	for (;;) {
		fill(buffer, sizeof buffer, written);
		ssize_t n = write(fd, buffer, sizeof buffer);
		if (n < 0)
			break;
		written += n;
	}
	pid_t child = must(fork(), "fork");
	if (child == 0) {
		char place[32];
		snprintf(place, sizeof place, "%zu", written);
		standard(fd);
		execl(self, "bridge", "-", "fill", place, (char *)NULL);
	}
	say("full");
	return child;
}

/* Goes on as a program that has an event loop, after its connection was passed: events of the same registration. */
static pid_t watched(int fd)
{
	int epoll = must(epoll_create1(0), "epoll_create1"), pair[2], copy = must(dup(fd), "dup");
	struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.u64 = 0x1234567812345678};
	must(epoll_ctl(epoll, EPOLL_CTL_ADD, copy, &event), "epoll_ctl");
	must(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), "socketpair");
	send_descriptor("sendmsg", pair[0], fd);
	close(receive_descriptor(pair[1]));
	close(fd);
	char buffer[1000];
	ssize_t n = 1;
	while (n > 0) {
		must(epoll_wait(epoll, &event, 1, -1), "epoll_wait");
		if (event.data.u64 != 0x1234567812345678)
			say("WRONG data");
		while ((n = recv(copy, buffer, sizeof buffer, MSG_DONTWAIT)) > 0)
			write_full(copy, buffer, n);
		if (n < 0)
			n = errno == EAGAIN;
	}
	close(copy);
	close(epoll);
	close(pair[0]);
	close(pair[1]);
	return 0;
}

/* A program on a terminal, which libc puts in the connection's place where nobody sees it, and this one between the two. */
static pid_t on_a_terminal(int fd)
{
	struct termios raw = {0};
	char buffer[4096];
	int terminal;
	cfmakeraw(&raw);
	pid_t child = must(forkpty(&terminal, NULL, &raw, NULL), "forkpty");
	if (child == 0) {
		execl(CAT, "cat", (char *)NULL);
		_exit(9);
	}
	for (;;) {
		struct pollfd both[] = {{fd, POLLIN, 0}, {terminal, POLLIN, 0}};
		must(poll(both, COUNT(both), -1), "poll");
		if (both[1].revents) {
			ssize_t n = read(terminal, buffer, sizeof buffer);
			if (n <= 0)
				break;
			write_full(fd, buffer, n);
		} else {
			/* Less than the terminal holds. */
			ssize_t n = read(fd, buffer, 1000);
			if (n <= 0)
				break;
			write_full(terminal, buffer, n);
		}
	}
	kill(child, SIGKILL);
	close(terminal);
	return child;
}

static void say_address(const char *what, int (*call)(int, struct sockaddr *, socklen_t *))
{
	struct sockaddr_in address;
	socklen_t length = sizeof address;
	char text[INET_ADDRSTRLEN];
	if (call(0, (struct sockaddr *)&address, &length) < 0 || address.sin_family != AF_INET || length != sizeof address)
		printf("%s: family %d, length %d\n", what, address.sin_family, (int)length);
	else
		printf("%s: %s:%d\n", what, inet_ntop(AF_INET, &address.sin_addr, text, sizeof text), ntohs(address.sin_port));
}

/* An integer option before and after it is set, each with its error. */
static void say_option(const char *name, int level, int option, int value)
{
	int before = -1, after = -1;
	socklen_t length = sizeof before;
	int got = getsockopt(0, level, option, &before, &length) == 0 ? 0 : errno;
	int set = setsockopt(0, level, option, &value, sizeof value) == 0 ? 0 : errno;
	int again = getsockopt(0, level, option, &after, &length) == 0 ? 0 : errno;
	printf("%s %d (%d), %d, %d (%d), %d bytes; ", name, before, got, set, after, again, (int)length);
}

static void say_options(void)
{
	struct tcp_info info = {0};
	char algorithm[16] = "", byte = 0;
	int segment = 0;
	socklen_t length = sizeof info, room = sizeof algorithm, one = 1, whole = sizeof segment;
	say_option("nodelay", IPPROTO_TCP, TCP_NODELAY, 7);
	say_option("nodelay", IPPROTO_TCP, TCP_NODELAY, 0);
	say_option("cork", IPPROTO_TCP, TCP_CORK, 0);
	say_option("keepidle", IPPROTO_TCP, TCP_KEEPIDLE, 100);
	say_option("keepintvl", IPPROTO_TCP, TCP_KEEPINTVL, 10);
	say_option("keepcnt", IPPROTO_TCP, TCP_KEEPCNT, 1000);
	say_option("user timeout", IPPROTO_TCP, TCP_USER_TIMEOUT, 5000);
	say_option("tos", IPPROTO_IP, IP_TOS, 0x10);
	say_option("none", IPPROTO_TCP, 9999, 1);
	say_option("not of IPv4", IPPROTO_IPV6, IPV6_V6ONLY, 1);
	printf("info %d, ", getsockopt(0, IPPROTO_TCP, TCP_INFO, &info, &length));
	printf("state %d, timeout %d, %d bytes; ", info.tcpi_state, info.tcpi_rto > 0, (int)length);
	int got = getsockopt(0, IPPROTO_TCP, TCP_CONGESTION, algorithm, &room);
	printf("algorithm %d, %s, %d bytes; ", got, algorithm, (int)room);
	got = getsockopt(0, IPPROTO_TCP, TCP_MAXSEG, &segment, &whole);
	printf("segment %d, %d; ", got, segment);
	got = getsockopt(0, IPPROTO_TCP, TCP_KEEPIDLE, &byte, &one);
	printf("short %d, %d, %d; ", got, byte, (int)one);
	char around[8] = {0};
	socklen_t negative = -1, four = 4;
	got = getsockopt(0, IPPROTO_TCP, TCP_MAXSEG, around, &negative);
	printf("negative %s, %d; ", got < 0 ? strerrorname_np(errno) : "WRONG", around[4]);
	got = getsockopt(0, IPPROTO_TCP, TCP_MAXSEG, around, NULL);
	printf("no length %s; ", got < 0 ? strerrorname_np(errno) : "WRONG");
	got = getsockopt(0, IPPROTO_TCP, TCP_MAXSEG, NULL, &four);
	printf("no room %s; ", got < 0 ? strerrorname_np(errno) : "WRONG");
	got = setsockopt(0, IPPROTO_TCP, TCP_KEEPIDLE, NULL, 4);
	printf("no value %s; ", got < 0 ? strerrorname_np(errno) : "WRONG");
	static int large[2000] = {77};
	got = setsockopt(0, IPPROTO_TCP, TCP_KEEPIDLE, large, sizeof large);
	getsockopt(0, IPPROTO_TCP, TCP_KEEPIDLE, &segment, &whole);
	printf("large %d, %d\n", got, segment);
}

static int role(char **argv)
{
	const char *name = argv[2];
	if (strcmp(name, "stdio") == 0) {
		char line[4096];
		while (fgets(line, sizeof line, stdin)) {
			printf("%s", line);
			fflush(stdout);
		}
	} else if (strcmp(name, "address") == 0) {
		int one = 1, kind, option;
		socklen_t length = sizeof kind;
		say_address("peer", getpeername);
		say_address("local", getsockname);
		printf("nodelay %d ", setsockopt(0, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one));
		printf("tos %d ", setsockopt(0, IPPROTO_IP, IP_TOS, &one, sizeof one));
		printf("keepalive %d ", setsockopt(0, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof one));
		printf("domain %d ", getsockopt(0, SOL_SOCKET, SO_DOMAIN, &kind, &length) == 0 && kind == AF_INET);
		length = sizeof option;
		printf("is nodelay %d\n", getsockopt(0, IPPROTO_TCP, TCP_NODELAY, &option, &length) == 0 && option == 1);
		say_options();
		fflush(stdout);
		echo(0);
	} else if (strcmp(name, "half") == 0) {
		/* Says all, and reads on. */
		char buffer[4096];
		size_t got = 0;
		ssize_t n;
		write_full(STDOUT_FILENO, "bye", 3);
		must(shutdown(STDOUT_FILENO, SHUT_WR), "shutdown");
		while ((n = read(STDIN_FILENO, buffer, sizeof buffer)) > 0)
			got += n;
		return n < 0 || got != 300000;
	} else if (strcmp(name, "fill") == 0) {
		static char buffer[70000];
		size_t place = strtoul(argv[3], NULL, 10), total = place + (1 << 20);
		fcntl(STDOUT_FILENO, F_SETFL, 0);
		while (place < total) {
			size_t n = total - place < sizeof buffer ? total - place : sizeof buffer;
			fill(buffer, n, place);
			write_full(STDOUT_FILENO, buffer, n);
			place += n;
		}
	}
	return 0;
}

/* How the child ended, and that it was the only one. */
static void reap(pid_t child)
{
	int status;
	must(waitpid(child, &status, 0), "waitpid");
	say("child: %d", status);
	if (waitpid(-1, &status, __WALL | WNOHANG) != -1 && !helper)
		say("WRONG: another child");
}

int main(int argc, char **argv)
{
	self = argv[0];
	if (argc < 3)
		return 2;
	if (strcmp(argv[1], "-") == 0)
		return role(argv);
	const char *mode = argv[2];
	alarm(LIFETIME_SECONDS);
	if (strncmp(mode, "pass", 4) == 0)
		start_helper();
	listener = listen_on(argv[1]);
	int control = STDIN_FILENO;
	if (strcmp(mode, "terminal") == 0) {
		/* The connection is accepted as standard input. */
		control = must(fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 10), "F_DUPFD_CLOEXEC");
		close(STDIN_FILENO);
	}
	if (strcmp(mode, "limits") == 0)
		deny_limits();
	for (;;) {
		unsigned char count;
		char buffer[256];
		struct pollfd wait = {listener, POLLIN, 0};
		must(poll(&wait, 1, -1), "poll");
		int fd = must(accept(listener, NULL, NULL), "accept");
		if (read(control, &count, 1) != 1)
			return 0;
		struct pollfd look = {fd, POLLIN, 0};
		poll(&look, 1, 0);
		read_full(fd, buffer, count);
		write_full(fd, buffer, count);
		pid_t child = 0;
		if (strcmp(mode, "vfork") == 0)
			child = vforked(fd);
		else if (strcmp(mode, "spawn") == 0)
			child = spawned(fd);
		else if (strcmp(mode, "system") == 0 || strcmp(mode, "popen") == 0)
			child = shelled(fd, mode);
		else if (strncmp(mode, "pass", 4) == 0)
			send_descriptor(mode[4] ? mode + 5 : "sendmsg", helper, fd);
		else if (strcmp(mode, "strict") == 0 || strcmp(mode, "filter") == 0)
			child = sandboxed(fd, mode[0] == 'f');
		else if (strcmp(mode, "watched") == 0)
			watched(fd);
		else if (strcmp(mode, "terminal") == 0)
			child = on_a_terminal(fd);
		else if (strcmp(mode, "limits") == 0)
			echo(fd);
		else if (strcmp(mode, "fill") == 0)
			child = filled(fd);
		else
			child = forked(fd, mode);
		if (strcmp(mode, "watched") != 0)
			close(fd);
		if (child > 0)
			reap(child);
		else
			say("handed on");
	}
}
