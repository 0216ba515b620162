/*
 * The memory backend: the same promises without a file, for tests. Data under one lock; writes go through the same
 * writer as SQLite's, so order and callbacks are alike. Lists are searched in order: it is not made for size.
 */
#include "base/mem.h"
#include "base/bug.h"
#include "base/list.h"
#include "store/store_priv.h"

struct mem_source {
    struct list link;
    struct store_source src;
    struct store_skipped *skipped; /* owned */
    size_t skipped_count;
};

struct mem_block {
    struct list link;
    uint64_t first_seq, last_seq;
    size_t len;
    char bytes[];
};

struct mem_stream {
    struct list link;
    struct store_stream row;
    struct list blocks; /* by first_seq */
};

struct mem_store {
    struct store base;   /* first */
    struct lock lock;    /* guards the rest */
    struct list sources; /* by tenant and name */
    struct list streams; /* by id */
};

static struct mem_store *mem_of(struct store *s)
{
    return container_of(s, struct mem_store, base);
}

/* ---- sources ---- */

static void free_source(struct mem_source *m)
{
    if (!m)
        return;
    store_source_done(&m->src);
    store_skipped_free(m->skipped, m->skipped_count);
    mem_free(m);
}

static int copy_source(const struct store_source *from, struct store_source *ret, struct err *err)
{
    struct store_source to = *from;
    char **const texts[] = {&to.name,     &to.kind,        &to.location, &to.index_file,
                            &to.revision, &to.fingerprint, &to.state,    &to.error};
    bool is_complete = true;
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct span text = span_str(*texts[i]);
        *texts[i] = mem_try_strndup(text.ptr, text.len);
        is_complete &= *texts[i] != NULL;
    }
    if (!is_complete) {
        store_source_done(&to);
        return store_no_memory(err);
    }
    *ret = to;
    return 0;
}

static struct mem_source *source_by_id(struct mem_store *s, const char *tenant, const char *id)
{
    list_each(it, &s->sources)
    {
        struct mem_source *m = container_of(it, struct mem_source, link);
        if (strcmp(m->src.tenant, tenant) == 0 && strcmp(m->src.id, id) == 0)
            return m;
    }
    return NULL;
}

static struct mem_source *source_by_name(struct mem_store *s, const char *tenant, const char *name)
{
    list_each(it, &s->sources)
    {
        struct mem_source *m = container_of(it, struct mem_source, link);
        if (strcmp(m->src.tenant, tenant) == 0 && strcmp(m->src.name, name) == 0)
            return m;
    }
    return NULL;
}

static void insert_source(struct mem_store *s, struct mem_source *m)
{
    struct list *at = &s->sources;
    list_each(it, &s->sources)
    {
        struct mem_source *other = container_of(it, struct mem_source, link);
        int c = strcmp(other->src.tenant, m->src.tenant);
        if (c > 0 || (c == 0 && strcmp(other->src.name, m->src.name) > 0)) {
            at = it;
            break;
        }
    }
    list_append(at, &m->link); /* before `at` */
}

struct mem_op { /* a blocking write; borrowed from its caller */
    struct write_op op;
    const struct store_source *src;
    const char *tenant, *id;
    const struct store_skipped *items;
    size_t count, max;
    int64_t closed_before_ms;
};

static int put_locked(struct mem_store *s, const struct store_source *src, struct err *err)
{
    struct mem_source *old = source_by_id(s, src->tenant, src->id);
    struct mem_source *named = source_by_name(s, src->tenant, src->name);
    if (named && named != old)
        return store_source_taken(src->name, err);
    struct mem_source *m = mem_try(sizeof *m);
    int r = m ? copy_source(src, &m->src, err) : store_no_memory(err);
    if (r) {
        mem_free(m);
        return r;
    }
    if (old) {
        m->skipped = take_ptr(old->skipped);
        m->skipped_count = old->skipped_count;
        old->skipped_count = 0;
        list_remove(&old->link);
        free_source(old);
    }
    insert_source(s, m);
    return 0;
}

static int run_put(void *ctx, struct write_op *op, struct err *err)
{
    struct mem_store *s = ctx;
    lock_enter(&s->lock);
    int r = put_locked(s, container_of(op, struct mem_op, op)->src, err);
    lock_leave(&s->lock);
    return r;
}

static int mem_source_put(struct store *s, const struct store_source *src, struct err *err)
{
    struct mem_op w = {.op.run = run_put, .src = src};
    return writer_call(&s->writer, &w.op, err);
}

static int mem_source_get(struct store *base, const char *tenant, const char *id,
                          struct store_source *ret, struct err *err)
{
    struct mem_store *s = mem_of(base);
    lock_enter(&s->lock);
    struct mem_source *m = source_by_id(s, tenant, id);
    int r = m ? copy_source(&m->src, ret, err) : store_source_missing(id, err);
    lock_leave(&s->lock);
    return r;
}

static int mem_source_find(struct store *base, const char *tenant, const char *what,
                           struct store_source *ret, struct err *err)
{
    struct mem_store *s = mem_of(base);
    lock_enter(&s->lock);
    struct mem_source *m = source_by_name(s, tenant, what);
    for (struct list *it = s->sources.next; it != &s->sources && !m; it = it->next) {
        struct mem_source *other = container_of(it, struct mem_source, link);
        if (strcmp(other->src.tenant, tenant) == 0 && strcmp(other->src.location, what) == 0)
            m = other;
    }
    int r = m ? copy_source(&m->src, ret, err) : store_source_missing(what, err);
    lock_leave(&s->lock);
    return r;
}

static int list_locked(struct mem_store *s, const char *tenant, struct store_source **ret,
                       size_t *ret_count, struct err *err)
{
    struct store_source *items = NULL;
    size_t count = 0, cap = 0;
    int r = 0;
    for (struct list *it = s->sources.next; it != &s->sources && !r; it = it->next) {
        struct mem_source *m = container_of(it, struct mem_source, link);
        if (strcmp(m->src.tenant, tenant) != 0)
            continue;
        struct store_source *grown = store_grow(items, count, &cap, sizeof *items);
        r = grown ? copy_source(&m->src, &grown[count], err) : store_no_memory(err);
        items = grown ? grown : items;
        count += !r;
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

static int mem_source_list(struct store *base, const char *tenant, struct store_source **ret,
                           size_t *ret_count, struct err *err)
{
    struct mem_store *s = mem_of(base);
    lock_enter(&s->lock);
    int r = list_locked(s, tenant, ret, ret_count, err);
    lock_leave(&s->lock);
    return r;
}

static int run_delete(void *ctx, struct write_op *op, struct err *err)
{
    struct mem_store *s = ctx;
    struct mem_op *w = container_of(op, struct mem_op, op);
    lock_enter(&s->lock);
    struct mem_source *m = source_by_id(s, w->tenant, w->id);
    if (m)
        list_remove(&m->link);
    lock_leave(&s->lock);
    free_source(m);
    return m ? 0 : store_source_missing(w->id, err);
}

static int mem_source_delete(struct store *s, const char *tenant, const char *id, struct err *err)
{
    struct mem_op w = {.op.run = run_delete, .tenant = tenant, .id = id};
    return writer_call(&s->writer, &w.op, err);
}

static int copy_skipped(const struct store_skipped *items, size_t count, struct store_skipped **ret,
                        struct err *err)
{
    struct store_skipped *copy = mem_try_array(count, sizeof *copy);
    bool is_complete = copy != NULL;
    for (size_t i = 0; i < count && is_complete; i++) {
        struct span path = span_str(items[i].path), reason = span_str(items[i].reason);
        copy[i].path = mem_try_strndup(path.ptr, path.len);
        copy[i].reason = mem_try_strndup(reason.ptr, reason.len);
        is_complete = copy[i].path && copy[i].reason;
    }
    if (!is_complete) {
        store_skipped_free(copy, copy ? count : 0);
        return store_no_memory(err);
    }
    *ret = copy;
    return 0;
}

static int run_skipped(void *ctx, struct write_op *op, struct err *err)
{
    struct mem_store *s = ctx;
    struct mem_op *w = container_of(op, struct mem_op, op);
    struct store_skipped *items = NULL;
    lock_enter(&s->lock);
    struct mem_source *m = source_by_id(s, w->tenant, w->id);
    int r = m ? copy_skipped(w->items, w->count, &items, err) : store_source_missing(w->id, err);
    if (!r) {
        store_skipped_free(m->skipped, m->skipped_count);
        m->skipped = items;
        m->skipped_count = w->count;
    }
    lock_leave(&s->lock);
    return r;
}

static int mem_skipped_put(struct store *s, const char *tenant, const char *source_id,
                           const struct store_skipped *items, size_t count, struct err *err)
{
    struct mem_op w = {
        .op.run = run_skipped, .tenant = tenant, .id = source_id, .items = items, .count = count};
    return writer_call(&s->writer, &w.op, err);
}

static int mem_skipped_list(struct store *base, const char *tenant, const char *source_id,
                            size_t offset, size_t max, struct store_skipped **ret,
                            size_t *ret_count, struct err *err)
{
    struct mem_store *s = mem_of(base);
    lock_enter(&s->lock);
    struct mem_source *m = source_by_id(s, tenant, source_id);
    size_t count = m && offset < m->skipped_count ? m->skipped_count - offset : 0;
    if (count > max)
        count = max;
    struct store_skipped *items = NULL;
    int r = count ? copy_skipped(m->skipped + offset, count, &items, err) : 0;
    lock_leave(&s->lock);
    if (r)
        return r;
    *ret = items;
    *ret_count = count;
    return 0;
}

/* ---- streams ---- */

static void free_stream(struct mem_stream *st)
{
    for (struct list *it; (it = list_pop(&st->blocks));)
        mem_free(container_of(it, struct mem_block, link));
    mem_free(st);
}

static struct mem_stream *stream_by_id(const struct list *streams, const char *id)
{
    list_each(it, streams)
    {
        struct mem_stream *st = container_of(it, struct mem_stream, link);
        if (strcmp(st->row.id, id) == 0)
            return st;
    }
    return NULL;
}

static void insert_stream(struct mem_store *s, struct mem_stream *st)
{
    struct list *at = &s->streams;
    while (at->prev != &s->streams &&
           strcmp(container_of(at->prev, struct mem_stream, link)->row.id, st->row.id) > 0)
        at = at->prev;
    list_append(at, &st->link);
}

static void insert_block(struct mem_stream *st, struct mem_block *b)
{
    struct list *at = &st->blocks;
    while (at->prev != &st->blocks &&
           container_of(at->prev, struct mem_block, link)->first_seq > b->first_seq)
        at = at->prev;
    if (at->prev != &st->blocks) {
        struct mem_block *same = container_of(at->prev, struct mem_block, link);
        if (same->first_seq == b->first_seq) {
            list_remove(&same->link);
            mem_free(same);
        }
    }
    list_append(at, &b->link);
}

/* What a post needs, made before anything is changed, so that it is all or nothing. */
struct prepared {
    struct list streams; /* of rows that are not there yet */
    struct mem_block **blocks;
};

static int prepare(struct mem_store *s, const struct store_post *p, struct prepared *ret,
                   struct err *err)
{
    for (size_t i = 0; i < p->stream_count; i++) {
        const struct store_stream *row = &p->streams[i];
        struct mem_stream *st = stream_by_id(&s->streams, row->id);
        if (!st)
            st = stream_by_id(&ret->streams, row->id);
        if (st && strcmp(st->row.tenant, row->tenant) != 0)
            return store_stream_foreign(row->id, err);
        if (st)
            continue;
        st = mem_try(sizeof *st);
        if (!st)
            return store_no_memory(err);
        st->row = *row;
        list_init(&st->blocks);
        list_append(&ret->streams, &st->link);
    }
    ret->blocks = mem_try_array(p->block_count, sizeof(struct mem_block *));
    if (!ret->blocks)
        return store_no_memory(err);
    for (size_t i = 0; i < p->block_count; i++) {
        const struct store_block *b = &p->blocks[i];
        if (!stream_by_id(&s->streams, b->stream_id) && !stream_by_id(&ret->streams, b->stream_id))
            return store_stream_missing(b->stream_id, err);
        struct mem_block *m = ret->blocks[i] = mem_try(sizeof *m + b->bytes.len);
        if (!m)
            return store_no_memory(err);
        m->first_seq = b->first_seq;
        m->last_seq = b->last_seq;
        m->len = b->bytes.len;
        memcpy(m->bytes, b->bytes.ptr, b->bytes.len);
    }
    return 0;
}

static void apply_prepared(struct mem_store *s, const struct store_post *p, struct prepared *pre)
{
    for (struct list *it; (it = list_pop(&pre->streams));)
        insert_stream(s, container_of(it, struct mem_stream, link));
    for (size_t i = 0; i < p->stream_count; i++) {
        struct mem_stream *st = stream_by_id(&s->streams, p->streams[i].id);
        BUG_ON(!st); /* prepared */
        st->row = p->streams[i];
    }
    for (size_t i = 0; i < p->block_count; i++) {
        struct mem_stream *st = stream_by_id(&s->streams, p->blocks[i].stream_id);
        BUG_ON(!st);
        insert_block(st, take_ptr(pre->blocks[i]));
    }
}

static int mem_apply(void *ctx, struct write_op *op, struct err *err)
{
    struct mem_store *s = ctx;
    struct store_post *p = container_of(op, struct store_post, op);
    struct prepared pre = {.blocks = NULL};
    list_init(&pre.streams);
    lock_enter(&s->lock);
    int r = prepare(s, p, &pre, err);
    if (!r)
        apply_prepared(s, p, &pre);
    lock_leave(&s->lock);
    for (struct list *it; (it = list_pop(&pre.streams));)
        free_stream(container_of(it, struct mem_stream, link));
    for (size_t i = 0; pre.blocks && i < p->block_count; i++)
        mem_free(pre.blocks[i]);
    mem_free(pre.blocks);
    return r;
}

static int mem_stream_get(struct store *base, const char *tenant, const char *id,
                          struct store_stream *ret, struct err *err)
{
    struct mem_store *s = mem_of(base);
    lock_enter(&s->lock);
    struct mem_stream *st = stream_by_id(&s->streams, id);
    bool is_found = st && strcmp(st->row.tenant, tenant) == 0;
    if (is_found)
        *ret = st->row;
    lock_leave(&s->lock);
    return is_found ? 0 : store_stream_missing(id, err);
}

/* The last block that begins at or before seq and holds it; else the first that begins after. */
static struct mem_block *block_at(struct mem_stream *st, uint64_t seq)
{
    struct mem_block *after = NULL;
    for (struct list *it = st->blocks.prev; it != &st->blocks; it = it->prev) {
        struct mem_block *b = container_of(it, struct mem_block, link);
        if (b->first_seq > seq)
            after = b;
        else if (b->last_seq >= seq)
            return b;
    }
    return after;
}

static int mem_block_get(struct store *base, const char *stream_id, uint64_t seq, char **ret_bytes,
                         size_t *ret_len, uint64_t *ret_first, struct err *err)
{
    struct mem_store *s = mem_of(base);
    lock_enter(&s->lock);
    struct mem_stream *st = stream_by_id(&s->streams, stream_id);
    struct mem_block *b = st ? block_at(st, seq) : NULL;
    int r = b ? 0 : store_block_missing(stream_id, seq, err);
    char *bytes = b ? mem_try_strndup(b->bytes, b->len) : NULL;
    if (b && !bytes)
        r = store_no_memory(err);
    if (bytes) {
        *ret_bytes = bytes;
        *ret_len = b->len;
        *ret_first = b->first_seq;
    }
    lock_leave(&s->lock);
    return r;
}

static int mem_streams_unfinished(struct store *base, struct store_stream **ret, size_t *ret_count,
                                  struct err *err)
{
    struct mem_store *s = mem_of(base);
    struct store_stream *items = NULL;
    size_t count = 0, cap = 0;
    bool is_complete = true;
    lock_enter(&s->lock);
    for (struct list *it = s->streams.next; it != &s->streams && is_complete; it = it->next) {
        struct mem_stream *st = container_of(it, struct mem_stream, link);
        if (st->row.is_closed)
            continue;
        struct store_stream *grown = store_grow(items, count, &cap, sizeof *items);
        is_complete = grown != NULL;
        if (grown) {
            items = grown;
            items[count++] = st->row;
        }
    }
    lock_leave(&s->lock);
    if (!is_complete) {
        mem_free(items);
        return store_no_memory(err);
    }
    *ret = items;
    *ret_count = count;
    return 0;
}

/* Closed before the time and closed first; NULL when none is left. */
static struct mem_stream *oldest_closed(struct mem_store *s, int64_t closed_before_ms)
{
    struct mem_stream *oldest = NULL;
    list_each(it, &s->streams)
    {
        struct mem_stream *st = container_of(it, struct mem_stream, link);
        if (st->row.is_closed && st->row.closed_ms < closed_before_ms &&
            (!oldest || st->row.closed_ms < oldest->row.closed_ms))
            oldest = st;
    }
    return oldest;
}

static int run_expire(void *ctx, struct write_op *op, struct err *err)
{
    (void)err; /* cannot fail */
    struct mem_store *s = ctx;
    struct mem_op *w = container_of(op, struct mem_op, op);
    lock_enter(&s->lock);
    struct mem_stream *st;
    while (w->count < w->max && (st = oldest_closed(s, w->closed_before_ms))) {
        list_remove(&st->link);
        free_stream(st);
        w->count++;
    }
    lock_leave(&s->lock);
    return 0;
}

static int mem_streams_expire(struct store *s, int64_t closed_before_ms, size_t max,
                              size_t *ret_count, struct err *err)
{
    struct mem_op w = {.op.run = run_expire, .max = max, .closed_before_ms = closed_before_ms};
    int r = writer_call(&s->writer, &w.op, err);
    if (!r)
        *ret_count = w.count;
    return r;
}

/* ---- life ---- */

static void mem_commit(void *ctx, struct write_op *ops)
{
    for (struct write_op *op = ops; op; op = op->next)
        op->result = op->run(ctx, op, op->err);
}

static void mem_close(struct store *base)
{
    struct mem_store *s = mem_of(base);
    for (struct list *it; (it = list_pop(&s->sources));)
        free_source(container_of(it, struct mem_source, link));
    for (struct list *it; (it = list_pop(&s->streams));)
        free_stream(container_of(it, struct mem_stream, link));
    lock_done(&s->lock);
    mem_free(s);
}

static const struct store_backend mem_backend = {
    .close = mem_close,
    .source_put = mem_source_put,
    .source_get = mem_source_get,
    .source_find = mem_source_find,
    .source_list = mem_source_list,
    .source_delete = mem_source_delete,
    .skipped_put = mem_skipped_put,
    .skipped_list = mem_skipped_list,
    .apply = mem_apply,
    .stream_get = mem_stream_get,
    .block_get = mem_block_get,
    .streams_unfinished = mem_streams_unfinished,
    .streams_expire = mem_streams_expire,
};

int store_open_memory(struct store **ret, struct err *err)
{
    struct mem_store *s = mem_alloc(sizeof *s);
    s->base.backend = &mem_backend;
    lock_init(&s->lock);
    list_init(&s->sources);
    list_init(&s->streams);
    int r = writer_start(&s->base.writer, mem_commit, s, err);
    if (r) {
        mem_close(&s->base);
        return r;
    }
    *ret = &s->base;
    return 0;
}
