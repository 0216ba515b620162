/*
 * The loop's side: curl's sockets and timer as libuv's, time-outs, and handing over what came.
 *
 * The sockets are in an epoll set of the client. It is watched by the loop, so that what comes is read at once, until sockets
 * become ready more than PACE_ENTER times in LIMIT_HTTP_PACE_US. Then the set is looked at by a timer of that period instead:
 * several answers' pieces are read, logged and sent on in one turn, which costs less than turn by turn. Below PACE_LEAVE the
 * loop watches again.
 */
#include "net/http_client.h"

#include "base/bug.h"
#include "base/clock.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metric.h"
#include "net/http_client_priv.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define EVENTS_A_TURN 256 /* more are seen in the next turn: the set stays readable */
#define PACE_ENTER 1.5
#define PACE_LEAVE 1.2
#define PACE_LOOK \
    24 /* times ready, or ticks, from one look at the rate to the next: changing over costs some ticks */

enum { M_REQUESTS, M_OPEN, M_FAILED, M_CANCELLED, M_RECEIVED, M_SENT };
static struct metric metrics[] = {
    [M_REQUESTS] =
        METRIC_COUNTER("headwater_net_upstream_requests_total", "Requests sent to upstreams"),
    [M_OPEN] = METRIC_GAUGE("headwater_net_upstream_requests", "Requests to upstreams under way"),
    [M_FAILED] = METRIC_COUNTER("headwater_net_upstream_failed_total",
                                "Requests to upstreams without a whole answer"),
    [M_CANCELLED] = METRIC_COUNTER("headwater_net_upstream_cancelled_total",
                                   "Requests to upstreams that we ended"),
    [M_RECEIVED] =
        METRIC_COUNTER("headwater_net_upstream_received_bytes_total", "Bytes of their answers"),
    [M_SENT] = METRIC_COUNTER("headwater_net_upstream_sent_bytes_total", "Bytes of our requests"),
};

struct http_socket {
    struct list link; /* client->sockets */
    struct http_client *client;
    curl_socket_t fd; /* curl's */
    uint32_t events;  /* it is watched for; 0 = not in the set */
    bool is_closed, is_patient;
    struct loop_defer free_later;
};

/* ---- the end of things ---- */

static void client_unref(struct http_client *c)
{
    if (--c->handles_open)
        return;
    close(c->epoll_fd);
    close(c->pace_fd);
    mem_free(c->ca_file);
    mem_free(c);
    curl_global_cleanup();
}

static void on_handle_closed(uv_handle_t *h)
{
    client_unref(h->data);
}

static void socket_watch(struct http_socket *s, uint32_t events)
{
    struct epoll_event e = {.events = events, .data.ptr = s};
    if (events == s->events)
        return;
    int op = !events ? EPOLL_CTL_DEL : s->events ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
    s->events = events;
    if (epoll_ctl(s->client->epoll_fd, op, s->fd, &e) < 0 && events)
        LOG_ERROR("http_client", "cannot watch a socket", LOG_S("why", err_text(errno)));
}

static void free_socket(struct loop_defer *d)
{
    mem_free(container_of(d, struct http_socket, free_later));
}

/* Events of this turn may still name it. */
static void socket_close(struct http_socket *s)
{
    list_remove(&s->link);
    socket_watch(s, 0);
    s->is_closed = true;
    s->free_later.run = free_socket;
    loop_defer(s->client->loop, &s->free_later);
}

static void free_call(struct loop_defer *d)
{
    struct http_call *call = container_of(d, struct http_call, free_later);
    buf_done(&call->pending);
    mem_free(call);
}

static void call_detach(struct http_call *call)
{
    if (call->is_added)
        curl_multi_remove_handle(call->client->multi, call->easy);
    call->is_added = call->is_curl_paused = false;
}

/*
 * In mid-transfer. Without FORBID_REUSE curl would keep an HTTP/2 connection, and tell the other side that the stream
 * ended only with its next frame.
 */
static void call_cut(struct http_call *call)
{
    if (call->is_added)
        (void)curl_easy_setopt(call->easy, CURLOPT_FORBID_REUSE, 1L);
    call_detach(call);
}

/* The memory stays to the end of the turn: callbacks of this call may be on the stack, with a piece in hand. */
static void call_release(struct http_call *call)
{
    BUG_ON(call->is_gone);
    call->is_gone = true;
    call_cut(call);
    timer_clear(&call->timer);
    list_remove(&call->link);
    list_remove(&call->dirty);
    call->client->calls_count--;
    metric_add(&metrics[M_OPEN], -1);
    struct buf pending = call->pending;
    call->pending = BUF_INIT(0);
    http_call_free_parts(call);
    call->pending = pending;
    call->free_later.run = free_call;
    loop_defer(call->client->loop, &call->free_later);
}

/* ---- time-outs ---- */

enum due_kind { DUE_CONNECT, DUE_FIRST_BYTE, DUE_IDLE, DUE_TOTAL };
struct due {
    uint64_t at_ms;
    enum due_kind kind;
};

static void sooner(struct due *due, enum due_kind kind, uint64_t from_ms, uint64_t within_ms)
{
    uint64_t at;
    if (within_ms && !__builtin_add_overflow(from_ms, within_ms, &at) && at < due->at_ms) {
        due->at_ms = at;
        due->kind = kind;
    }
}

static struct due call_due(const struct http_call *call)
{
    struct due due = {UINT64_MAX, DUE_TOTAL};
    if (!call->is_connected)
        sooner(&due, DUE_CONNECT, call->hop_started_ms, call->connect_ms);
    if (!call->has_body)
        sooner(&due, DUE_FIRST_BYTE, call->started_ms, call->first_byte_ms);
    else if (!call->is_paused)
        sooner(&due, DUE_IDLE, call->last_piece_ms, call->idle_ms);
    sooner(&due, DUE_TOTAL, call->started_ms, call->total_ms);
    return due;
}

static void on_call_timer(struct timer *t);

/*
 * A timer that is set for sooner is left: it looks again when it fires. Setting it anew with every piece would also move an
 * overdue one on to the next tick, again and again.
 */
static void call_arm(struct http_call *call)
{
    struct due due = call_due(call);
    uint64_t now = loop_now_ms(call->client->loop);
    bool is_set = call->timer.link.next;
    if (due.at_ms != UINT64_MAX && !(is_set && call->timer.due_ms <= due.at_ms))
        timer_set(call->client->loop, &call->timer, due.at_ms > now ? due.at_ms - now : 0,
                  on_call_timer);
}

static void say_timeout(struct http_call *call, enum due_kind kind)
{
    char name[256];
    http_call_name(call, name, sizeof name);
    switch (kind) {
    case DUE_CONNECT:
        http_call_fail(call, -ERR_TIMEOUT, "no connection to '%s' within %llu ms", name,
                       (unsigned long long)call->connect_ms);
        break;
    case DUE_FIRST_BYTE:
        http_call_fail(call, -ERR_TIMEOUT, "'%s' sent no answer within %llu ms", name,
                       (unsigned long long)call->first_byte_ms);
        break;
    case DUE_IDLE:
        http_call_fail(call, -ERR_TIMEOUT, "'%s' sent nothing more for %llu ms", name,
                       (unsigned long long)call->idle_ms);
        break;
    case DUE_TOTAL:
    default:
        http_call_fail(call, -ERR_TIMEOUT, "the answer of '%s' was not complete within %llu ms",
                       name, (unsigned long long)call->total_ms);
    }
}

static void on_call_timer(struct timer *t)
{
    struct http_call *call = container_of(t, struct http_call, timer);
    struct due due = call_due(call);
    if (loop_now_ms(call->client->loop) < due.at_ms) {
        call_arm(call); /* something arrived since it was set */
        return;
    }
    say_timeout(call, due.kind);
    call_cut(call);
    buf_clear(&call->pending);
    call->is_ended = true;
    http_call_mark(call);
    http_client_pump(call->client);
}

/* ---- handing over ---- */

void http_call_mark(struct http_call *call)
{
    list_remove(&call->dirty);
    list_append(&call->client->dirty, &call->dirty);
}

/* Out of curl, whole or not; a redirect goes back in. */
static void call_finish(struct http_call *call, CURLcode code)
{
    call_detach(call);
    if (call->is_redirect && call->result == 0 && http_call_follow(call) == 0)
        return;
    http_call_judge(call, call->is_redirect ? CURLE_OK : code);
    call->is_ended = true;
    http_call_mark(call);
}

static struct http_answer answer_of(const struct http_call *call)
{
    int64_t rate_wait_ms = 0;
    for (size_t i = 0; i < ARRAY_LEN(call->rates); i++)
        if (call->rates[i].is_used_up && call->rates[i].reset_ms > rate_wait_ms)
            rate_wait_ms = call->rates[i].reset_ms;
    return (struct http_answer){.status = call->status,
                                .content_type = span_str(call->content_type),
                                .location = span_str(call->location),
                                .retry_after_ms = call->retry_after_ms,
                                .rate_wait_ms = rate_wait_ms,
                                .is_connect_failure = call->result < 0 && !call->is_sent};
}

static void hand_over_head(struct http_call *call)
{
    if (!call->has_head || call->is_redirect || call->is_head_told)
        return;
    call->is_head_told = true;
    struct http_answer answer = answer_of(call);
    if (call->callbacks->head)
        call->callbacks->head(call->ctx, &answer);
}

/* Resuming curl may bring the piece that it kept, hence the loop: at most twice round for one piece. */
static void hand_over_body(struct http_call *call)
{
    while (!call->is_gone && !call->is_paused && call->pending.len) {
        call->was_resumed = false;
        bool is_taken = call->callbacks->body(call->ctx, buf_span(&call->pending));
        if (call->is_gone)
            return;
        if (is_taken) {
            metric_add(&metrics[M_RECEIVED], (int64_t)call->pending.len);
            buf_clear(&call->pending);
        } else
            call->is_paused = !call->was_resumed;
        if (!is_taken || !call->is_curl_paused)
            continue;
        call->is_curl_paused = false;
        CURLcode code = curl_easy_pause(call->easy, CURLPAUSE_CONT);
        if (code != CURLE_OK)
            call_finish(call, code);
    }
}

static void hand_over(struct http_call *call)
{
    hand_over_head(call);
    hand_over_body(call);
    if (call->is_gone)
        return;
    if (!call->is_ended) {
        call_arm(call);
        return;
    }
    timer_clear(&call->timer);
    if (call->pending.len)
        return; /* paused: its end comes after the piece */
    if (call->result < 0)
        metric_add(&metrics[M_FAILED], 1);
    struct http_answer answer = answer_of(call);
    call->callbacks->end(call->ctx, &answer, call->result, call->why);
    if (!call->is_gone)
        call_release(call);
}

/* Below a callback of a user the pump that called it goes on with what was marked. */
void http_client_pump(struct http_client *c)
{
    struct list *n;
    if (c->is_pumping)
        return;
    c->is_pumping = true;
    while (!c->is_closing && (n = list_pop(&c->dirty)))
        hand_over(container_of(n, struct http_call, dirty));
    c->is_pumping = false;
}

static void run_pump_later(struct loop_defer *d)
{
    http_client_pump(container_of(d, struct http_client, pump_later));
}

static void read_results(struct http_client *c)
{
    CURLMsg *m;
    int left;
    while ((m = curl_multi_info_read(c->multi, &left))) {
        struct http_call *call = NULL;
        if (m->msg != CURLMSG_DONE)
            continue;
        CURLcode code = m->data.result; /* the message is gone once its handle is removed */
        (void)curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &call);
        call_finish(call, code);
    }
}

static void drive(struct http_client *c, curl_socket_t fd, int events)
{
    int running;
    CURLMcode code = curl_multi_socket_action(c->multi, fd, events, &running);
    if (code != CURLM_OK)
        LOG_ERROR("http_client", "cannot drive the requests to upstreams",
                  LOG_S("why", curl_multi_strerror(code)));
    read_results(c);
    http_client_pump(c);
}

/* ---- sockets and the timer ---- */

/*
 * An upstream that streams small pieces would be sent an acknowledgement with each read, a tenth of what relaying a token
 * costs. It is told of every second piece, or after 40 ms, as TCP means it to be. Only a hint: failure changes nothing.
 */
static void be_patient(struct http_socket *s)
{
    int off = 0;
    if (!s->is_patient)
        (void)setsockopt(s->fd, IPPROTO_TCP, TCP_QUICKACK, &off, sizeof off);
    s->is_patient = true;
}

/* What is ready now; returns how many. The client may be closing afterwards. */
static int take_ready(struct http_client *c)
{
    struct epoll_event e[EVENTS_A_TURN];
    int n = epoll_wait(c->epoll_fd, e, EVENTS_A_TURN, 0);
    for (int i = 0; i < n && !c->is_closing; i++) {
        struct http_socket *s = e[i].data.ptr;
        uint32_t got = e[i].events;
        if (s->is_closed)
            continue;
        if (got == EPOLLHUP)
            got |= s->events; /* reading or writing tells why */
        int what = got & EPOLLIN ? CURL_CSELECT_IN : 0;
        what |= got & EPOLLOUT ? CURL_CSELECT_OUT : 0;
        if (got & EPOLLERR) {
            what = CURL_CSELECT_ERR;
            socket_watch(s, 0); /* it would be ready for ever, were curl to keep it */
        }
        if (what == CURL_CSELECT_IN)
            be_patient(s);
        drive(c, s->fd, what);
    }
    return n;
}

static void set_pace(struct http_client *c, long us)
{
    struct timespec t = {.tv_nsec = us * 1000};
    struct itimerspec every = {t, t};
    BUG_ON(timerfd_settime(c->pace_fd, 0, &every, NULL) < 0);
    c->is_pacing = us > 0;
}

static void look_again(struct http_client *c, uint64_t now)
{
    c->seen_count = c->seen_ticks = 0;
    c->seen_from_ns = now;
}

static void on_ready(uv_poll_t *p, int status, int events)
{
    (void)status;
    (void)events;
    struct http_client *c = p->data;
    uint64_t now = clock_ns();
    c->seen_count += (unsigned)take_ready(c);
    if (c->is_closing || c->seen_count < PACE_LOOK)
        return;
    double periods = (double)(now - c->seen_from_ns) / (LIMIT_HTTP_PACE_US * 1000.0);
    if (c->seen_count > PACE_ENTER * periods) {
        uv_poll_stop(&c->ready);
        set_pace(c, LIMIT_HTTP_PACE_US);
    }
    look_again(c, now);
}

static void on_pace(uv_poll_t *p, int status, int events)
{
    (void)status;
    (void)events;
    struct http_client *c = p->data;
    uint64_t ticks;
    if (read(c->pace_fd, &ticks, sizeof ticks) < 0 || !c->is_pacing)
        return;
    c->seen_ticks += (unsigned)ticks;
    c->seen_count += (unsigned)take_ready(c);
    if (c->is_closing || c->seen_ticks < PACE_LOOK)
        return;
    if (c->seen_count < PACE_LEAVE * c->seen_ticks) {
        set_pace(c, 0);
        uv_poll_start(&c->ready, UV_READABLE, on_ready);
    }
    look_again(c, clock_ns());
}

static void on_timer(uv_timer_t *t)
{
    drive(t->data, CURL_SOCKET_TIMEOUT, 0);
}

static int set_timer(CURLM *multi, long timeout_ms, void *ctx)
{
    (void)multi;
    struct http_client *c = ctx;
    if (c->is_closing)
        return 0;
    if (timeout_ms < 0)
        uv_timer_stop(&c->timer);
    else
        uv_timer_start(&c->timer, on_timer, (uint64_t)timeout_ms, 0);
    return 0;
}

static struct http_socket *socket_new(struct http_client *c, curl_socket_t fd)
{
    struct http_socket *s = mem_alloc(sizeof *s);
    s->client = c;
    s->fd = fd;
    list_append(&c->sockets, &s->link);
    curl_multi_assign(c->multi, fd, s);
    return s;
}

static int watch_socket(CURL *easy, curl_socket_t fd, int what, void *ctx, void *known)
{
    (void)easy;
    struct http_client *c = ctx;
    struct http_socket *s = known;
    if (what == CURL_POLL_REMOVE) {
        if (s) {
            curl_multi_assign(c->multi, fd, NULL);
            socket_close(s);
        }
        return 0;
    }
    if (!s)
        s = socket_new(c, fd);
    socket_watch(s, (what & CURL_POLL_IN ? EPOLLIN : 0u) | (what & CURL_POLL_OUT ? EPOLLOUT : 0u));
    return 0;
}

/* ---- client ---- */

static CURLM *multi_new(struct http_client *c)
{
    CURLM *m = curl_multi_init();
    if (!m)
        return NULL;
    if (curl_multi_setopt(m, CURLMOPT_SOCKETFUNCTION, watch_socket) == CURLM_OK &&
        curl_multi_setopt(m, CURLMOPT_SOCKETDATA, c) == CURLM_OK &&
        curl_multi_setopt(m, CURLMOPT_TIMERFUNCTION, set_timer) == CURLM_OK &&
        curl_multi_setopt(m, CURLMOPT_TIMERDATA, c) == CURLM_OK &&
        /* One stream a connection: a cancelled one closes it at once, a paused one holds up nobody else. */
        curl_multi_setopt(m, CURLMOPT_PIPELINING, (long)CURLPIPE_NOTHING) == CURLM_OK &&
        curl_multi_setopt(m, CURLMOPT_MAXCONNECTS, (long)LIMIT_HTTP_POOL_COUNT) == CURLM_OK &&
        curl_multi_setopt(m, CURLMOPT_MAX_HOST_CONNECTIONS, (long)c->options.max_per_host) ==
            CURLM_OK)
        return m;
    curl_multi_cleanup(m);
    return NULL;
}

int http_client_new(struct loop *loop, const struct http_client_options *options,
                    struct http_client **ret, struct err *err)
{
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        return err_set(err, ERR_UNAVAILABLE, "cannot set up the HTTP client");
    if (!(curl_version_info(CURLVERSION_NOW)->features & CURL_VERSION_ASYNCHDNS)) {
        curl_global_cleanup();
        err_set(err, ERR_UNSUPPORTED,
                "this libcurl would stop everything while it looks up a name");
        err_hint(err, "use a libcurl built with the threaded resolver or c-ares");
        return -ERR_UNSUPPORTED;
    }
    metric_register(metrics, ARRAY_LEN(metrics));
    struct http_client *c = mem_alloc(sizeof *c);
    c->loop = loop;
    if (options)
        c->options = *options;
    if (!c->options.max_calls)
        c->options.max_calls = LIMIT_HTTP_CALLS_COUNT;
    c->ca_file = c->options.ca_file ? mem_strdup(c->options.ca_file) : NULL;
    c->options.ca_file = c->ca_file;
    list_init(&c->calls);
    list_init(&c->dirty);
    list_init(&c->sockets);
    list_init(&c->pump_later.link);
    c->pump_later.run = run_pump_later;
    c->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    c->pace_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    c->multi = c->epoll_fd >= 0 && c->pace_fd >= 0 ? multi_new(c) : NULL;
    if (!c->multi) {
        c->handles_open = 1;
        client_unref(c);
        return err_set(err, ERR_NO_MEMORY,
                       "cannot set up the HTTP client: no memory or no descriptors left");
    }
    uv_timer_init(loop_uv(loop), &c->timer);
    BUG_ON(uv_poll_init(loop_uv(loop), &c->ready, c->epoll_fd) < 0);
    BUG_ON(uv_poll_init(loop_uv(loop), &c->pace, c->pace_fd) < 0);
    BUG_ON(uv_poll_start(&c->ready, UV_READABLE, on_ready) < 0);
    BUG_ON(uv_poll_start(&c->pace, UV_READABLE, on_pace) < 0);
    c->timer.data = c->ready.data = c->pace.data = c;
    c->handles_open = 3;
    *ret = c;
    return 0;
}

void http_client_free(struct http_client *c)
{
    if (!c)
        return;
    BUG_ON(c->is_closing);
    c->is_closing = true;
    list_each(n, &c->calls) call_release(container_of(n, struct http_call, link));
    curl_multi_cleanup(c->multi);
    list_each(n, &c->sockets) socket_close(container_of(n, struct http_socket, link));
    list_remove(&c->pump_later.link);
    uv_close((uv_handle_t *)&c->timer, on_handle_closed);
    uv_close((uv_handle_t *)&c->ready, on_handle_closed);
    uv_close((uv_handle_t *)&c->pace, on_handle_closed);
}

/* ---- calls ---- */

int http_call_add(struct http_call *call)
{
    call->hop_started_ms = loop_now_ms(call->client->loop);
    if (curl_multi_add_handle(call->client->multi, call->easy) != CURLM_OK)
        return -ERR_NO_MEMORY;
    call->is_added = true;
    call_arm(call);
    return 0;
}

int http_call_start(struct http_client *c, const struct http_call_options *options,
                    const struct http_call_callbacks *callbacks, void *ctx, struct http_call **ret,
                    struct err *err)
{
    BUG_ON(c->is_closing);
    if (c->calls_count >= c->options.max_calls)
        return err_set(err, ERR_LIMIT, "%u requests to upstreams are under way, which is the most",
                       c->calls_count);
    struct http_call *call = mem_try(sizeof *call);
    if (!call)
        return err_set(err, ERR_NO_MEMORY, "no memory for a request");
    call->client = c;
    call->callbacks = callbacks;
    call->ctx = ctx;
    list_init(&call->dirty);
    call->started_ms = loop_now_ms(c->loop);
    int r = http_call_fill(call, options, err);
    if (r == 0 && http_call_add(call) < 0)
        r = err_set(err, ERR_NO_MEMORY, "no memory for a request");
    if (r < 0) {
        http_call_free_parts(call);
        mem_free(call);
        return r;
    }
    list_append(&c->calls, &call->link);
    c->calls_count++;
    metric_add(&metrics[M_REQUESTS], 1);
    metric_add(&metrics[M_OPEN], 1);
    metric_add(&metrics[M_SENT], (int64_t)call->body_len);
    *ret = call;
    return 0;
}

void http_call_cancel(struct http_call *call)
{
    metric_add(&metrics[M_CANCELLED], 1);
    call_release(call);
}

/* Handed over at the end of the turn, so that no callback runs below its caller. */
void http_call_resume(struct http_call *call)
{
    struct http_client *c = call->client;
    call->was_resumed = true;
    if (!call->is_paused)
        return;
    call->is_paused = false;
    call->last_piece_ms = loop_now_ms(c->loop); /* the pause was ours, not the other side's */
    http_call_mark(call);
    if (list_is_empty(&c->pump_later.link))
        loop_defer(c->loop, &c->pump_later);
}
