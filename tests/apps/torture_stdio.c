/* C's stdio on a connection: fdopen and all that works on a stream, dprintf. */
#include "common.h"
#include <stdio_ext.h>

static FILE *stream_of(int fd, const char *mode)
{
	FILE *stream = fdopen(fd, mode);
	if (!stream)
		must(-1, "fdopen");
	return stream;
}

static void both(int listener)
{
	char buffer[5000], byte;
	int fd = next_client(listener);
	FILE *stream = stream_of(fd, "r+");
	say("descriptor: %s", fileno(stream) == fd && fileno_unlocked(stream) == fd ? "the same" : "WRONG");
	ask("0 send 1000");
	report("fread", fread(buffer, 1, 300, stream));
	say("%s", check(buffer, 300, 0));
	byte = (char)getc(stream);
	say("getc %s", check(&byte, 1, 300));
	ungetc(byte, stream);
	report("fread", fread(buffer, 7, 100, stream));
	say("%s", check(buffer, 700, 300));
	/* All that was sent is read, so the stream may turn round. */
	fill(buffer, sizeof buffer, 0);
	report("fwrite", fwrite(buffer, 1, sizeof buffer, stream));
	report("fflush", fflush(stream));
	ask("0 expect %zu", sizeof buffer);
	ask("0 send 1");
	report("fread", fread(buffer, 1, 1, stream));
	report("fseek", fseek(stream, 0, SEEK_SET));
	report("ftell", ftell(stream));
	ask("0 close");
	report("getc", getc(stream));
	say("eof %d, error %d", feof(stream) != 0, ferror(stream) != 0);
	report("fclose", fclose(stream));
	report("closed", fcntl(fd, F_GETFD));
}

/* Lines of the pattern end at its line ends. */
static void two(int listener)
{
	char *line = NULL;
	size_t room = 0, got = 0, lines = 0;
	int fd = next_client(listener);
	FILE *in = stream_of(must(dup(fd), "dup"), "rb"), *out = stream_of(fd, "wb");
	ask("0 send 20000");
	ask("0 fin");
	ssize_t n;
	while ((n = getline(&line, &room, in)) > 0) {
		if (fwrite(line, 1, n, out) != (size_t)n)
			say("WRONG: fwrite");
		got += n;
		lines++;
	}
	say("%zu bytes in %zu lines", got, lines);
	free(line);
	report("fclose in", fclose(in));
	report("fclose out", fclose(out));
	ask("0 expect 20000");
	ask("0 end");
}

static void modes(int listener)
{
	static const char *const MODES[] = {
		"r", "w", "a", "r+", "w+", "a+", "rb", "rb+", "r+b", "we", "rxm+", "w,ccs=x", "abcde+", "", "x", "+r", "R",
	};
	char byte;
	int fd = next_client(listener);
	for (size_t i = 0; i < COUNT(MODES); i++) {
		int copy = must(dup(fd), "dup");
		must(fcntl(copy, F_SETFL, 0), "F_SETFL");
		must(fcntl(copy, F_SETFD, 0), "F_SETFD");
		errno = 0;
		FILE *stream = fdopen(copy, MODES[i]);
		if (!stream) {
			report(MODES[i], -1);
			close(copy);
			continue;
		}
		say("%s: descriptor %s, flags %x %x, reads %d, writes %d", MODES[i], fileno(stream) == copy ? "right" : "WRONG",
			fcntl(copy, F_GETFL) & ~O_LARGEFILE, fcntl(copy, F_GETFD), __freadable(stream) != 0, __fwritable(stream) != 0);
		errno = 0;
		if (!__fwritable(stream))
			report("fputc", fputc('x', stream));
		if (!__freadable(stream))
			report("fgetc", fgetc(stream));
		report("fclose", fclose(stream));
	}
	must(fcntl(fd, F_SETFL, 0), "F_SETFL");
	close(must(dup(fd), "dup"));
	report("not open", fdopen(999, "r") ? 0 : -1);
	ask("0 send 1");
	report("read", read(fd, &byte, 1));
	say("%s", check(&byte, 1, 0));
}

static void buffers(int listener)
{
	static char large[20000], own[100];
	char block[4000];
	int fd = next_client(listener);
	FILE *stream = stream_of(fd, "w");
	fill(block, sizeof block, 0);
	fwrite(block, 1, 50, stream);
	say("pending %zu", __fpending(stream));
	report("fflush", fflush(stream));
	ask("0 expect 50");
	report("unbuffered", setvbuf(stream, NULL, _IONBF, 0));
	fwrite(block + 50, 1, 10, stream);
	say("pending %zu", __fpending(stream));
	ask("0 expect 10");
	await_client();
	report("buffer of its own", setvbuf(stream, own, _IOFBF, sizeof own));
	fill(block, 250, 60);
	for (int i = 0; i < 250; i++)
		putc(block[i], stream);
	say("pending %zu", __fpending(stream));
	fflush(stream);
	ask("0 expect 250");
	report("by the line", setvbuf(stream, large, _IOLBF, sizeof large));
	/* Up to the next line end of the pattern, and a byte more. */
	size_t length = 0;
	while (pattern(310 + length) != '\n')
		length++;
	length++;
	fill(block, length + 1, 310);
	fwrite(block, 1, length, stream);
	ask("0 expect %zu", length);
	await_client();
	putc(block[length], stream);
	say("pending %zu", __fpending(stream));
	setvbuf(stream, large, _IOFBF, sizeof large);
	fclose(stream);
	ask("0 expect 1");
	ask("0 end");
}

static void put(FILE *stream, size_t length, size_t position)
{
	for (size_t i = 0; i < length; i++)
		putc(pattern(position + i), stream);
}

/* A child and the parent each leave something in the buffer of their stream. */
static void exits(int listener)
{
	int fd = next_client(listener);
	FILE *stream = stream_of(fd, "w");
	put(stream, 10, 0);
	fflush(stream);
	pid_t child = must(fork(), "fork");
	if (child == 0) {
		put(stream, 100, 10);
		exit(0);
	}
	int status;
	must(waitpid(child, &status, 0), "waitpid");
	say("status %d", status);
	ask("0 expect 110");
	await_client();
	put(stream, 50, 110);
	ask("0 expect 50");
	ask("0 end");
	say("done");
	exit(0);
}

static void nonblocking(int listener)
{
	static char block[1 << 16];
	char byte;
	int fd = next_client(listener);
	FILE *in = stream_of(must(dup(fd), "dup"), "r"), *out = stream_of(must(dup(fd), "dup"), "w");
	must(fcntl(fd, F_SETFL, O_NONBLOCK), "F_SETFL");
	report("getc", getc(in));
	report("error", ferror(in));
	clearerr(in);
	ask("0 send 2");
	await_bytes(fd, 2);
	report("getc", getc(in) >= 0);
	/* More than the socket takes: the stream says so. */
	size_t taken;
	do
		taken = fwrite(block, 1, sizeof block, out);
	while (taken == sizeof block);
	say("full: %s, error %d", strerrorname_np(errno), ferror(out) != 0);
	ask("0 drop");
	must(fcntl(fd, F_SETFL, 0), "F_SETFL");
	while (read(fd, &byte, 1) > 0)
		;
}

static void formatted(int listener)
{
	static char large[100001];
	int fd = next_client(listener);
	signal(SIGPIPE, SIG_IGN);
	memset(large, ' ', sizeof large - 1);
	/* All kinds of arguments, in registers and on the stack, come out as snprintf has them. */
	char expected[400];
	int length = snprintf(expected, sizeof expected, "%d %f %s %ld %g %c %Lf %x %e %u %a %zu %.3f %d %f %f %f %f %s|", 1, 2.5,
		"three", 4L, 5e300, '6', 7.25L, 8u, 9.125, 10u, 11.0, (size_t)12, 13.13, -14, 15.5, 16.5, 17.5, 18.5, "end");
	int pair[2];
	must(pipe(pair), "pipe");
	report("to a pipe", dprintf(pair[1], "%d %f %s %ld %g %c %Lf %x %e %u %a %zu %.3f %d %f %f %f %f %s|", 1, 2.5, "three", 4L,
		5e300, '6', 7.25L, 8u, 9.125, 10u, 11.0, (size_t)12, 13.13, -14, 15.5, 16.5, 17.5, 18.5, "end") == length);
	char got[400] = "";
	report("it is", read(pair[0], got, sizeof got) == length && memcmp(got, expected, length) == 0);
	errno = ENOENT;
	report("nothing", dprintf(fd, "%s", ""));
	report("two", dprintf(fd, "%c%.0f%c", pattern(0), 0.0, pattern(1)) == 3 ? 3 : -1);
	report("unwritable", dprintf(999, "%d", 1));
	must(fcntl(fd, F_SETFL, O_NONBLOCK), "F_SETFL");
	int n;
	while ((n = dprintf(fd, "%s", large)) > 0)
		if (n != sizeof large - 1)
			say("WRONG: %d", n);
	report("full", n);
	ask("0 rst");
	must(fcntl(fd, F_SETFL, 0), "F_SETFL");
	while ((n = dprintf(fd, "%s", large)) > 0)
		;
	say("gone: %s", errno == EPIPE || errno == ECONNRESET ? "an error" : "WRONG");
}

/* Entries of what is remembered are used again, also while others are in use. */
static void many(int listener)
{
	FILE *streams[20];
	int fd = next_client(listener);
	size_t position = 0;
	for (int round = 0; round < 30; round++) {
		for (size_t i = 0; i < COUNT(streams); i++)
			streams[i] = stream_of(must(dup(fd), "dup"), "w");
		for (size_t i = 0; i < COUNT(streams); i++) {
			put(streams[i], 10, position);
			position += 10;
			fclose(streams[i]);
		}
	}
	ask("0 expect %zu", position);
	close(fd);
	ask("0 end");
}

/* The streams of libc's own, on a connection that was put in the place of their descriptors. The program goes on with its own number. */
static void standard(int listener)
{
	char *line = NULL, block[500];
	size_t room = 0;
	ssize_t n;
	int in = must(fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 100), "F_DUPFD_CLOEXEC");
	int out = must(fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 100), "F_DUPFD_CLOEXEC");
	for (int way = 0; way < 3; way++) {
		size_t got = 0;
		int fd = next_client(listener);
		ask("%d send 20000", way);
		ask("%d fin", way);
		read_full(fd, block, sizeof block);
		write_full(fd, block, sizeof block);
		if (way == 0) {
			must(dup2(fd, STDIN_FILENO), "dup2");
			must(dup2(fd, STDOUT_FILENO), "dup2");
		} else if (way == 1) {
			must(dup3(fd, STDIN_FILENO, O_CLOEXEC), "dup3");
			must(dup3(STDIN_FILENO, STDOUT_FILENO, O_CLOEXEC), "dup3");
		} else {
			close(STDIN_FILENO);
			must(dup(fd), "dup");
			close(STDOUT_FILENO);
			must(fcntl(fd, F_DUPFD, 0), "F_DUPFD");
		}
		while ((n = getline(&line, &room, stdin)) > 0) {
			fwrite(line, 1, n, stdout);
			got += n;
		}
		fflush(stdout);
		fill(block, sizeof block, sizeof block + got);
		write_full(fd, block, sizeof block);
		clearerr(stdin);
		must(dup2(in, STDIN_FILENO), "dup2");
		must(dup2(out, STDOUT_FILENO), "dup2");
		say("%zu bytes", got);
		report("read", read(fd, block, sizeof block));
		ask("%d expect %zu", way, got + 2 * sizeof block);
		close(fd);
		ask("%d end", way);
	}
	free(line);
}

int main(int argc, char **argv)
{
	static const struct scenario TABLE[] = {
		{"both", both}, {"two", two}, {"modes", modes}, {"buffers", buffers}, {"exit", exits},
		{"nonblocking", nonblocking}, {"dprintf", formatted}, {"many", many}, {"standard", standard},
	};
	return argc == 3 ? play(argv, TABLE, COUNT(TABLE)) : 2;
}
