/* Sources: what callers may name, the rows kept of them, and the open index of each. */
#include "engine/engine_priv.h"

#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "ingest/ingest.h"

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>

#define PATH_BYTES_MAX 4096

static bool is_remote(struct span s)
{
    return span_find(s, SPAN_LIT("://")) >= 0 || span_starts(s, SPAN_LIT("git@"));
}

static bool path_is_below(const char *path, const char *dir)
{
    size_t n = strlen(dir);
    return strncmp(path, dir, n) == 0 &&
           (path[n] == 0 || path[n] == '/' || (n && dir[n - 1] == '/'));
}

static bool may_name(const struct engine *e, const struct engine_caller *who, const char *path)
{
    if (who->is_trusted)
        return true;
    for (size_t i = 0; e->allow_paths[i]; i++)
        if (path_is_below(path, e->allow_paths[i]))
            return true;
    return false;
}

struct live_source *source_live(struct engine *e, const char *id)
{
    return map_get(&e->sources, span_str(id));
}

/* Puts a row into the table of used sources (or leaves the one that is there). The row's strings move. */
static int source_adopt(struct engine *e, struct store_source *row, char ret_id[STORE_ID_MAX])
{
    int r = 0;
    snprintf(ret_id, STORE_ID_MAX, "%s", row->id);
    lock_enter(&e->lock);
    if (source_live(e, row->id)) {
        store_source_done(row);
    } else {
        struct live_source *s = mem_alloc(sizeof *s);
        s->row = *row;
        r = map_set(&e->sources, span_str(row->id), s, NULL);
        if (r < 0) {
            store_source_done(row);
            mem_free(s);
        }
    }
    lock_leave(&e->lock);
    return r;
}

static void last_component(const char *path, char *ret, size_t size)
{
    const char *slash = strrchr(path, '/');
    const char *name = slash && slash[1] ? slash + 1 : path;
    snprintf(ret, size, "%s", name);
}

/* A new row; a name that is taken by another folder gets a number. */
static int source_create(struct engine *e, const struct engine_caller *who, const char *path,
                         struct span name, char ret_id[STORE_ID_MAX], struct err *err)
{
    char base[256], tried[300];
    if (name.len)
        snprintf(base, sizeof base, SPAN_FMT, SPAN_ARG(name));
    else
        last_component(path, base, sizeof base);
    for (int n = 1; n < 1000; n++) {
        struct store_source row = {.created_ms = clock_wall_ms()};
        random_id(row.id, 16);
        snprintf(row.tenant, sizeof row.tenant, "%s", who->tenant);
        if (n == 1)
            snprintf(tried, sizeof tried, "%s", base);
        else
            snprintf(tried, sizeof tried, "%s-%d", base, n);
        row.name = mem_strdup(tried);
        row.kind = mem_strdup("local");
        row.location = mem_strdup(path);
        row.index_file = mem_strdup("");
        row.revision = mem_strdup("");
        row.fingerprint = mem_strdup("");
        row.state = mem_strdup("new");
        row.error = mem_strdup("");
        int r = store_source_put(e->options.store, &row, err);
        if (r == 0)
            return source_adopt(e, &row, ret_id);
        store_source_done(&row);
        if (r != -ERR_EXISTS || name.len)
            return r;
    }
    return err_set(err, ERR_EXISTS, "every name like '%s' is taken", base);
}

static int resolve_path(struct engine *e, const struct engine_caller *who, const char *named,
                        struct span name, char ret_id[STORE_ID_MAX], struct err *err)
{
    struct store_source row = {0};
    CLEANUP(mem_freep) char *real = realpath(named, NULL);
    if (!real || !may_name(e, who, real)) {
        /* The same answer whether it exists or not: clients may not probe the file system. */
        if (!who->is_trusted) {
            err_set(err, ERR_FORBIDDEN,
                    "'%s' is not a source of this server and lies outside the allowed paths",
                    named);
            err_hint(err, "index it on the server with 'headwater index', or start the server with "
                          "--allow-path");
            return -ERR_FORBIDDEN;
        }
        err_errno(err, errno, "no folder, file or source '%s'", named);
        err_hint(err, "'headwater sources' lists what is indexed");
        return -ERR_NOT_FOUND;
    }
    int r = store_source_find(e->options.store, who->tenant, real, &row, NULL);
    if (r == 0 && name.len && !span_is(name, row.name)) {
        mem_free(row.name);
        row.name = mem_try_strndup(name.ptr, name.len);
        r = row.name ? store_source_put(e->options.store, &row, err) : -ERR_NO_MEMORY;
    }
    if (r == 0)
        return source_adopt(e, &row, ret_id);
    store_source_done(&row);
    return r == -ERR_NOT_FOUND ? source_create(e, who, real, name, ret_id, err) : r;
}

int source_resolve(struct engine *e, const struct engine_caller *who, struct span named,
                   struct span name, char ret_id[STORE_ID_MAX], struct err *err)
{
    if (!named.len || named.len >= PATH_BYTES_MAX || memchr(named.ptr, 0, named.len))
        return err_set(err, ERR_INVALID, "no source named");
    CLEANUP(mem_freep) char *text = mem_try_strndup(named.ptr, named.len);
    if (!text)
        return err_set(err, ERR_NO_MEMORY, "out of memory");
    struct store_source row = {0};
    int r = store_source_find(e->options.store, who->tenant, text, &row, err);
    if (r == 0 && (!name.len || span_is(name, row.name)))
        return source_adopt(e, &row, ret_id);
    store_source_done(&row);
    if (r < 0 && r != -ERR_NOT_FOUND)
        return r;
    if (is_remote(named)) {
        err_set(err, ERR_UNSUPPORTED, "'%s' is not on this machine", text);
        err_hint(err, "clone it and index the folder: git clone … && headwater index FOLDER");
        return -ERR_UNSUPPORTED;
    }
    return resolve_path(e, who, text, name, ret_id, err);
}

/* What the caller needs of a source without holding the lock. */
struct source_state {
    char index_path[PATH_BYTES_MAX];
    char *location, *fingerprint;
    bool has_open_index, has_index_file, checked_lately;
};

static bool read_state(struct engine *e, const char *id, struct source_state *ret)
{
    *ret = (struct source_state){0};
    lock_enter(&e->lock);
    struct live_source *s = source_live(e, id);
    if (s) {
        ret->location = mem_strdup(s->row.location);
        ret->fingerprint = mem_strdup(s->row.fingerprint);
        ret->has_open_index = s->index != NULL;
        ret->has_index_file = s->row.index_file[0] != 0;
        ret->checked_lately = s->checked_ms && clock_ms() - s->checked_ms < FRESHNESS_INTERVAL_MS;
        snprintf(ret->index_path, sizeof ret->index_path, "%s/%s", e->index_dir, s->row.index_file);
    }
    lock_leave(&e->lock);
    return s != NULL;
}

static void state_done(struct source_state *st)
{
    mem_free(st->location);
    mem_free(st->fingerprint);
}

static void open_stored_index(struct engine *e, const char *id, const char *path)
{
    struct index *ix = NULL;
    struct err err;
    if (index_open(path, &ix, &err) < 0) {
        LOG_WARN("engine", "stored index cannot be used and will be rebuilt", LOG_S("source", id),
                 LOG_S("why", err.msg));
        return;
    }
    lock_enter(&e->lock);
    struct live_source *s = source_live(e, id);
    if (s && !s->index)
        s->index = take_ptr(ix);
    lock_leave(&e->lock);
    index_unref(ix);
}

struct index *source_any_index(struct engine *e, const char *id)
{
    struct source_state st;
    if (!read_state(e, id, &st))
        return NULL;
    if (!st.has_open_index && st.has_index_file)
        open_stored_index(e, id, st.index_path);
    state_done(&st);
    lock_enter(&e->lock);
    struct live_source *s = source_live(e, id);
    struct index *ix = s && s->index ? index_ref(s->index) : NULL;
    lock_leave(&e->lock);
    return ix;
}

struct index *source_fresh_index(struct engine *e, const char *id)
{
    struct index *ix = source_any_index(e, id);
    struct source_state st;
    if (!ix || !read_state(e, id, &st))
        return ix;
    if (!st.checked_lately) {
        char now[17];
        struct ingest_options o = {.root = st.location};
        if (ingest_fingerprint(&o, now, NULL) < 0 || strcmp(now, st.fingerprint) != 0) {
            index_unref(ix);
            ix = NULL;
        } else {
            lock_enter(&e->lock);
            struct live_source *s = source_live(e, id);
            if (s)
                s->checked_ms = clock_ms();
            lock_leave(&e->lock);
        }
    }
    state_done(&st);
    return ix;
}

bool source_names(struct engine *e, const char *id, char *ret_name, size_t name_size,
                  char *ret_revision, size_t revision_size)
{
    lock_enter(&e->lock);
    struct live_source *s = source_live(e, id);
    snprintf(ret_name, name_size, "%s", s ? s->row.name : "");
    snprintf(ret_revision, revision_size, "%s", s ? s->row.revision : "");
    lock_leave(&e->lock);
    return s != NULL;
}

static void put_source(struct json_writer *w, const struct store_source *s)
{
    char when[40] = "";
    if (s->indexed_ms)
        clock_iso(s->indexed_ms, when, sizeof when);
    jw_obj(w);
    jw_kstr(w, "id", s->id);
    jw_kstr(w, "name", s->name);
    jw_kstr(w, "kind", s->kind);
    jw_kstr(w, "location", s->location);
    jw_kstr(w, "state", s->state);
    jw_kstr(w, "revision", s->revision);
    jw_kint(w, "files", s->files);
    jw_kint(w, "chunks", s->chunks);
    jw_kint(w, "bytes", s->bytes);
    jw_kint(w, "skipped", s->skipped);
    jw_kstr(w, "indexed_at", when[0] ? when : NULL);
    jw_kstr(w, "error", s->error[0] ? s->error : NULL);
    jw_end_obj(w);
}

int engine_sources_json(struct engine *e, const struct engine_caller *who, struct buf *out,
                        struct err *err)
{
    struct store_source *all = NULL;
    size_t n = 0;
    int r = store_source_list(e->options.store, who->tenant, &all, &n, err);
    if (r < 0)
        return r;
    struct json_writer w = json_writer(out);
    jw_obj(&w);
    jw_key(&w, "sources");
    jw_arr(&w);
    for (size_t i = 0; i < n; i++) {
        put_source(&w, &all[i]);
        store_source_done(&all[i]);
    }
    jw_end_arr(&w);
    jw_end_obj(&w);
    mem_free(all);
    return buf_failed(out) ? err_set(err, ERR_TOO_LARGE, "too many sources to list") : 0;
}

/* An existing source by id, name or location; never makes one. */
static int source_known(struct engine *e, const struct engine_caller *who, struct span named,
                        char ret_id[STORE_ID_MAX], struct err *err)
{
    CLEANUP(mem_freep) char *text = mem_try_strndup(named.ptr, named.len);
    if (!text)
        return err_set(err, ERR_NO_MEMORY, "out of memory");
    struct store_source row = {0};
    int r = store_source_find(e->options.store, who->tenant, text, &row, NULL);
    if (r == -ERR_NOT_FOUND)
        r = store_source_get(e->options.store, who->tenant, text, &row, NULL);
    if (r == 0)
        return source_adopt(e, &row, ret_id);
    store_source_done(&row);
    return err_set(err, ERR_NOT_FOUND, "no source '%s'", text);
}

int engine_skipped_json(struct engine *e, const struct engine_caller *who, struct span source,
                        size_t offset, size_t limit, struct buf *out, struct err *err)
{
    char id[STORE_ID_MAX];
    struct store_source row = {0};
    struct store_skipped *items = NULL;
    size_t n = 0;
    int r = source_known(e, who, source, id, err);
    if (r == 0)
        r = store_source_get(e->options.store, who->tenant, id, &row, err);
    if (r == 0)
        r = store_skipped_list(e->options.store, who->tenant, id, offset, limit, &items, &n, err);
    if (r == 0) {
        struct json_writer w = json_writer(out);
        jw_obj(&w);
        jw_key(&w, "skipped");
        jw_arr(&w);
        for (size_t i = 0; i < n; i++) {
            jw_obj(&w);
            jw_kstr(&w, "path", items[i].path);
            jw_kstr(&w, "reason", items[i].reason);
            jw_end_obj(&w);
        }
        jw_end_arr(&w);
        jw_kint(&w, "total", row.skipped);
        jw_end_obj(&w);
    }
    store_skipped_free(items, n);
    store_source_done(&row);
    return r;
}
