/*
 * The left half of the data path: source → chunk → index.
 *
 *   walk and cut (ingest) → build (index) → publish: open the new segment, swap it in, store the row
 *
 * One job a source at a time; whoever wants the same source joins it. The old index serves searches until the new one is
 * published. A job cannot fail because of a file: that is left out with its reason. It fails as a whole only when the root cannot be read,
 * memory or disk are gone, or it is cancelled; then the old index stays.
 */
#include "engine/engine_priv.h"

#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metric.h"
#include "ingest/ingest.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#define PROGRESS_INTERVAL_MS 200
#define SKIPPED_KEPT_MAX 10000

enum { M_JOBS, M_FAILED, M_FILES, M_BYTES };
static struct metric metrics[] = {
    [M_JOBS] = METRIC_COUNTER("headwater_index_jobs_total", "index jobs ended"),
    [M_FAILED] = METRIC_COUNTER("headwater_index_jobs_failed_total", "index jobs that failed"),
    [M_FILES] = METRIC_COUNTER("headwater_index_files_total", "files indexed"),
    [M_BYTES] = METRIC_COUNTER("headwater_index_bytes_total", "bytes of text indexed"),
};

struct index_job {
    struct work work;
    struct running running;
    struct engine *engine;
    char source_id[STORE_ID_MAX];
    char *location;
    char file_name[STORE_ID_MAX + 24]; /* of the new segment, below index_dir */
    char fingerprint[17], revision[65];
    struct list waiters; /* under engine->lock */
    uint64_t told_ms;    /* when progress was last said */
};

static void say(struct index_job *job, const char *stage, double progress, const char *message)
{
    struct stream *follow[64];
    size_t n = 0;
    lock_enter(&job->engine->lock);
    list_each(it, &job->waiters)
    {
        struct index_waiter *w = container_of(it, struct index_waiter, link);
        if (w->follow && n < ARRAY_LEN(follow))
            follow[n++] = stream_ref(w->follow);
    }
    lock_leave(&job->engine->lock);
    emit_status(job->running.stream, stage, progress, "%s", message);
    for (size_t i = 0; i < n; i++) {
        emit_status(follow[i], stage, progress, "%s", message);
        stream_unref(follow[i]);
    }
}

static void say_progress(struct index_job *job, const struct ingest *in)
{
    uint64_t now = clock_ms();
    if (now - job->told_ms < PROGRESS_INTERVAL_MS)
        return;
    job->told_ms = now;
    struct ingest_progress p;
    ingest_progress(in, &p);
    char text[160];
    snprintf(text, sizeof text, "Indexing: %llu of %llu files", (unsigned long long)p.files_done,
             (unsigned long long)p.files_total);
    say(job, "indexing", p.files_total ? (double)p.files_done / (double)p.files_total : 0, text);
}

static int add_file(struct index_builder *b, const struct ingest_file *file, struct err *err)
{
    struct index_chunk_in *chunks = mem_try_array(file->chunk_count, sizeof *chunks);
    if (!chunks)
        return err_set(err, ERR_NO_MEMORY, "out of memory for the chunks of '" SPAN_FMT "'",
                       SPAN_ARG(file->path));
    for (size_t i = 0; i < file->chunk_count; i++) {
        const struct ingest_chunk *c = &file->chunks[i];
        chunks[i] = (struct index_chunk_in){c->start_line, c->end_line,    c->start,        c->len,
                                            c->symbol,     c->symbol_kind, (uint8_t)c->kind};
    }
    struct index_file_in f = {
        .path = file->path,
        .language = file->language,
        .text = file->text,
        .size = file->size,
        .mtime_ns = file->mtime_ns,
        .is_test = file->is_test,
        .chunks = chunks,
        .chunk_count = file->chunk_count,
    };
    int r = index_builder_add(b, &f, err);
    mem_free(chunks);
    metric_add(&metrics[M_FILES], 1);
    metric_add(&metrics[M_BYTES], (int64_t)file->text.len);
    return r;
}

static void keep_skipped(struct index_job *job, const struct ingest *in)
{
    size_t n;
    const struct ingest_skipped *from = ingest_skipped(in, &n);
    if (n > SKIPPED_KEPT_MAX)
        n = SKIPPED_KEPT_MAX;
    struct store_skipped *items = mem_try_array(n, sizeof *items);
    if (!items)
        return;
    for (size_t i = 0; i < n; i++) {
        items[i].path = mem_try_strndup(from[i].path.ptr, from[i].path.len);
        items[i].reason = mem_strdup(from[i].reason);
        if (!items[i].path)
            items[i].path = mem_strdup("");
    }
    struct err err;
    if (store_skipped_put(job->engine->options.store, stream_tenant(job->running.stream),
                          job->source_id, items, n, &err) < 0)
        LOG_WARN("engine", "the list of skipped files was not kept",
                 LOG_S("source", job->source_id), LOG_S("why", err.msg));
    store_skipped_free(items, n);
}

/* Walks, cuts and builds the segment file. */
static int build(struct index_job *job, const char *path, struct ingest_progress *ret_progress,
                 struct err *err)
{
    struct ingest *in = NULL;
    struct index_builder *b = NULL;
    struct ingest_options io = {
        .root = job->location,
        .cancel = stream_stop_flag(job->running.stream),
        .use_ctags = true,
    };
    ingest_revision(job->location, job->revision);
    int r = ingest_fingerprint(&io, job->fingerprint, err);
    if (r == 0)
        r = ingest_open(&io, &in, err);
    struct index_build_options bo = {
        .analyzer = ANALYZER_CODE,
        .revision = job->revision,
        .fingerprint = job->fingerprint,
    };
    if (r == 0)
        r = index_builder_new(path, &bo, &b, err);
    struct ingest_file file;
    while (r == 0 && (r = ingest_next(in, &file, err)) > 0) {
        r = add_file(b, &file, err);
        say_progress(job, in);
    }
    if (r == 0) {
        ingest_progress(in, ret_progress);
        keep_skipped(job, in);
        r = index_builder_finish(b, err);
    }
    index_builder_free(b);
    ingest_free(in);
    return r;
}

static void replace(char **field, const char *with)
{
    mem_free(*field);
    *field = mem_strdup(with);
}

/* Opens the new segment, makes it the source's index, stores the row, removes the old file. */
static int publish(struct index_job *job, const char *path, const struct ingest_progress *p,
                   struct err *err)
{
    struct engine *e = job->engine;
    struct index *ix;
    int r = index_open(path, &ix, err);
    if (r < 0)
        return r;
    struct index_stats stats;
    index_stats(ix, &stats);
    lock_enter(&e->lock);
    struct live_source *s = source_live(e, job->source_id);
    char *old_file = mem_strdup(s->row.index_file);
    struct index *old = s->index;
    s->index = ix;
    s->checked_ms = clock_ms();
    replace(&s->row.index_file, job->file_name);
    replace(&s->row.revision, job->revision);
    replace(&s->row.fingerprint, job->fingerprint);
    replace(&s->row.state, "ready");
    replace(&s->row.error, "");
    s->row.files = stats.files;
    s->row.chunks = stats.chunks;
    s->row.bytes = (int64_t)stats.text_bytes;
    s->row.skipped = (int64_t)p->skipped_count;
    s->row.indexed_ms = clock_wall_ms();
    r = store_source_put(e->options.store, &s->row, err);
    lock_leave(&e->lock);
    index_unref(old);
    if (r == 0 && old_file[0]) {
        char old_path[4200];
        snprintf(old_path, sizeof old_path, "%s/%s", e->index_dir, old_file);
        (void)unlink(old_path); /* readers have it mapped; a left-over is only space */
    }
    mem_free(old_file);
    return r;
}

static void remember_failure(struct index_job *job, const struct err *why)
{
    struct engine *e = job->engine;
    struct err ignored;
    lock_enter(&e->lock);
    struct live_source *s = source_live(e, job->source_id);
    replace(&s->row.error, why->msg);
    if (!s->row.index_file[0])
        replace(&s->row.state, "failed");
    if (store_source_put(e->options.store, &s->row, &ignored) < 0)
        LOG_WARN("engine", "the failure of an index job was not kept",
                 LOG_S("source", job->source_id));
    lock_leave(&e->lock);
}

/* Tells everyone who waits. Their tasks go to the fast lane; a full lane is retried by running them right here. */
static void release_waiters(struct index_job *job, int result, const struct err *why)
{
    struct engine *e = job->engine;
    struct list waiters;
    list_init(&waiters);
    lock_enter(&e->lock);
    source_live(e, job->source_id)->job = NULL; /* nobody joins from here on */
    struct list *n;
    while ((n = list_pop(&job->waiters)))
        list_append(&waiters, n);
    lock_leave(&e->lock);
    while ((n = list_pop(&waiters))) {
        struct index_waiter *w = container_of(n, struct index_waiter, link);
        stream_unref(w->follow);
        w->follow = NULL;
        w->result = result;
        w->why = *why;
        if (worker_submit(e->options.workers, WORKER_FAST, w->then) < 0)
            w->then->run(w->then);
    }
}

static void run_job(struct work *work)
{
    struct index_job *job = container_of(work, struct index_job, work);
    struct engine *e = job->engine;
    struct stream *s = job->running.stream;
    struct err err = {0};
    struct ingest_progress p = {0};
    char path[4200];
    uint64_t began = clock_ms();
    snprintf(path, sizeof path, "%s/%s", e->index_dir, job->file_name);
    say(job, "scanning", -1, "Looking at the files");
    int r = build(job, path, &p, &err);
    if (r == 0)
        r = publish(job, path, &p, &err);
    metric_add(&metrics[M_JOBS], 1);
    if (r < 0) {
        (void)unlink(path);
        metric_add(&metrics[M_FAILED], 1);
        remember_failure(job, &err);
        LOG_WARN("engine", "indexing failed", LOG_S("source", job->source_id),
                 LOG_S("stream", stream_id(s)), LOG_S("why", err.msg));
        if (r != -ERR_CANCELLED)
            emit_error(s, &err, "prepare");
    } else {
        char text[200];
        uint64_t ms = clock_ms() - began;
        snprintf(text, sizeof text, "Indexed %llu files (%llu left out) in %llu.%llu s",
                 (unsigned long long)(p.files_done), (unsigned long long)p.skipped_count,
                 (unsigned long long)(ms / 1000), (unsigned long long)(ms % 1000 / 100));
        say(job, "ready", 1, text);
        LOG_INFO("engine", "indexed", LOG_S("source", job->source_id),
                 LOG_S("stream", stream_id(s)), LOG_U("files", p.files_done),
                 LOG_U("bytes", p.bytes_done), LOG_U("skipped", p.skipped_count), LOG_U("ms", ms));
    }
    stream_close(s, r == 0 ? "stop" : r == -ERR_CANCELLED ? "cancelled" : "error", NULL);
    release_waiters(job, r, &err);
    mem_free(job->location);
    running_leave(e, &job->running);
    mem_free(job);
}

static int job_new(struct engine *e, const char *source_id, const char *location,
                   struct index_job **ret, struct err *err)
{
    struct stream *s;
    struct stream_new what = {.kind = "index", .is_durable = true};
    int r = stream_create(e->options.hub, &what, &s, err);
    if (r < 0)
        return r;
    struct index_job *job = mem_alloc(sizeof *job);
    *job = (struct index_job){.work.run = run_job, .engine = e, .location = mem_strdup(location)};
    snprintf(job->source_id, sizeof job->source_id, "%s", source_id);
    char unique[9];
    random_id(unique, 8);
    snprintf(job->file_name, sizeof job->file_name, "%s-%s.hwi", source_id, unique);
    list_init(&job->waiters);
    list_init(&job->running.link);
    r = running_enter(e, &job->running, s, err);
    if (r < 0) {
        stream_close(s, "error", NULL);
        mem_free(job->location);
        mem_free(job);
    } else {
        *ret = job;
    }
    stream_unref(s);
    return r;
}

/* With e->lock held. */
static void join(struct index_job *job, struct index_waiter *waiter, struct stream **ret_stream)
{
    if (waiter)
        list_append(&job->waiters, &waiter->link);
    if (ret_stream)
        *ret_stream = stream_ref(job->running.stream);
}

static bool join_running(struct engine *e, const char *source_id, struct index_waiter *waiter,
                         struct stream **ret_stream, char **ret_location)
{
    lock_enter(&e->lock);
    struct live_source *s = source_live(e, source_id);
    bool joined = s && s->job;
    if (joined)
        join(s->job, waiter, ret_stream);
    else
        *ret_location = s ? mem_strdup(s->row.location) : NULL;
    lock_leave(&e->lock);
    return joined;
}

static void job_drop(struct index_job *job)
{
    stream_close(job->running.stream, "cancelled", NULL);
    mem_free(job->location);
    running_leave(job->engine, &job->running);
    mem_free(job);
}

int indexing_start(struct engine *e, const char *source_id, struct index_waiter *waiter,
                   struct stream **ret_stream, struct err *err)
{
    CLEANUP(mem_freep) char *location = NULL;
    struct index_job *job;
    if (join_running(e, source_id, waiter, ret_stream, &location))
        return 0;
    if (!location)
        return err_set(err, ERR_NOT_FOUND, "the source is gone");
    int r = job_new(e, source_id, location, &job, err);
    if (r < 0)
        return r;
    lock_enter(&e->lock);
    struct live_source *s = source_live(e, source_id);
    struct index_job *other = s->job; /* someone was quicker */
    if (!other)
        s->job = job;
    join(other ? other : job, waiter, ret_stream);
    lock_leave(&e->lock);
    if (other) {
        job_drop(job);
        return 0;
    }
    metric_register(metrics, ARRAY_LEN(metrics));
    r = worker_submit(e->options.workers, WORKER_SLOW, &job->work);
    if (r < 0) {
        struct err full;
        err_set(&full, ERR_LIMIT, "too many sources wait to be indexed");
        err_hint(&full, "try again in a minute");
        if (err)
            *err = full;
        lock_enter(&e->lock);
        if (waiter)
            list_remove(&waiter->link);
        lock_leave(&e->lock);
        if (ret_stream)
            stream_unref(take_ptr(*ret_stream));
        release_waiters(job, r, &full); /* others may have joined meanwhile */
        job_drop(job);
    }
    return r;
}

/* A stream that says at once that nothing was to be done. */
static int already_fresh(struct engine *e, const char *id, struct stream **ret, struct err *err)
{
    struct stream_new what = {.kind = "index", .is_durable = true};
    int r = stream_create(e->options.hub, &what, ret, err);
    if (r < 0)
        return r;
    long long files = 0;
    lock_enter(&e->lock);
    struct live_source *s = source_live(e, id);
    if (s)
        files = (long long)s->row.files;
    lock_leave(&e->lock);
    emit_status(*ret, "ready", 1, "Nothing has changed: %lld files are indexed", files);
    stream_close(*ret, "stop", NULL);
    return 0;
}

int engine_index(struct engine *e, const struct engine_caller *who,
                 const struct index_request *request, struct stream **ret_stream, struct err *err)
{
    char id[STORE_ID_MAX];
    int r = source_resolve(e, who, request->source, request->name, id, err);
    if (r < 0)
        return r;
    if (!request->force) {
        struct index *ix = source_fresh_index(e, id);
        if (ix) {
            index_unref(ix);
            return already_fresh(e, id, ret_stream, err);
        }
    }
    return indexing_start(e, id, NULL, ret_stream, err);
}
