/* What a kill leaves in the index folder: segments that were being written, and ones that no row names any more. */
#include "engine/engine_priv.h"

#include "base/log.h"
#include "base/mem.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <unistd.h>

/* Names that indexing.c and the builder make: "<source>-<8>.hwi" and that with more behind it (".partial"). */
static bool is_ours(struct span name, bool *ret_is_whole)
{
    ptrdiff_t at = span_find(name, SPAN_LIT(".hwi"));
    *ret_is_whole = at >= 0 && (size_t)at + 4 == name.len;
    return at > 9 && name.ptr[at - 9] == '-';
}

static bool is_named(const struct store_source *rows, size_t count, const char *file)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(rows[i].index_file, file) == 0)
            return true;
    return false;
}

static size_t sweep(DIR *dir, const struct store_source *rows, size_t count, bool has_rows)
{
    size_t removed = 0;
    struct dirent *d;
    while ((d = readdir(dir))) { /* NOLINT(concurrency-mt-unsafe): dir is ours alone */
        bool is_whole;
        if (!is_ours(span_str(d->d_name), &is_whole) ||
            (is_whole && (!has_rows || is_named(rows, count, d->d_name))))
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
    size_t removed = sweep(dir, rows, count, has_rows);
    if (removed)
        LOG_INFO("engine", "removed index files that an interrupted run left behind",
                 LOG_U("files", removed));
    for (size_t i = 0; i < count; i++)
        store_source_done(&rows[i]);
    mem_free(rows);
    (void)closedir(dir);
}
