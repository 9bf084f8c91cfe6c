/*
 * Every pair of a reading and a writing call, as a threaded echo server: PROGRAM PORT READER WRITER.
 * Built with fortification, so that the checked entry points (__read_chk and its like) are really imported.
 */
#define _FORTIFY_SOURCE 2
#include "common.h"

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

static const struct { const char *name; ssize_t (*call)(int, char *); } READERS[] = {
	{"one", in_one}, {"read", in_read}, {"readv", in_readv}, {"recv", in_recv}, {"recvfrom", in_recvfrom},
	{"recvmsg", in_recvmsg}, {"read_chk", in_read_chk}, {"recv_chk", in_recv_chk}, {"recvfrom_chk", in_recvfrom_chk},
};
static const struct { const char *name; ssize_t (*call)(int, char *, size_t); } WRITERS[] = {
	{"one", out_one}, {"write", out_write}, {"writev", out_writev}, {"send", out_send}, {"sendto", out_sendto},
	{"sendmsg", out_sendmsg}, {"more", out_more},
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
