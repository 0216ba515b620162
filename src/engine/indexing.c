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
#include "ingest/filter_set.h"
#include "ingest/ingest.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
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
    char tenant[STORE_ID_MAX];
    char *location;
    struct filter_patterns filters;    /* owned */
    char lost_why[200];                /* why the index that was there cannot be used, or "" */
    bool has_begun;                    /* under engine->lock */
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
        chunks[i] =
            (struct index_chunk_in){c->start_line, c->end_line,    c->start,         c->len,
                                    c->symbol,     c->symbol_kind, (uint8_t)c->kind, c->is_test};
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
    struct err err = {0};
    struct store_skipped *items = mem_try_array(n, sizeof *items);
    int r = items ? 0 : -ERR_NO_MEMORY;
    for (size_t i = 0; r == 0 && i < n; i++) {
        items[i].path = mem_try_strndup(from[i].path.ptr, from[i].path.len);
        items[i].reason = mem_try_strndup(from[i].reason, strlen(from[i].reason));
        if (!items[i].path || !items[i].reason)
            r = -ERR_NO_MEMORY;
    }
    if (r < 0)
        err_set(&err, ERR_NO_MEMORY, "out of memory");
    else
        r = store_skipped_put(job->engine->options.store, job->tenant, job->source_id, items, n,
                              &err);
    if (r < 0)
        LOG_WARN("engine", "the list of skipped files was not kept",
                 LOG_S("source", job->source_id), LOG_S("why", err.msg));
    store_skipped_free(items, items ? n : 0);
}

/*
 * A location was resolved when its source was made, and allowed as that. One that leads elsewhere now (a component became a
 * link) is not read.
 */
static int check_location(const struct index_job *job, struct err *err)
{
    CLEANUP(mem_freep) char *real = realpath(job->location, NULL);
    if (!real) {
        int r = err_errno(err, errno, "the folder '%s' cannot be read", job->location);
        err_hint(err, "was it moved or deleted? index it where it is now");
        return r;
    }
    if (strcmp(real, job->location) == 0)
        return 0;
    err_set(err, ERR_FORBIDDEN, "'%s' has become a link to another place", job->location);
    err_hint(err, "index the folder it leads to instead");
    return -ERR_FORBIDDEN;
}

/* Walks, cuts and builds the segment file. */
static int build(struct index_job *job, const char *path, struct ingest_progress *ret_progress,
                 struct err *err)
{
    struct ingest *in = NULL;
    struct index_builder *b = NULL;
    struct ingest_options io = {
        .root = job->location,
        .excludes = (const char *const *)job->filters.excludes,
        .includes = (const char *const *)job->filters.includes,
        .cancel = stream_stop_flag(job->running.stream),
        .use_ctags = true,
    };
    int r = check_location(job, err);
    if (r == 0)
        ingest_revision(job->location, job->revision);
    if (r == 0)
        r = ingest_fingerprint(&io, job->fingerprint, err);
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

/* Opens the new segment, stores the row, makes it the source's index, removes the old file. */
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
    struct source_change change = {
        .index_file = job->file_name,
        .revision = job->revision,
        .fingerprint = job->fingerprint,
        .state = "ready",
        .error = "",
        .stats = &stats,
        .skipped = (int64_t)p->skipped_count,
        .index = ix,
    };
    CLEANUP(mem_freep) char *old_file = NULL;
    r = source_change(e, job->source_id, &change, &old_file, err);
    if (r < 0) {
        index_unref(ix);
        return r;
    }
    struct buf old_path = BUF_INIT(PATH_MAX);
    buf_printf(&old_path, "%s/%s", e->index_dir, old_file ? old_file : "");
    if (old_file && old_file[0] && !buf_failed(&old_path))
        (void)unlink(buf_str(&old_path)); /* readers have it mapped; a left-over is only space */
    buf_done(&old_path);
    return 0;
}

static void remember_failure(struct index_job *job, int result, const struct err *why)
{
    struct engine *e = job->engine;
    struct err err = {0};
    lock_enter(&e->lock);
    struct live_source *s = source_live(e, job->source_id);
    bool has_index = s && s->row.index_file[0];
    bool stopping = e->stopping;
    lock_leave(&e->lock);
    if (result == -ERR_CANCELLED && stopping)
        return; /* the program ends; the next one begins again */
    struct source_change change = {
        .state = has_index ? NULL : "failed",
        .error = result == -ERR_CANCELLED ? "indexing was stopped before it had ended" : why->msg,
    };
    if (source_change(e, job->source_id, &change, NULL, &err) < 0)
        LOG_WARN("engine", "the failure of an index job was not kept",
                 LOG_S("source", job->source_id), LOG_S("why", err.msg));
}

/* ---- waiting ---- */

/* Takes a waiter out and submits its task; false: the lane is full, it waits on. With e->lock held. */
static bool release(struct engine *e, struct index_waiter *w, int result, const struct err *why)
{
    list_remove(&w->link);
    w->waits = false;
    w->is_over = true;
    w->result = result;
    w->why = why ? *why : (struct err){0};
    /* Once it is submitted it is not ours any more. */
    return worker_submit(e->options.workers, WORKER_FAST, w->then) == 0;
}

void indexing_cut_wait(struct engine *e, struct index_waiter *w)
{
    if (!w->waits)
        return;
    struct list *at = w->link.next;
    if (!release(e, w, -ERR_CANCELLED, NULL)) { /* then it ends with the job */
        w->waits = true;
        w->is_over = false;
        list_append(at, &w->link);
    }
}

bool engine_wait_cancel(struct engine *e, struct index_waiter *w)
{
    lock_enter(&e->lock);
    bool did = w->waits;
    if (did)
        list_remove(&w->link);
    w->waits = false;
    lock_leave(&e->lock);
    return did;
}

/* Nobody joins from here on: before the stream says that it is over, or whoever asks after that would get the old result. */
static void detach(struct index_job *job)
{
    lock_enter(&job->engine->lock);
    struct live_source *s = source_live(job->engine, job->source_id);
    if (s && s->job == job)
        s->job = NULL;
    lock_leave(&job->engine->lock);
}

/* Tells everyone who waits; after detach. Their tasks go to the fast lane; when that is full they run right here. */
static void release_waiters(struct index_job *job, int result, const struct err *why)
{
    struct engine *e = job->engine;
    struct list refused;
    list_init(&refused);
    lock_enter(&e->lock);
    while (!list_is_empty(&job->waiters)) {
        struct index_waiter *w = container_of(job->waiters.next, struct index_waiter, link);
        if (!release(e, w, result, why))
            list_append(&refused, &w->link);
    }
    lock_leave(&e->lock);
    struct list *n;
    while ((n = list_pop(&refused))) {
        struct index_waiter *w = container_of(n, struct index_waiter, link);
        w->then->run(w->then);
    }
}

/* engine_stop on a job: one that runs polls its flag; one that is still queued ends for all to see now. */
static void on_stop(struct engine *e, struct running *r)
{
    struct index_job *job = container_of(r, struct index_job, running);
    struct live_source *s = source_live(e, job->source_id);
    if (job->has_begun)
        return;
    if (s && s->job == job)
        s->job = NULL;
    list_each(n, &job->waiters) indexing_cut_wait(e, container_of(n, struct index_waiter, link));
    stream_close(r->stream, "cancelled", NULL);
}

/* ---- the job ---- */

static void job_free(struct index_job *job)
{
    struct engine *e = job->engine;
    mem_free(job->location);
    filter_patterns_done(&job->filters);
    running_leave(e, &job->running);
    mem_free(job); /* running_leave was its last use of the engine */
}

static void say_begin(struct index_job *job)
{
    char text[300];
    if (job->lost_why[0])
        snprintf(text, sizeof text, "The stored index cannot be used and is built again: %s",
                 job->lost_why);
    else
        snprintf(text, sizeof text, "Looking at the files");
    say(job, "scanning", -1, text);
}

static void say_end(struct index_job *job, const struct ingest_progress *p, uint64_t ms)
{
    char text[200];
    snprintf(text, sizeof text, "Indexed %llu files (%llu left out) in %llu.%llu s",
             (unsigned long long)p->files_done, (unsigned long long)p->skipped_count,
             (unsigned long long)(ms / 1000), (unsigned long long)(ms % 1000 / 100));
    say(job, "ready", 1, text);
    LOG_INFO("engine", "indexed", LOG_S("source", job->source_id),
             LOG_S("stream", stream_id(job->running.stream)), LOG_U("files", p->files_done),
             LOG_U("bytes", p->bytes_done), LOG_U("skipped", p->skipped_count), LOG_U("ms", ms));
}

static void say_failure(struct index_job *job, int result, const struct err *err)
{
    struct stream *s = job->running.stream;
    metric_add(&metrics[M_FAILED], result != -ERR_CANCELLED);
    LOG_WARN("engine", result == -ERR_CANCELLED ? "indexing was stopped" : "indexing failed",
             LOG_S("source", job->source_id), LOG_S("stream", stream_id(s)),
             LOG_S("why", err->msg));
    if (result != -ERR_CANCELLED)
        emit_error(s, err, "prepare", NULL);
}

static void begin(struct index_job *job)
{
    lock_enter(&job->engine->lock);
    job->has_begun = true;
    lock_leave(&job->engine->lock);
}

static void run_job(struct work *work)
{
    struct index_job *job = container_of(work, struct index_job, work);
    struct engine *e = job->engine;
    struct stream *s = job->running.stream;
    struct err err = {0};
    struct ingest_progress p = {0};
    struct buf path = BUF_INIT(PATH_MAX);
    uint64_t began = clock_ms();
    begin(job);
    buf_printf(&path, "%s/%s", e->index_dir, job->file_name);
    int r = atomic_load(stream_stop_flag(s)) ? err_set(&err, ERR_CANCELLED, "cancelled")
            : buf_failed(&path)
                ? err_set(&err, ERR_TOO_LARGE, "the data directory's path is too long")
                : 0;
    bool has_started = r == 0;
    if (r == 0) {
        say_begin(job);
        r = build(job, buf_str(&path), &p, &err);
    }
    if (r == 0)
        r = publish(job, buf_str(&path), &p, &err);
    metric_add(&metrics[M_JOBS], 1);
    if (r == 0) {
        say_end(job, &p, clock_ms() - began);
    } else if (has_started) {
        (void)unlink(buf_str(&path));
        remember_failure(job, r, &err);
        say_failure(job, r, &err);
    }
    buf_done(&path);
    detach(job);
    stream_close(s, r == 0 ? "stop" : r == -ERR_CANCELLED ? "cancelled" : "error", NULL);
    release_waiters(job, r, &err);
    job_free(job);
}

/* The part of a source that its job needs. */
struct job_source {
    char *location;                 /* owned */
    struct filter_patterns filters; /* owned */
    char tenant[STORE_ID_MAX], lost_why[200];
};

static int job_new(struct engine *e, const char *source_id, struct job_source *from,
                   struct index_job **ret, struct err *err)
{
    struct stream *s = NULL;
    struct stream_new what = {.tenant = from->tenant, .kind = "index", .is_durable = true};
    int r = running_room(e, err);
    if (r == 0)
        r = stream_create(e->options.hub, &what, &s, err);
    if (r < 0)
        return r;
    struct index_job *job = mem_alloc(sizeof *job);
    *job = (struct index_job){.work.run = run_job, .engine = e, .running.stop = on_stop};
    job->location = take_ptr(from->location);
    job->filters = from->filters;
    from->filters = (struct filter_patterns){0};
    snprintf(job->source_id, sizeof job->source_id, "%s", source_id);
    snprintf(job->tenant, sizeof job->tenant, "%s", from->tenant);
    snprintf(job->lost_why, sizeof job->lost_why, "%s", from->lost_why);
    char unique[9];
    random_id(unique, 8);
    snprintf(job->file_name, sizeof job->file_name, "%s-%s.hwi", source_id, unique);
    list_init(&job->waiters);
    list_init(&job->running.link);
    r = running_enter(e, &job->running, s, err);
    if (r < 0) {
        stream_close(s, "error", NULL);
        mem_free(job->location);
        filter_patterns_done(&job->filters);
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
    if (waiter) {
        waiter->waits = true;
        list_append(&job->waiters, &waiter->link);
    }
    if (ret_stream)
        *ret_stream = stream_ref(job->running.stream);
}

/* 1: joined the job that runs; 0: there is none, *ret says what one needs. */
static int join_running(struct engine *e, const char *source_id, struct index_waiter *waiter,
                        struct stream **ret_stream, struct job_source *ret, struct err *err)
{
    int r = 0;
    lock_enter(&e->lock);
    struct live_source *s = source_live(e, source_id);
    if (!s) {
        r = err_set(err, ERR_UNAVAILABLE, "the source was let go meanwhile");
        err_hint(err, "try again");
    } else if (s->job) {
        join(s->job, waiter, ret_stream);
        r = 1;
    } else {
        struct span where = span_str(s->row.location), path = location_path(where);
        ret->location = mem_try_strndup(path.ptr, path.len);
        snprintf(ret->tenant, sizeof ret->tenant, "%s", s->row.tenant);
        snprintf(ret->lost_why, sizeof ret->lost_why, "%s", s->is_index_lost ? s->lost_why : "");
        if (!ret->location || filter_patterns_read(location_filters(where), &ret->filters) < 0)
            r = err_set(err, ERR_NO_MEMORY, "out of memory");
    }
    lock_leave(&e->lock);
    return r;
}

/* A job that never ran. */
static void job_drop(struct index_job *job, const struct err *why)
{
    if (why)
        emit_error(job->running.stream, why, "prepare", NULL);
    stream_close(job->running.stream, why ? "error" : "cancelled", NULL);
    job_free(job);
}

static int submit(struct index_job *job, struct index_waiter *waiter, struct stream **ret_stream,
                  struct err *err)
{
    struct engine *e = job->engine;
    if (worker_submit(e->options.workers, WORKER_SLOW, &job->work) == 0)
        return 0;
    struct err full;
    err_set(&full, ERR_LIMIT, "too many sources wait to be indexed");
    err_hint(&full, "try again in a minute");
    if (err)
        *err = full;
    bool is_ours = !waiter || engine_wait_cancel(e, waiter);
    if (is_ours && ret_stream)
        stream_unref(take_ptr(*ret_stream));
    detach(job);
    release_waiters(job, -ERR_LIMIT, &full); /* others may have joined meanwhile */
    job_drop(job, &full);
    return is_ours ? -ERR_LIMIT : 0; /* not ours: it was stopped, and has been submitted */
}

int indexing_start(struct engine *e, const char *source_id, struct index_waiter *waiter,
                   struct stream **ret_stream, struct err *err)
{
    struct job_source from = {0};
    struct index_job *job;
    int r = join_running(e, source_id, waiter, ret_stream, &from, err);
    if (r != 0)
        return r < 0 ? r : 0;
    r = job_new(e, source_id, &from, &job, err);
    mem_free(from.location);
    filter_patterns_done(&from.filters);
    if (r < 0)
        return r;
    lock_enter(&e->lock);
    struct live_source *s = source_live(e, source_id);
    struct index_job *other = s ? s->job : NULL; /* someone was quicker */
    if (s && !other)
        s->job = job;
    if (s)
        join(other ? other : job, waiter, ret_stream);
    lock_leave(&e->lock);
    if (!s)
        err_set(err, ERR_UNAVAILABLE, "the source was let go meanwhile");
    if (other || !s) {
        job_drop(job, NULL);
        return s ? 0 : -ERR_UNAVAILABLE;
    }
    metric_register(metrics, ARRAY_LEN(metrics));
    return submit(job, waiter, ret_stream, err);
}

/* A stream that says at once that nothing was to be done. */
static int already_fresh(struct engine *e, const char *tenant, const char *id, struct stream **ret,
                         struct err *err)
{
    struct stream_new what = {.tenant = tenant, .kind = "index", .is_durable = true};
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
    int r =
        source_resolve_wanted(e, who, request->source, request->name, &request->filters, id, err);
    if (r < 0)
        return r;
    if (!request->force) {
        struct index *ix = source_fresh_index(e, id, NULL);
        if (ix) {
            index_unref(ix);
            return already_fresh(e, who->tenant, id, ret_stream, err);
        }
    }
    return indexing_start(e, id, NULL, ret_stream, err);
}
