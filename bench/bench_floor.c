/*
 * The least a relay can do, to hold others against: takes connections, opens one to the provider for each, and passes bytes
 * on as they come. One thread, epoll, one read and one write a piece; no parsing, no log.
 *
 *   bench_floor PROVIDER-PORT      listens on a free port of 127.0.0.1 and prints "port N"; SIGTERM ends it
 */
#include "base/mem.h"
#include "base/span.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define EVENTS 256

struct end {
    int fd;
    struct end *peer;
    struct end *next_dead;
    bool is_closed;
};

static int epoll_fd;
static struct end *dead;

static void die(const char *what)
{
    perror(what);
    exit(2);
}

static struct sockaddr_in loopback(unsigned port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return a;
}

static struct end *end_new(int fd)
{
    struct end *e = mem_alloc(sizeof *e);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = e};
    int one = 1;
    e->fd = fd;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0)
        die("epoll_ctl");
    return e;
}

static void end_close(struct end *e)
{
    if (e->is_closed)
        return;
    e->is_closed = true;
    close(e->fd);
    e->next_dead = dead; /* events of this turn may still name it */
    dead = e;
}

static void take(int listener, unsigned provider_port)
{
    int from = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    int to = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in a = loopback(provider_port);
    if (from < 0 || to < 0 || connect(to, (struct sockaddr *)&a, sizeof a) < 0)
        die("connect");
    struct end *x = end_new(from), *y = end_new(to);
    x->peer = y;
    y->peer = x;
}

static void pass_on(struct end *e)
{
    static char bytes[64u << 10];
    ssize_t n = recv(e->fd, bytes, sizeof bytes, MSG_DONTWAIT);
    if (n > 0 && send(e->peer->fd, bytes, (size_t)n, MSG_NOSIGNAL) == n)
        return;
    end_close(e->peer);
    end_close(e);
}

int main(int argc, char **argv)
{
    uint64_t port = 0;
    if (argc != 2 || !parse_u64(span_str(argv[1]), &port) || !port || port > 65535) {
        fprintf(stderr, "usage: bench_floor PROVIDER-PORT\n");
        return 2;
    }
    struct rlimit lim;
    if (getrlimit(RLIMIT_NOFILE, &lim) == 0) {
        lim.rlim_cur = lim.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &lim);
    }
    struct sockaddr_in a = loopback(0);
    socklen_t len = sizeof a;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event events[EVENTS] = {{.events = EPOLLIN}};
    if (epoll_fd < 0 || listener < 0 || bind(listener, (struct sockaddr *)&a, sizeof a) < 0 ||
        listen(listener, 4096) < 0 || getsockname(listener, (struct sockaddr *)&a, &len) < 0 ||
        epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listener, events) < 0)
        die("cannot listen");
    printf("port %u\n", ntohs(a.sin_port));
    fflush(stdout);
    for (;;) {
        int n = epoll_wait(epoll_fd, events, EVENTS, -1);
        for (int i = 0; i < n; i++) {
            struct end *e = events[i].data.ptr;
            if (!e)
                take(listener, (unsigned)port);
            else if (!e->is_closed)
                pass_on(e);
        }
        while (dead) {
            struct end *e = dead;
            dead = e->next_dead;
            mem_free(e);
        }
    }
}
