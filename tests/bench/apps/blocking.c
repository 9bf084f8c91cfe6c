/* A blocking server: one connection at a time, or a process for each, told by commands what to do.
 *
 * A command is two 64-bit numbers in the machine's byte order: what, and how much of it. The other end of the
 * conversation is src/command.rs.
 */
#include "common.h"
#include <fcntl.h>
#include <sys/uio.h>

enum { SOURCE = 1, SINK = 2, CHECK = 3, ECHO = 4, ZERO = 5, HEADED = 6 };
enum { CHUNK = 64 * 1024, HEADER = 10 };

static unsigned char pattern[CHUNK], buffer[CHUNK];

static int read_full(int fd, void *to, size_t size)
{
    size_t have = 0;
    while (have < size) {
        ssize_t got = read(fd, (char *)to + have, size - have);
        if (got <= 0)
            return 0;
        have += (size_t)got;
    }
    return 1;
}

static int write_full(int fd, const void *from, size_t size)
{
    size_t sent = 0;
    while (sent < size) {
        ssize_t put = write(fd, (const char *)from + sent, size - sent);
        if (put <= 0)
            return 0;
        sent += (size_t)put;
    }
    return 1;
}

static size_t at_most_a_chunk(uint64_t left)
{
    return left < CHUNK ? (size_t)left : CHUNK;
}

/* Sends `count` bytes in writes of 64 KiB. */
static int source(int fd, uint64_t count)
{
    for (; count > 0; count -= at_most_a_chunk(count))
        if (!write_full(fd, pattern, at_most_a_chunk(count)))
            return 0;
    return 1;
}

/* As source, each 64 KiB behind as many bytes as the header of a frame of 64 KiB has, in one call. */
static int headed(int fd, uint64_t count)
{
    static char header[HEADER];
    for (; count > 0; count -= at_most_a_chunk(count)) {
        size_t chunk = at_most_a_chunk(count);
        struct iovec parts[] = {{header, sizeof header}, {pattern, chunk}};
        if (writev(fd, parts, 2) != (ssize_t)(sizeof header + chunk))
            return 0;
    }
    return 1;
}

/* Takes `count` bytes in reads of 64 KiB, then answers with their number. */
static int sink(int fd, uint64_t count)
{
    uint64_t left = count;
    while (left > 0) {
        ssize_t got = read(fd, buffer, at_most_a_chunk(left));
        if (got <= 0)
            return 0;
        left -= (uint64_t)got;
    }
    return write_full(fd, &count, sizeof count);
}

/* As sink, and answers with the FNV-1a hash of what came. */
static int check(int fd, uint64_t count)
{
    uint64_t hash = 0xcbf29ce484222325u;
    while (count > 0) {
        ssize_t got = read(fd, buffer, at_most_a_chunk(count));
        if (got <= 0)
            return 0;
        for (ssize_t i = 0; i < got; i++)
            hash = (hash ^ buffer[i]) * 0x100000001b3u;
        count -= (uint64_t)got;
    }
    return write_full(fd, &hash, sizeof hash);
}

/* Sends back what comes, as it comes, until `count` bytes went round. */
static int echo(int fd, uint64_t count)
{
    while (count > 0) {
        ssize_t got = read(fd, buffer, at_most_a_chunk(count));
        if (got <= 0 || !write_full(fd, buffer, (size_t)got))
            return 0;
        count -= (uint64_t)got;
    }
    return 1;
}

/* Reads `count` single bytes from /dev/zero and answers with the nanoseconds that took. */
static int zero(int fd, uint64_t count)
{
    struct timespec from, to;
    uint64_t spent;
    char byte;
    int device = open("/dev/zero", O_RDONLY | O_CLOEXEC);

    if (device < 0)
        die("/dev/zero");
    clock_gettime(CLOCK_MONOTONIC, &from);
    for (uint64_t i = 0; i < count; i++)
        if (read(device, &byte, 1) != 1)
            die("read of /dev/zero");
    clock_gettime(CLOCK_MONOTONIC, &to);
    close(device);
    spent = (uint64_t)((to.tv_sec - from.tv_sec) * 1000000000LL + (to.tv_nsec - from.tv_nsec));
    return write_full(fd, &spent, sizeof spent);
}

static int obey(int fd)
{
    uint64_t command[2];
    if (!read_full(fd, command, sizeof command))
        return 0;
    switch (command[0]) {
    case SOURCE: return source(fd, command[1]);
    case SINK: return sink(fd, command[1]);
    case CHECK: return check(fd, command[1]);
    case ECHO: return echo(fd, command[1]);
    case HEADED: return headed(fd, command[1]);
    case ZERO: return zero(fd, command[1]);
    default: fprintf(stderr, "unknown command %llu\n", (unsigned long long)command[0]); return 0;
    }
}

/* Goes on as a new program, with the connection as its standard input. */
static void hand_on(int fd)
{
    if (dup2(fd, STDIN_FILENO) < 0)
        die("dup2");
    execl("/proc/self/exe", "blocking", "serve", (char *)NULL);
    die("execl");
}

/* `blocking`, one connection after the other; `blocking fork`, a child for each; `blocking exec`, which executes itself for
 * its first connection, and `blocking serve`, which gets that. */
int main(int argc, char **argv)
{
    const char *way = argc > 1 ? argv[1] : "";
    int door;

    for (size_t i = 0; i < CHUNK; i++)
        pattern[i] = (unsigned char)(i * 167 + (i >> 8));
    if (strcmp(way, "serve") == 0) {
        while (obey(STDIN_FILENO))
            ;
        return 0;
    }
    if (strcmp(way, "fork") == 0)
        signal(SIGCHLD, SIG_IGN);
    door = listener(0, 0);
    for (;;) {
        int fd = accept(door, NULL, NULL);
        if (fd < 0)
            die("accept");
        no_delay(fd);
        if (strcmp(way, "exec") == 0)
            hand_on(fd);
        if (strcmp(way, "fork") != 0 || fork() == 0) {
            while (obey(fd))
                ;
            if (strcmp(way, "fork") == 0)
                return 0;
        }
        close(fd);
    }
}
