/* What a kill leaves in the index folder: files that were being written, and ones that nothing names any more. */
#include "engine/engine_priv.h"

#include "base/log.h"
#include "base/mem.h"
#include "index/update.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <unistd.h>

struct sweep {
    const struct engine *e;
    const struct store_source *rows;
    size_t count;
    bool has_rows;
};

static bool is_in_rows(const struct sweep *s, const char *file)
{
    for (size_t i = 0; i < s->count; i++)
        if (strcmp(s->rows[i].index_file, file) == 0)
            return true;
    return false;
}

/* A segment's manifest has its name up to the last '-'. */
static bool is_in_manifest(const struct sweep *s, struct span segment)
{
    char path[PATH_MAX];
    size_t stem = segment.len - sizeof INDEX_SEGMENT_SUFFIX + 1 - INDEX_RANDOM_CHARS - 1;
    int n = snprintf(path, sizeof path, "%s/" SPAN_FMT INDEX_MANIFEST_SUFFIX, s->e->index_dir,
                     SPAN_ARG(span_first(segment, stem)));
    return n < 0 || n >= (int)sizeof path || index_manifest_names(path, segment) != 0;
}

/* "<source>-<embedder>.hwv": whose. False when it is something else. */
static bool vectors_source(struct span name, struct span *ret)
{
    size_t tail = sizeof "-01234567" VECTORS_SUFFIX - 1;
    *ret = span_first(name, name.len > tail ? name.len - tail : 0);
    return name.len > tail && name.ptr[name.len - tail] == '-' &&
           span_ends(name, SPAN_LIT(VECTORS_SUFFIX));
}

static bool is_source(const struct sweep *s, struct span id)
{
    for (size_t i = 0; i < s->count; i++)
        if (span_is(id, s->rows[i].id))
            return true;
    return false;
}

/*
 * "<source>.hwm", "<source>-<8>.hwi", each with ".partial" behind it while it is written. What was damaged and set aside
 * (".damaged-N") stays: a person may want to look at it, and there are few.
 */
static bool is_left_over(const struct sweep *s, const char *file)
{
    struct span name = span_str(file), source;
    if (vectors_source(name, &source))
        return s->has_rows && !is_source(s, source);
    ptrdiff_t at = span_find(name, SPAN_LIT(".partial")); /* or ".partial.<6>" */
    bool is_partial = at >= 0;
    if (is_partial)
        name = span_first(name, (size_t)at);
    bool is_manifest = span_ends(name, SPAN_LIT(INDEX_MANIFEST_SUFFIX));
    size_t tail = sizeof INDEX_SEGMENT_SUFFIX - 1 + INDEX_RANDOM_CHARS + 1;
    bool is_segment = span_ends(name, SPAN_LIT(INDEX_SEGMENT_SUFFIX)) && name.len > tail &&
                      name.ptr[name.len - tail] == '-';
    if (!is_manifest && !is_segment)
        return false;
    return is_partial ||
           (s->has_rows && !is_in_rows(s, file) && (is_manifest || !is_in_manifest(s, name)));
}

static size_t sweep(const struct sweep *s, DIR *dir, bool manifests)
{
    size_t removed = 0;
    struct dirent *d;
    rewinddir(dir);
    while ((d = readdir(dir))) { /* NOLINT(concurrency-mt-unsafe): dir is ours alone */
        bool is_manifest = span_ends(span_str(d->d_name), SPAN_LIT(INDEX_MANIFEST_SUFFIX));
        if (is_manifest != manifests || !is_left_over(s, d->d_name))
            continue;
        if (unlinkat(dirfd(dir), d->d_name, 0) == 0)
            removed++;
        else
            LOG_WARN("engine", "a left-over index file could not be removed",
                     LOG_S("file", d->d_name));
    }
    return removed;
}

void remove_leftovers(struct engine *e)
{
    struct store_source *rows = NULL;
    size_t count = 0;
    struct err err = {0};
    DIR *dir = opendir(e->index_dir);
    if (!dir)
        return;
    bool has_rows =
        store_source_list(e->options.store, STORE_TENANT_DEFAULT, &rows, &count, &err) == 0;
    if (!has_rows)
        LOG_WARN("engine", "unused index files stay: the list of sources cannot be read",
                 LOG_S("why", err.msg));
    struct sweep s = {e, rows, count, has_rows};
    size_t removed = sweep(&s, dir, true); /* first, as segments are kept for their manifests */
    removed += sweep(&s, dir, false);
    if (removed)
        LOG_INFO("engine", "removed index files that an interrupted run left behind",
                 LOG_U("files", removed));
    for (size_t i = 0; i < count; i++)
        store_source_done(&rows[i]);
    mem_free(rows);
    (void)closedir(dir);
}

void remove_vectors(const struct engine *e, const char *source_id)
{
    struct dirent *d;
    struct span source;
    DIR *dir = opendir(e->index_dir);
    if (!dir)
        return;
    while ((d = readdir(dir))) /* NOLINT(concurrency-mt-unsafe): dir is ours alone */
        if (vectors_source(span_str(d->d_name), &source) && span_is(source, source_id))
            (void)unlinkat(dirfd(dir), d->d_name, 0); /* a left-over is swept at the next start */
    (void)closedir(dir);
}
