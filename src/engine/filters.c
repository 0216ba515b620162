/* Sources of which only some files are wanted: each set of filters is a source of its own, made when first asked for. */
#include "engine/engine_priv.h"

#include "base/limits.h"
#include "base/mem.h"
#include "ingest/filter_set.h"
#include "text/utf8.h"

#include <stdio.h>

static int add_patterns(struct filter_set *set, bool is_include, const json_t *list,
                        struct err *err)
{
    size_t i;
    json_t *item;
    int r = 0;
    if (list && !json_is_array(list) && !json_is_null(list))
        return err_set(err, ERR_INVALID, "%s is not a list of patterns",
                       is_include ? "include" : "exclude");
    json_array_foreach(list, i, item)
    {
        if (r == 0 && !json_is_string(item))
            r = err_set(err, ERR_INVALID, "a pattern to %s is not a string",
                        is_include ? "include" : "exclude");
        if (r == 0)
            r = filter_set_add_pattern(set, is_include, json_span(item), err);
    }
    return r;
}

int filters_text(const struct engine_filters *f, struct buf *out, struct err *err)
{
    struct filter_set lists = {0}, patterns = {0};
    int r = filter_set_add_list(&lists, FILTER_EXCLUDED_DIR, f->excluded_dirs, err);
    if (r == 0)
        r = filter_set_add_list(&lists, FILTER_EXCLUDED_FILE, f->excluded_files, err);
    if (r == 0)
        r = filter_set_add_list(&lists, FILTER_INCLUDED_DIR, f->included_dirs, err);
    if (r == 0)
        r = filter_set_add_list(&lists, FILTER_INCLUDED_FILE, f->included_files, err);
    if (r == 0)
        r = add_patterns(&patterns, true, f->include, err);
    if (r == 0)
        r = add_patterns(&patterns, false, f->exclude, err);
    /* One protocol's or the other's: no request carries both. */
    if (r == 0)
        r = filter_set_text(patterns.count ? &patterns : &lists, !patterns.count, out, err);
    filter_set_done(&lists);
    filter_set_done(&patterns);
    return r;
}

struct span location_path(struct span location)
{
    ptrdiff_t at = span_find_char(location, '\n');
    return at < 0 ? location : span_first(location, (size_t)at);
}

struct span location_filters(struct span location)
{
    ptrdiff_t at = span_find_char(location, '\n');
    return at < 0 ? SPAN_NULL : span_skip(location, (size_t)at + 1);
}

/* Name and kind of the source with all files, and the location of the one with these. */
struct wanted {
    struct buf location;
    char name[SOURCE_NAME_MAX + 16], kind[32];
};

static int read_base(struct engine *e, const char *id, struct span text, struct wanted *w,
                     struct err *err)
{
    char hash[9];
    filter_text_hash(text, hash);
    lock_enter(&e->lock);
    const struct live_source *s = source_live(e, id);
    if (s) {
        buf_put_span(&w->location, location_path(span_str(s->row.location)));
        buf_putc(&w->location, '\n');
        buf_put_span(&w->location, text);
        struct span name = span_str(s->row.name);
        name = span_first(name, utf8_cut(name, SOURCE_NAME_MAX - 16));
        snprintf(w->name, sizeof w->name, SPAN_FMT "~%s", SPAN_ARG(name), hash);
        snprintf(w->kind, sizeof w->kind, "%s", s->row.kind);
    }
    lock_leave(&e->lock);
    if (!s)
        return err_set(err, ERR_UNAVAILABLE, "the source was let go meanwhile");
    return buf_failed(&w->location) ? err_set(err, ERR_NO_MEMORY, "out of memory") : 0;
}

/* Is this the name of a source that has filters of its own? */
static bool names_filtered(struct engine *e, const struct engine_caller *who, struct span named)
{
    struct store_source row = {0};
    CLEANUP(mem_freep) char *text = mem_try_strndup(named.ptr, named.len);
    int r =
        text ? store_source_find(e->options.store, who->tenant, text, &row, NULL) : -ERR_NO_MEMORY;
    bool is_filtered = r == 0 && location_filters(span_str(row.location)).len > 0;
    store_source_done(&row);
    return is_filtered;
}

int source_resolve_wanted(struct engine *e, const struct engine_caller *who, struct span named,
                          const struct source_access *access, struct span name,
                          const struct engine_filters *filters, char ret_id[STORE_ID_MAX],
                          struct index_ask *ret_ask, struct err *err)
{
    struct buf text = BUF_INIT(LIMIT_FILTERS_BYTES);
    struct wanted w = {.location = BUF_INIT(LIMIT_FILTERS_BYTES * 2)};
    int r = filters_text(filters, &text, err);
    if (r == 0 && !text.len && e->filters.len && !names_filtered(e, who, named))
        buf_put_span(&text, buf_span(&e->filters));
    bool has_filters = r == 0 && text.len > 0;
    if (r == 0)
        r = source_resolve_access(e, who, named, access, has_filters ? SPAN_NULL : name, ret_id,
                                  ret_ask, err);
    bool has_ask = r == 0;
    if (r == 0 && has_filters)
        r = read_base(e, ret_id, buf_span(&text), &w, err);
    if (r == 0 && has_filters)
        r = source_at(e, who, buf_str(&w.location), w.kind, w.name, name, ret_id, err);
    if (r < 0 && has_ask && ret_ask)
        index_ask_done(ret_ask);
    buf_done(&text);
    buf_done(&w.location);
    return r;
}
