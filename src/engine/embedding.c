/*
 * Vectors of sources: which source is embedded when, and what is known of it. The queue is what the vector files lack: a
 * job compares them with the index and asks for the rest, so that a kill, a restart or a new index cost nothing that was
 * stored. EMBED_JOBS_MAX sources at a time, the others queue.
 */
#include "engine/embedding_priv.h"

#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "providers/registry.h"

#include <limits.h>
#include <stdio.h>
#include <unistd.h>

#define STOPPED_FOR_MS 600000 /* an embedder that refuses us is not asked again before that */
#define RESUMED_MAX 200       /* sources queued at start; the others when they are used */
#define SKIPPED_READ_MAX 10000
#define NOT_EMBEDDED "not embedded: "

const struct embedder *engine_embedder(const struct engine *e)
{
    return e->options.registry && e->options.runner ? registry_embedder(e->options.registry) : NULL;
}

/* ---- files ---- */

/* NULL when it is too long. One file a source and embedder: who goes back to an embedder finds its vectors. */
const char *vector_path(const struct engine *e, const char *source_id, struct buf *path)
{
    const char *key = embedder_key(engine_embedder(e));
    buf_printf(path, "%s/%s-%08x" VECTORS_SUFFIX, e->index_dir, source_id,
               (unsigned)hash_stable(key, strlen(key)));
    return buf_failed(path) ? NULL : buf_str(path);
}

int vectors_of(struct engine *e, const char *source_id, struct vectors **ret, struct err *err)
{
    struct buf path = BUF_INIT(PATH_MAX);
    const char *name = vector_path(e, source_id, &path);
    const char *key = embedder_key(engine_embedder(e));
    int r = name ? vectors_open(name, key, ret, err)
                 : err_set(err, ERR_TOO_LARGE, "the data directory's path is too long");
    if (r == -ERR_UNSUPPORTED || r == -ERR_CORRUPT) {
        LOG_WARN("engine", "a vector file cannot be used and is begun anew",
                 LOG_S("source", source_id), LOG_S("why", err->msg));
        r = unlink(name) < 0 ? err_set(err, ERR_IO, "'%s' cannot be removed", name)
                             : vectors_open(name, key, ret, err);
    }
    buf_done(&path);
    return r;
}

/* ---- legs ---- */

void publish_leg(struct engine *e, const char *source_id, struct vector_leg *leg)
{
    lock_enter(&e->lock);
    struct live_source *s = source_live(e, source_id);
    if (s && s->index == vector_leg_index(leg)) {
        struct vector_leg *old = s->leg;
        s->leg = leg;
        leg = old;
    }
    lock_leave(&e->lock);
    vector_leg_unref(leg); /* may unmap: not under the lock */
}

static struct vector_leg *leg_of(struct engine *e, const char *id, const struct index *ix)
{
    lock_enter(&e->lock);
    struct live_source *s = source_live(e, id);
    struct vector_leg *leg =
        s && s->leg && vector_leg_index(s->leg) == ix ? vector_leg_ref(s->leg) : NULL;
    lock_leave(&e->lock);
    return leg;
}

/* A command has no jobs: it reads what a server left, if there is something. */
static void read_leg(struct engine *e, const char *id, struct index *ix)
{
    struct buf path = BUF_INIT(PATH_MAX);
    const char *name = vector_path(e, id, &path);
    bool is_there = name && access(name, R_OK) == 0;
    buf_done(&path);
    struct vectors *v = NULL;
    struct vector_leg *leg = NULL;
    struct err err = {0};
    if (!is_there)
        return;
    int r = vectors_of(e, id, &v, &err);
    if (r == 0)
        r = vector_leg_new(v, ix, &leg, &err);
    if (r == 0)
        publish_leg(e, id, leg);
    else
        LOG_WARN("engine", "the vectors of a source cannot be used", LOG_S("source", id),
                 LOG_S("why", err.msg));
    vectors_close(v);
}

struct vector_leg *source_leg(struct engine *e, const char *id, struct index *ix)
{
    if (!engine_embedder(e))
        return NULL;
    struct vector_leg *leg = leg_of(e, id, ix);
    if (leg)
        return leg;
    if (!e->options.embeds) {
        read_leg(e, id, ix);
        return leg_of(e, id, ix);
    }
    lock_enter(&e->lock);
    struct live_source *s = source_live(e, id);
    bool is_to_start = s && !s->embed_job && s->index == ix;
    lock_leave(&e->lock);
    if (is_to_start)
        embedding_follow(e, id);
    return NULL;
}

/* ---- state ---- */

void put_job_state(struct embed_job *job, const char *state, const char *why)
{
    struct engine *e = job->engine;
    lock_enter(&e->lock);
    struct live_source *s = source_live(e, job->source_id);
    if (s) {
        s->vectors = (struct vector_state){.state = state,
                                           .covered = job->covered,
                                           .total = job->total,
                                           .failed = job->failed_count,
                                           .told_ms = clock_ms(),
                                           .join_cost_ms = job->join_cost_ms};
        snprintf(s->vectors.why, sizeof s->vectors.why, "%s", why);
        snprintf(s->vectors.stream, sizeof s->vectors.stream, "%s", stream_id(job->running.stream));
    }
    lock_leave(&e->lock);
}

void embedding_put_state(const struct engine *e, const struct live_source *live,
                         struct json_writer *w)
{
    const struct embedder *embedder = engine_embedder(e);
    jw_key(w, "vectors");
    if (!embedder) {
        jw_null(w);
        return;
    }
    const struct vector_state none = {0}, *v = live ? &live->vectors : &none;
    jw_obj(w);
    jw_kstr(w, "embedder", embedder_name(embedder));
    jw_kstr(w, "state", v->state ? v->state : "unknown");
    jw_kint(w, "covered", v->covered);
    jw_kint(w, "total", v->total);
    jw_kint(w, "failed", v->failed);
    jw_kstr(w, "why", v->why[0] ? v->why : NULL);
    jw_kstr(w, "stream", v->stream[0] ? v->stream : NULL);
    jw_end_obj(w);
}

bool is_embedder_stopped(struct engine *e, char *ret_why, size_t size)
{
    lock_enter(&e->lock);
    bool is = e->embed_stopped[0] && clock_ms() - e->embed_stopped_ms < STOPPED_FOR_MS;
    if (is)
        snprintf(ret_why, size, "%s", e->embed_stopped);
    lock_leave(&e->lock);
    return is;
}

/* ---- the list of what was left out ---- */

static bool is_failure(const struct store_skipped *s)
{
    return span_starts(span_str(s->reason), SPAN_LIT(NOT_EMBEDDED));
}

/* "src/x.c#L10-L20", "not embedded: …"; strings owned by the item. */
static bool fill_failure(const struct embed_job *job, const struct embed_failure *f,
                         struct store_skipped *ret)
{
    struct index_chunk_view c;
    struct buf path = BUF_INIT(LIMIT_PATH_BYTES + 64), why = BUF_INIT(256);
    if (!index_chunk(job->index, f->chunk, &c))
        return false;
    buf_put_span(&path, c.path);
    buf_printf(&path, "#L%u-L%u", c.start_line, c.end_line);
    buf_printf(&why, NOT_EMBEDDED "%s", f->why);
    ret->path = buf_detach(&path);
    ret->reason = buf_detach(&why);
    return ret->path && ret->reason;
}

/* The old list without the failures of before, then those of now. */
static int merge_failures(const struct embed_job *job, const struct store_skipped *old, size_t n,
                          struct err *err)
{
    size_t kept = 0, made = 0;
    size_t failed = job->failed_count < EMBED_FAILED_MAX ? job->failed_count : EMBED_FAILED_MAX;
    struct store_skipped *items = mem_try_array(n + failed + 1, sizeof *items);
    if (!items)
        return err_set(err, ERR_NO_MEMORY, "out of memory");
    for (size_t i = 0; i < n; i++)
        if (!is_failure(&old[i]))
            items[kept++] = old[i];
    int r = 0;
    for (; job->failed && r == 0 && made < failed; made++)
        if (!fill_failure(job, &job->failed[made], &items[kept + made]))
            r = err_set(err, ERR_NO_MEMORY, "out of memory");
    if (r == 0 && (kept < n || made))
        r = store_skipped_put(job->engine->options.store, job->tenant, job->source_id, items,
                              kept + made, err);
    for (size_t i = kept; i < kept + made; i++) {
        mem_free(items[i].path);
        mem_free(items[i].reason);
    }
    mem_free(items);
    return r;
}

static bool is_known(struct engine *e, const char *id)
{
    lock_enter(&e->lock);
    bool is = source_live(e, id) != NULL;
    lock_leave(&e->lock);
    return is;
}

void report_failures(const struct embed_job *job)
{
    struct engine *e = job->engine;
    struct store_skipped *old = NULL;
    struct err err = {0};
    size_t n = 0;
    int r = 0;
    lock_enter(&e->rows); /* of a source that is removed meanwhile nothing may stay */
    if (is_known(e, job->source_id))
        r = store_skipped_list(e->options.store, job->tenant, job->source_id, 0, SKIPPED_READ_MAX,
                               &old, &n, &err);
    else
        r = -ERR_NOT_FOUND;
    if (r == 0)
        r = merge_failures(job, old, n, &err);
    lock_leave(&e->rows);
    if (r < 0 && r != -ERR_NOT_FOUND)
        LOG_WARN("engine", "what could not be embedded was not kept",
                 LOG_S("source", job->source_id), LOG_S("why", err.msg));
    store_skipped_free(old, n);
}

/* ---- queue ---- */

/* The first of the queue, while there are places. With e->lock held. */
static void launch(struct engine *e)
{
    while (e->embed_running < EMBED_JOBS_MAX && !list_is_empty(&e->embed_queue)) {
        struct embed_job *job = container_of(e->embed_queue.next, struct embed_job, link);
        e->embed_running++;
        embed_job_begin(job);
    }
}

void embedding_next(struct engine *e)
{
    lock_enter(&e->lock);
    e->embed_running--;
    launch(e);
    lock_leave(&e->lock);
}

/* Puts the job into its source, and into the queue. False: there is one already, or no source. */
static bool enter(struct engine *e, struct embed_job *job)
{
    lock_enter(&e->lock);
    struct live_source *s = source_live(e, job->source_id);
    bool is_ours = s && !s->embed_job;
    if (is_ours) {
        s->embed_job = job;
        job->is_queued = true;
        list_append(&e->embed_queue, &job->link);
        launch(e);
    } else if (s) {
        atomic_store(&s->embed_job->is_again, true);
    }
    lock_leave(&e->lock);
    return is_ours;
}

void embedding_start(struct engine *e, const char *source_id)
{
    struct err err = {0};
    struct stream *s = NULL;
    char tenant[STORE_ID_MAX] = "";
    if (!e->options.embeds || !engine_embedder(e) || !e->options.upstream_count)
        return;
    lock_enter(&e->lock);
    struct live_source *live = source_live(e, source_id);
    bool is_running = live && live->embed_job;
    if (is_running)
        atomic_store(&live->embed_job->is_again, true);
    if (live)
        snprintf(tenant, sizeof tenant, "%s", live->row.tenant);
    lock_leave(&e->lock);
    if (!live || is_running)
        return;
    struct stream_new what = {.tenant = tenant, .kind = "embedding", .is_durable = true};
    int r = running_room(e, &err);
    if (r == 0)
        r = stream_create(e->options.hub, &what, &s, &err);
    struct embed_job *job = r == 0 ? embed_job_new(e, source_id, tenant) : NULL;
    if (job)
        r = running_enter(e, &job->running, s, &err);
    if (r == 0 && job && enter(e, job)) {
        stream_unref_producer(s);
        return;
    }
    if (s)
        stream_close(s, r < 0 || !job ? "error" : "cancelled", NULL);
    if (job && r == 0)
        running_leave(e, &job->running);
    if (job)
        embed_job_unref(job);
    if (s)
        stream_unref_producer(s);
    if (r < 0)
        LOG_WARN("engine", "a source is not embedded now", LOG_S("source", source_id),
                 LOG_S("why", err.msg));
}

uint64_t join_pause_ms(uint64_t cost_ms)
{
    uint64_t ms = cost_ms * JOIN_COST_FACTOR;
    return ms > JOIN_INTERVAL_MS ? ms : JOIN_INTERVAL_MS;
}

void embedding_follow(struct engine *e, const char *source_id)
{
    lock_enter(&e->lock);
    const struct live_source *s = source_live(e, source_id);
    const struct vector_state *v = s ? &s->vectors : NULL;
    bool is_due = s && !s->embed_job &&
                  (!v->told_ms || clock_ms() - v->told_ms >= join_pause_ms(v->join_cost_ms));
    if (s && s->embed_job)
        atomic_store(&s->embed_job->is_newer, true);
    lock_leave(&e->lock);
    if (is_due)
        embedding_start(e, source_id);
}

void embedding_stop(struct engine *e, struct live_source *s)
{
    if (!s->embed_job)
        return;
    stream_request_stop(s->embed_job->running.stream);
    embed_job_stop(e, &s->embed_job->running);
    s->embed_job = NULL;
}

/* ---- at start ---- */

struct resume {
    struct work work;
    struct engine *engine;
};

static void resume_run(struct work *work)
{
    struct resume *resume = container_of(work, struct resume, work);
    struct engine *e = resume->engine;
    struct store_source *rows = NULL;
    struct err err = {0};
    size_t n = 0;
    if (store_source_list(e->options.store, STORE_TENANT_DEFAULT, &rows, &n, &err) < 0)
        LOG_WARN("engine", "embedding is not resumed", LOG_S("why", err.msg));
    size_t begun = 0;
    for (size_t i = 0; i < n; i++) {
        if (begun < RESUMED_MAX && rows[i].index_file[0] &&
            source_load(e, STORE_TENANT_DEFAULT, rows[i].id, &err) == 0) {
            embedding_start(e, rows[i].id);
            begun++;
        }
        store_source_done(&rows[i]);
    }
    mem_free(rows);
    mem_free(resume);
    engine_leave(e);
}

void embedding_resume(struct engine *e)
{
    struct err err = {0};
    struct resume *resume = mem_alloc(sizeof *resume);
    *resume = (struct resume){.work.run = resume_run, .engine = e};
    if (engine_enter(e, &err) < 0) {
        mem_free(resume);
    } else if (worker_submit(e->options.workers, WORKER_SLOW, &resume->work) < 0) {
        mem_free(resume);
        engine_leave(e);
    }
}
