// Servers at the edges of what a process may be. corners MODE PORT; each echoes.
//
// exclusive  epoll, the listener with EPOLLEXCLUSIVE
// stack      a thread with the smallest stack there is accepts and echoes
// bigselect  select over more descriptors than an fd_set has bits, as "getdtablesize()" programs do
// handler    a blocking echo that ends by exit(3) in a SIGTERM handler, in the middle of its calls
// fewfds     no more descriptors than 40, one client at a time; ends at the first error of accept
// early      epoll; the socket is registered before it listens. Also early-edge, early-oneshot, early-exclusive
// inherited  epoll in a child; the instance, with the listener in it, is the parent's, which only waits. Also inherited-oneshot
// lowat      a blocking echo, SO_RCVLOWAT of 1000 set on the listener and on each connection
// fork       4 threads accept and echo while another forks children that close everything; "children ended" when all did
#define _GNU_SOURCE
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static int listener;

static void check(int result, const char *what)
{
    if (result < 0) {
        perror(what);
        exit(1);
    }
}

static void echo(int fd)
{
    char block[512];
    ssize_t n;
    while ((n = read(fd, block, sizeof block)) > 0)
        if (write(fd, block, n) != n)
            break;
    close(fd);
}

static void *serve(void *unused)
{
    for (;;) {
        int fd = accept(listener, NULL, NULL);
        if (fd < 0)
            return unused;
        echo(fd);
    }
}

static void exclusive(void)
{
    int epoll = epoll_create1(0);
    struct epoll_event event = { .events = EPOLLIN | EPOLLEXCLUSIVE };
    check(epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event), "EPOLL_CTL_ADD");
    for (;;) {
        check(epoll_wait(epoll, &event, 1, -1), "epoll_wait");
        echo(accept(listener, NULL, NULL));
    }
}

static void stack(void)
{
    pthread_t thread;
    pthread_attr_t small;
    pthread_attr_init(&small);
    check(-pthread_attr_setstacksize(&small, PTHREAD_STACK_MIN), "setstacksize");
    check(-pthread_create(&thread, &small, serve, NULL), "pthread_create");
    pthread_join(thread, NULL);
}

static void bigselect(void)
{
    struct rlimit limit = { 4096, 4096 };
    check(setrlimit(RLIMIT_NOFILE, &limit), "RLIMIT_NOFILE");
    for (;;) {
        int fd = accept(listener, NULL, NULL);
        struct {
            fd_set set;
            unsigned char behind[512];
        } memory;
        char byte;
        do {
            memset(memory.behind, 0xa5, sizeof memory.behind);
            FD_ZERO(&memory.set);
            FD_SET(fd, &memory.set);
            check(select(getdtablesize(), &memory.set, NULL, NULL, NULL), "select");
            for (size_t i = 0; i < sizeof memory.behind; i++)
                if (memory.behind[i] != 0xa5)
                    abort();
        } while (read(fd, &byte, 1) == 1 && write(fd, &byte, 1) == 1);
        close(fd);
    }
}

static void leave(int unused)
{
    (void)unused;
    exit(0);
}

static void handler(void)
{
    signal(SIGTERM, leave);
    serve(NULL);
}

static int early_epoll;
static uint32_t early_events;

enum { NAME = 0x5eed };

/* The socket is no listener yet, if it is early. */
static void watch(const char *mode)
{
    const char *variant = strchr(mode, '-');
    early_events = EPOLLIN;
    if (variant)
        early_events |= strcmp(variant, "-edge") == 0 ? EPOLLET : strcmp(variant, "-oneshot") == 0 ? EPOLLONESHOT : EPOLLEXCLUSIVE;
    struct epoll_event event = { .events = early_events, .data.u64 = NAME };
    check(early_epoll = epoll_create1(0), "epoll_create1");
    check(epoll_ctl(early_epoll, EPOLL_CTL_ADD, listener, &event), "EPOLL_CTL_ADD");
}

static void early(void)
{
    check(fcntl(listener, F_SETFL, O_NONBLOCK), "F_SETFL");
    for (;;) {
        struct epoll_event event;
        int fd;
        check(epoll_wait(early_epoll, &event, 1, -1), "epoll_wait");
        if (event.data.u64 != NAME)
            abort();
        while ((fd = accept(listener, NULL, NULL)) >= 0)
            echo(fd);
        event.events = early_events;
        if (early_events & EPOLLONESHOT)
            check(epoll_ctl(early_epoll, EPOLL_CTL_MOD, listener, &event), "EPOLL_CTL_MOD");
    }
}

static void inherited(void)
{
    pid_t child = fork();
    check(child, "fork");
    if (child == 0)
        early();
    waitpid(child, NULL, 0);
}

static void lowat(void)
{
    int low = 1000;
    for (;;) {
        int fd = accept(listener, NULL, NULL);
        check(fd, "accept");
        check(setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &low, sizeof low), "SO_RCVLOWAT");
        echo(fd);
    }
}

static void fewfds(void)
{
    struct rlimit limit = { 40, 40 };
    check(setrlimit(RLIMIT_NOFILE, &limit), "RLIMIT_NOFILE");
    serve(NULL);
    perror("accept");
}

static void forks(void)
{
    pthread_t thread;
    // Much memory makes a fork slow enough for the others to wait on locks meanwhile.
    memset(malloc(200 << 20), 1, 200 << 20);
    for (int i = 0; i < 4; i++)
        check(-pthread_create(&thread, NULL, serve, NULL), "pthread_create");
    getchar();
    for (int i = 0; i < 40; i++) {
        pid_t child = fork();
        check(child, "fork");
        if (child == 0) {
            for (int fd = 3; fd < 64; fd++)
                close(fd);
            _exit(0);
        }
        check(waitpid(child, NULL, 0), "waitpid");
    }
    puts("children ended");
    pthread_join(thread, NULL);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*run)(void);
    } modes[] = {
        { "exclusive", exclusive }, { "stack", stack }, { "bigselect", bigselect },
        { "handler", handler }, { "fewfds", fewfds }, { "fork", forks }, { "lowat", lowat }, { "early", early }, { "early-edge", early }, { "early-oneshot", early },
        { "early-exclusive", early }, { "inherited", inherited }, { "inherited-oneshot", inherited },
    };
    int one = 1;
    if (argc != 3)
        return 2;
    struct sockaddr_in addr = { .sin_family = AF_INET, .sin_port = htons(atoi(argv[2])), .sin_addr = { htonl(INADDR_LOOPBACK) } };
    setvbuf(stdout, NULL, _IOLBF, 0);
    check(listener = socket(AF_INET, SOCK_STREAM, 0), "socket");
    check(setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one), "SO_REUSEADDR");
    check(bind(listener, (struct sockaddr *)&addr, sizeof addr), "bind");
    int low = 1000, wait = 5;
    socklen_t size = sizeof wait;
    if (strcmp(argv[1], "lowat") == 0) {
        check(setsockopt(listener, SOL_SOCKET, SO_RCVLOWAT, &low, sizeof low), "SO_RCVLOWAT");
        check(setsockopt(listener, IPPROTO_TCP, TCP_DEFER_ACCEPT, &wait, sizeof wait), "TCP_DEFER_ACCEPT");
        check(getsockopt(listener, IPPROTO_TCP, TCP_DEFER_ACCEPT, &low, &size), "TCP_DEFER_ACCEPT");
    }
    if (strncmp(argv[1], "early", 5) == 0)
        watch(argv[1]);
    check(listen(listener, 256), "listen");
    if (strncmp(argv[1], "inherited", 9) == 0)
        watch(argv[1]);
    if (strcmp(argv[1], "lowat") == 0) {
        check(getsockopt(listener, IPPROTO_TCP, TCP_DEFER_ACCEPT, &wait, &size), "TCP_DEFER_ACCEPT");
        if (wait != low)
            return 3;
    }
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++)
        if (strcmp(modes[i].name, argv[1]) == 0)
            modes[i].run();
    return 1;
}
