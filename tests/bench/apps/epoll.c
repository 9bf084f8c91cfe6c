/* An event-driven echo server: non-blocking sockets on one level-triggered epoll. */
#include "common.h"
#include <sys/epoll.h>

enum { CHUNK = 16 * 1024, EVENTS = 128 };

/* `rest` holds what the kernel did not take yet; while there is some, nothing more is read. */
struct connection {
    int fd;
    size_t length;
    char *rest;
};

static int epoll;
static char buffer[CHUNK];

static void watch(int what, struct connection *c, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = c};
    if (epoll_ctl(epoll, what, c->fd, &event) != 0)
        die("epoll_ctl");
}

static void drop(struct connection *c)
{
    close(c->fd);
    free(c->rest);
    free(c);
}

static void welcome(int door)
{
    for (;;) {
        struct connection *c;
        int fd = accept4(door, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0 && errno == EAGAIN)
            return;
        if (fd < 0)
            die("accept4");
        no_delay(fd);
        c = calloc(1, sizeof *c);
        if (!c)
            die("calloc");
        c->fd = fd;
        watch(EPOLL_CTL_ADD, c, EPOLLIN);
    }
}

static void keep(struct connection *c, const char *from, size_t length)
{
    c->rest = malloc(length);
    if (!c->rest)
        die("malloc");
    memcpy(c->rest, from, length);
    c->length = length;
    watch(EPOLL_CTL_MOD, c, EPOLLOUT);
}

static void answer(struct connection *c)
{
    ssize_t got = read(c->fd, buffer, sizeof buffer), put;
    if (got < 0 && errno == EAGAIN)
        return;
    if (got <= 0) {
        drop(c);
        return;
    }
    put = write(c->fd, buffer, (size_t)got);
    if (put < 0 && errno != EAGAIN) {
        drop(c);
        return;
    }
    if (put < got)
        keep(c, buffer + (put < 0 ? 0 : put), (size_t)(got - (put < 0 ? 0 : put)));
}

static void go_on(struct connection *c)
{
    ssize_t put = write(c->fd, c->rest, c->length);
    if (put < 0 && errno == EAGAIN)
        return;
    if (put < 0) {
        drop(c);
        return;
    }
    c->length -= (size_t)put;
    memmove(c->rest, c->rest + put, c->length);
    if (c->length == 0) {
        free(c->rest);
        c->rest = NULL;
        watch(EPOLL_CTL_MOD, c, EPOLLIN);
    }
}

int main(void)
{
    struct epoll_event events[EVENTS];
    struct connection door = {.fd = listener(SOCK_NONBLOCK, 0)};

    epoll = epoll_create1(EPOLL_CLOEXEC);
    if (epoll < 0)
        die("epoll_create1");
    watch(EPOLL_CTL_ADD, &door, EPOLLIN);
    for (;;) {
        int count = epoll_wait(epoll, events, EVENTS, -1);
        if (count < 0 && errno != EINTR)
            die("epoll_wait");
        for (int i = 0; i < count; i++) {
            struct connection *c = events[i].data.ptr;
            if (c == &door)
                welcome(door.fd);
            else if (c->rest)
                go_on(c);
            else
                answer(c);
        }
    }
}
