#include "api/deliver.h"

#include "api/codec.h"
#include "base/limits.h"
#include "base/mem.h"

/* ": keep-alive" as an SSE comment, bare and as a chunk. */
static const char keepalive_raw[] = ": keep-alive\n\n";
static const char keepalive_chunk[] = "e\r\n: keep-alive\n\n\r\n";

struct delivery {
    struct byte_source source;
    struct follower follower;
    struct stream *stream; /* ref */
    struct loop *loop;
    struct ws *ws;         /* NULL for HTTP */
    struct timer quiet;    /* fires when nothing was sent for a while (SSE only) */
    const char *keepalive; /* what to send then, or NULL */
    size_t keepalive_left; /* bytes of it still to send; 0 = none due */
    bool failed;
};

static struct delivery *delivery_of_follower(struct follower *f)
{
    return container_of(f, struct delivery, follower);
}

static void on_follower_wake(struct follower *f)
{
    source_wake(&delivery_of_follower(f)->source);
}

static void on_quiet(struct timer *t)
{
    struct delivery *d = container_of(t, struct delivery, quiet);
    timer_set(d->loop, t, KEEPALIVE_SSE_MS, on_quiet);
    if (!d->keepalive_left) {
        d->keepalive_left = strlen(d->keepalive);
        source_wake(&d->source);
    }
}

static enum source_result delivery_peek(struct byte_source *s, struct iovec *iov, int *count)
{
    struct delivery *d = container_of(s, struct delivery, source);
    size_t full = d->keepalive ? strlen(d->keepalive) : 0;
    if (!d->keepalive_left || d->keepalive_left == full) { /* not in the middle of a comment */
        switch (follower_peek(&d->follower, iov, count)) {
        case FOLLOWER_READY:
            d->keepalive_left = 0;
            return SOURCE_READY;
        case FOLLOWER_END:
            return SOURCE_END;
        case FOLLOWER_FAILED:
            d->failed = true;
            return SOURCE_FAILED;
        case FOLLOWER_WAIT:
            break;
        }
    }
    if (!d->keepalive_left || *count < 1)
        return SOURCE_WAIT;
    union { /* iovec has no const; writev does not write */
        const char *in;
        void *out;
    } text = {.in = d->keepalive + full - d->keepalive_left};
    iov[0] = (struct iovec){text.out, d->keepalive_left};
    *count = 1;
    return SOURCE_READY;
}

static void delivery_consume(struct byte_source *s, size_t bytes)
{
    struct delivery *d = container_of(s, struct delivery, source);
    if (d->keepalive)
        timer_set(d->loop, &d->quiet, KEEPALIVE_SSE_MS, on_quiet);
    if (d->keepalive_left)
        d->keepalive_left -= bytes;
    else
        follower_consume(&d->follower, bytes);
}

static void delivery_detach(struct byte_source *s, bool completed)
{
    struct delivery *d = container_of(s, struct delivery, source);
    timer_clear(&d->quiet);
    follower_stop(&d->follower);
    stream_unref(d->stream);
    if (d->ws && (completed || d->failed))
        ws_close(d->ws, d->failed ? 1011 : 1000,
                 d->failed ? "the answer could not be read back" : "");
    mem_free(d);
}

static struct delivery *delivery_new(struct loop *loop, struct stream *s,
                                     const struct stream_codec *codec, uint64_t after)
{
    struct delivery *d = mem_alloc(sizeof *d);
    d->source = (struct byte_source){delivery_peek, delivery_consume, delivery_detach, NULL};
    d->stream = s;
    d->loop = loop;
    follower_start(&d->follower, loop, s, codec, after, on_follower_wake);
    return d;
}

void deliver_http(struct exchange *x, struct stream *s, enum dialect dialect, uint64_t after)
{
    bool chunks = exchange_wants_chunks(x);
    const struct stream_codec *codec = dialect == DIALECT_TEXT
                                           ? (chunks ? &codec_text_chunked : &codec_text_raw)
                                           : (chunks ? &codec_native_chunked : &codec_native_raw);
    struct delivery *d = delivery_new(exchange_loop(x), s, codec, after);
    if (dialect == DIALECT_NATIVE) {
        d->keepalive = chunks ? keepalive_chunk : keepalive_raw;
        timer_set(d->loop, &d->quiet, KEEPALIVE_SSE_MS, on_quiet);
    }
    exchange_header(x, "X-Stream-Id", span_str(stream_id(s)));
    exchange_stream(x, 200, "text/event-stream; charset=utf-8", &d->source);
}

void deliver_ws(struct ws *ws, struct stream *s, enum dialect dialect, uint64_t after)
{
    struct delivery *d = delivery_new(
        ws_loop(ws), s, dialect == DIALECT_TEXT ? &codec_text_ws : &codec_native_ws, after);
    d->ws = ws;
    ws_attach(ws, &d->source);
}

/* ---- gate ---- */

struct deliver_gate {
    struct follower follower;
    struct timer timer;
    struct loop_defer defer;
    struct loop *loop;
    void (*decided)(void *ctx, struct span error);
    void *ctx;
    bool timed_out, cancelled;
};

static void gate_finish(struct deliver_gate *g, struct span error)
{
    timer_clear(&g->timer);
    g->decided(g->ctx, error);
    follower_stop(&g->follower);
    mem_free(g);
}

static void gate_look(struct deliver_gate *g)
{
    struct iovec iov[1];
    int count = 1;
    enum follower_result r = follower_peek(&g->follower, iov, &count);
    if (r == FOLLOWER_WAIT && !g->timed_out)
        return;
    struct span first = r == FOLLOWER_READY ? span_of(iov[0].iov_base, iov[0].iov_len) : SPAN_NULL;
    if (!first.len || first.ptr[0] != 'E') {
        gate_finish(g, SPAN_NULL);
        return;
    }
    /* The done event follows its error: cut at the payload's end, which is a JSON object without a 'T' behind it. */
    ptrdiff_t end = span_rfind_char(first, '}');
    gate_finish(g, span_skip(span_first(first, (size_t)(end + 1)), 1));
}

static void gate_wake(struct follower *f)
{
    gate_look(container_of(f, struct deliver_gate, follower));
}

static void gate_timeout(struct timer *t)
{
    struct deliver_gate *g = container_of(t, struct deliver_gate, timer);
    g->timed_out = true;
    gate_look(g);
}

static void gate_first_look(struct loop_defer *d)
{
    struct deliver_gate *g = container_of(d, struct deliver_gate, defer);
    if (g->cancelled)
        mem_free(g);
    else
        gate_look(g);
}

struct deliver_gate *deliver_gate_new(struct loop *loop, struct stream *s, uint64_t timeout_ms,
                                      void (*decided)(void *ctx, struct span error), void *ctx)
{
    struct deliver_gate *g = mem_alloc(sizeof *g);
    g->loop = loop;
    g->decided = decided;
    g->ctx = ctx;
    follower_start(&g->follower, loop, s, &codec_gate, 0, gate_wake);
    timer_set(loop, &g->timer, timeout_ms, gate_timeout);
    g->defer.run = gate_first_look;
    list_init(&g->defer.link);
    loop_defer(loop, &g->defer);
    return g;
}

void deliver_gate_cancel(struct deliver_gate *g)
{
    timer_clear(&g->timer);
    follower_stop(&g->follower);
    if (list_is_empty(&g->defer.link)) {
        mem_free(g);
    } else {
        g->cancelled = true; /* freed by the deferred look */
    }
}
