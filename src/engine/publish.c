/*
 * How the next snapshot of a source becomes its index: manifest first (the disk decides), then the row, then memory. Two
 * who do it, an index job and a merge, may work at the same time; what they make is put together under engine->publish,
 * each on top of what the other has published.
 */
#include "engine/engine_priv.h"

#include "base/clock.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metric.h"
#include "index/update.h"

#include <limits.h>
#include <stdio.h>
#include <unistd.h>

#define SEGMENTS_ROOM 4 /* this near to the limit, a job waits for the merge */

enum { M_MERGES, M_MERGES_FAILED };
static struct metric metrics[] = {
    [M_MERGES] = METRIC_COUNTER("headwater_index_merges_total", "merges of index segments ended"),
    [M_MERGES_FAILED] = METRIC_COUNTER("headwater_index_merges_failed_total",
                                       "merges of index segments that failed"),
};

int index_manifest_path(const struct engine *e, const char *id, char ret[PATH_MAX], struct err *err)
{
    int n = snprintf(ret, PATH_MAX, "%s/%s" INDEX_MANIFEST_SUFFIX, e->index_dir, id);
    return n > 0 && n < PATH_MAX
               ? 0
               : err_set(err, ERR_TOO_LARGE, "the data directory's path is too long");
}

/* The snapshot published last, a reference, or NULL. */
static struct index *current_index(struct engine *e, const char *id)
{
    lock_enter(&e->lock);
    struct live_source *s = source_live(e, id);
    struct index *ix = s && s->index ? index_ref(s->index) : NULL;
    lock_leave(&e->lock);
    return ix;
}

static bool is_full(const struct index *ix)
{
    struct index_stats st;
    index_stats(ix, &st);
    return st.segments >= LIMIT_INDEX_SEGMENTS_COUNT - SEGMENTS_ROOM;
}

/* Updates may come faster than merges end: then they wait. */
static void wait_for_room(struct engine *e, const char *id)
{
    lock_enter(&e->lock);
    for (;;) {
        struct live_source *s = source_live(e, id);
        if (!s || !s->is_merging || !s->index || e->stopping || !is_full(s->index))
            break;
        cond_wait(&e->idle, &e->lock);
    }
    lock_leave(&e->lock);
}

/* An index file of before there were manifests; what the manifest replaced is gone already. */
static void remove_old_file(const struct engine *e, const char *old, const char *with)
{
    char path[PATH_MAX];
    if (!old || !old[0] || strcmp(old, with) == 0)
        return;
    int n = snprintf(path, sizeof path, "%s/%s", e->index_dir, old);
    if (n > 0 && n < (int)sizeof path)
        (void)unlink(path); /* a left-over is only space */
}

static int store_row(struct engine *e, const char *id, struct source_change *change,
                     struct index *ix, struct err *err)
{
    char file[STORE_ID_MAX + sizeof INDEX_MANIFEST_SUFFIX];
    struct index_stats stats;
    CLEANUP(mem_freep) char *old_file = NULL;
    snprintf(file, sizeof file, "%s" INDEX_MANIFEST_SUFFIX, id);
    index_stats(ix, &stats);
    change->index_file = file;
    change->stats = &stats;
    change->index = index_ref(ix);
    int r = source_change(e, id, change, &old_file, err);
    if (r < 0) {
        index_unref(ix);
        source_set_index(e, id, index_ref(ix)); /* the disk has it: the next goes on from there */
        return r;
    }
    remove_old_file(e, old_file, file);
    return 0;
}

int publish_update(struct engine *e, const char *id, struct index_update *u,
                   struct source_change *change, uint32_t retry_count, bool is_last,
                   struct err *err)
{
    struct index *next = NULL;
    int r = index_update_seal(u, err);
    if (r < 0)
        return r;
    wait_for_room(e, id);
    lock_enter(&e->publish);
    struct index_publish how = {.current = current_index(e, id),
                                .revision = change->revision,
                                .fingerprint = change->fingerprint,
                                .retry_count = retry_count,
                                .is_last = is_last};
    r = index_update_publish(u, &how, &next, err);
    if (r == 0)
        r = store_row(e, id, change, next, err);
    lock_leave(&e->publish);
    index_unref(how.current);
    index_unref(next);
    if (!is_last) /* else the job that ends starts it in any case */
        embedding_follow(e, id);
    return r;
}

/* ---- merging ---- */

static int merge_once(struct engine *e, const char *id, struct index *from,
                      const _Atomic bool *cancel, struct err *err)
{
    char path[PATH_MAX];
    struct index_merge *m = NULL;
    struct index *next = NULL;
    int r = index_manifest_path(e, id, path, err);
    if (r == 0)
        r = index_merge_new(path, from, cancel, &m, err);
    if (r < 0)
        return r;
    lock_enter(&e->publish);
    struct index *current = current_index(e, id);
    if (current)
        r = index_merge_publish(m, current, &next, err);
    if (r == 0 && next)
        source_set_index(e, id, next);
    lock_leave(&e->publish);
    index_merge_free(m);
    index_unref(current);
    return r;
}

/* The source's index when a merge of it is due and nobody is at it; then it is ours until end_merge. */
static struct index *begin_merge(struct engine *e, const char *id)
{
    struct index *ix = NULL;
    lock_enter(&e->lock);
    struct live_source *s = source_live(e, id);
    if (s && s->index && !s->is_merging && !e->stopping && index_merge_is_due(s->index)) {
        ix = index_ref(s->index);
        s->is_merging = true;
    }
    lock_leave(&e->lock);
    return ix;
}

static void end_merge(struct engine *e, const char *id)
{
    lock_enter(&e->lock);
    struct live_source *s = source_live(e, id);
    if (s)
        s->is_merging = false;
    cond_broadcast(&e->idle);
    lock_leave(&e->lock);
}

void merge_if_due(struct engine *e, const char *id, const _Atomic bool *cancel)
{
    struct index *ix;
    int r = 0;
    while (r == 0 && (ix = begin_merge(e, id))) {
        struct err err = {0};
        struct index_stats st;
        uint64_t began = clock_ms();
        index_stats(ix, &st);
        r = merge_once(e, id, ix, cancel, &err);
        end_merge(e, id);
        index_unref(ix);
        metric_register(metrics, ARRAY_LEN(metrics));
        metric_add(&metrics[M_MERGES], 1);
        metric_add(&metrics[M_MERGES_FAILED], r < 0 && r != -ERR_CANCELLED);
        if (r < 0 && r != -ERR_CANCELLED)
            LOG_WARN("engine", "segments of an index were not merged", LOG_S("source", id),
                     LOG_S("why", err.msg));
        else if (r == 0)
            LOG_INFO("engine", "merged segments of an index", LOG_S("source", id),
                     LOG_U("segments", st.segments), LOG_U("ms", clock_ms() - began));
        if (r == 0)
            embedding_start(e, id); /* chunks have other numbers now */
    }
}
