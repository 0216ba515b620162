#include "fetch/probe.h"

#include "base/lock.h"
#include "base/mem.h"
#include "fetch/guard.h"
#include "net/http_client.h"

#include <stdio.h>

#define PROBE_CONNECT_MS 15000
#define PROBE_TOTAL_MS 30000
#define CANCEL_LOOK_MS 100
#define HEADER_MAX (4 * (SOURCE_SECRET_MAX + SOURCE_USER_MAX))

/* On the caller's stack: the caller waits until the loop has let go of it. */
struct probe {
    struct loop_msg msg, stop;
    const struct probe_options *o;
    struct buf url, header;
    struct http_client *client; /* loop's */
    struct http_call *call;
    struct probe_answer answer;
    struct lock lock;
    struct cond ended;
    bool is_over; /* under lock */
    int result;
    struct err err;
};

static bool allow_public(void *ctx, const char *ip)
{
    (void)ctx;
    return guard_is_public(ip);
}

/* The last thing the loop does with it. */
static void finish(struct probe *p, int result)
{
    http_client_free(take_ptr(p->client));
    p->call = NULL;
    lock_enter(&p->lock);
    p->result = result;
    p->is_over = true;
    cond_signal(&p->ended);
    lock_leave(&p->lock);
}

static void on_head(void *ctx, const struct http_answer *a)
{
    struct probe *p = ctx;
    p->answer.status = a->status;
    p->answer.is_git =
        span_starts(a->content_type, SPAN_LIT("application/x-git-upload-pack-advertisement"));
    if (a->status >= 300 && a->status < 400 && a->location.len < sizeof p->answer.location)
        snprintf(p->answer.location, sizeof p->answer.location, SPAN_FMT, SPAN_ARG(a->location));
    finish(p, 0); /* the head is all we want to know */
}

static bool on_body(void *ctx, struct span piece)
{
    (void)ctx;
    (void)piece;
    return true;
}

static void on_end(void *ctx, const struct http_answer *a, int result, const char *why)
{
    struct probe *p = ctx;
    (void)a;
    if (result < 0)
        err_set(&p->err, (enum err_code)(-result), "%s", why);
    finish(p, result);
}

static void on_begin(struct loop_msg *m)
{
    static const struct http_call_callbacks callbacks = {on_head, on_body, on_end};
    struct probe *p = container_of(m, struct probe, msg);
    struct http_client_options co = {.allow_address = p->o->only_public ? allow_public : NULL};
    const char *headers[] = {"Accept: */*", p->header.len ? buf_str(&p->header) : NULL, NULL};
    struct http_call_options call = {
        .method = "GET",
        .url = buf_str(&p->url),
        .headers = headers,
        .connect_timeout_ms = PROBE_CONNECT_MS,
        .total_timeout_ms = PROBE_TOTAL_MS,
    };
    int r = http_client_new(p->o->loop, &co, &p->client, &p->err);
    if (r == 0)
        r = http_call_start(p->client, &call, &callbacks, p, &p->call, &p->err);
    if (r < 0)
        finish(p, r);
}

static void on_stop(struct loop_msg *m)
{
    struct probe *p = container_of(m, struct probe, stop);
    lock_enter(&p->lock);
    bool is_over = p->is_over;
    lock_leave(&p->lock);
    if (!is_over) {
        err_set(&p->err, ERR_CANCELLED, "cancelled");
        finish(p, -ERR_CANCELLED);
    }
}

struct stop_done {
    struct loop_msg msg;
    struct probe *probe;
    bool is_done;
};

static void on_stop_done(struct loop_msg *m)
{
    struct stop_done *d = container_of(m, struct stop_done, msg);
    lock_enter(&d->probe->lock);
    d->is_done = true;
    cond_signal(&d->probe->ended);
    lock_leave(&d->probe->lock);
}

/* The stop may still be on its way when the call ends by itself: messages come in order, so one behind it tells. */
static void wait_for_end(struct probe *p)
{
    struct stop_done done = {.msg.deliver = on_stop_done, .probe = p};
    bool is_stopping = false;
    lock_enter(&p->lock);
    while (!p->is_over || (is_stopping && !done.is_done)) {
        cond_wait_ms(&p->ended, &p->lock, CANCEL_LOOK_MS);
        if (is_stopping || p->is_over || !p->o->cancel || !atomic_load(p->o->cancel))
            continue;
        is_stopping = true;
        lock_leave(&p->lock);
        p->stop.deliver = on_stop;
        loop_post(p->o->loop, &p->stop);
        loop_post(p->o->loop, &done.msg);
        lock_enter(&p->lock);
    }
    lock_leave(&p->lock);
}

int probe_run(const struct probe_options *o, struct probe_answer *ret, struct err *err)
{
    struct probe p = {
        .msg.deliver = on_begin,
        .o = o,
        .url = BUF_INIT(SOURCE_URL_MAX + 64),
        .header = BUF_INIT(HEADER_MAX),
    };
    lock_init(&p.lock);
    cond_init(&p.ended);
    buf_printf(&p.url, "%s/info/refs?service=git-upload-pack", o->url);
    if (o->credential && credential_is_set(o->credential)) {
        buf_puts(&p.header, "Authorization: ");
        credential_put_basic(o->credential, &p.header);
    }
    if (buf_failed(&p.url) || buf_failed(&p.header)) {
        p.result = err_set(&p.err, ERR_NO_MEMORY, "out of memory");
    } else {
        loop_post(o->loop, &p.msg);
        wait_for_end(&p);
    }
    if (p.header.ptr)
        explicit_bzero(p.header.ptr, p.header.len);
    buf_done(&p.header);
    buf_done(&p.url);
    lock_done(&p.lock);
    cond_done(&p.ended);
    if (p.result < 0 && err)
        *err = p.err;
    *ret = p.answer;
    return p.result;
}
