#include "engine/bench_source.h"

#include "base/clock.h"
#include "base/lock.h"
#include "base/mem.h"

#include <stdio.h>
#include <time.h>

#define BENCH_COUNT_MAX 10000000u
#define BENCH_BYTES_MAX 65536u
#define BENCH_RATE_MAX 1000000u
#define TICK_NS 1000000

struct generator {
    struct list link;
    struct stream *stream; /* ref */
    uint64_t count, bytes, rate;
    uint64_t sent, began_ns;
    void (*ended)(void *ctx);
    void *ctx;
};

struct bench_source {
    struct lock lock;
    struct cond wake;
    struct list fresh;  /* added, not yet taken over by the thread; under lock */
    struct list active; /* the thread's */
    bool stopping;
    pthread_t thread;
};

static void generator_end(struct generator *g, const char *reason)
{
    char usage[160];
    int n = snprintf(
        usage, sizeof usage,
        "{\"prompt_tokens\":0,\"completion_tokens\":%llu,\"cost\":0,\"is_estimate\":false}",
        (unsigned long long)g->sent);
    IGNORE(stream_append(g->stream, STREAM_USAGE,
                         span_of(usage, (size_t)n))); /* the close follows in any case */
    stream_close(g->stream, reason, "\"provider\":\"bench\"");
    list_remove(&g->link);
    stream_unref_producer(g->stream);
    g->ended(g->ctx);
    mem_free(g);
}

static void make_token(const struct generator *g, char *text)
{
    int n = snprintf(text, BENCH_BYTES_MAX, "%llu ", (unsigned long long)g->sent);
    for (size_t i = (size_t)n; i < g->bytes; i++)
        text[i] = (char)('a' + (g->sent + i) % 26);
}

/* Appends what is due; false when the generator has ended. */
static bool generator_step(struct generator *g, uint64_t now, char *text)
{
    uint64_t due = g->count;
    if (g->rate) {
        uint64_t by_now = (uint64_t)((double)(now - g->began_ns) * (double)g->rate / 1e9);
        due = by_now < g->count ? by_now : g->count;
    }
    while (g->sent < due) {
        if (atomic_load(stream_stop_flag(g->stream))) {
            generator_end(g, "cancelled");
            return false;
        }
        make_token(g, text);
        int r = stream_append(g->stream, STREAM_TOKEN, span_of(text, g->bytes));
        if (r == -ERR_LIMIT)
            return true; /* the log is behind: the rest waits for a later tick */
        if (r < 0) {
            generator_end(g, "error");
            return false;
        }
        g->sent++;
    }
    if (g->sent == g->count || atomic_load(stream_stop_flag(g->stream))) {
        generator_end(g, g->sent == g->count ? "stop" : "cancelled");
        return false;
    }
    return true;
}

static void take_fresh(struct bench_source *b)
{
    lock_enter(&b->lock);
    while (list_is_empty(&b->fresh) && list_is_empty(&b->active) && !b->stopping)
        cond_wait(&b->wake, &b->lock);
    struct list *n;
    while ((n = list_pop(&b->fresh)))
        list_append(&b->active, n);
    lock_leave(&b->lock);
}

static bool is_stopping(struct bench_source *b)
{
    lock_enter(&b->lock);
    bool yes = b->stopping;
    lock_leave(&b->lock);
    return yes;
}

static void *bench_main(void *arg)
{
    struct bench_source *b = arg;
    char *text = mem_alloc(BENCH_BYTES_MAX + 1);
    while (!is_stopping(b)) {
        take_fresh(b);
        uint64_t now = clock_ns();
        list_each(n, &b->active)(void)
            generator_step(container_of(n, struct generator, link), now, text);
        struct timespec pause = {0, TICK_NS};
        nanosleep(&pause, NULL);
    }
    take_fresh(b);
    list_each(n, &b->active) generator_end(container_of(n, struct generator, link), "cancelled");
    mem_free(text);
    return NULL;
}

static bool parse_model(struct span model, struct generator *ret)
{
    struct span rest = model, count, bytes, rate;
    return span_next(&rest, ':', &count) && span_next(&rest, ':', &bytes) &&
           span_next(&rest, ':', &rate) && !rest.ptr && parse_u64(count, &ret->count) &&
           parse_u64(bytes, &ret->bytes) && parse_u64(rate, &ret->rate) &&
           ret->count <= BENCH_COUNT_MAX && ret->bytes >= 12 && ret->bytes <= BENCH_BYTES_MAX &&
           ret->rate <= BENCH_RATE_MAX;
}

int bench_source_add(struct bench_source *b, struct stream *s, struct span model,
                     void (*ended)(void *ctx), void *ctx, struct err *err)
{
    struct generator *g = mem_alloc(sizeof *g);
    if (!parse_model(model, g)) {
        mem_free(g);
        err_set(err, ERR_INVALID, "the model of provider 'bench' is COUNT:BYTES:RATE");
        err_hint(err, "for instance 1000:64:100; 12 to %u bytes", BENCH_BYTES_MAX);
        return -ERR_INVALID;
    }
    g->stream = stream_ref_producer(s);
    g->ended = ended;
    g->ctx = ctx;
    g->began_ns = clock_ns();
    lock_enter(&b->lock);
    list_append(&b->fresh, &g->link);
    cond_signal(&b->wake);
    lock_leave(&b->lock);
    return 0;
}

int bench_source_new(struct bench_source **ret, struct err *err)
{
    struct bench_source *b = mem_alloc(sizeof *b);
    lock_init(&b->lock);
    cond_init(&b->wake);
    list_init(&b->fresh);
    list_init(&b->active);
    int r = pthread_create(&b->thread, NULL, bench_main, b);
    if (r) {
        mem_free(b);
        return err_errno(err, r, "cannot start the bench source");
    }
    *ret = b;
    return 0;
}

void bench_source_free(struct bench_source *b)
{
    if (!b)
        return;
    lock_enter(&b->lock);
    b->stopping = true;
    cond_signal(&b->wake);
    lock_leave(&b->lock);
    pthread_join(b->thread, NULL);
    lock_done(&b->lock);
    cond_done(&b->wake);
    mem_free(b);
}
