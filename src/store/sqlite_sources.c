#include "base/mem.h"
#include "store/sqlite_priv.h"

/* ---- writes ---- */

struct source_op { /* one of the three writes; borrowed from the waiting caller */
    struct write_op op;
    const struct store_source *src;
    const char *tenant, *id;
    const struct store_skipped *items;
    size_t count;
};

static int source_exists(struct sqlconn *c, const char *tenant, const char *id, struct err *err)
{
    struct query q CLEANUP(query_done) = query_start(c, SQL_SOURCE_EXISTS, err);
    query_text(&q, 1, tenant);
    query_text(&q, 2, id);
    int r = query_step(&q);
    return r < 0 ? r : r ? 0 : store_source_missing(id, err);
}

static int run_put(void *ctx, struct write_op *op, struct err *err)
{
    struct sqlite_store *s = ctx;
    const struct store_source *src = container_of(op, struct source_op, op)->src;
    struct query q CLEANUP(query_done) = query_start(&s->writer, SQL_SOURCE_PUT, err);
    query_text(&q, 1, src->id);
    query_text(&q, 2, src->tenant);
    query_text(&q, 3, src->name);
    query_text(&q, 4, src->kind);
    query_text(&q, 5, src->location);
    query_text(&q, 6, src->index_file);
    query_text(&q, 7, src->revision);
    query_text(&q, 8, src->fingerprint);
    query_text(&q, 9, src->state);
    query_text(&q, 10, src->error);
    query_int(&q, 11, src->files);
    query_int(&q, 12, src->chunks);
    query_int(&q, 13, src->bytes);
    query_int(&q, 14, src->skipped);
    query_int(&q, 15, src->created_ms);
    query_int(&q, 16, src->indexed_ms);
    int r = query_run(&q);
    return r == -ERR_EXISTS ? store_source_taken(src->name, err) : r;
}

static int run_delete(void *ctx, struct write_op *op, struct err *err)
{
    struct sqlite_store *s = ctx;
    struct source_op *w = container_of(op, struct source_op, op);
    struct query q CLEANUP(query_done) = query_start(&s->writer, SQL_SOURCE_DELETE, err);
    query_text(&q, 1, w->tenant);
    query_text(&q, 2, w->id);
    int r = query_run(&q);
    return r ? r : query_changes(&q) ? 0 : store_source_missing(w->id, err);
}

static int run_skipped(void *ctx, struct write_op *op, struct err *err)
{
    struct sqlite_store *s = ctx;
    struct source_op *w = container_of(op, struct source_op, op);
    int r = source_exists(&s->writer, w->tenant, w->id, err);
    if (r)
        return r;
    struct query clear CLEANUP(query_done) = query_start(&s->writer, SQL_SKIPPED_CLEAR, err);
    query_text(&clear, 1, w->tenant);
    query_text(&clear, 2, w->id);
    r = query_run(&clear);
    for (size_t i = 0; i < w->count && !r; i++) {
        struct query q CLEANUP(query_done) = query_start(&s->writer, SQL_SKIPPED_ADD, err);
        query_text(&q, 1, w->tenant);
        query_text(&q, 2, w->id);
        query_int(&q, 3, (int64_t)i);
        query_text(&q, 4, w->items[i].path);
        query_text(&q, 5, w->items[i].reason);
        r = query_run(&q);
    }
    return r;
}

int sqlite_source_put(struct store *s, const struct store_source *src, struct err *err)
{
    struct source_op w = {.op.run = run_put, .src = src};
    return writer_call(&s->writer, &w.op, err);
}

int sqlite_source_delete(struct store *s, const char *tenant, const char *id, struct err *err)
{
    struct source_op w = {.op.run = run_delete, .tenant = tenant, .id = id};
    return writer_call(&s->writer, &w.op, err);
}

int sqlite_skipped_put(struct store *s, const char *tenant, const char *source_id,
                       const struct store_skipped *items, size_t count, struct err *err)
{
    struct source_op w = {
        .op.run = run_skipped, .tenant = tenant, .id = source_id, .items = items, .count = count};
    return writer_call(&s->writer, &w.op, err);
}

/* ---- reads ---- */

static int read_source(const struct query *q, struct store_source *ret, struct err *err)
{
    struct store_source src = {0};
    query_col_copy(q, 0, src.id, sizeof src.id);
    query_col_copy(q, 1, src.tenant, sizeof src.tenant);
    char **texts[] = {&src.name,     &src.kind,        &src.location, &src.index_file,
                      &src.revision, &src.fingerprint, &src.state,    &src.error};
    int64_t *numbers[] = {&src.files,   &src.chunks,     &src.bytes,
                          &src.skipped, &src.created_ms, &src.indexed_ms};
    for (int i = 0; i < (int)ARRAY_LEN(texts); i++) {
        *texts[i] = query_col_text(q, 2 + i);
        if (!*texts[i]) {
            store_source_done(&src);
            return store_no_memory(err);
        }
    }
    for (int i = 0; i < (int)ARRAY_LEN(numbers); i++)
        *numbers[i] = query_col_int(q, 2 + (int)ARRAY_LEN(texts) + i);
    *ret = src;
    return 0;
}

static int one_source(struct store *base, enum sql which, const char *tenant, const char *what,
                      struct store_source *ret, struct err *err)
{
    struct sqlite_store *s = sqlite_of(base);
    struct sqlconn *c;
    int r = reader_take(s, &c, err);
    if (r)
        return r;
    struct query q = query_start(c, which, err);
    query_text(&q, 1, tenant);
    query_text(&q, 2, what);
    r = query_step(&q);
    if (r > 0)
        r = read_source(&q, ret, err);
    else if (!r)
        r = store_source_missing(what, err);
    query_done(&q);
    reader_give(s, c);
    return r;
}

int sqlite_source_get(struct store *s, const char *tenant, const char *id, struct store_source *ret,
                      struct err *err)
{
    return one_source(s, SQL_SOURCE_GET, tenant, id, ret, err);
}

int sqlite_source_find(struct store *s, const char *tenant, const char *name_or_location,
                       struct store_source *ret, struct err *err)
{
    return one_source(s, SQL_SOURCE_FIND, tenant, name_or_location, ret, err);
}

static int list_sources(struct sqlconn *c, const char *tenant, struct store_source **ret,
                        size_t *ret_count, struct err *err)
{
    struct store_source *items = NULL;
    size_t count = 0, cap = 0;
    struct query q CLEANUP(query_done) = query_start(c, SQL_SOURCE_LIST, err);
    query_text(&q, 1, tenant);
    int r;
    while ((r = query_step(&q)) > 0) {
        struct store_source *grown = store_grow(items, count, &cap, sizeof *items);
        r = grown ? read_source(&q, &grown[count], err) : store_no_memory(err);
        items = grown ? grown : items;
        if (r)
            break;
        count++;
    }
    if (r) {
        for (size_t i = 0; i < count; i++)
            store_source_done(&items[i]);
        mem_free(items);
        return r;
    }
    *ret = items;
    *ret_count = count;
    return 0;
}

int sqlite_source_list(struct store *base, const char *tenant, struct store_source **ret,
                       size_t *ret_count, struct err *err)
{
    struct sqlite_store *s = sqlite_of(base);
    struct sqlconn *c;
    int r = reader_take(s, &c, err);
    if (r)
        return r;
    r = list_sources(c, tenant, ret, ret_count, err);
    reader_give(s, c);
    return r;
}

static int list_skipped(struct query *q, struct store_skipped **ret, size_t *ret_count,
                        struct err *err)
{
    struct store_skipped *items = NULL;
    size_t count = 0, cap = 0;
    int r;
    while ((r = query_step(q)) > 0) {
        struct store_skipped *grown = store_grow(items, count, &cap, sizeof *items);
        if (!grown) {
            r = store_no_memory(err);
            break;
        }
        items = grown;
        items[count] = (struct store_skipped){query_col_text(q, 0), query_col_text(q, 1)};
        count++;
        if (!items[count - 1].path || !items[count - 1].reason) {
            r = store_no_memory(err);
            break;
        }
    }
    if (r) {
        store_skipped_free(items, count);
        return r;
    }
    *ret = items;
    *ret_count = count;
    return 0;
}

int sqlite_skipped_list(struct store *base, const char *tenant, const char *source_id,
                        size_t offset, size_t max, struct store_skipped **ret, size_t *ret_count,
                        struct err *err)
{
    struct sqlite_store *s = sqlite_of(base);
    struct sqlconn *c;
    int r = reader_take(s, &c, err);
    if (r)
        return r;
    struct query q = query_start(c, SQL_SKIPPED_LIST, err);
    query_text(&q, 1, tenant);
    query_text(&q, 2, source_id);
    query_int(&q, 3, (int64_t)offset);
    query_int(&q, 4, (int64_t)max);
    r = list_skipped(&q, ret, ret_count, err);
    query_done(&q);
    reader_give(s, c);
    return r;
}
