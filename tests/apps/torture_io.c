/*
 * Every pair of a reading and a writing call, as a threaded echo server: PROGRAM PORT READER WRITER.
 * Built with fortification, so that the checked entry points (__read_chk and its like) are really imported.
 */
#define _FORTIFY_SOURCE 2
#include "common.h"
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/syscall.h>

/* Further names of libc, which its headers do not have. */
extern ssize_t __read(int, void *, size_t);
extern ssize_t __write(int, const void *, size_t);
extern ssize_t __send(int, const void *, size_t, int);

#define CLIENTS 3
#define BYTES 20000
#define ROOM 5000

/* Lengths that no frame, header or base64 quantum agrees with; zero among them. */
static const size_t PIECES[] = {0, 1, 7, 0, 2, 4096, 3, 0};

static int cut(struct iovec *vector, char *buffer, size_t length)
{
	int used = 0;
	for (size_t i = 0; i < COUNT(PIECES); i++) {
		size_t piece = PIECES[i] < length ? PIECES[i] : length;
		vector[used++] = (struct iovec){.iov_base = buffer, .iov_len = piece};
		buffer += piece;
		length -= piece;
	}
	/* What is left over goes last: a writer has to offer all of it. */
	vector[used++] = (struct iovec){.iov_base = buffer, .iov_len = length};
	return used;
}

static ssize_t in_one(int fd, char *buffer) { return read(fd, buffer, 1); }
static ssize_t in_read(int fd, char *buffer) { return read(fd, buffer, ROOM); }
static ssize_t in_recv(int fd, char *buffer) { return recv(fd, buffer, ROOM, 0); }
static ssize_t in_recvfrom(int fd, char *buffer) { return recvfrom(fd, buffer, 1333, 0, NULL, NULL); }

static ssize_t in_readv(int fd, char *buffer)
{
	struct iovec vector[COUNT(PIECES) + 1];
	return readv(fd, vector, cut(vector, buffer, ROOM));
}

static ssize_t in_recvmsg(int fd, char *buffer)
{
	struct iovec vector[COUNT(PIECES) + 1];
	struct sockaddr_in name;
	char control[64];
	struct msghdr message = {.msg_name = &name, .msg_namelen = sizeof name, .msg_iov = vector,
		.msg_control = control, .msg_controllen = sizeof control, .msg_flags = -1};
	message.msg_iovlen = cut(vector, buffer, ROOM);
	ssize_t n = recvmsg(fd, &message, 0);
	if (n > 0 && (message.msg_controllen != 0 || message.msg_namelen != 0 || message.msg_flags != 0))
		say("recvmsg: control %zu, name %u, flags %x", (size_t)message.msg_controllen, message.msg_namelen,
			message.msg_flags);
	return n;
}

/* A length that the compiler cannot know makes it call the checked variant. */
static volatile size_t unknown = 601;

static ssize_t in_read_chk(int fd, char *buffer)
{
	char local[701];
	ssize_t n = read(fd, local, unknown);
	if (n > 0)
		memcpy(buffer, local, n);
	return n;
}

static ssize_t in_recv_chk(int fd, char *buffer)
{
	char local[701];
	ssize_t n = recv(fd, local, unknown, 0);
	if (n > 0)
		memcpy(buffer, local, n);
	return n;
}

static ssize_t in_recvfrom_chk(int fd, char *buffer)
{
	char local[701];
	struct sockaddr_in name;
	socklen_t length = sizeof name;
	ssize_t n = recvfrom(fd, local, unknown, 0, (struct sockaddr *)&name, &length);
	if (n > 0)
		memcpy(buffer, local, n);
	return n;
}

static ssize_t in_preadv2(int fd, char *buffer)
{
	struct iovec vector[COUNT(PIECES) + 1];
	return preadv2(fd, vector, cut(vector, buffer, ROOM), -1, 0);
}

static ssize_t in_preadv64v2(int fd, char *buffer)
{
	struct iovec vector[COUNT(PIECES) + 1];
	return preadv64v2(fd, vector, cut(vector, buffer, ROOM), -1, RWF_HIPRI);
}

/* Several messages of odd lengths, of which all but the first are not waited for. */
static ssize_t in_recvmmsg(int fd, char *buffer)
{
	struct iovec vector[COUNT(PIECES) + 1];
	struct mmsghdr messages[COUNT(PIECES)] = {0};
	unsigned used = 0;
	ssize_t total = 0;
	cut(vector, buffer, ROOM);
	for (size_t i = 0; i < COUNT(PIECES); i++)
		if (vector[i].iov_len > 0)
			messages[used++].msg_hdr = (struct msghdr){.msg_iov = &vector[i], .msg_iovlen = 1};
	int n = recvmmsg(fd, messages, used, MSG_WAITFORONE, NULL);
	if (n < 0)
		return -1;
	for (int i = 0; i < n; i++) {
		memmove(buffer + total, messages[i].msg_hdr.msg_iov->iov_base, messages[i].msg_len);
		total += messages[i].msg_len;
	}
	return total;
}

static ssize_t in_alias(int fd, char *buffer) { return __read(fd, buffer, 777); }
static ssize_t in_raw_read(int fd, char *buffer) { return syscall(SYS_read, fd, buffer, (size_t)ROOM); }

static ssize_t in_raw_readv(int fd, char *buffer)
{
	struct iovec vector[COUNT(PIECES) + 1];
	return syscall(SYS_readv, fd, vector, cut(vector, buffer, ROOM));
}

static ssize_t in_raw_recvfrom(int fd, char *buffer)
{
	struct sockaddr_in name;
	socklen_t length = sizeof name;
	return syscall(SYS_recvfrom, fd, buffer, (size_t)1333, 0, &name, &length);
}

static ssize_t in_raw_recvmsg(int fd, char *buffer)
{
	struct iovec vector[COUNT(PIECES) + 1];
	struct msghdr message = {.msg_iov = vector};
	message.msg_iovlen = cut(vector, buffer, ROOM);
	return syscall(SYS_recvmsg, fd, &message, 0);
}

static ssize_t out_one(int fd, char *buffer, size_t length) { return length ? write(fd, buffer, 1) : 0; }
static ssize_t out_write(int fd, char *buffer, size_t length) { return write(fd, buffer, length); }
static ssize_t out_send(int fd, char *buffer, size_t length) { return send(fd, buffer, length, 0); }

static ssize_t out_sendto(int fd, char *buffer, size_t length)
{
	return sendto(fd, buffer, length, MSG_NOSIGNAL, NULL, 0);
}

static ssize_t out_writev(int fd, char *buffer, size_t length)
{
	struct iovec vector[COUNT(PIECES) + 1];
	return writev(fd, vector, cut(vector, buffer, length));
}

static ssize_t out_sendmsg(int fd, char *buffer, size_t length)
{
	struct iovec vector[COUNT(PIECES) + 1];
	struct msghdr message = {.msg_iov = vector};
	message.msg_iovlen = cut(vector, buffer, length);
	return sendmsg(fd, &message, MSG_NOSIGNAL);
}

/* More to come soon: the kernel may wait with the packet, and sends all in the end. */
static ssize_t out_more(int fd, char *buffer, size_t length)
{
	if (length > 10)
		return send(fd, buffer, length - 10, MSG_MORE);
	return send(fd, buffer, length, 0);
}

static ssize_t out_pwritev2(int fd, char *buffer, size_t length)
{
	struct iovec vector[COUNT(PIECES) + 1];
	return pwritev2(fd, vector, cut(vector, buffer, length), -1, RWF_DSYNC);
}

static ssize_t out_pwritev64v2(int fd, char *buffer, size_t length)
{
	struct iovec vector[COUNT(PIECES) + 1];
	return pwritev64v2(fd, vector, cut(vector, buffer, length), -1, 0);
}

static ssize_t out_sendmmsg(int fd, char *buffer, size_t length)
{
	struct iovec vector[COUNT(PIECES) + 1];
	struct mmsghdr messages[COUNT(PIECES) + 1] = {0};
	int used = cut(vector, buffer, length);
	ssize_t total = 0;
	for (int i = 0; i < used; i++)
		messages[i].msg_hdr = (struct msghdr){.msg_iov = &vector[i], .msg_iovlen = 1};
	int n = sendmmsg(fd, messages, used, MSG_NOSIGNAL);
	if (n < 0)
		return -1;
	for (int i = 0; i < n; i++)
		total += messages[i].msg_len;
	return total;
}

/* A file that holds `length` bytes behind three others, its position behind them. */
static int file_of(const char *buffer, size_t length)
{
	int file = must(memfd_create("file", MFD_CLOEXEC), "memfd_create");
	write_full(file, "...", 3);
	write_full(file, buffer, length);
	must(lseek(file, 3, SEEK_SET), "lseek");
	return file;
}

static ssize_t out_sendfile(int fd, char *buffer, size_t length)
{
	int file = file_of(buffer, length);
	ssize_t n = sendfile(fd, file, NULL, length + 10);
	if (lseek(file, 0, SEEK_CUR) != 3 + n)
		say("WRONG position");
	close(file);
	return n;
}

static ssize_t out_sendfile64(int fd, char *buffer, size_t length)
{
	int file = file_of(buffer, length);
	off64_t offset = 3;
	ssize_t n = sendfile64(fd, file, &offset, length);
	if (offset != 3 + n || lseek(file, 0, SEEK_CUR) != 3)
		say("WRONG offset");
	close(file);
	return n;
}

static ssize_t out_splice(int fd, char *buffer, size_t length)
{
	int pipes[2];
	must(pipe(pipes), "pipe");
	write_full(pipes[1], buffer, length);
	close(pipes[1]);
	ssize_t n = splice(pipes[0], NULL, fd, NULL, length + 10, SPLICE_F_MOVE);
	close(pipes[0]);
	return n;
}

static ssize_t out_alias(int fd, char *buffer, size_t length)
{
	return length > 9 ? __write(fd, buffer, length - 9) : __send(fd, buffer, length, 0);
}

static ssize_t out_raw_write(int fd, char *buffer, size_t length) { return syscall(SYS_write, fd, buffer, length); }

static ssize_t out_raw_writev(int fd, char *buffer, size_t length)
{
	struct iovec vector[COUNT(PIECES) + 1];
	return syscall(SYS_writev, fd, vector, cut(vector, buffer, length));
}

static ssize_t out_raw_sendto(int fd, char *buffer, size_t length)
{
	return syscall(SYS_sendto, fd, buffer, length, MSG_NOSIGNAL, NULL, 0);
}

static ssize_t out_raw_sendmsg(int fd, char *buffer, size_t length)
{
	struct iovec vector[COUNT(PIECES) + 1];
	struct msghdr message = {.msg_iov = vector};
	message.msg_iovlen = cut(vector, buffer, length);
	return syscall(SYS_sendmsg, fd, &message, MSG_NOSIGNAL);
}

static ssize_t out_raw_sendfile(int fd, char *buffer, size_t length)
{
	int file = file_of(buffer, length);
	ssize_t n = syscall(SYS_sendfile, fd, file, NULL, length);
	close(file);
	return n;
}

/* A character at a time, in registers and on the stack; NUL among them. */
static ssize_t out_dprintf(int fd, char *b, size_t length)
{
	if (length < 12)
		return dprintf(fd, "%c", b[0]);
	return dprintf(fd, "%c%.0s%c%c%c%c%.0s%c%c%c%c%c%c%c", b[0], "x", b[1], b[2], b[3], b[4], "y", b[5], b[6], b[7],
		b[8], b[9], b[10], b[11]);
}

static const struct { const char *name; ssize_t (*call)(int, char *); } READERS[] = {
	{"one", in_one}, {"read", in_read}, {"readv", in_readv}, {"recv", in_recv}, {"recvfrom", in_recvfrom},
	{"recvmsg", in_recvmsg}, {"read_chk", in_read_chk}, {"recv_chk", in_recv_chk}, {"recvfrom_chk", in_recvfrom_chk},
	{"preadv2", in_preadv2}, {"preadv64v2", in_preadv64v2}, {"recvmmsg", in_recvmmsg}, {"alias", in_alias},
	{"raw_read", in_raw_read}, {"raw_readv", in_raw_readv}, {"raw_recvfrom", in_raw_recvfrom},
	{"raw_recvmsg", in_raw_recvmsg},
};
static const struct { const char *name; ssize_t (*call)(int, char *, size_t); } WRITERS[] = {
	{"one", out_one}, {"write", out_write}, {"writev", out_writev}, {"send", out_send}, {"sendto", out_sendto},
	{"sendmsg", out_sendmsg}, {"more", out_more}, {"pwritev2", out_pwritev2},
	{"pwritev64v2", out_pwritev64v2}, {"sendmmsg", out_sendmmsg}, {"sendfile", out_sendfile},
	{"sendfile64", out_sendfile64}, {"splice", out_splice}, {"alias", out_alias}, {"raw_write", out_raw_write},
	{"raw_writev", out_raw_writev}, {"raw_sendto", out_raw_sendto}, {"raw_sendmsg", out_raw_sendmsg},
	{"raw_sendfile", out_raw_sendfile}, {"dprintf", out_dprintf},
};
static ssize_t (*reader)(int, char *);
static ssize_t (*writer)(int, char *, size_t);

static void *serve(void *argument)
{
	int fd = (int)(intptr_t)argument;
	char buffer[ROOM];
	size_t total = 0;
	for (;;) {
		ssize_t n = must(reader(fd, buffer), "reader");
		if (n == 0)
			break;
		for (ssize_t done = 0; done < n;)
			done += must(writer(fd, buffer + done, n - done), "writer");
		total += n;
	}
	close(fd);
	return (void *)total;
}

int main(int argc, char **argv)
{
	pthread_t threads[CLIENTS];
	size_t total = 0;
	void *one;
	alarm(LIFETIME_SECONDS);
	for (size_t i = 0; argc == 4 && i < COUNT(READERS); i++)
		if (strcmp(READERS[i].name, argv[2]) == 0)
			reader = READERS[i].call;
	for (size_t i = 0; argc == 4 && i < COUNT(WRITERS); i++)
		if (strcmp(WRITERS[i].name, argv[3]) == 0)
			writer = WRITERS[i].call;
	if (!reader || !writer)
		return 2;
	int listener = listen_on(argv[1]);
	ask("crowd %d %d", CLIENTS, BYTES);
	for (int i = 0; i < CLIENTS; i++) {
		int fd = must(accept(listener, NULL, NULL), "accept");
		pthread_create(&threads[i], NULL, serve, (void *)(intptr_t)fd);
	}
	for (int i = 0; i < CLIENTS; i++) {
		pthread_join(threads[i], &one);
		total += (size_t)one;
	}
	say("echoed %zu bytes", total);
	return done();
}
