// Says who connects. accepts WAY FAMILY PORT...
//
// WAY: how it waits for its listeners: block (one listener, accept alone), nonblock (non-blocking, poll), poll, select,
// epoll, edge (epoll, edge-triggered). FAMILY: 4, 6, or dual. PORT may be 0.
// Prints "listening PORT" for each listener, then for each connection "accepted ADDRESS PORT" (the peer as accept tells it,
// checked against getpeername), echoes until the end of the connection and prints "ended". Any error of accept is printed
// as well. CLOSE_STDERR in the environment: closes its standard error once it listens, so that the next descriptor gets that
// number. One connection at a time: whoever delays accept delays everybody.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MOST = 4 };

static int listeners[MOST];
static int count;

static void check(int result, const char *what)
{
    if (result < 0) {
        perror(what);
        exit(1);
    }
}

static int listen_on(const char *family, int port)
{
    struct sockaddr_in6 six = { .sin6_family = AF_INET6, .sin6_port = htons(port), .sin6_addr = in6addr_any };
    struct sockaddr_in four = { .sin_family = AF_INET, .sin_port = htons(port), .sin_addr = { htonl(INADDR_LOOPBACK) } };
    int is_four = strcmp(family, "4") == 0, only = strcmp(family, "6") == 0, one = 1;
    int fd = socket(is_four ? AF_INET : AF_INET6, SOCK_STREAM, 0);
    check(fd, "socket");
    check(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one), "SO_REUSEADDR");
    if (!is_four)
        check(setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only, sizeof only), "IPV6_V6ONLY");
    if (is_four)
        check(bind(fd, (struct sockaddr *)&four, sizeof four), "bind");
    else
        check(bind(fd, (struct sockaddr *)&six, sizeof six), "bind");
    check(listen(fd, 128), "listen");
    struct sockaddr_storage name;
    socklen_t length = sizeof name;
    check(getsockname(fd, (struct sockaddr *)&name, &length), "getsockname");
    // The port is at the same place in both families.
    printf("listening %d\n", ntohs(((struct sockaddr_in *)&name)->sin_port));
    return fd;
}

// The listener that has a connection, waited for in the given way.
static int ready(const char *way, int epoll)
{
    if (strcmp(way, "block") == 0)
        return listeners[0];
    if (strcmp(way, "select") == 0) {
        fd_set set;
        FD_ZERO(&set);
        for (int i = 0; i < count; i++)
            FD_SET(listeners[i], &set);
        check(select(listeners[count - 1] + 1, &set, NULL, NULL, NULL), "select");
        for (int i = 0; i < count; i++)
            if (FD_ISSET(listeners[i], &set))
                return listeners[i];
    } else if (epoll >= 0) {
        struct epoll_event event;
        check(epoll_wait(epoll, &event, 1, -1), "epoll_wait");
        return event.data.fd;
    } else {
        struct pollfd fds[MOST];
        for (int i = 0; i < count; i++)
            fds[i] = (struct pollfd){ .fd = listeners[i], .events = POLLIN };
        check(poll(fds, count, -1), "poll");
        for (int i = 0; i < count; i++)
            if (fds[i].revents)
                return fds[i].fd;
    }
    printf("nothing is ready\n");
    exit(1);
}

static void serve(int fd, const struct sockaddr_storage *peer, socklen_t length)
{
    struct sockaddr_storage other;
    socklen_t other_length = sizeof other;
    char host[INET6_ADDRSTRLEN];
    const void *address = &((const struct sockaddr_in *)peer)->sin_addr;
    if (peer->ss_family == AF_INET6)
        address = &((const struct sockaddr_in6 *)peer)->sin6_addr;
    check(getpeername(fd, (struct sockaddr *)&other, &other_length), "getpeername");
    if (other_length != length || memcmp(peer, &other, length) != 0)
        printf("accept and getpeername differ\n");
    inet_ntop(peer->ss_family, address, host, sizeof host);
    if (getenv("CLOSE_STDERR") && fd != STDERR_FILENO)
        printf("not the number of the standard error: %d\n", fd);
    printf("accepted %s %d\n", host, ntohs(((const struct sockaddr_in *)peer)->sin_port));
    // Many small echoes: Nagle's algorithm and delayed acknowledgements would make each wait 40 ms.
    int one = 1;
    check(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one), "TCP_NODELAY");
    char bytes[4096];
    ssize_t n;
    while ((n = read(fd, bytes, sizeof bytes)) > 0)
        if (write(fd, bytes, n) != n)
            break;
    close(fd);
    printf("ended\n");
}

int main(int argc, char **argv)
{
    if (argc < 4 || argc > 3 + MOST)
        return 2;
    setvbuf(stdout, NULL, _IOLBF, 0);
    const char *way = argv[1];
    int edge = strcmp(way, "edge") == 0, epoll = -1;
    for (int i = 3; i < argc; i++)
        listeners[count++] = listen_on(argv[2], atoi(argv[i]));
    if (edge || strcmp(way, "epoll") == 0) {
        check(epoll = epoll_create1(EPOLL_CLOEXEC), "epoll_create1");
        for (int i = 0; i < count; i++) {
            struct epoll_event event = { .events = EPOLLIN | (edge ? EPOLLET : 0), .data.fd = listeners[i] };
            check(epoll_ctl(epoll, EPOLL_CTL_ADD, listeners[i], &event), "epoll_ctl");
        }
    }
    // With edges every waiting connection has to be accepted before the next wait.
    if (edge || strcmp(way, "nonblock") == 0)
        for (int i = 0; i < count; i++)
            check(fcntl(listeners[i], F_SETFL, fcntl(listeners[i], F_GETFL) | O_NONBLOCK), "fcntl");
    if (getenv("CLOSE_STDERR"))
        close(STDERR_FILENO);
    for (;;) {
        int listener = ready(way, epoll);
        do {
            struct sockaddr_storage peer = { 0 };
            socklen_t length = sizeof peer;
            int fd = accept(listener, (struct sockaddr *)&peer, &length);
            if (fd < 0) {
                if (edge && errno == EAGAIN)
                    break;
                printf("accept: %s\n", strerror(errno));
                break;
            }
            serve(fd, &peer, length);
        } while (edge);
    }
}
