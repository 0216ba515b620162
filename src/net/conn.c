/* The connection: what to wait for, reading, whose turn it is, time-outs, the end. States:
 * net_priv.h. */
#include "net/net_priv.h"

#include "base/bug.h"
#include "base/fault.h"
#include "base/limits.h"
#include "base/mem.h"

#include <errno.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

static void on_timer(struct timer *t);

uint64_t conn_now(const struct conn *c)
{
    return loop_now_ms(c->sl->loop);
}

void conn_set_due(struct conn *c, uint64_t delay_ms)
{
    c->due_ms = delay_ms ? conn_now(c) + delay_ms : 0;
}

/* ---- what to wait for ---- */

static int events_wanted(const struct conn *c)
{
    int out = c->is_blocked ? WATCH_OUT : 0;
    int in = c->in_len ? WATCH_GONE : WATCH_IN;
    switch ((enum conn_state)c->state) {
    case CONN_IDLE:
    case CONN_READING:
    case CONN_LINGER:
        return WATCH_IN;
    case CONN_WAITING:
        return in;
    case CONN_WRITING:
        /* A whole answer is written even to a peer that has shut its side; a stream ends with its
         * reader. */
        return c->x && c->x->source ? in | out : out;
    case CONN_WS:
        return (ws_wants_input(c->ws) ? in : WATCH_GONE) | out;
    case CONN_CLOSED:
        break;
    }
    return 0;
}

/* The timer is left alone while it is early enough: moving it on every frame would cost more than a wake-up. */
static void arm_timer(struct conn *c)
{
    uint64_t due[] = {c->due_ms, c->due_write_ms, c->ws ? c->ws->due_ping_ms : 0}, first = 0;
    for (size_t i = 0; i < ARRAY_LEN(due); i++)
        if (due[i] && (!first || due[i] < first))
            first = due[i];
    if (!first || (c->timer.link.next && c->timer.due_ms <= first))
        return;
    uint64_t now = conn_now(c);
    timer_set(c->sl->loop, &c->timer, first > now ? first - now : 0, on_timer);
}

static void wait_for_events(struct conn *c)
{
    if (watch_set(c, events_wanted(c)))
        arm_timer(c);
    else
        conn_close(c); /* nothing would ever wake it */
}

/* ---- life ---- */

struct conn *conn_new(struct server_loop *sl, int fd, bool is_unix, bool refuse)
{
    struct conn *c = mem_try(sizeof *c);
    if (!c)
        return NULL;
    c->sl = sl;
    c->fd = fd;
    c->is_unix = is_unix;
    list_append(&sl->conns, &c->link);
    sl->handles++;
    net_count(NET_CONNECTIONS_OPEN, 1);
    net_count(NET_CONNECTIONS_TOTAL, 1);
    if (refuse) {
        net_count(NET_CONNECTIONS_REFUSED, 1);
        c->x = exchange_new(c);
        if (c->x)
            exchange_refuse(c->x, 503, "too many connections");
        else
            conn_close(c);
    } else {
        conn_set_due(c, sl->server->options.idle_timeout_ms);
    }
    conn_run(c);
    return c;
}

void conns_free_dead(struct loop_defer *d)
{
    struct server_loop *sl = container_of(d, struct server_loop, free_dead);
    struct list *n;
    while ((n = list_pop(&sl->dead))) {
        mem_free(container_of(n, struct conn, link));
        server_loop_handle_closed(sl);
    }
}

static void end_exchange(struct conn *c)
{
    struct exchange *x = take_ptr(c->x);
    if (!x)
        return;
    struct byte_source *src = take_ptr(x->source);
    if (src) {
        src->conn = NULL;
        src->detach(src, false);
    }
    if (!x->answered && x->in_handler && x->aborted)
        x->aborted(x->abort_ctx);
    exchange_free(x);
}

void conn_close(struct conn *c)
{
    if (c->state == CONN_CLOSED)
        return;
    c->state = CONN_CLOSED;
    end_exchange(c);
    if (c->ws)
        ws_gone(c->ws);
    c->ws = NULL;
    timer_clear(&c->timer);
    if (c->is_kicked)
        list_remove(&c->kicked);
    list_remove(&c->link);
    if (list_is_empty(&c->sl->free_dead.link))
        loop_defer(c->sl->loop, &c->sl->free_dead);
    list_append(&c->sl->dead, &c->link);
    mem_free(take_ptr(c->in));
    (void)watch_set(c, 0);
    close(c->fd);
    c->fd = -1;
    net_count(NET_CONNECTIONS_OPEN, -1);
    atomic_fetch_sub(&c->sl->server->connections, 1);
}

/* Our side is done: the peer gets to read it before the socket goes, whatever it still sends. */
static void conn_linger(struct conn *c)
{
    (void)shutdown(c->fd, SHUT_WR); /* fails only when the peer is gone, which reading will tell */
    mem_free(take_ptr(c->in));
    c->in_len = 0;
    c->state = CONN_LINGER;
    c->is_blocked = false;
    c->due_write_ms = 0;
    conn_set_due(c, c->sl->server->options.close_timeout_ms);
}

/* ---- writing ---- */

ssize_t conn_send(struct conn *c, struct iovec *iov, int count)
{
    struct msghdr m = {.msg_iov = iov, .msg_iovlen = (size_t)count};
    ssize_t n;
    do {
        errno = EPIPE;
        if (fault_hit(FAULT_WRITE))
            n = -1;
        else if (count == 1) /* a token's frame, usually: the kernel reads one structure less */
            n = send(c->fd, iov->iov_base, iov->iov_len, MSG_NOSIGNAL | MSG_DONTWAIT);
        else
            n = sendmsg(c->fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
    } while (n < 0 && errno == EINTR);
    net_count(NET_WRITES, 1);
    if (n < 0)
        n = errno == EAGAIN ? 0 : -1;
    if (n > 0) {
        net_count(NET_BYTES_OUT, n);
        c->bytes_out += (uint64_t)n;
        c->due_write_ms = 0;
    }
    return n;
}

static bool has_unread(const struct conn *c)
{
    int n = 0;
    return c->in_len || (ioctl(c->fd, FIONREAD, &n) == 0 && n > 0);
}

static void answer_done(struct conn *c)
{
    bool is_refused = c->x && !c->x->in_handler;
    exchange_free(take_ptr(c->x));
    c->is_blocked = false;
    c->due_write_ms = 0;
    /* While draining only a request that is here already is still answered: with 503. */
    bool is_quiet = c->sl->draining && !has_unread(c);
    if (!c->close_after && !is_quiet) {
        c->state = CONN_IDLE;
        conn_set_due(c, c->sl->server->options.idle_timeout_ms);
    } else if (is_refused || !is_quiet) {
        /* Closing over unread bytes would reset the connection and could lose the answer. */
        conn_linger(c);
    } else {
        conn_close(c);
    }
}

/* True when the connection may have become ready for something else. */
static bool after_write(struct conn *c, enum conn_write r)
{
    c->is_blocked = r == WRITE_BLOCKED;
    if (r == WRITE_FAILED) {
        conn_close(c);
        return false;
    }
    if (r == WRITE_BLOCKED && !c->due_write_ms)
        c->due_write_ms = conn_now(c) + c->sl->server->options.write_stall_ms;
    else if (r != WRITE_BLOCKED)
        c->due_write_ms = 0;
    return r == WRITE_DONE;
}

static void write_answer(struct conn *c)
{
    if (after_write(c, exchange_write(c->x)))
        answer_done(c);
}

static void write_ws(struct conn *c)
{
    exchange_free(take_ptr(c->x)); /* the request it began with */
    if (after_write(c, ws_write(c->ws)))
        conn_close(c);
}

/* ---- reading ---- */

static void keep_for_later(struct conn *c, const char *ptr, size_t len)
{
    BUG_ON(c->in || len > LIMIT_READ_TURN);
    c->in = mem_try_strndup(ptr, len);
    if (!c->in) {
        conn_close(c);
        return;
    }
    c->in_len = (uint32_t)len;
}

static void say_continue(struct conn *c)
{
    static const char text[] = "HTTP/1.1 100 Continue\r\n\r\n";
    struct iovec iov = {(void *)(uintptr_t)text, sizeof text - 1};
    /* Nothing else is under way, so the socket has room; a peer that takes half of it is not worth
     * a queue. */
    if (conn_send(c, &iov, 1) != (ssize_t)sizeof text - 1)
        conn_close(c);
}

static void request_complete(struct conn *c)
{
    net_count(NET_REQUESTS, 1);
    c->state = CONN_WAITING;
    c->due_ms = 0;
    if (!http_parser_keep_alive(c->x->parser))
        c->close_after = true;
    if (c->sl->draining)
        exchange_refuse(c->x, 503, "the server is shutting down: ask again in a few seconds");
    else
        exchange_dispatch(c->x);
}

/* Bytes of a request; returns how many were used. */
static size_t read_request(struct conn *c, const char *ptr, size_t len)
{
    const struct server_options *o = &c->sl->server->options;
    if (c->state == CONN_IDLE) {
        c->x = exchange_new(c);
        if (!c->x) {
            conn_close(c);
            return len;
        }
        c->state = CONN_READING;
        conn_set_due(c, o->head_timeout_ms);
    }
    size_t used = 0;
    struct http_parser *p = c->x->parser;
    if (http_parser_has_head(p))
        conn_set_due(c, o->body_timeout_ms);
    switch (http_parser_feed(p, span_of(ptr, len), &used)) {
    case HTTP_PARSE_MORE:
        break;
    case HTTP_PARSE_HEAD:
        conn_set_due(c, o->body_timeout_ms);
        if (http_parser_expects_continue(p) && used == len)
            say_continue(c);
        break;
    case HTTP_PARSE_DONE:
        request_complete(c);
        break;
    case HTTP_PARSE_ERROR:
        exchange_refuse(c->x, http_parser_status(p), http_parser_error(p));
        return len;
    }
    return used;
}

/* One request after the other: the next is looked at when this one is answered. */
static void take_input(struct conn *c, char *ptr, size_t len)
{
    while (len) {
        size_t used = 0;
        if (c->state == CONN_IDLE || c->state == CONN_READING)
            used = read_request(c, ptr, len);
        else if (c->state == CONN_WS && ws_wants_input(c->ws))
            used = ws_input(c->ws, ptr, len);
        ptr += used;
        len -= used;
        if (c->state == CONN_WRITING)
            write_answer(c);
        else if (!used)
            break;
        if (c->state == CONN_WRITING)
            break; /* not all of the answer went out: the rest of the input waits */
    }
    if (len && c->state != CONN_CLOSED && c->state != CONN_LINGER)
        keep_for_later(c, ptr, len);
}

static void read_socket(struct conn *c)
{
    ssize_t n;
    do {
        errno = ECONNRESET;
        n = fault_hit(FAULT_READ) ? -1 : recv(c->fd, c->sl->scratch, LIMIT_READ_TURN, MSG_DONTWAIT);
    } while (n < 0 && errno == EINTR);
    if (n < 0 && errno == EAGAIN)
        return;
    if (n <= 0) {
        conn_close(c);
        return;
    }
    net_count(NET_BYTES_IN, n);
    if (c->state == CONN_LINGER)
        return;
    if (c->state == CONN_WAITING || c->state == CONN_WRITING)
        keep_for_later(c, c->sl->scratch, (size_t)n);
    else
        take_input(c, c->sl->scratch, (size_t)n);
}

/* ---- moving ---- */

static bool can_take_input(const struct conn *c)
{
    return c->state == CONN_IDLE || c->state == CONN_READING ||
           (c->state == CONN_WS && ws_wants_input(c->ws));
}

static void step(struct conn *c)
{
    BUG_ON(c->state == CONN_WS && !c->ws);
    if (c->state == CONN_WRITING && !c->is_blocked)
        write_answer(c);
    else if (c->state == CONN_WS && (!c->is_blocked || c->ws->is_broken))
        write_ws(c);
    if (c->state != CONN_CLOSED && c->in_len && can_take_input(c)) {
        char *in = take_ptr(c->in);
        size_t len = c->in_len;
        c->in_len = 0;
        take_input(c, in, len);
        mem_free(in);
        if (c->state == CONN_WS)
            c->again = true;
    }
}

void conn_run(struct conn *c)
{
    if (c->running || c->state == CONN_CLOSED)
        return;
    c->running = true;
    do {
        c->again = false;
        step(c);
    } while (c->again && c->state != CONN_CLOSED);
    c->running = false;
    if (c->state != CONN_CLOSED)
        wait_for_events(c);
}

void conns_run_kicked(struct loop_defer *d)
{
    struct server_loop *sl = container_of(d, struct server_loop, run_kicked);
    struct list *n;
    while ((n = list_pop(&sl->kicked))) {
        struct conn *c = container_of(n, struct conn, kicked);
        c->is_kicked = false;
        conn_run(c);
    }
}

void conn_kick(struct conn *c)
{
    if (c->state == CONN_CLOSED)
        return;
    c->again = true;
    if (c->running || c->is_kicked)
        return;
    c->is_kicked = true;
    if (list_is_empty(&c->sl->run_kicked.link))
        loop_defer(c->sl->loop, &c->sl->run_kicked);
    list_append(&c->sl->kicked, &c->kicked);
}

void source_wake(struct byte_source *s)
{
    struct conn *c = s->conn;
    if (c && !c->is_blocked) /* a full socket says itself when it has room */
        conn_kick(c);
}

void conn_event(struct conn *c, int events)
{
    if (c->state == CONN_CLOSED)
        return;
    if (events & WATCH_OUT)
        c->is_blocked = false;
    c->running = true; /* handlers called from here must not run it again */
    if ((events & WATCH_BROKEN) || (events & (WATCH_GONE | WATCH_IN)) == WATCH_GONE)
        conn_close(c);
    else if ((events & WATCH_IN) && !c->in_len)
        read_socket(c);
    c->running = false;
    if (c->state == CONN_CLOSED)
        return;
    conn_run(c);
}

static void on_due(struct conn *c)
{
    c->due_ms = 0;
    if (c->state == CONN_READING && http_parser_has_begun(c->x->parser)) {
        net_count(NET_TIMEOUTS, 1);
        exchange_refuse(c->x, 408, "the request did not arrive in time");
    } else {
        conn_close(c);
    }
}

static void on_timer(struct timer *t)
{
    struct conn *c = container_of(t, struct conn, timer);
    uint64_t now = conn_now(c);
    c->running = true;
    if (c->due_write_ms && now >= c->due_write_ms) {
        net_count(NET_TIMEOUTS, 1);
        conn_close(c);
    } else if (c->due_ms && now >= c->due_ms) {
        on_due(c);
    } else if (c->ws) {
        ws_on_timer(c->ws, now);
    }
    c->running = false;
    conn_run(c);
}

void conn_drain(struct conn *c)
{
    if (c->state == CONN_IDLE)
        conn_close(c);
    else if (c->state == CONN_WAITING)
        c->close_after = true; /* its answer says so */
    else if (c->state == CONN_WS && !c->ws->source)
        ws_close(c->ws, 1001, "going away");
}

void conn_drain_over(struct conn *c)
{
    if (c->state == CONN_WS && !c->ws->is_closing)
        ws_close(c->ws, 1001, "going away");
    else
        conn_close(c);
}
