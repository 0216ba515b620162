/*
 * The vector of a question. Asked for on a loop, with a short deadline: who waits for it holds no thread, and a slow or
 * missing embedder costs a search its vectors, never its answer. The last ones are kept, so that the same question (a
 * search after an answer, rounds of research) is sent once.
 */
#include "engine/engine_priv.h"

#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "index/vectors.h"
#include "providers/embed.h"
#include "text/utf8.h"

#include <stdio.h>

#define QUESTION_DEADLINE_MS 1500

struct kept_question {
    struct vector_hash hash;
    float *values; /* owned; NULL = free */
    unsigned dims;
    uint64_t used;
};

struct question_job {
    struct engine *engine;
    const struct engine_upstream *upstream;
    struct index_waiter *waiter; /* borrowed, under engine->lock; NULL when nobody waits any more */
    struct loop_msg begin;
    struct timer retry;
    struct embed_run *run;
    unsigned dims; /* wanted */
    struct vector_hash hash;
    char *text; /* owned */
    size_t len;
    char why[200];
};

/* ---- what is kept ---- */

static struct span asked_text(struct span question)
{
    return span_first(question, utf8_cut(question, VECTOR_TEXT_MAX));
}

/* With the lock held. */
static struct kept_question *find_kept(struct engine *e, struct vector_hash hash, unsigned dims)
{
    for (size_t i = 0; e->questions && i < QUESTIONS_KEPT_MAX; i++) {
        struct kept_question *k = &e->questions[i];
        if (k->values && k->dims == dims && k->hash.a == hash.a && k->hash.b == hash.b)
            return k;
    }
    return NULL;
}

static void keep(struct engine *e, struct vector_hash hash, const float *values, unsigned dims)
{
    float *copy = mem_try_array(dims, sizeof *copy);
    float *gone = NULL;
    if (!copy)
        return;
    memcpy(copy, values, dims * sizeof *copy);
    lock_enter(&e->questions_lock);
    if (!e->questions)
        e->questions = mem_try_array(QUESTIONS_KEPT_MAX, sizeof *e->questions);
    struct kept_question *slot = e->questions;
    for (size_t i = 0; slot && i < QUESTIONS_KEPT_MAX; i++)
        if (e->questions[i].used < slot->used)
            slot = &e->questions[i];
    gone = slot ? slot->values : copy;
    if (slot)
        *slot = (struct kept_question){hash, copy, dims, ++e->question_uses};
    lock_leave(&e->questions_lock);
    mem_free(gone);
}

float *question_vector(struct engine *e, struct span question, unsigned dims)
{
    struct vector_hash hash = vector_hash_of(asked_text(question));
    float *copy = mem_try_array(dims, sizeof *copy);
    lock_enter(&e->questions_lock);
    struct kept_question *k = copy ? find_kept(e, hash, dims) : NULL;
    if (k) {
        memcpy(copy, k->values, dims * sizeof *copy);
        k->used = ++e->question_uses;
    }
    lock_leave(&e->questions_lock);
    if (!k) {
        mem_free(copy);
        copy = NULL;
    }
    return copy;
}

void questions_done(struct engine *e)
{
    for (size_t i = 0; e->questions && i < QUESTIONS_KEPT_MAX; i++)
        mem_free(e->questions[i].values);
    mem_free(e->questions);
    lock_done(&e->questions_lock);
}

/* ---- asking ---- */

static void job_free(struct question_job *q)
{
    struct engine *e = q->engine;
    mem_free(q->text);
    mem_free(q);
    engine_leave(e); /* the last use of the engine */
}

/* On the loop: whoever waits goes on; a full lane is tried again. */
static void let_go(struct timer *t)
{
    struct question_job *q = container_of(t, struct question_job, retry);
    struct engine *e = q->engine;
    bool is_done = true;
    lock_enter(&e->lock);
    struct index_waiter *w = q->waiter;
    if (w) {
        snprintf(w->question_why, sizeof w->question_why, "%s", q->why);
        w->question = NULL;
        is_done = worker_submit(e->options.workers, WORKER_FAST, w->then) == 0;
        if (!is_done)
            w->question = q; /* nobody else has it: we hold the lock */
        else
            q->waiter = NULL;
    }
    lock_leave(&e->lock);
    if (is_done)
        job_free(q);
    else
        timer_set(q->upstream->loop, &q->retry, LOOP_TICK_MS, let_go);
}

static void on_vector(void *ctx, size_t index, const float *values, unsigned dims)
{
    struct question_job *q = ctx;
    (void)index;
    keep(q->engine, q->hash, values, dims);
}

static void on_failed(void *ctx, size_t index, const char *why)
{
    struct question_job *q = ctx;
    (void)index;
    snprintf(q->why, sizeof q->why, "%s", why);
}

static void on_end(void *ctx, int result, const char *why, uint64_t tokens, bool is_estimate)
{
    struct question_job *q = ctx;
    (void)tokens;
    (void)is_estimate;
    q->run = NULL;
    if (result < 0) {
        snprintf(q->why, sizeof q->why, "%s", why);
        LOG_WARN("engine", "a question was not embedded", LOG_S("why", why));
    }
    let_go(&q->retry);
}

static const struct embed_callbacks callbacks = {on_vector, on_failed, NULL, on_end};

static void begin(struct loop_msg *m)
{
    struct question_job *q = container_of(m, struct question_job, begin);
    struct span text = span_of(q->text, q->len);
    struct err err = {0};
    const struct embed_request request = {
        .embedder = engine_embedder(q->engine),
        .texts = &text,
        .count = 1,
        .purpose = EMBED_QUERY,
        .dims = q->dims,
        .retry_budget_ms = QUESTION_DEADLINE_MS,
        .deadline_ms = QUESTION_DEADLINE_MS,
    };
    if (embed_start(q->engine->options.runner, q->upstream->http, &request, &callbacks, q, &q->run,
                    &err) == 0)
        return;
    snprintf(q->why, sizeof q->why, "%.199s", err.msg);
    let_go(&q->retry);
}

static struct question_job *job_new(struct engine *e, struct span text, struct vector_hash hash,
                                    unsigned dims)
{
    struct question_job *q = mem_try(sizeof *q);
    if (!q)
        return NULL;
    *q = (struct question_job){.engine = e, .hash = hash, .dims = dims, .len = text.len};
    q->text = mem_try_strndup(text.len ? text.ptr : "", text.len);
    if (!q->text) {
        mem_free(q);
        return NULL;
    }
    q->begin.deliver = begin;
    q->upstream = &e->options.upstreams[hash.a % e->options.upstream_count];
    return q;
}

int question_ask(struct engine *e, struct index_waiter *w, struct span question, unsigned dims)
{
    struct span text = asked_text(question);
    struct vector_hash hash = vector_hash_of(text);
    if (w->has_asked || !engine_embedder(e) || !e->options.upstream_count)
        return 0;
    w->has_asked = true;
    lock_enter(&e->questions_lock);
    bool is_kept = find_kept(e, hash, dims) != NULL;
    lock_leave(&e->questions_lock);
    if (is_kept)
        return 0;
    if (engine_enter(e, NULL) < 0) {
        snprintf(w->question_why, sizeof w->question_why, "the server is busy");
        return 0;
    }
    struct question_job *q = job_new(e, text, hash, dims);
    if (!q) {
        engine_leave(e);
        snprintf(w->question_why, sizeof w->question_why, "out of memory");
        return 0;
    }
    lock_enter(&e->lock);
    q->waiter = w;
    w->question = q;
    loop_post(q->upstream->loop, &q->begin);
    lock_leave(&e->lock);
    return ENGINE_WAITS;
}

void question_forget(struct index_waiter *w)
{
    w->question->waiter = NULL;
    w->question = NULL;
}

void question_cut_wait(struct engine *e, struct index_waiter *w)
{
    if (worker_submit(e->options.workers, WORKER_FAST, w->then) == 0)
        question_forget(w); /* under the lock: the task cannot have come to its end */
}
