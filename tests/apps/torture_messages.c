/* Several messages in a call, and vectors with flags: recvmmsg, sendmmsg, preadv2, pwritev2. */
#include "common.h"

#define MESSAGES 6
#define ROOM 30

static char room[MESSAGES][ROOM];
static struct iovec vectors[MESSAGES];
static struct mmsghdr messages[MESSAGES];

static void prepare(void)
{
	for (int i = 0; i < MESSAGES; i++) {
		vectors[i] = (struct iovec){room[i], ROOM};
		messages[i] = (struct mmsghdr){.msg_hdr = {.msg_iov = &vectors[i], .msg_iovlen = 1}, .msg_len = 77};
	}
}

static void show(const char *what, int n, size_t position)
{
	char line[200] = "";
	report(what, n);
	for (int i = 0; i < MESSAGES; i++) {
		size_t used = strlen(line);
		snprintf(line + used, sizeof line - used, " %u", messages[i].msg_len);
		for (unsigned at = 0; i < n && at < messages[i].msg_len; at++)
			if ((unsigned char)room[i][at] != pattern(position++))
				say("WRONG byte in message %d", i);
	}
	say("lengths%s", line);
	prepare();
}

static void receiving(int listener)
{
	int fd = next_client(listener);
	prepare();
	report("nothing there", recvmmsg(fd, messages, MESSAGES, MSG_DONTWAIT, NULL));
	report("no messages", recvmmsg(fd, messages, 0, MSG_DONTWAIT, NULL));
	ask("0 send 100");
	await_bytes(fd, 100);
	show("peek", recvmmsg(fd, messages, 1, MSG_PEEK, NULL), 0);
	show("two", recvmmsg(fd, messages, 2, 0, NULL), 0);
	show("for one", recvmmsg(fd, messages, MESSAGES, MSG_WAITFORONE, NULL), 60);
	ask("0 send 60");
	show("waits for all", recvmmsg(fd, messages, 2, MSG_WAITALL, NULL), 100);
	ask("0 tease 10");
	messages[0].msg_hdr.msg_iov[0].iov_len = 1;
	show("waits for one", recvmmsg(fd, messages, 1, MSG_WAITFORONE, NULL), 160);
	struct msghdr *bad = &messages[1].msg_hdr;
	bad->msg_iovlen = 5000;
	await_bytes(fd, 9);
	messages[0].msg_hdr.msg_iov[0].iov_len = 4;
	show("a bad second message", recvmmsg(fd, messages, MESSAGES, 0, NULL), 161);
	messages[0].msg_hdr.msg_iovlen = 5000;
	show("a bad first message", recvmmsg(fd, messages, MESSAGES, 0, NULL), 165);
	show("the rest", recvmmsg(fd, messages, MESSAGES, MSG_DONTWAIT, NULL), 165);
}

static void end(int listener)
{
	int fd = next_client(listener);
	char byte;
	prepare();
	ask("0 send 40");
	await_bytes(fd, 40);
	ask("0 close");
	await_client();
	show("up to the end", recvmmsg(fd, messages, MESSAGES, 0, NULL), 0);
	show("at the end", recvmmsg(fd, messages, MESSAGES, 0, NULL), 40);
	report("read", read(fd, &byte, 1));
}

static void timeout(int listener)
{
	int fd = next_client(listener);
	struct timespec limit = {.tv_sec = 100}, passed = {0}, bad = {.tv_nsec = 1000000000};
	prepare();
	report("bad time", recvmmsg(fd, messages, MESSAGES, 0, &bad));
	ask("0 send 90");
	await_bytes(fd, 90);
	show("in time", recvmmsg(fd, messages, 2, 0, &limit), 0);
	say("left: %s", limit.tv_sec < 100 && limit.tv_sec > 80 ? "some" : "WRONG");
	show("no time", recvmmsg(fd, messages, MESSAGES, 0, &passed), 60);
	say("left: %ld", (long)passed.tv_sec);
	limit = (struct timespec){.tv_sec = 100};
	report("nothing", recvmmsg(fd, messages, MESSAGES, MSG_DONTWAIT, &limit));
	say("left: %ld", (long)limit.tv_sec);
}

static void sending(int listener)
{
	static char block[MESSAGES][100000];
	int fd = next_client(listener), n;
	size_t sent = 0;
	must(fcntl(fd, F_SETFL, O_NONBLOCK), "F_SETFL");
	prepare();
	report("no messages", sendmmsg(fd, messages, 0, 0));
	do {
		size_t position = sent;
		for (int i = 0; i < MESSAGES; i++) {
			fill(block[i], sizeof block[i], position);
			vectors[i] = (struct iovec){block[i], sizeof block[i]};
			messages[i].msg_len = 77;
			position += sizeof block[i];
		}
		n = sendmmsg(fd, messages, MESSAGES, 0);
		for (int i = 0; i < n; i++) {
			if (i < n - 1 && messages[i].msg_len != sizeof block[i])
				say("WRONG: a short message before others");
			sent += messages[i].msg_len;
		}
		for (int i = n < 0 ? 0 : n; i < MESSAGES; i++)
			if (messages[i].msg_len != 77)
				say("WRONG: a message that was not sent");
	} while (n > 0);
	report("full", n);
	ask("0 expect %zu", sent);
	await_client();
	must(fcntl(fd, F_SETFL, 0), "F_SETFL");
	for (int i = 0; i < MESSAGES; i++) {
		fill(block[i], 5, sent + 5 * i);
		vectors[i].iov_len = 5;
	}
	messages[4].msg_hdr.msg_iovlen = 5000;
	report("a bad fifth message", sendmmsg(fd, messages, MESSAGES, 0));
	report("a bad first message", sendmmsg(fd, messages + 4, 2, 0));
	ask("0 expect 20");
}

static void vector_flags(int listener)
{
	char buffer[100];
	struct iovec vector = {buffer, 10};
	/* What the compiler cannot know it does not warn of. */
	volatile int too_many = 5000, negative = -1;
	int fd = next_client(listener);
	report("no wait", preadv2(fd, &vector, 1, -1, RWF_NOWAIT));
	report("offset", preadv2(fd, &vector, 1, 0, 0));
	report("offset", preadv64v2(fd, &vector, 1, 5, 0));
	report("negative offset", preadv2(fd, &vector, 1, -2, 0));
	report("unknown flags", preadv2(fd, &vector, 1, -1, 1 << 20));
	report("too many", preadv2(fd, &vector, too_many, -1, 0));
	report("negative count", preadv2(fd, &vector, negative, -1, 0));
	ask("0 send 20");
	report("waits", preadv2(fd, &vector, 1, -1, 0) > 0);
	await_bytes(fd, 10);
	vector = (struct iovec){buffer, 10};
	report("no wait", preadv2(fd, &vector, 1, -1, RWF_NOWAIT));
	fill(buffer, sizeof buffer, 0);
	report("write", pwritev2(fd, &vector, 1, -1, RWF_NOWAIT | RWF_APPEND | RWF_SYNC));
	report("write offset", pwritev2(fd, &vector, 1, 0, 0));
	report("write offset", pwritev64v2(fd, &vector, 1, 7, 0));
	report("write negative offset", pwritev2(fd, &vector, 1, -3, 0));
	report("write unknown flags", pwritev2(fd, &vector, 1, -1, 1 << 21));
	ask("0 expect 10");
	/* Not waiting, on a socket that does. */
	static char block[1 << 20];
	size_t sent = 10;
	ssize_t n;
	do {
		fill(block, sizeof block, sent);
		vector = (struct iovec){block, sizeof block};
		n = pwritev2(fd, &vector, 1, -1, RWF_NOWAIT);
		sent += n > 0 ? n : 0;
	} while (n > 0);
	report("full", n);
	ask("0 expect %zu", sent - 10);
}

int main(int argc, char **argv)
{
	static const struct scenario TABLE[] = {
		{"recvmmsg", receiving}, {"end", end}, {"timeout", timeout}, {"sendmmsg", sending}, {"vectors", vector_flags},
	};
	return argc == 3 ? play(argv, TABLE, COUNT(TABLE)) : 2;
}
