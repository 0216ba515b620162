/*
 * Waiting for sockets: one epoll set a loop, itself watched by the loop. A uv_poll_t a connection
 * would do the same for 160 bytes more of each, a third of what an idle WebSocket costs.
 */
#include "net/net_priv.h"

#include "base/bug.h"

#include <sys/epoll.h>
#include <unistd.h>

#define EVENTS_A_TURN 256 /* more are seen in the next turn: the set stays readable */

_Static_assert((int)WATCH_IN == (int)EPOLLIN && (int)WATCH_OUT == (int)EPOLLOUT &&
                   (int)WATCH_GONE == (int)EPOLLRDHUP,
               "watch events are epoll's");

int watch_init(struct server_loop *sl)
{
    sl->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    return sl->epoll_fd;
}

static void on_ready(uv_poll_t *p, int status, int events)
{
    (void)status;
    (void)events;
    struct server_loop *sl = container_of(p, struct server_loop, epoll);
    struct epoll_event e[EVENTS_A_TURN];
    int n = epoll_wait(sl->epoll_fd, e, EVENTS_A_TURN, 0);
    /* A connection may be closed by one before it: it is freed only when the turn ends. */
    for (int i = 0; i < n; i++) {
        uint32_t got = e[i].events;
        /* Both sides are shut: reading tells it too, when that is wanted. */
        conn_event(e[i].data.ptr,
                   (int)(got & (WATCH_IN | WATCH_OUT | WATCH_GONE)) | (got & EPOLLERR ? WATCH_BROKEN
                                                                       : got & EPOLLHUP ? WATCH_GONE
                                                                                        : 0));
    }
}

void watch_start(struct server_loop *sl)
{
    BUG_ON(uv_poll_init(loop_uv(sl->loop), &sl->epoll, sl->epoll_fd) < 0);
    BUG_ON(uv_poll_start(&sl->epoll, UV_READABLE, on_ready) < 0);
}

static void on_closed(uv_handle_t *h)
{
    struct server_loop *sl = container_of((void *)h, struct server_loop, epoll);
    uv_sem_post(&sl->server->sem); /* the server may be freed from here on */
}

void watch_stop(struct server_loop *sl)
{
    (void)uv_poll_stop(&sl->epoll);
    uv_close((uv_handle_t *)&sl->epoll, on_closed);
}

bool watch_set(struct conn *c, int events)
{
    if (events == c->events)
        return true;
    struct epoll_event e = {.events = (uint32_t)events, .data.ptr = c};
    int op = !events ? EPOLL_CTL_DEL : c->events ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
    c->events = (uint16_t)events;
    return epoll_ctl(c->sl->epoll_fd, op, c->fd, &e) == 0;
}
