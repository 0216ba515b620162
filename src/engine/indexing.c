/*
 * The left half of the data path: source → chunk → index.
 *
 *   walk (ingest), and of files that are not as they were: read and cut → add to the index (index/update) → publish:
 *   manifest, row, swap the new snapshot in (publish.c) → merge segments when there are many
 *
 * One job a source at a time; whoever wants the same source joins it. The old index serves searches until the new one is
 * published. A long job publishes what it has now and then: that can be searched, and after a kill the next job goes on
 * from there. A job cannot fail because of a file: that is left out with its reason. It fails as a whole only when the root cannot be read,
 * memory or disk are gone, or it is cancelled; then the old index stays.
 */
#include "engine/engine_priv.h"

#include "base/clock.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metric.h"
#include "index/update.h"
#include "ingest/filter_set.h"
#include "ingest/ingest.h"

#include <errno.h>
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
    struct filter_patterns filters; /* owned */
    char lost_why[200];             /* why the index that was there cannot be used, or "" */
    bool has_begun;                 /* under engine->lock */
    bool is_rebuild;                /* nothing of the old index is to be used */
    bool is_first;                  /* there was nothing that could be */
    char fingerprint[17], revision[65];
    bool is_remote;           /* location is a URL until remote_step has made it a folder */
    struct index_ask ask;     /* wiped with the job */
    struct clone_result tree; /* of a remote one */
    struct ingest_progress progress;
    struct index_changes changes;
    struct list waiters; /* under engine->lock */
    uint64_t told_ms;    /* when progress was last said */
    bool has_published;  /* a part of what it has read is the source's index */
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

/* Hands the file to the index, with its chunks or with those that are known. */
static int put_file(struct index_update *u, const struct ingest_file *file, struct err *err)
{
    struct index_file_in f = {
        .path = file->path,
        .language = file->language,
        .text = file->text,
        .size = file->size,
        .mtime_ns = file->mtime_ns,
        .stamp = file->stamp,
        .is_test = file->is_test,
        .chunk_count = file->chunk_count,
    };
    memcpy(f.hash, file->hash, sizeof f.hash);
    if (file->is_known)
        return index_update_copy(u, &f, err);
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
    f.chunks = chunks;
    int r = index_update_add(u, &f, err);
    mem_free(chunks);
    return r;
}

/* A file that the index does not take is left out with the reason; the run goes on. */
static int add_file(struct ingest *in, struct index_update *u, const struct ingest_file *file,
                    struct err *err)
{
    int r = put_file(u, file, err);
    metric_add(&metrics[M_FILES], 1);
    metric_add(&metrics[M_BYTES], (int64_t)file->text.len);
    if (r != -ERR_TOO_LARGE && r != -ERR_INVALID)
        return r;
    LOG_WARN("engine", "a file cannot be indexed", LOG_S("why", err->msg));
    r = ingest_leave_out(in, file->path, "cannot be indexed (the server's log says why)");
    return r < 0 ? err_set(err, ERR_NO_MEMORY, "out of memory") : 0;
}

static void keep_skipped(struct index_job *job, const struct ingest *in)
{
    size_t n, fetched = job->tree.skipped_count; /* what was not even fetched comes first */
    const struct ingest_skipped *from = ingest_skipped(in, &n);
    if (fetched > SKIPPED_KEPT_MAX)
        fetched = SKIPPED_KEPT_MAX;
    if (n > SKIPPED_KEPT_MAX - fetched)
        n = SKIPPED_KEPT_MAX - fetched;
    n += fetched;
    struct err err = {0};
    struct store_skipped *items = mem_try_array(n ? n : 1, sizeof *items);
    int r = items ? 0 : -ERR_NO_MEMORY;
    for (size_t i = 0; r == 0 && i < n; i++) {
        struct span path =
            i < fetched ? span_str(job->tree.skipped[i].path) : from[i - fetched].path;
        const char *reason = i < fetched ? job->tree.skipped[i].reason : from[i - fetched].reason;
        items[i].path = mem_try_strndup(path.ptr, path.len);
        items[i].reason = mem_try_strndup(reason, strlen(reason));
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

static bool is_same(void *ctx, struct span path, uint64_t stamp)
{
    return index_update_keep(ctx, path, stamp);
}

static bool is_same_text(void *ctx, struct span path, const uint8_t hash[INGEST_HASH_BYTES],
                         uint64_t stamp, int64_t mtime_ns)
{
    return index_update_keep_text(ctx, path, hash, stamp, mtime_ns);
}

static bool has_chunks(void *ctx, const uint8_t hash[INGEST_HASH_BYTES], struct span language)
{
    return index_update_knows(ctx, hash, language);
}

/* What there is becomes searchable, and the next run goes on from here should this one be cut off. */
static int checkpoint(struct index_job *job, struct index_update *u, struct err *err)
{
    struct source_change change = {.revision = job->revision, .fingerprint = ""};
    int r = publish_update(job->engine, job->source_id, u, &change, 0, false, err);
    job->has_published = true;
    merge_if_due(job->engine, job->source_id, stream_stop_flag(job->running.stream));
    return r;
}

static int publish(struct index_job *job, struct index_update *u, const struct ingest_progress *p,
                   struct err *err)
{
    struct source_change change = {
        .revision = job->revision,
        .fingerprint = job->fingerprint,
        .state = "ready",
        .error = "",
        .skipped = (int64_t)p->skipped_count,
    };
    uint32_t failed = p->failed_count < UINT32_MAX ? (uint32_t)p->failed_count : UINT32_MAX;
    return publish_update(job->engine, job->source_id, u, &change, failed, true, err);
}

/* Walks; reads and cuts what is not as it was; adds it to the index, and publishes. */
static int run_update(struct index_job *job, struct index_update *u, struct err *err)
{
    struct ingest *in = NULL;
    struct ingest_options io = {
        .root = job->location,
        .excludes = (const char *const *)job->filters.excludes,
        .includes = (const char *const *)job->filters.includes,
        .cancel = stream_stop_flag(job->running.stream),
        .use_ctags = true,
        .known = {u, is_same, is_same_text, has_chunks},
    };
    struct ingest_file file;
    if (!job->is_remote)
        ingest_revision(job->location, job->revision);
    int r = ingest_open(&io, &in, err);
    while (r == 0 && (r = ingest_next(in, &file, err)) > 0) {
        r = add_file(in, u, &file, err);
        if (r == 0 && index_update_is_due(u))
            r = checkpoint(job, u, err);
        say_progress(job, in);
    }
    if (r == 0) {
        ingest_progress(in, &job->progress);
        job->progress.skipped_count += job->tree.skipped_count;
        ingest_walked_fingerprint(in, job->fingerprint);
        keep_skipped(job, in);
        r = publish(job, u, &job->progress, err);
    }
    ingest_free(in);
    index_update_changes(u, &job->changes);
    return r;
}

/* Makes the source's next snapshot from the last and from what its files are now. */
static int build(struct index_job *job, struct err *err)
{
    char path[PATH_MAX];
    struct index_update *u = NULL;
    struct index *old = source_any_index(job->engine, job->source_id);
    struct index_update_options o = {
        .manifest = path,
        .analyzer = ANALYZER_CODE,
        .recipe = INGEST_RECIPE,
        /* What is built anew beside an index that answers replaces it when it is whole. */
        .checkpoint_bytes = job->is_rebuild && old ? 0 : LIMIT_INDEX_CHECKPOINT_BYTES,
    };
    job->is_first = !old || job->is_rebuild;
    int r = index_manifest_path(job->engine, job->source_id, path, err);
    if (r == 0)
        r = check_location(job, err);
    if (r == 0)
        r = index_update_new(&o, job->is_rebuild ? NULL : old, &u, err);
    if (r == 0)
        r = run_update(job, u, err);
    index_update_free(u);
    index_unref(old);
    return r;
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
    if (w->question)
        question_cut_wait(e, w);
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
    bool did = w->waits || w->question;
    if (w->waits)
        list_remove(&w->link);
    if (w->question)
        question_forget(w);
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
    clone_result_done(&job->tree);
    index_ask_done(&job->ask);
    running_leave(e, &job->running);
    mem_free(job); /* running_leave was its last use of the engine */
}

static void say_begin(struct index_job *job)
{
    char text[440];
    struct index_stats stats = {.damage = ""};
    struct index *ix = source_any_index(job->engine, job->source_id);
    if (ix)
        index_stats(ix, &stats);
    if (job->lost_why[0])
        snprintf(text, sizeof text, "The stored index cannot be used and is built again: %s",
                 job->lost_why);
    else if (stats.damage[0])
        snprintf(
            text, sizeof text,
            "A damaged part of the stored index was set aside; its files are indexed again: %s",
            stats.damage);
    else
        snprintf(text, sizeof text, "Looking at the files");
    index_unref(ix);
    say(job, "scanning", -1, text);
}

/* 12408 as "12,408". */
static const char *with_commas(uint64_t n, char ret[32])
{
    char digits[24];
    int len = snprintf(digits, sizeof digits, "%llu", (unsigned long long)n), at = 0;
    for (int i = 0; i < len; i++) {
        if (i && (len - i) % 3 == 0)
            ret[at++] = ',';
        ret[at++] = digits[i];
    }
    ret[at] = 0;
    return ret;
}

/* "3 files changed, 1 removed, 12,408 unchanged" */
static void describe(const struct index_job *job, char *ret, size_t size)
{
    const struct index_changes *c = &job->changes;
    const struct {
        uint32_t n;
        const char *what;
    } parts[] = {{c->added, "added"},
                 {c->changed, "changed"},
                 {c->removed, "removed"},
                 {c->unchanged, "unchanged"}};
    char number[32];
    size_t used = 0;
    if (job->is_first) {
        snprintf(ret, size, "Indexed %s files", with_commas(job->progress.files_done, number));
        return;
    }
    ret[0] = 0;
    for (size_t i = 0; i < ARRAY_LEN(parts) && used < size; i++)
        if (parts[i].n || (i == ARRAY_LEN(parts) - 1 && !used))
            used += (size_t)snprintf(ret + used, size - used, "%s%s%s %s", used ? ", " : "",
                                     with_commas(parts[i].n, number),
                                     used              ? ""
                                     : parts[i].n == 1 ? " file"
                                                       : " files",
                                     parts[i].what);
}

static void say_end(struct index_job *job, uint64_t ms)
{
    char text[260], what[160], number[32];
    const struct ingest_progress *p = &job->progress;
    const struct index_changes *c = &job->changes;
    describe(job, what, sizeof what);
    snprintf(text, sizeof text, "%s (%s left out) in %llu.%llu s", what,
             with_commas(p->skipped_count, number), (unsigned long long)(ms / 1000),
             (unsigned long long)(ms % 1000 / 100));
    say(job, "ready", 1, text);
    LOG_INFO("engine", "indexed", LOG_S("source", job->source_id),
             LOG_S("stream", stream_id(job->running.stream)), LOG_U("files", p->files_done),
             LOG_U("added", c->added), LOG_U("changed", c->changed), LOG_U("removed", c->removed),
             LOG_U("unchanged", c->unchanged), LOG_U("bytes", p->bytes_done),
             LOG_U("skipped", p->skipped_count), LOG_U("ms", ms));
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

/* ---- a source from elsewhere ---- */

static void on_fetch_progress(void *ctx, double fraction, const char *message)
{
    say(ctx, "fetching", fraction, message);
}

/*
 * Fetches what is indexed then: location becomes the folder of its files. *ret_is_done: nothing has changed since the index there is
 * was made.
 */
static int remote_step(struct index_job *job, bool *ret_is_done, struct err *err)
{
    struct engine *e = job->engine;
    *ret_is_done = false;
    int r = remote_fetch(e, job->location, &job->ask, stream_stop_flag(job->running.stream),
                         on_fetch_progress, job, &job->tree, err);
    remote_note(e, job->source_id, r);
    if (r < 0)
        return r;
    mem_free(job->location);
    job->location = take_ptr(job->tree.tree);
    memcpy(job->revision, job->tree.revision, sizeof job->revision);
    struct index *ix = job->ask.must_build ? NULL : source_any_index(e, job->source_id);
    struct index_stats stats = {0};
    if (ix)
        index_stats(ix, &stats);
    *ret_is_done = ix && stats.fingerprint[0] && strcmp(stats.revision, job->revision) == 0 &&
                   index_retry_count(ix) == 0;
    index_unref(ix);
    if (*ret_is_done) {
        struct source_change change = {.error = ""};
        struct err other;
        IGNORE(
            source_change(e, job->source_id, &change, NULL, &other)); /* an old complaint stays */
        say(job, "ready", 1, "Nothing has changed where the repository comes from");
    }
    return 0;
}

static void begin(struct index_job *job)
{
    lock_enter(&job->engine->lock);
    struct live_source *s = source_live(job->engine, job->source_id);
    job->has_begun = true;
    job->is_rebuild = s && s->wants_rebuild;
    if (s)
        s->wants_rebuild = false;
    lock_leave(&job->engine->lock);
}

static void run_job(struct work *work)
{
    struct index_job *job = container_of(work, struct index_job, work);
    struct stream *s = job->running.stream;
    struct err err = {0};
    uint64_t began = clock_ms();
    begin(job);
    int r = atomic_load(stream_stop_flag(s)) ? err_set(&err, ERR_CANCELLED, "cancelled") : 0;
    bool has_started = r == 0, is_done = false;
    if (r == 0 && job->is_remote)
        r = remote_step(job, &is_done, &err);
    if (r == 0 && !is_done) {
        say_begin(job);
        r = build(job, &err);
    }
    metric_add(&metrics[M_JOBS], 1);
    if (r == 0 && !is_done) {
        say_end(job, clock_ms() - began);
    } else if (r < 0 && has_started) {
        remember_failure(job, r, &err);
        say_failure(job, r, &err);
    }
    detach(job);
    stream_close(s, r == 0 ? "stop" : r == -ERR_CANCELLED ? "cancelled" : "error", NULL);
    release_waiters(job, r, &err);
    if (r == 0 || job->has_published)
        embedding_start(job->engine,
                        job->source_id); /* and again when a merge replaces the index */
    merge_if_due(job->engine, job->source_id, stream_stop_flag(s)); /* nobody waits for it */
    job_free(job);
}

/* The part of a source that its job needs. */
struct job_source {
    char *location;                 /* owned */
    struct filter_patterns filters; /* owned */
    bool is_remote;
    char tenant[STORE_ID_MAX], lost_why[200];
};

static int job_new(struct engine *e, const char *source_id, struct job_source *from,
                   const struct index_ask *ask, struct index_job **ret, struct err *err)
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
    job->is_remote = from->is_remote;
    job->ask = ask ? *ask : (struct index_ask){.is_guarded = true};
    snprintf(job->source_id, sizeof job->source_id, "%s", source_id);
    snprintf(job->tenant, sizeof job->tenant, "%s", from->tenant);
    snprintf(job->lost_why, sizeof job->lost_why, "%s", from->lost_why);
    list_init(&job->waiters);
    list_init(&job->running.link);
    r = running_enter(e, &job->running, s, err);
    if (r < 0) {
        stream_close(s, "error", NULL);
        mem_free(job->location);
        filter_patterns_done(&job->filters);
        index_ask_done(&job->ask);
        mem_free(job);
    } else {
        *ret = job;
    }
    stream_unref_producer(s);
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
        ret->is_remote = strcmp(s->row.kind, SOURCE_KIND_GIT) == 0;
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

int indexing_start(struct engine *e, const char *source_id, const struct index_ask *ask,
                   struct index_waiter *waiter, struct stream **ret_stream, struct err *err)
{
    struct job_source from = {0};
    struct index_job *job;
    int r = join_running(e, source_id, waiter, ret_stream, &from, err);
    if (r != 0)
        return r < 0 ? r : 0;
    r = job_new(e, source_id, &from, ask, &job, err);
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
    struct stream *stream;
    int r = stream_create(e->options.hub, &what, &stream, err);
    if (r < 0)
        return r;
    long long files = 0;
    lock_enter(&e->lock);
    struct live_source *s = source_live(e, id);
    if (s)
        files = (long long)s->row.files;
    lock_leave(&e->lock);
    emit_status(stream, "ready", 1, "Nothing has changed: %lld files are indexed", files);
    stream_close(stream, "stop", NULL);
    *ret = stream_ref(stream);
    stream_unref_producer(stream);
    return 0;
}

int engine_index(struct engine *e, const struct engine_caller *who,
                 const struct index_request *request, struct stream **ret_stream, struct err *err)
{
    char id[STORE_ID_MAX];
    struct index_ask ask;
    const char *type;
    char location[SOURCE_URL_MAX];
    int r = source_resolve_wanted(e, who, request->source, &request->access, request->name,
                                  &request->filters, id, &ask, err);
    if (r < 0)
        return r;
    ask.must_build = request->force;
    source_address(e, id, location, sizeof location, &type);
    lock_enter(&e->lock);
    struct live_source *s = source_live(e, id);
    if (s)
        s->checked_ms = 0; /* who asks for it has the files looked at now */
    if (s && !s->job)
        s->wants_rebuild = request->force;
    lock_leave(&e->lock);
    if (!request->force && strcmp(type, "local") == 0) {
        struct index *ix = source_fresh_index(e, id, NULL);
        bool has_failures = ix && index_retry_count(ix) > 0; /* files that are tried again */
        index_unref(ix);
        if (ix && !has_failures)
            return already_fresh(e, who->tenant, id, ret_stream, err);
    }
    r = indexing_start(e, id, &ask, NULL, ret_stream, err);
    index_ask_done(&ask);
    return r;
}
