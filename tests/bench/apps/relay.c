/* The least that a process between client and server can do: bytes from one TCP connection to the other, both ways, with a
 * buffer of 64 KiB for each. It knows no protocol. `relay PORT TARGET_PORT`, both on the loopback.
 */
#include "common.h"
#include <fcntl.h>
#include <sys/epoll.h>

enum { CHUNK = 64 * 1024, EVENTS = 128 };

/* One direction: what was read and not written is bytes[from] to bytes[to]. */
struct way {
    size_t from, to;
    int ended;
    char bytes[CHUNK];
};

/* way[0] is from fd[0] to fd[1]. One that is over has fd[0] < 0 and waits to be used again: memory of this size is
 * expensive to get and to give back. An event that was under way when it ended then finds nothing to do. */
struct pair {
    int fd[2];
    /* Whether the end of one side has been announced. */
    int ending;
    struct pair *next;
    struct way way[2];
};

static struct pair *spare;

static void drop(struct pair *p)
{
    close(p->fd[0]);
    close(p->fd[1]);
    p->fd[0] = -1;
    p->next = spare;
    spare = p;
}

/* Writes what waits; whether all is gone. 0 with errno EAGAIN: the rest has to wait. */
static int flush(struct way *way, int to)
{
    while (way->from < way->to) {
        ssize_t put = write(to, way->bytes + way->from, way->to - way->from);
        if (put < 0)
            return 0;
        way->from += (size_t)put;
    }
    return 1;
}

/* Moves what there is. 0 if the connection has failed. Both descriptors are watched edge-triggered, so it goes on until the
 * source is empty, which a short read shows as well (epoll(7)) unless an end is announced, or the sink is full. */
static int move(struct way *way, int from, int to, int ending)
{
    for (;;) {
        ssize_t got;
        if (!flush(way, to))
            return errno == EAGAIN;
        if (way->ended)
            return 1;
        got = read(from, way->bytes, CHUNK);
        if (got < 0)
            return errno == EAGAIN;
        way->from = 0;
        way->to = (size_t)got;
        if (got == 0) {
            way->ended = 1;
            shutdown(to, SHUT_WR);
        }
        if (got < CHUNK && !ending)
            return flush(way, to) || errno == EAGAIN;
    }
}

static void serve(struct pair *p, uint32_t events)
{
    if (p->fd[0] < 0)
        return;
    p->ending |= (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0;
    if (!move(&p->way[0], p->fd[0], p->fd[1], p->ending) || !move(&p->way[1], p->fd[1], p->fd[0], p->ending) ||
        (p->way[0].ended && p->way[1].ended))
        drop(p);
}

/* A connection to the target. On the loopback nobody waits for it, unless the target's queue is full. */
static int dial(uint16_t port)
{
    struct sockaddr_in at = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        die("socket");
    if (connect(fd, (struct sockaddr *)&at, sizeof at) != 0)
        die("connect");
    if (fcntl(fd, F_SETFL, O_NONBLOCK) != 0)
        die("fcntl");
    return fd;
}

static void watch(int epoll, struct pair *p)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = p};
    p->ending = 0;
    for (int i = 0; i < 2; i++) {
        no_delay(p->fd[i]);
        p->way[i].from = p->way[i].to = 0;
        p->way[i].ended = 0;
        if (epoll_ctl(epoll, EPOLL_CTL_ADD, p->fd[i], &event) != 0)
            die("epoll_ctl");
    }
}

static void welcome(int epoll, int door, uint16_t target)
{
    for (;;) {
        struct pair *p = spare;
        int fd = accept4(door, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0 && errno == EAGAIN)
            return;
        if (fd < 0)
            die("accept4");
        if (p)
            spare = p->next;
        else
            p = malloc(sizeof *p);
        if (!p)
            die("malloc");
        p->fd[0] = fd;
        p->fd[1] = dial(target);
        watch(epoll, p);
    }
}

int main(int argc, char **argv)
{
    struct epoll_event events[EVENTS], event = {.events = EPOLLIN};
    int epoll = epoll_create1(EPOLL_CLOEXEC), door;

    if (argc != 3) {
        fprintf(stderr, "usage: relay PORT TARGET_PORT\n");
        return 2;
    }
    door = listener(SOCK_NONBLOCK, (uint16_t)atoi(argv[1]));
    if (epoll < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, door, &event) != 0)
        die("epoll");
    for (;;) {
        int count = epoll_wait(epoll, events, EVENTS, -1);
        if (count < 0 && errno != EINTR)
            die("epoll_wait");
        for (int i = 0; i < count; i++) {
            if (events[i].data.ptr)
                serve(events[i].data.ptr, events[i].events);
            else
                welcome(epoll, door, (uint16_t)atoi(argv[2]));
        }
    }
}
