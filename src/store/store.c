#include "store/store.h"

#include "base/mem.h"
#include "store/store_priv.h"

#include <stdio.h>

/* ---- shared by the backends ---- */

void *store_grow(void *items, size_t count, size_t *cap, size_t item_size)
{
    if (count < *cap)
        return items;
    size_t more = *cap ? *cap : 8, total;
    if (!mul_size(more, 2, &more) || !mul_size(more, item_size, &total))
        return NULL;
    void *grown = mem_try_realloc(items, total);
    if (grown)
        *cap = more;
    return grown;
}

/* ---- arguments ---- */

static bool is_id(const char *s)
{
    return s && *s && strnlen(s, STORE_ID_MAX) < STORE_ID_MAX;
}

static int check_ids(const char *tenant, const char *id, struct err *err)
{
    if (!is_id(tenant))
        return err_set(err, ERR_INVALID, "a tenant is 1 to %d bytes long", STORE_ID_MAX - 1);
    if (!is_id(id))
        return err_set(err, ERR_INVALID, "an id is 1 to %d bytes long", STORE_ID_MAX - 1);
    return 0;
}

static int check_text(const char *what, const char *s, struct err *err)
{
    if (s && strnlen(s, STORE_TEXT_MAX + 1) > STORE_TEXT_MAX)
        return err_set(err, ERR_TOO_LARGE, "%s is longer than %u bytes", what, STORE_TEXT_MAX);
    return 0;
}

static int check_source(const struct store_source *src, struct err *err)
{
    int r = check_ids(src->tenant, src->id, err);
    if (r)
        return r;
    if (!src->name || !*src->name)
        return err_set(err, ERR_INVALID, "source '%s' has no name", src->id);
    const struct {
        const char *what, *text;
    } texts[] = {
        {"name", src->name},         {"kind", src->kind},
        {"location", src->location}, {"index file", src->index_file},
        {"revision", src->revision}, {"fingerprint", src->fingerprint},
        {"state", src->state},       {"error", src->error},
    };
    for (size_t i = 0; i < ARRAY_LEN(texts) && !r; i++)
        r = check_text(texts[i].what, texts[i].text, err);
    return r;
}

/* ---- life ---- */

void store_close(struct store *s)
{
    if (!s)
        return;
    writer_stop(&s->writer);
    s->backend->close(s);
}

/* ---- sources ---- */

void store_source_done(struct store_source *s)
{
    mem_free(s->name);
    mem_free(s->kind);
    mem_free(s->location);
    mem_free(s->index_file);
    mem_free(s->revision);
    mem_free(s->fingerprint);
    mem_free(s->state);
    mem_free(s->error);
    *s = (struct store_source){0};
}

int store_source_put(struct store *s, const struct store_source *src, struct err *err)
{
    int r = check_source(src, err);
    return r ? r : s->backend->source_put(s, src, err);
}

int store_source_get(struct store *s, const char *tenant, const char *id, struct store_source *ret,
                     struct err *err)
{
    int r = check_ids(tenant, id, err);
    return r ? r : s->backend->source_get(s, tenant, id, ret, err);
}

int store_source_find(struct store *s, const char *tenant, const char *name_or_location,
                      struct store_source *ret, struct err *err)
{
    int r = check_ids(tenant, tenant, err);
    if (!r)
        r = check_text("name or location", name_or_location, err);
    if (!r && (!name_or_location || !*name_or_location))
        r = err_set(err, ERR_INVALID, "no name or location of a source given");
    return r ? r : s->backend->source_find(s, tenant, name_or_location, ret, err);
}

int store_source_list(struct store *s, const char *tenant, struct store_source **ret,
                      size_t *ret_count, struct err *err)
{
    int r = check_ids(tenant, tenant, err);
    return r ? r : s->backend->source_list(s, tenant, ret, ret_count, err);
}

int store_source_delete(struct store *s, const char *tenant, const char *id, struct err *err)
{
    int r = check_ids(tenant, id, err);
    return r ? r : s->backend->source_delete(s, tenant, id, err);
}

int store_skipped_put(struct store *s, const char *tenant, const char *source_id,
                      const struct store_skipped *items, size_t count, struct err *err)
{
    int r = check_ids(tenant, source_id, err);
    if (!r && count > STORE_SKIPPED_COUNT)
        r = err_set(err, ERR_TOO_LARGE, "more than %d skipped files", STORE_SKIPPED_COUNT);
    for (size_t i = 0; i < count && !r; i++) {
        r = check_text("path of a skipped file", items[i].path, err);
        if (!r)
            r = check_text("reason of a skipped file", items[i].reason, err);
    }
    return r ? r : s->backend->skipped_put(s, tenant, source_id, items, count, err);
}

int store_skipped_list(struct store *s, const char *tenant, const char *source_id, size_t offset,
                       size_t max, struct store_skipped **ret, size_t *ret_count, struct err *err)
{
    int r = check_ids(tenant, source_id, err);
    if (max > STORE_SKIPPED_COUNT)
        max = STORE_SKIPPED_COUNT;
    if (offset > STORE_SKIPPED_COUNT)
        offset = STORE_SKIPPED_COUNT; /* past the end of any list */
    return r ? r : s->backend->skipped_list(s, tenant, source_id, offset, max, ret, ret_count, err);
}

void store_skipped_free(struct store_skipped *items, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        mem_free(items[i].path);
        mem_free(items[i].reason);
    }
    mem_free(items);
}

/* ---- streams ---- */

static int check_post(const struct store_stream *streams, size_t stream_count,
                      const struct store_block *blocks, size_t block_count)
{
    if (stream_count > STORE_POST_COUNT || block_count > STORE_POST_COUNT)
        return -ERR_TOO_LARGE;
    for (size_t i = 0; i < stream_count; i++) {
        const struct store_stream *st = &streams[i];
        if (check_ids(st->tenant, st->id, NULL) || st->last_seq > INT64_MAX ||
            strnlen(st->kind, sizeof st->kind) == sizeof st->kind ||
            strnlen(st->reason, sizeof st->reason) == sizeof st->reason)
            return -ERR_INVALID;
    }
    for (size_t i = 0; i < block_count; i++) {
        const struct store_block *b = &blocks[i];
        if (!is_id(b->stream_id) || b->first_seq == 0 || b->first_seq > b->last_seq ||
            b->last_seq > INT64_MAX)
            return -ERR_INVALID;
        if (b->bytes.len > WRITER_QUEUE_BYTES)
            return -ERR_TOO_LARGE;
    }
    return 0;
}

/* One allocation: the post, its rows, its blocks, then ids and bytes of the blocks. */
static struct store_post *post_copy(const struct store_stream *streams, size_t stream_count,
                                    const struct store_block *blocks, size_t block_count)
{
    size_t payload = 0; /* no overflow: counts and lengths have been checked */
    for (size_t i = 0; i < block_count; i++)
        payload += blocks[i].bytes.len + STORE_ID_MAX;
    size_t rows = stream_count * sizeof *streams, heads = block_count * sizeof *blocks;
    struct store_post *p = mem_try(sizeof *p + rows + heads + payload);
    if (!p)
        return NULL;
    p->streams = (struct store_stream *)(void *)(p + 1);
    p->blocks = (struct store_block *)(void *)((char *)p->streams + rows);
    p->stream_count = stream_count;
    p->block_count = block_count;
    p->op.bytes = rows + heads + payload;
    if (stream_count)
        memcpy(p->streams, streams, rows);
    char *at = (char *)p->blocks + heads;
    for (size_t i = 0; i < block_count; i++) {
        struct store_block *b = &p->blocks[i];
        *b = blocks[i];
        b->stream_id = at;
        memcpy(at, blocks[i].stream_id, strlen(blocks[i].stream_id) + 1);
        at += STORE_ID_MAX;
        b->bytes.ptr = at;
        if (b->bytes.len)
            memcpy(at, blocks[i].bytes.ptr, b->bytes.len);
        at += b->bytes.len;
    }
    return p;
}

static void post_done(struct write_op *op)
{
    struct store_post *p = container_of(op, struct store_post, op);
    if (p->done)
        p->done(p->ctx, op->result);
    mem_free(p);
}

int store_post_streams(struct store *s, const struct store_stream *streams, size_t stream_count,
                       const struct store_block *blocks, size_t block_count,
                       void (*done)(void *ctx, int result), void *ctx)
{
    int r = check_post(streams, stream_count, blocks, block_count);
    if (r)
        return r;
    struct store_post *p = post_copy(streams, stream_count, blocks, block_count);
    if (!p)
        return -ERR_NO_MEMORY;
    p->done = done;
    p->ctx = ctx;
    p->op.run = s->backend->apply;
    p->op.done = post_done;
    r = p->op.bytes > WRITER_QUEUE_BYTES ? -ERR_TOO_LARGE : writer_post(&s->writer, &p->op);
    if (r)
        mem_free(p);
    return r;
}

int store_stream_get(struct store *s, const char *tenant, const char *id, struct store_stream *ret,
                     struct err *err)
{
    int r = check_ids(tenant, id, err);
    return r ? r : s->backend->stream_get(s, tenant, id, ret, err);
}

int store_block_get(struct store *s, const char *stream_id, uint64_t seq, char **ret_bytes,
                    size_t *ret_len, uint64_t *ret_first, struct err *err)
{
    int r = check_ids(STORE_TENANT_DEFAULT, stream_id, err);
    if (!r && seq > INT64_MAX)
        r = store_block_missing(stream_id, seq, err);
    return r ? r : s->backend->block_get(s, stream_id, seq, ret_bytes, ret_len, ret_first, err);
}

int store_streams_unfinished(struct store *s, struct store_stream **ret, size_t *ret_count,
                             struct err *err)
{
    return s->backend->streams_unfinished(s, ret, ret_count, err);
}

int store_streams_expire(struct store *s, int64_t closed_before_ms, size_t max, size_t *ret_count,
                         struct err *err)
{
    return s->backend->streams_expire(s, closed_before_ms, max < INT32_MAX ? max : INT32_MAX,
                                      ret_count, err);
}
