/*
 * One source's embedding job.
 *
 *   queued ──► PREPARE: open the vector file, publish the leg, list what is missing        worker
 *                 │  ▲ a new index was published
 *                 ▼  │
 *              NEXT: texts of the next chunks ──post──► SEND: one embed_run                 loop
 *                 ▲                                        │
 *                 └── STORE: vectors to the file ◄─────────┤ over                           worker
 *                 ▲                                        ▼
 *                 └───────────── time is over ◄──── PAUSE: the embedder is not there        loop
 *
 * Whatever was stored is never asked for again. The leg grows with the file and belongs to one snapshot of the index: it
 * is made again, of the newest snapshot, when the time since the last is JOIN_COST_FACTOR times what making it takes, and
 * at the end. A refused key or request ends the job, and with it those behind it; an embedder that is not there is tried
 * again for as long as the process lives.
 */
#include "engine/embedding_priv.h"

#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metric.h"

#include <stdio.h>

#define PAUSE_FIRST_MS 5000
#define PAUSE_MAX_MS 600000

enum { M_JOBS, M_EMBEDDED, M_FAILED, M_RUNNING };
static struct metric metrics[] = {
    [M_JOBS] = METRIC_COUNTER("headwater_embedding_jobs_total", "embedding jobs ended"),
    [M_EMBEDDED] = METRIC_COUNTER("headwater_embedding_chunks_total", "chunks that got a vector"),
    [M_FAILED] =
        METRIC_COUNTER("headwater_embedding_chunks_failed_total", "chunks that got no vector"),
    [M_RUNNING] = METRIC_GAUGE("headwater_embedding_jobs", "embedding jobs queued or running"),
};

static void to_worker(struct embed_job *job);

static bool is_stopped(const struct embed_job *job)
{
    return atomic_load(stream_stop_flag(job->running.stream));
}

/* 12345 → "12,345" */
static void put_number(char *ret, size_t size, uint32_t n)
{
    if (n >= 1000000)
        snprintf(ret, size, "%u,%03u,%03u", n / 1000000, n / 1000 % 1000, n % 1000);
    else if (n >= 1000)
        snprintf(ret, size, "%u,%03u", n / 1000, n % 1000);
    else
        snprintf(ret, size, "%u", n);
}

static void say_progress(struct embed_job *job)
{
    char done[20], all[20];
    put_number(done, sizeof done, job->covered);
    put_number(all, sizeof all, job->total);
    emit_status(job->running.stream, "embedding",
                job->total ? (double)job->covered / (double)job->total : 1,
                "Embedding: %s of %s passages", done, all);
    put_job_state(job, "embedding", "");
}

/* ---- end ---- */

static void batch_done(struct embed_batch *b)
{
    mem_free(b->chunks);
    mem_free(b->hashes);
    mem_free(b->at);
    mem_free(b->len);
    mem_free(b->is_told);
    mem_free(b->has_values);
    mem_free(b->values);
    buf_done(&b->bytes);
    *b = (struct embed_batch){0};
}

static void forget_index(struct embed_job *job)
{
    mem_free(take_ptr(job->todo));
    index_unref(take_ptr(job->index));
    job->todo_count = job->next = 0;
}

void embed_job_unref(struct embed_job *job)
{
    if (atomic_fetch_sub(&job->refs, 1) != 1)
        return;
    batch_done(&job->batch);
    forget_index(job);
    mem_free(job->failed);
    mem_free(job);
    metric_add(&metrics[M_RUNNING], -1);
}

/* False: a new index came at the last moment, the job goes on. */
static bool detach(struct embed_job *job, bool is_final)
{
    struct engine *e = job->engine;
    lock_enter(&e->lock);
    struct live_source *s = source_live(e, job->source_id);
    bool is_over = is_final || !atomic_load(&job->is_again);
    if (is_over && s && s->embed_job == job)
        s->embed_job = NULL;
    lock_leave(&e->lock);
    return is_over;
}

/* The one way out, on a worker. */
static void finish(struct embed_job *job, const char *state, const char *why, const char *reason)
{
    struct engine *e = job->engine;
    vectors_close(take_ptr(job->vectors));
    if (job->index)
        report_failures(job);
    put_job_state(job, state, why);
    if (!detach(job, strcmp(state, "ready") != 0)) {
        to_worker(job);
        return;
    }
    LOG_INFO("engine", "embedding ends", LOG_S("source", job->source_id), LOG_S("state", state),
             LOG_S("why", why), LOG_U("embedded", job->embedded), LOG_U("covered", job->covered),
             LOG_U("of", job->total), LOG_U("failed", job->failed_count),
             LOG_U("ms", clock_ms() - job->began_ms));
    metric_add(&metrics[M_JOBS], 1);
    stream_close(job->running.stream, reason, NULL);
    embedding_next(e);
    running_leave(e, &job->running); /* the last use of the engine */
    embed_job_unref(job);
}

static void finish_error(struct embed_job *job, const struct err *err)
{
    emit_error(job->running.stream, err, "prepare", NULL);
    finish(job, "stopped", err->msg, "error");
}

static void finish_well(struct embed_job *job)
{
    char done[20], all[20], failed[20], more[64] = "";
    put_number(done, sizeof done, job->covered);
    put_number(all, sizeof all, job->total);
    put_number(failed, sizeof failed, job->failed_count);
    if (job->failed_count)
        snprintf(more, sizeof more, "; %s could not be embedded", failed);
    emit_status(job->running.stream, "ready", 1, "Embedded: %s of %s passages%s", done, all, more);
    finish(job, "ready", "", "stop");
}

/* ---- PREPARE ---- */

static int renew_leg(struct embed_job *job, struct err *err)
{
    struct vector_leg *leg;
    uint64_t began = clock_ms();
    int r = vector_leg_new(job->vectors, job->index, &leg, err);
    if (r < 0)
        return r;
    job->covered = vector_leg_covered(leg);
    job->is_leg_behind = false;
    publish_leg(job->engine, job->source_id, leg);
    job->join_ms = clock_ms();
    job->join_cost_ms = job->join_ms - began;
    return 0;
}

static int list_missing(struct embed_job *job, struct err *err)
{
    struct index_stats stats;
    struct buf text = BUF_INIT(VECTOR_TEXT_MAX + LIMIT_PATH_BYTES);
    index_stats(job->index, &stats);
    job->total = stats.chunks;
    job->failed_count = 0;
    job->todo = mem_try_array(stats.chunks + 1, sizeof *job->todo);
    if (!job->todo)
        return err_set(err, ERR_NO_MEMORY, "out of memory for %u passages", stats.chunks);
    int r = 0;
    for (uint32_t i = 0; r == 0 && i < stats.chunks; i++) {
        struct index_chunk_view c;
        buf_clear(&text);
        if (!index_chunk(job->index, i, &c))
            continue;
        vector_chunk_text(&c, &text);
        if (buf_failed(&text))
            r = err_set(err, ERR_NO_MEMORY, "out of memory for a passage");
        else if (!vectors_has(job->vectors, vector_hash_of(buf_span(&text))))
            job->todo[job->todo_count++] = i;
        if (is_stopped(job))
            break;
    }
    buf_done(&text);
    return r;
}

static int prepare(struct embed_job *job, struct err *err)
{
    uint64_t began = clock_ms();
    atomic_store(&job->is_again, false);
    atomic_store(&job->is_newer, false);
    struct index *newest = source_any_index(job->engine, job->source_id);
    if (newest && newest == job->index && job->vectors) {
        index_unref(newest); /* joined already */
        return 0;
    }
    forget_index(job);
    job->index = newest;
    if (!newest)
        return err_set(err, ERR_UNAVAILABLE, "the source has no index that could be embedded");
    int r = job->vectors ? 0 : vectors_of(job->engine, job->source_id, &job->vectors, err);
    if (r == 0)
        r = renew_leg(job, err);
    if (r == 0)
        r = list_missing(job, err);
    job->join_ms = clock_ms();
    job->join_cost_ms = job->join_ms - began;
    return r;
}

/* ---- NEXT ---- */

static bool batch_room(struct embed_batch *b)
{
    size_t n = LIMIT_EMBED_TEXTS_COUNT;
    if (b->chunks)
        return true;
    b->chunks = mem_try_array(n, sizeof *b->chunks);
    b->hashes = mem_try_array(n, sizeof *b->hashes);
    b->at = mem_try_array(n, sizeof *b->at);
    b->len = mem_try_array(n, sizeof *b->len);
    b->is_told = mem_try_array(n, sizeof *b->is_told);
    b->has_values = mem_try_array(n, sizeof *b->has_values);
    buf_init(&b->bytes, (size_t)LIMIT_EMBED_TEXTS_COUNT * VECTOR_TEXT_MAX);
    if (b->chunks && b->hashes && b->at && b->len && b->is_told && b->has_values)
        return true;
    batch_done(b);
    return false;
}

/* Texts of the next chunks; as many as keep the embedder busy, so that little is lost with a kill. */
static int fill_batch(struct embed_job *job, struct err *err)
{
    struct embed_batch *b = &job->batch;
    size_t most = embedder_texts(engine_embedder(job->engine));
    if (!batch_room(b))
        return err_set(err, ERR_NO_MEMORY, "out of memory for the texts to embed");
    b->count = 0;
    buf_clear(&b->bytes);
    while (b->count < most && job->next < job->todo_count) {
        struct index_chunk_view c;
        uint32_t chunk = job->todo[job->next++];
        size_t at = b->bytes.len;
        if (!index_chunk(job->index, chunk, &c))
            continue;
        vector_chunk_text(&c, &b->bytes);
        if (buf_failed(&b->bytes))
            return err_set(err, ERR_NO_MEMORY, "out of memory for the texts to embed");
        b->chunks[b->count] = chunk;
        b->at[b->count] = at;
        b->len[b->count] = b->bytes.len - at;
        b->hashes[b->count] = vector_hash_of(span_of(b->bytes.ptr + at, b->bytes.len - at));
        b->is_told[b->count] = b->has_values[b->count] = false;
        b->count++;
    }
    return 0;
}

static bool is_join_due(const struct embed_job *job)
{
    return clock_ms() - job->join_ms >= join_pause_ms(job->join_cost_ms);
}

static void next(struct embed_job *job)
{
    struct err err = {0};
    int r = fill_batch(job, &err);
    if (r == 0 && !job->batch.count &&
        (atomic_load(&job->is_again) || (atomic_load(&job->is_newer) && is_join_due(job)))) {
        atomic_store(&job->is_again, true);
        to_worker(job);
    } else if (r == 0 && !job->batch.count) {
        r = job->is_leg_behind ? renew_leg(job, &err) : 0;
        if (r == 0)
            finish_well(job);
    } else if (r == 0) {
        atomic_store(&job->is_on_loop, true);
        loop_post(job->upstream->loop, &job->to_loop);
    }
    if (r < 0)
        finish_error(job, &err);
}

/* ---- SEND, PAUSE: on the loop ---- */

static void on_vector(void *ctx, size_t index, const float *values, unsigned dims)
{
    struct embed_job *job = ctx;
    struct embed_batch *b = &job->batch;
    if (!b->values || b->dims != dims) {
        mem_free(b->values);
        b->values =
            mem_try_array(embedder_texts(engine_embedder(job->engine)), dims * sizeof *b->values);
        b->dims = dims;
    }
    if (!b->values)
        return; /* not told: asked for again */
    memcpy(b->values + index * dims, values, dims * sizeof *values);
    b->has_values[index] = b->is_told[index] = true;
}

static void on_failed(void *ctx, size_t index, const char *why)
{
    struct embed_job *job = ctx;
    job->batch.is_told[index] = true;
    if (!job->failed)
        job->failed = mem_try_array(EMBED_FAILED_MAX, sizeof *job->failed);
    if (job->failed && job->failed_count < EMBED_FAILED_MAX) {
        struct embed_failure *f = &job->failed[job->failed_count];
        f->chunk = job->batch.chunks[index];
        snprintf(f->why, sizeof f->why, "%.159s", why);
    }
    job->failed_count++;
    metric_add(&metrics[M_FAILED], 1);
}

static void on_note(void *ctx, const char *message)
{
    struct embed_job *job = ctx;
    emit_status(job->running.stream, "embedding",
                job->total ? (double)job->covered / (double)job->total : 0, "%s", message);
}

static void on_end(void *ctx, int result, const char *why, uint64_t tokens, bool is_estimate)
{
    struct embed_job *job = ctx;
    (void)tokens;
    (void)is_estimate;
    job->run = NULL;
    job->result = result;
    snprintf(job->why, sizeof job->why, "%.199s", why);
    to_worker(job);
}

static const struct embed_callbacks callbacks = {on_vector, on_failed, on_note, on_end};

static void send_batch(struct embed_job *job)
{
    struct embed_batch *b = &job->batch;
    struct err err = {0};
    struct span *texts = mem_try_array(b->count, sizeof *texts);
    for (size_t i = 0; texts && i < b->count; i++)
        texts[i] = span_of(b->bytes.ptr + b->at[i], b->len[i]);
    const struct embed_request request = {
        .embedder = engine_embedder(job->engine),
        .texts = texts,
        .count = b->count,
        .purpose = EMBED_DOCUMENT,
        .dims = vectors_dims(job->vectors),
    };
    int r = texts ? embed_start(job->engine->options.runner, job->upstream->http, &request,
                                &callbacks, job, &job->run, &err)
                  : err_set(&err, ERR_NO_MEMORY, "out of memory for the texts to embed");
    mem_free(texts);
    if (r < 0)
        on_end(job, r, err.msg, 0, false);
}

static void on_pause_over(struct timer *t)
{
    struct embed_job *job = container_of(t, struct embed_job, timer);
    job->is_paused = job->is_waiting = false;
    to_worker(job);
}

static uint64_t pause_ms(const struct embed_job *job)
{
    uint64_t ms = PAUSE_FIRST_MS;
    for (unsigned i = 1; i < job->pauses && ms < PAUSE_MAX_MS; i++)
        ms *= 2;
    return ms < PAUSE_MAX_MS ? ms : PAUSE_MAX_MS;
}

static void on_loop(struct loop_msg *m)
{
    struct embed_job *job = container_of(m, struct embed_job, to_loop);
    if (is_stopped(job)) {
        on_end(job, -ERR_CANCELLED, "stopped", 0, false);
    } else if (job->is_paused) {
        job->is_waiting = true;
        timer_set(job->upstream->loop, &job->timer, pause_ms(job), on_pause_over);
    } else if (!job->batch.count) { /* it begins */
        to_worker(job);
    } else {
        send_batch(job);
    }
}

static void on_submit_again(struct timer *t)
{
    to_worker(container_of(t, struct embed_job, timer));
}

/* From the loop, or from a worker that begins anew. */
static void to_worker(struct embed_job *job)
{
    struct loop *loop = job->upstream->loop;
    atomic_store(&job->is_on_loop, false);
    if (worker_submit(job->engine->options.workers, WORKER_SLOW, &job->work) == 0)
        return;
    if (loop_current() == loop)
        timer_set(loop, &job->timer, LOOP_TICK_MS, on_submit_again);
    else
        embed_job_run(&job->work); /* a worker already */
}

/* ---- STORE ---- */

/* What was not told goes back in front of what is next. */
static void put_back_untold(struct embed_job *job)
{
    const struct embed_batch *b = &job->batch;
    for (size_t i = b->count; i-- > 0;)
        if (!b->is_told[i] && job->next > 0)
            job->todo[--job->next] = b->chunks[i];
}

static int store_vectors(struct embed_job *job, struct err *err)
{
    struct embed_batch *b = &job->batch;
    uint32_t stored = 0;
    int r = 0;
    for (size_t i = 0; i < b->count && r == 0; i++) {
        if (!b->has_values[i])
            continue;
        r = vectors_add(job->vectors, b->hashes[i], b->values + i * b->dims, b->dims, err);
        stored += r == 0;
    }
    int synced = vectors_sync(job->vectors, r == 0 ? err : NULL);
    job->covered += stored;
    job->embedded += stored;
    metric_add(&metrics[M_EMBEDDED], stored);
    job->is_leg_behind |= stored > 0;
    if (stored)
        job->pauses = 0;
    return r < 0 ? r : synced;
}

static void stop_all(struct embed_job *job)
{
    struct engine *e = job->engine;
    lock_enter(&e->lock);
    snprintf(e->embed_stopped, sizeof e->embed_stopped, "%s", job->why);
    e->embed_stopped_ms = clock_ms();
    lock_leave(&e->lock);
}

static void pause_job(struct embed_job *job)
{
    job->pauses++;
    job->is_paused = true;
    emit_status(job->running.stream, "embedding",
                job->total ? (double)job->covered / (double)job->total : 0,
                "The embedder is not there (%s); trying again in %llu s", job->why,
                (unsigned long long)(pause_ms(job) / 1000));
    put_job_state(job, "waiting", job->why);
    job->result = 0;
    atomic_store(&job->is_on_loop, true);
    loop_post(job->upstream->loop, &job->to_loop);
}

/* Of a newer snapshot when there is one: a leg of one that was replaced is of no use. */
static int renew_in_time(struct embed_job *job, struct err *err)
{
    struct err why = {0};
    if (!is_join_due(job))
        return 0;
    if (atomic_load(&job->is_again) || atomic_load(&job->is_newer))
        return prepare(job, err);
    if (job->is_leg_behind && renew_leg(job, &why) < 0)
        LOG_WARN("engine", "new vectors are not searched yet", LOG_S("source", job->source_id),
                 LOG_S("why", why.msg));
    return 0;
}

/* A batch is over, in whatever way. */
static void store(struct embed_job *job)
{
    struct err err = {0};
    int result = job->result;
    put_back_untold(job);
    int r = store_vectors(job, &err);
    job->batch.count = 0;
    if (r == 0 && result == 0)
        r = renew_in_time(job, &err);
    if (r < 0) {
        finish_error(job, &err);
        return;
    }
    say_progress(job);
    if (is_stopped(job) || result == -ERR_CANCELLED) {
        finish(job, "stopped", "stopped on request", "cancelled");
    } else if (result == -ERR_FORBIDDEN || result == -ERR_INVALID) {
        stop_all(job);
        err_set(&err, ERR_UPSTREAM, "the embedder refuses: %s", job->why);
        err_hint(&err, "correct the embedder's configuration and start the server again");
        finish_error(job, &err);
    } else if (result < 0) {
        pause_job(job);
    } else {
        next(job);
    }
}

/* ---- the steps ---- */

void embed_job_run(struct work *work)
{
    struct embed_job *job = container_of(work, struct embed_job, work);
    struct err err = {0};
    char why[200];
    if (job->batch.count) {
        store(job);
        return;
    }
    if (is_stopped(job)) {
        finish(job, "stopped", "stopped on request", "cancelled");
        return;
    }
    if (is_embedder_stopped(job->engine, why, sizeof why)) {
        err_set(&err, ERR_UPSTREAM, "the embedder refuses: %s", why);
        finish_error(job, &err);
        return;
    }
    bool is_new = !job->index || atomic_load(&job->is_again);
    int r = is_new ? prepare(job, &err) : 0;
    if (r < 0) {
        finish_error(job, &err);
        return;
    }
    if (job->todo_count > job->next)
        say_progress(job);
    next(job);
}

struct embed_job *embed_job_new(struct engine *e, const char *source_id, const char *tenant)
{
    struct embed_job *job = mem_alloc(sizeof *job);
    *job = (struct embed_job){.work.run = embed_job_run,
                              .running.stop = embed_job_stop,
                              .engine = e,
                              .refs = 1,
                              .began_ms = clock_ms(),
                              .to_loop.deliver = on_loop};
    snprintf(job->source_id, sizeof job->source_id, "%s", source_id);
    snprintf(job->tenant, sizeof job->tenant, "%s", tenant);
    size_t n = hash_stable(source_id, strlen(source_id)) % e->options.upstream_count;
    job->upstream = &e->options.upstreams[n];
    list_init(&job->link);
    list_init(&job->running.link);
    metric_register(metrics, ARRAY_LEN(metrics));
    metric_add(&metrics[M_RUNNING], 1);
    return job;
}

/* By way of the loop, where a full lane can be waited for. */
void embed_job_begin(struct embed_job *job)
{
    list_remove(&job->link);
    job->is_queued = false;
    atomic_store(&job->is_on_loop, true);
    loop_post(job->upstream->loop, &job->to_loop);
}

/* ---- stop ---- */

struct stop_msg {
    struct loop_msg msg;
    struct embed_job *job; /* ref */
};

static void on_stop(struct loop_msg *m)
{
    struct stop_msg *s = container_of(m, struct stop_msg, msg);
    struct embed_job *job = s->job;
    if (job->run) {
        embed_cancel(job->run); /* `end` sends it to a worker */
    } else if (job->is_waiting) {
        timer_clear(&job->timer);
        on_pause_over(&job->timer);
    }
    embed_job_unref(job);
    mem_free(s);
}

void embed_job_stop(struct engine *e, struct running *r)
{
    struct embed_job *job = container_of(r, struct embed_job, running);
    if (job->is_queued) {
        e->embed_running++; /* for a moment: it only has to say its end */
        embed_job_begin(job);
        return;
    }
    if (!atomic_load(&job->is_on_loop))
        return; /* looks at the flag before it goes there */
    struct stop_msg *s = mem_alloc(sizeof *s);
    *s = (struct stop_msg){{NULL, on_stop}, job};
    atomic_fetch_add(&job->refs, 1);
    loop_post(job->upstream->loop, &s->msg);
}
