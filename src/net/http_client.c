/* The loop's side: curl's sockets and timer as libuv's, time-outs, and handing over what came. */
#include "net/http_client.h"

#include "base/bug.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metric.h"
#include "net/http_client_priv.h"

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
    uv_poll_t poll;
    struct list link; /* client->sockets */
    struct http_client *client;
    curl_socket_t fd; /* curl's */
};

/* ---- the end of things ---- */

static void client_unref(struct http_client *c)
{
    if (--c->handles_open)
        return;
    mem_free(c->ca_file);
    mem_free(c);
    curl_global_cleanup();
}

static void on_timer_closed(uv_handle_t *h)
{
    client_unref(h->data);
}

static void on_poll_closed(uv_handle_t *h)
{
    struct http_socket *s = h->data;
    client_unref(s->client);
    mem_free(s);
}

static void socket_close(struct http_socket *s)
{
    list_remove(&s->link);
    uv_poll_stop(&s->poll);
    uv_close((uv_handle_t *)&s->poll, on_poll_closed);
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
    return (struct http_answer){call->status, span_str(call->content_type),
                                span_str(call->location), call->retry_after_ms,
                                call->result < 0 && !call->is_sent};
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

static void on_poll(uv_poll_t *p, int status, int events)
{
    struct http_socket *s = p->data;
    int what = status < 0 ? CURL_CSELECT_ERR : 0;
    what |= events & UV_READABLE ? CURL_CSELECT_IN : 0;
    what |= events & UV_WRITABLE ? CURL_CSELECT_OUT : 0;
    drive(s->client, s->fd, what);
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
    int r = uv_poll_init(loop_uv(c->loop), &s->poll, fd);
    if (r < 0) {
        LOG_ERROR("http_client", "cannot watch a socket", LOG_S("why", uv_strerror(r)));
        mem_free(s);
        return NULL; /* its request ends with its time-out */
    }
    s->client = c;
    s->fd = fd;
    s->poll.data = s;
    list_append(&c->sockets, &s->link);
    c->handles_open++;
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
    if (!s)
        return 0;
    int events = (what & CURL_POLL_IN ? UV_READABLE : 0) | (what & CURL_POLL_OUT ? UV_WRITABLE : 0);
    if (events)
        uv_poll_start(&s->poll, events, on_poll);
    else
        uv_poll_stop(&s->poll);
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
    c->multi = multi_new(c);
    if (!c->multi) {
        mem_free(c->ca_file);
        mem_free(c);
        curl_global_cleanup();
        return err_set(err, ERR_NO_MEMORY, "cannot set up the HTTP client: no memory");
    }
    uv_timer_init(loop_uv(loop), &c->timer);
    c->timer.data = c;
    c->handles_open = 1;
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
    uv_close((uv_handle_t *)&c->timer, on_timer_closed);
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
