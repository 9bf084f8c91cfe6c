/* Children that run in their parent's memory: what they do to their descriptors is not done to the parent's. */
#include "common.h"
#include <linux/close_range.h>
#include <spawn.h>

extern char **environ;

static size_t at;

static void prove(const char *what, int fd)
{
	char buffer[5];
	ask("0 whole 5");
	say_read(what, fd, buffer, 5, at);
	write_full(fd, buffer, 5);
	ask("0 expect 5");
	at += 5;
}

static void reap(void)
{
	int status = -1;
	must(wait(&status), "wait");
	say("a child ended with %x", status);
}

enum way { CLOSE, DUP2, REUSE, COPY, RANGE, FROM, EPOLL, WAYS };

/* All of it between vfork and exec, as programs that start others do it. */
static void children(int listener)
{
	static int epoll;
	int null = must(open("/dev/null", O_RDWR), "open"), fd = next_client(listener);
	struct epoll_event event = {.events = EPOLLIN, .data.u64 = 7};
	epoll = must(epoll_create1(0), "epoll_create1");
	must(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event), "EPOLL_CTL_ADD");
	prove("before", fd);
	for (volatile enum way way = 0; way < WAYS; way++) {
		pid_t pid = vfork();
		if (pid == 0) {
			switch (way) {
			case CLOSE: close(fd), close(listener), close(epoll); break;
			case DUP2: dup2(null, fd), dup2(null, listener); break;
			case REUSE: close(fd), open("/dev/null", O_RDONLY), close(listener), dup(null); break;
			case COPY: close(dup(fd)), close(fcntl(fd, F_DUPFD, 50)), dup2(fd, 60), close(fd), close(60); break;
			case RANGE: close_range(3, ~0U, 0); break;
			case FROM: closefrom(3); break;
			case EPOLL: close(epoll), epoll_create1(0), close(fd), socket(AF_INET, SOCK_STREAM, 0); break;
			case WAYS: break;
			}
			execl("/bin/true", "true", (char *)NULL);
			_exit(9);
		}
		must(pid, "vfork");
		reap();
		prove("after", fd);
	}
	report("events", epoll_wait(epoll, &event, 1, 0));
	ask("0 whole 5");
	report("events", epoll_wait(epoll, &event, 1, -1));
	say("data: %d", (int)event.data.u64);
	char buffer[5];
	say_read("last", fd, buffer, 5, at);
	close(fd);
	ask("0 end");
	/* The listener is what it was. */
	fd = next_client(listener);
	ask("1 echo 100");
	ask("1 close");
	report("echo", echo(fd));
}

static void spawned(int listener)
{
	int fd = next_client(listener);
	posix_spawn_file_actions_t actions;
	char *argv[] = {"true", NULL};
	pid_t pid;
	must(-posix_spawn_file_actions_init(&actions), "actions");
	must(-posix_spawn_file_actions_adddup2(&actions, STDERR_FILENO, fd), "adddup2");
	must(-posix_spawn_file_actions_addclose(&actions, listener), "addclose");
	must(-posix_spawn_file_actions_addclosefrom_np(&actions, 3), "addclosefrom");
	for (int i = 0; i < 3; i++) {
		must(-posix_spawn(&pid, "/bin/true", &actions, NULL, argv, environ), "posix_spawn");
		prove("meanwhile", fd);
		reap();
		prove("after", fd);
	}
	report("system", system("exec 2>&1; true"));
	prove("after", fd);
	close(fd);
	ask("0 end");
}

int main(int argc, char **argv)
{
	static const struct scenario TABLE[] = {{"children", children}, {"spawned", spawned}};
	return argc == 3 ? play(argv, TABLE, COUNT(TABLE)) : 2;
}
