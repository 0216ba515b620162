#include "base/mem.h"
#include "store/sqlite_priv.h"

/* ---- writes ---- */

static int put_stream(struct sqlconn *c, const struct store_stream *st, struct err *err)
{
    struct query q CLEANUP(query_done) = query_start(c, SQL_STREAM_PUT, err);
    query_text(&q, 1, st->id);
    query_text(&q, 2, st->tenant);
    query_text(&q, 3, st->kind);
    query_int(&q, 4, (int64_t)st->last_seq);
    query_int(&q, 5, st->is_closed);
    query_text(&q, 6, st->reason);
    query_int(&q, 7, st->created_ms);
    query_int(&q, 8, st->closed_ms);
    int r = query_run(&q);
    /* the statement leaves another tenant's row alone */
    return r ? r : query_changes(&q) ? 0 : store_stream_foreign(st->id, err);
}

static int stream_key(struct sqlconn *c, const char *id, int64_t *ret, struct err *err)
{
    struct query q CLEANUP(query_done) = query_start(c, SQL_STREAM_KEY, err);
    query_text(&q, 1, id);
    int r = query_step(&q);
    if (r > 0)
        *ret = query_col_int(&q, 0);
    return r < 0 ? r : r ? 0 : store_stream_missing(id, err);
}

static int put_block(struct sqlconn *c, const struct store_block *b, struct err *err)
{
    int64_t key = 0;
    int r = stream_key(c, b->stream_id, &key, err);
    if (r)
        return r;
    struct query clear CLEANUP(query_done) = query_start(c, SQL_BLOCK_CLEAR, err);
    query_int(&clear, 1, key);
    query_int(&clear, 2, (int64_t)b->first_seq);
    r = query_run(&clear);
    if (r)
        return r;
    struct query q CLEANUP(query_done) = query_start(c, SQL_BLOCK_ADD, err);
    query_int(&q, 1, key);
    query_int(&q, 2, (int64_t)b->first_seq);
    query_int(&q, 3, (int64_t)b->last_seq);
    query_blob(&q, 4, b->bytes);
    return query_run(&q);
}

int sqlite_apply(void *ctx, struct write_op *op, struct err *err)
{
    struct sqlite_store *s = ctx;
    struct store_post *p = container_of(op, struct store_post, op);
    int r = 0;
    for (size_t i = 0; i < p->stream_count && !r; i++)
        r = put_stream(&s->writer, &p->streams[i], err);
    for (size_t i = 0; i < p->block_count && !r; i++)
        r = put_block(&s->writer, &p->blocks[i], err);
    return r;
}

struct expire_op {
    struct write_op op;
    int64_t closed_before_ms;
    size_t max, count;
};

static int run_expire(void *ctx, struct write_op *op, struct err *err)
{
    struct sqlite_store *s = ctx;
    struct expire_op *e = container_of(op, struct expire_op, op);
    struct query q CLEANUP(query_done) = query_start(&s->writer, SQL_STREAMS_EXPIRE, err);
    query_int(&q, 1, e->closed_before_ms);
    query_int(&q, 2, (int64_t)e->max);
    int r = query_run(&q);
    e->count = r ? 0 : (size_t)query_changes(&q);
    return r;
}

int sqlite_streams_expire(struct store *s, int64_t closed_before_ms, size_t max, size_t *ret_count,
                          struct err *err)
{
    struct expire_op e = {.op.run = run_expire, .closed_before_ms = closed_before_ms, .max = max};
    int r = writer_call(&s->writer, &e.op, err);
    if (!r)
        *ret_count = e.count;
    return r;
}

/* ---- reads ---- */

static void read_stream(const struct query *q, struct store_stream *ret)
{
    *ret = (struct store_stream){.last_seq = (uint64_t)query_col_int(q, 3),
                                 .is_closed = query_col_int(q, 4) != 0,
                                 .created_ms = query_col_int(q, 6),
                                 .closed_ms = query_col_int(q, 7)};
    query_col_copy(q, 0, ret->id, sizeof ret->id);
    query_col_copy(q, 1, ret->tenant, sizeof ret->tenant);
    query_col_copy(q, 2, ret->kind, sizeof ret->kind);
    query_col_copy(q, 5, ret->reason, sizeof ret->reason);
}

int sqlite_stream_get(struct store *base, const char *tenant, const char *id,
                      struct store_stream *ret, struct err *err)
{
    struct sqlite_store *s = sqlite_of(base);
    struct sqlconn *c;
    int r = reader_take(s, &c, err);
    if (r)
        return r;
    struct query q = query_start(c, SQL_STREAM_GET, err);
    query_text(&q, 1, id);
    query_text(&q, 2, tenant);
    r = query_step(&q);
    if (r > 0)
        read_stream(&q, ret);
    else if (!r)
        r = store_stream_missing(id, err);
    query_done(&q);
    reader_give(s, c);
    return r < 0 ? r : 0;
}

/* 1 = found, 0 = no such block, negative = failed. */
static int find_block(struct sqlconn *c, enum sql which, const char *stream_id, uint64_t seq,
                      char **ret_bytes, size_t *ret_len, uint64_t *ret_first, struct err *err)
{
    struct query q CLEANUP(query_done) = query_start(c, which, err);
    query_text(&q, 1, stream_id);
    query_int(&q, 2, (int64_t)seq);
    int r = query_step(&q);
    if (r <= 0)
        return r;
    char *bytes = query_col_text(&q, 1);
    if (!bytes)
        return store_no_memory(err);
    *ret_bytes = bytes;
    *ret_len = query_col_blob(&q, 1).len;
    *ret_first = (uint64_t)query_col_int(&q, 0);
    return 1;
}

int sqlite_block_get(struct store *base, const char *stream_id, uint64_t seq, char **ret_bytes,
                     size_t *ret_len, uint64_t *ret_first, struct err *err)
{
    struct sqlite_store *s = sqlite_of(base);
    struct sqlconn *c;
    int r = reader_take(s, &c, err);
    if (r)
        return r;
    r = find_block(c, SQL_BLOCK_HOLDING, stream_id, seq, ret_bytes, ret_len, ret_first, err);
    if (!r)
        r = find_block(c, SQL_BLOCK_AFTER, stream_id, seq, ret_bytes, ret_len, ret_first, err);
    reader_give(s, c);
    return r < 0 ? r : r ? 0 : store_block_missing(stream_id, seq, err);
}

static int list_unfinished(struct sqlconn *c, struct store_stream **ret, size_t *ret_count,
                           struct err *err)
{
    struct store_stream *items = NULL;
    size_t count = 0, cap = 0;
    struct query q CLEANUP(query_done) = query_start(c, SQL_STREAMS_UNFINISHED, err);
    int r;
    while ((r = query_step(&q)) > 0) {
        struct store_stream *grown = store_grow(items, count, &cap, sizeof *items);
        if (!grown) {
            r = store_no_memory(err);
            break;
        }
        items = grown;
        read_stream(&q, &items[count++]);
    }
    if (r) {
        mem_free(items);
        return r;
    }
    *ret = items;
    *ret_count = count;
    return 0;
}

int sqlite_streams_unfinished(struct store *base, struct store_stream **ret, size_t *ret_count,
                              struct err *err)
{
    struct sqlite_store *s = sqlite_of(base);
    struct sqlconn *c;
    int r = reader_take(s, &c, err);
    if (r)
        return r;
    r = list_unfinished(c, ret, ret_count, err);
    reader_give(s, c);
    return r;
}
