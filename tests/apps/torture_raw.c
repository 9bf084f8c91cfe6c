/* System calls by their number, syscall(2), in the kernel's own terms. */
#include "common.h"
#include <linux/io_uring.h>
#include <linux/sched.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#define MASK 8

static void calls(int listener)
{
	char buffer[100];
	struct iovec vector = {buffer, 10};
	struct mmsghdr message = {.msg_hdr = {.msg_iov = &vector, .msg_iovlen = 1}};
	struct sockaddr_in address;
	socklen_t length = sizeof address;
	int bytes = -1;
	ask("connect");
	int fd = must(syscall(SYS_accept, listener, &address, &length), "accept");
	say("address %s, length %u", address.sin_family == AF_INET ? "right" : "WRONG", length);
	ask("connect");
	int other = must(syscall(SYS_accept4, listener, NULL, NULL, SOCK_NONBLOCK), "accept4");
	report("read", syscall(SYS_read, other, buffer, (size_t)10));
	report("accept4 with bad flags", syscall(SYS_accept4, listener, NULL, NULL, 1));
	ask("0 whole 60");
	await_bytes(fd, 60);
	must(syscall(SYS_ioctl, fd, FIONREAD, &bytes), "FIONREAD");
	say("there: %d", bytes);
	report("preadv2", syscall(SYS_preadv2, fd, &vector, 1L, -1L, -1L, 0L));
	say("%s", check(buffer, 10, 0));
	report("preadv2 at an offset", syscall(SYS_preadv2, fd, &vector, 1L, 5L, 0L, 0L));
	report("recvmmsg", syscall(SYS_recvmmsg, fd, &message, 1L, 0L, NULL));
	say("%s", check(buffer, 10, 10));
	report("recvfrom", syscall(SYS_recvfrom, fd, buffer, (size_t)10, (long)MSG_PEEK, NULL, NULL));
	say("%s", check(buffer, 10, 20));
	report("read", syscall(SYS_read, fd, buffer, (size_t)100));
	say("%s", check(buffer, 40, 20));
	fill(buffer, 30, 0);
	report("pwritev2", syscall(SYS_pwritev2, fd, &vector, 1L, -1L, -1L, 0L));
	vector.iov_base = buffer + 10;
	report("sendmmsg", syscall(SYS_sendmmsg, fd, &message, 1L, 0L));
	say("sent %u", message.msg_len);
	ask("0 expect 20");
	report("bad address", syscall(SYS_write, fd, NULL, (size_t)10));
	report("shutdown", syscall(SYS_shutdown, fd, (long)SHUT_WR));
	ask("0 end");
	report("close", syscall(SYS_close, fd));
	report("again", syscall(SYS_close, fd));
	report("read", syscall(SYS_read, fd, buffer, (size_t)1));
	ask("1 close");
	await_client();
	report("the other's end", syscall(SYS_read, other, buffer, (size_t)1));
}

static void nothing(int signal) { (void)signal; }

static void waits(int listener)
{
	char byte;
	int fd = next_client(listener), epoll = must(syscall(SYS_epoll_create1, 0L), "epoll_create1");
	struct pollfd poll_for = {.fd = fd, .events = POLLIN};
	struct timespec limit = {.tv_sec = 50}, shorter = {.tv_nsec = 200000000};
	struct epoll_event event = {.events = EPOLLIN, .data.u64 = 12345};
	fd_set set;
	sigset_t none, alarms;
	sigemptyset(&none);
	sigemptyset(&alarms);
	sigaddset(&alarms, SIGALRM);
	struct { const sigset_t *mask; size_t size; } masked = {&none, MASK}, wrong = {&none, 16};
	must(syscall(SYS_epoll_ctl, epoll, (long)EPOLL_CTL_ADD, fd, &event), "epoll_ctl");

	ask("0 noise");
	double start = now();
	report("ppoll", syscall(SYS_ppoll, &poll_for, 1L, &shorter, NULL, (size_t)MASK));
	lasted("ppoll", start, 0.2);
	say("left: %ld.%09ld", (long)shorter.tv_sec, shorter.tv_nsec);
	shorter.tv_nsec = 200000000;
	FD_ZERO(&set);
	FD_SET(fd, &set);
	start = now();
	report("pselect6", syscall(SYS_pselect6, (long)fd + 1, &set, NULL, NULL, &shorter, &masked));
	lasted("pselect6", start, 0.2);
	shorter.tv_nsec = 200000000;
	start = now();
	report("epoll_pwait2", syscall(SYS_epoll_pwait2, epoll, &event, 1L, &shorter, NULL, (size_t)MASK));
	lasted("epoll_pwait2", start, 0.2);
	say("left: %ld.%09ld", (long)shorter.tv_sec, shorter.tv_nsec);
	report("epoll_pwait", syscall(SYS_epoll_pwait, epoll, &event, 1L, 50L, NULL, (size_t)MASK));

	report("bad mask", syscall(SYS_ppoll, &poll_for, 1L, &limit, &none, (size_t)16));
	FD_SET(fd, &set);
	report("bad mask", syscall(SYS_pselect6, (long)fd + 1, &set, NULL, NULL, &limit, &wrong));
	ask("0 whole 10");
	report("ppoll", syscall(SYS_ppoll, &poll_for, 1L, &limit, &none, (size_t)MASK));
	say("events %x, left: %s", poll_for.revents, limit.tv_sec < 50 && limit.tv_sec >= 30 ? "some" : "WRONG");
	FD_ZERO(&set);
	FD_SET(fd, &set);
	report("pselect6", syscall(SYS_pselect6, (long)fd + 1, &set, NULL, NULL, NULL, NULL));
	report("epoll_pwait", syscall(SYS_epoll_pwait, epoll, &event, 1L, -1L, &none, (size_t)MASK));
	say("data %lu", (unsigned long)event.data.u64);
#ifdef SYS_poll
	report("poll", syscall(SYS_poll, &poll_for, 1L, -1L));
	struct timeval time = {.tv_sec = 50};
	report("select", syscall(SYS_select, (long)fd + 1, &set, NULL, NULL, &time));
	report("epoll_wait", syscall(SYS_epoll_wait, epoll, &event, 1L, -1L));
#endif
	while (recv(fd, &byte, 1, MSG_DONTWAIT) == 1)
		;
	/* A signal that is blocked outside the wait alone. */
	struct sigaction action = {.sa_handler = nothing};
	sigaction(SIGALRM, &action, NULL);
	sigprocmask(SIG_BLOCK, &alarms, NULL);
	raise(SIGALRM);
	report("interrupted", syscall(SYS_ppoll, &poll_for, 1L, NULL, &none, (size_t)MASK));
	raise(SIGALRM);
	report("interrupted", syscall(SYS_epoll_pwait, epoll, &event, 1L, -1L, &none, (size_t)MASK));
	raise(SIGALRM);
	report("interrupted", syscall(SYS_pselect6, (long)fd + 1, &set, NULL, NULL, NULL, &masked));
	alarm(LIFETIME_SECONDS);
}

static void descriptors(int listener)
{
	char byte;
	int fd = next_client(listener), null = must(open("/dev/null", O_RDWR), "open");
	int copy = must(syscall(SYS_dup, fd), "dup");
	int more = must(syscall(SYS_fcntl, fd, (long)F_DUPFD_CLOEXEC, 50L), "F_DUPFD_CLOEXEC");
	must(syscall(SYS_dup3, fd, (long)null, (long)O_CLOEXEC), "dup3");
	say("dup3 with bad arguments: %ld %s", syscall(SYS_dup3, fd, fd, 0L), strerrorname_np(errno));
	must(syscall(SYS_close, fd), "close");
	int descriptors[] = {copy, more, null};
	for (size_t i = 0; i < COUNT(descriptors); i++) {
		ask("0 whole 1");
		report("read", syscall(SYS_read, descriptors[i], &byte, (size_t)1));
		say("%s", check(&byte, 1, i));
	}
	/* A number of ours that something else takes over. */
	int event = must(eventfd(5, 0), "eventfd");
	must(syscall(SYS_dup3, event, (long)copy, 0L), "dup3");
	unsigned long long count = 0;
	report("eventfd", read(copy, &count, sizeof count));
	say("count %llu", count);
	must(syscall(SYS_fcntl, more, (long)F_SETFL, (long)O_NONBLOCK), "F_SETFL");
	report("read", read(more, &byte, 1));
	must(syscall(SYS_close, more), "close");
	must(syscall(SYS_close, null), "close");
	ask("0 end");
}

/* Six arguments, results and errors pass as they are. */
static void others(int listener)
{
	int fd = next_client(listener);
	report("getpid", syscall(SYS_getpid) == getpid());
	long page = syscall(SYS_mmap, NULL, (size_t)4096, (long)(PROT_READ | PROT_WRITE), (long)(MAP_PRIVATE | MAP_ANONYMOUS), -1L, 0L);
	say("mmap: %s", page == -1 ? "WRONG" : "memory");
	*(char *)page = 1;
	report("munmap", syscall(SYS_munmap, page, (size_t)4096));
	report("no such call", syscall(100000L));
	report("no such call", syscall(-1L));
	report("a bad descriptor", syscall(SYS_read, 999L, &page, (size_t)1));
	report("fsync", syscall(SYS_fsync, fd));
	report("getpeername", syscall(SYS_getpeername, fd, NULL, NULL));
	errno = 77;
	syscall(SYS_gettid);
	say("errno %d", errno);
}

static int child_without(void *place)
{
	*(int *)place = 5;
	return 0;
}

/* What a child of each kind does with its parent's connection. */
static int child(void *connection)
{
	char buffer[10];
	int fd = *(int *)connection;
	ask("0 whole 10");
	say_read("child", fd, buffer, 10, 0);
	fill(buffer, 10, 0);
	report("child", write(fd, buffer, 10));
	_exit(7);
}

/* The parent lets go of the connection before the child uses it. */
static void let_go(int fd, long pid)
{
	int status;
	close(fd);
	must(waitpid(pid, &status, 0), "waitpid");
	say("status %d", WEXITSTATUS(status));
	ask("0 expect 10");
}

/* Children with memory of their own, as after fork(2), and without what fork(2) calls around it. */
static void cloned(int listener)
{
	int fd = next_client(listener);
	long pid = must(syscall(SYS_clone, (long)SIGCHLD, NULL, NULL, NULL, 0L), "clone");
	if (pid == 0)
		child(&fd);
	let_go(fd, pid);
}

static void cloned3(int listener)
{
	int fd = next_client(listener);
	struct clone_args arguments = {.exit_signal = SIGCHLD};
	/* Programs ask in this way whether it is there. */
	report("no arguments", syscall(SYS_clone3, NULL, 0));
	report("few arguments", syscall(SYS_clone3, &arguments, 8));
	long pid = must(syscall(SYS_clone3, &arguments, sizeof arguments), "clone3");
	if (pid == 0)
		child(&fd);
	let_go(fd, pid);
}

static void cloned_by_libc(int listener)
{
	static char stack[64 * 1024] __attribute__((aligned(16)));
	int fd = next_client(listener);
	report("no function", clone(NULL, stack + sizeof stack, SIGCHLD, NULL));
	/* Memory in common, a thread but for the name: not ours to follow, and it runs. */
	int nothing = -1;
	long pid = must(clone(child_without, stack + sizeof stack, CLONE_VM | CLONE_VFORK | SIGCHLD, &nothing), "clone");
	must(waitpid(pid, NULL, 0), "waitpid");
	say("in common: %d", nothing);
	let_go(fd, must(clone(child, stack + sizeof stack, SIGCHLD, &fd), "clone"));
}

static void forked_alone(int listener)
{
	int fd = next_client(listener);
	long pid = must(_Fork(), "_Fork");
	if (pid == 0)
		child(&fd);
	let_go(fd, pid);
}

static void uring(int listener)
{
	struct io_uring_params parameters = {0};
	(void)listener;
	report("io_uring_setup", syscall(SYS_io_uring_setup, 4L, &parameters));
}

int main(int argc, char **argv)
{
	static const struct scenario TABLE[] = {
		{"calls", calls}, {"waits", waits}, {"descriptors", descriptors}, {"others", others}, {"clone", cloned},
		{"clone3", cloned3}, {"libc-clone", cloned_by_libc}, {"_Fork", forked_alone},
		{"uring", uring},
	};
	return argc == 3 ? play(argv, TABLE, COUNT(TABLE)) : 2;
}
