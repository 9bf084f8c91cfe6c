/* Files and pipes to a connection: sendfile, splice. */
#include "common.h"
#include <sys/mman.h>
#include <sys/sendfile.h>

/* More than the socket's buffers take, and no multiple of anything. */
#define SIZE ((3 << 20) + 12345)
#define LARGE ((8 << 20) + 12345)

static int file_of(size_t length)
{
	char block[4096];
	int file = must(memfd_create("file", MFD_CLOEXEC), "memfd_create");
	for (size_t at = 0; at < length; at += sizeof block) {
		fill(block, sizeof block, at);
		write_full(file, block, length - at < sizeof block ? length - at : sizeof block);
	}
	must(lseek(file, 0, SEEK_SET), "lseek");
	return file;
}

static void blocking(int listener)
{
	int fd = next_client(listener), file = file_of(SIZE);
	ask("0 slow %d", SIZE);
	report("sendfile", sendfile(fd, file, NULL, SIZE + 99));
	say("position: %ld", (long)lseek(file, 0, SEEK_CUR));
	report("at the end", sendfile(fd, file, NULL, 99));
	close(fd);
	ask("0 end");
}

/* Whatever is sent in between fills what sendfile has begun, and the file goes on at the byte where it stopped. */
static void nonblocking(int listener)
{
	int fd = next_client(listener), file = file_of(LARGE), room = 60000;
	off_t offset = 0;
	size_t full = 0;
	must(setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &room, sizeof room), "SO_SNDBUF");
	must(fcntl(fd, F_SETFL, O_NONBLOCK), "F_SETFL");
	while (offset < LARGE) {
		off_t before = offset;
		ssize_t n = sendfile(fd, file, &offset, LARGE);
		if (n < 0 && errno == EAGAIN) {
			if (full++ == 0)
				ask("0 slow %d", LARGE);
			struct pollfd poll_for = {.fd = fd, .events = POLLOUT};
			must(poll(&poll_for, 1, -1), "poll");
			char next[3];
			fill(next, sizeof next, offset);
			size_t length = LARGE - offset < 3 ? LARGE - offset : 3;
			ssize_t wrote = send(fd, next, length, MSG_DONTWAIT);
			offset += wrote > 0 ? wrote : 0;
			continue;
		}
		must(n, "sendfile");
		if (offset != before + n)
			say("WRONG: %zd sent, %ld on", n, (long)(offset - before));
	}
	say("full: %s, position %ld", full > 0 ? "yes" : "WRONG, never", (long)lseek(file, 0, SEEK_CUR));
	close(fd);
	ask("0 end");
}

static void positions(int listener)
{
	int fd = next_client(listener), file = file_of(300000);
	off_t offset = 0;
	report("by offset", sendfile(fd, file, &offset, 10));
	say("offset %ld, position %ld", (long)offset, (long)lseek(file, 0, SEEK_CUR));
	must(lseek(file, 10, SEEK_SET), "lseek");
	report("by position", sendfile(fd, file, NULL, 100000));
	say("position %ld", (long)lseek(file, 0, SEEK_CUR));
	offset = 100010;
	report("by offset", sendfile64(fd, file, &offset, 1 << 30));
	say("offset %ld, position %ld", (long)offset, (long)lseek(file, 0, SEEK_CUR));
	offset = 300001;
	report("behind the end", sendfile(fd, file, &offset, 10));
	report("none", sendfile(fd, file, NULL, 0));
	say("offset %ld, position %ld", (long)offset, (long)lseek(file, 0, SEEK_CUR));
	ask("0 expect 300000");
}

static void refused(int listener)
{
	int fd = next_client(listener), file = file_of(100), pipes[2];
	off_t negative = -1, zero = 0;
	must(pipe(pipes), "pipe");
	int writing = must(open("/dev/null", O_WRONLY), "open"), directory = must(open("/", O_RDONLY), "open");
	report("no file", sendfile(fd, 999, NULL, 10));
	report("nothing to read", sendfile(fd, pipes[1], NULL, 10));
	report("not open for reading", sendfile(fd, writing, NULL, 10));
	report("a pipe", sendfile(fd, pipes[0], NULL, 10));
	report("a pipe with an offset", sendfile(fd, pipes[0], &zero, 10));
	report("a directory", sendfile(fd, directory, NULL, 10));
	report("a negative offset", sendfile(fd, file, &negative, 10));
	report("the connection itself", sendfile(fd, fd, NULL, 10));
	report("from the connection", sendfile(file, fd, NULL, 10));
	report("from the connection with an offset", sendfile(file, fd, &zero, 10));
	say("offset %ld, position %ld", (long)zero, (long)lseek(file, 0, SEEK_CUR));
	must(fcntl(fd, F_SETFL, O_APPEND), "F_SETFL");
	report("appending", sendfile(fd, file, NULL, 10));
	must(fcntl(fd, F_SETFL, 0), "F_SETFL");
	report("in the end", sendfile(fd, file, NULL, 10));
	ask("0 expect 10");
}

/* Nothing is known of their size. */
static void special(int listener)
{
	static char block[200000];
	int fd = next_client(listener), zero = must(open("/dev/zero", O_RDONLY), "open");
	report("/dev/zero", sendfile(fd, zero, NULL, 0));
	int file = file_of(sizeof block);
	must(ftruncate(file, 150000), "ftruncate");
	report("a file that shrank", sendfile(fd, file, NULL, sizeof block));
	ask("0 expect 150000");
}

static void gone(int listener)
{
	int fd = next_client(listener), file = file_of(SIZE);
	char byte;
	signal(SIGPIPE, SIG_IGN);
	ask("0 rst");
	while (read(fd, &byte, 1) > 0)
		;
	ssize_t n;
	while ((n = sendfile(fd, file, NULL, 1000)) > 0)
		;
	report("sendfile", n);
	say("position %s", lseek(file, 0, SEEK_CUR) <= SIZE ? "in the file" : "WRONG");
}

static void *feed(void *argument)
{
	char block[5000];
	int to = (int)(intptr_t)argument;
	for (size_t at = 0; at < 1000000; at += sizeof block) {
		fill(block, sizeof block, at);
		write_full(to, block, sizeof block);
	}
	close(to);
	return NULL;
}

static void spliced(int listener)
{
	int fd = next_client(listener), pipes[2];
	pthread_t feeder;
	size_t total = 0;
	ssize_t n;
	must(pipe(pipes), "pipe");
	report("an empty pipe", splice(pipes[0], NULL, fd, NULL, 10, SPLICE_F_NONBLOCK));
	ask("0 slow 1000000");
	pthread_create(&feeder, NULL, feed, (void *)(intptr_t)pipes[1]);
	while ((n = splice(pipes[0], NULL, fd, NULL, 1 << 30, SPLICE_F_MOVE)) > 0) {
		total += n;
		/* In turns with a socket that does not wait. */
		must(fcntl(fd, F_SETFL, total & 1 ? O_NONBLOCK : 0), "F_SETFL");
		struct pollfd poll_for = {.fd = fd, .events = POLLOUT};
		must(poll(&poll_for, 1, -1), "poll");
	}
	report("at the end of the pipe", n);
	say("spliced %zu", total);
	pthread_join(feeder, NULL);
	close(fd);
	ask("0 end");
}

static void splice_refused(int listener)
{
	int fd = next_client(listener), file = file_of(100), pipes[2];
	off64_t zero = 0;
	must(pipe(pipes), "pipe");
	write_full(pipes[1], "abc", 3);
	report("nothing", splice(pipes[0], NULL, fd, NULL, 0, 0));
	report("a file", splice(file, NULL, fd, NULL, 10, 0));
	report("a file with an offset", splice(file, &zero, fd, NULL, 10, 0));
	report("the wrong end", splice(pipes[1], NULL, fd, NULL, 10, 0));
	report("an offset of the pipe", splice(pipes[0], &zero, fd, NULL, 10, 0));
	report("an offset of the socket", splice(pipes[0], NULL, fd, &zero, 10, 0));
	report("unknown flags", splice(pipes[0], NULL, fd, NULL, 10, 1 << 20));
	report("no descriptor", splice(999, NULL, fd, NULL, 10, 0));
}

static void unspliced(int listener)
{
	int fd = next_client(listener), pipes[2];
	char buffer[20];
	must(pipe(pipes), "pipe");
	ask("0 send 20");
	await_bytes(fd, 20);
	report("splice", splice(fd, NULL, pipes[1], NULL, 20, 0));
	report("sendfile", sendfile(pipes[1], fd, NULL, 20));
	say_read("read", fd, buffer, 20, 0);
}

int main(int argc, char **argv)
{
	static const struct scenario TABLE[] = {
		{"blocking", blocking}, {"nonblocking", nonblocking}, {"positions", positions}, {"refused", refused},
		{"special", special}, {"gone", gone}, {"splice", spliced}, {"splice-refused", splice_refused},
		{"unspliced", unspliced},
	};
	return argc == 3 ? play(argv, TABLE, COUNT(TABLE)) : 2;
}
