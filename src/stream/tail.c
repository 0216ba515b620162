#include "stream/stream_priv.h"

#define CHUNK_FIRST_BYTES 512u

static struct chunk *last_chunk(const struct tail *t)
{
    return list_is_empty(&t->chunks) ? NULL : container_of(t->chunks.prev, struct chunk, link);
}

static struct chunk *first_chunk(const struct tail *t)
{
    return list_is_empty(&t->chunks) ? NULL : container_of(t->chunks.next, struct chunk, link);
}

static void drop(struct tail *t, struct chunk *c)
{
    t->bytes -= c->len;
    if (!c->is_spilled)
        t->unspilled_bytes -= c->len;
    list_remove(&c->link);
    mem_free(c->bytes);
    mem_free(c);
}

void tail_init(struct tail *t)
{
    *t = (struct tail){0};
    list_init(&t->chunks);
}

void tail_done(struct tail *t)
{
    struct chunk *c;
    while ((c = first_chunk(t)))
        drop(t, c);
}

static bool grow(struct chunk *c, size_t size)
{
    size_t cap = c->cap ? c->cap : CHUNK_FIRST_BYTES;
    while (cap < c->len + size)
        cap *= 2;
    if (cap == c->cap)
        return true;
    char *p = mem_try_realloc(c->bytes, cap);
    if (!p)
        return false;
    c->bytes = p;
    c->cap = cap;
    return true;
}

char *tail_reserve(struct tail *t, uint64_t seq, size_t size)
{
    struct chunk *c = last_chunk(t);
    if (!c || c->is_sealed || (c->len && c->len + size > LIMIT_STREAM_BLOCK)) {
        struct chunk *fresh = mem_alloc(sizeof *fresh);
        if (!grow(fresh, size)) {
            mem_free(fresh);
            return NULL;
        }
        if (c)
            c->is_sealed = true;
        fresh->first_seq = seq;
        fresh->last_seq = seq - 1;
        list_append(&t->chunks, &fresh->link);
        c = fresh;
    } else if (!grow(c, size)) {
        return NULL;
    }
    return c->bytes + c->len;
}

void tail_added(struct tail *t, uint64_t seq, size_t size, uint64_t segment)
{
    struct chunk *c = last_chunk(t);
    BUG_ON(!c || c->last_seq + 1 != seq || c->len + size > c->cap);
    if (!c->len)
        c->segment = segment;
    c->len += size;
    c->last_seq = seq;
    t->bytes += size;
    t->unspilled_bytes += size;
}

void tail_seal(struct tail *t)
{
    struct chunk *c = last_chunk(t);
    if (c && c->len)
        c->is_sealed = true;
}

void tail_cut(struct tail *t, uint64_t seq)
{
    struct chunk *c;
    while ((c = last_chunk(t)) && c->first_seq >= seq)
        drop(t, c);
    if (!c || c->last_seq < seq)
        return;
    BUG_ON(c->is_spilled);
    struct span rest = span_of(c->bytes, c->len);
    struct record r;
    for (uint64_t at = c->first_seq; at < seq; at++)
        BUG_ON(!record_next_checked(&rest, &r));
    t->bytes -= rest.len;
    t->unspilled_bytes -= rest.len;
    c->len -= rest.len;
    c->last_seq = seq - 1;
}

void tail_trim(struct tail *t, size_t keep)
{
    struct chunk *c;
    while ((c = first_chunk(t)) && c->is_spilled && t->bytes - c->len >= keep)
        drop(t, c);
}

void tail_forget(struct tail *t, size_t keep)
{
    struct chunk *c;
    while ((c = first_chunk(t)) && c != last_chunk(t) && t->bytes - c->len >= keep)
        drop(t, c);
}

static struct chunk *chunk_of(const struct tail *t, uint64_t seq)
{
    for (struct list *n = t->chunks.prev; n != &t->chunks; n = n->prev) {
        struct chunk *c = container_of(n, struct chunk, link);
        if (c->first_seq <= seq)
            return seq <= c->last_seq ? c : NULL;
    }
    return NULL;
}

bool tail_find(const struct tail *t, uint64_t seq, struct tail_mark *mark, struct span *ret)
{
    const struct chunk *c = chunk_of(t, seq);
    if (!c)
        return false;
    struct span rest = span_of(c->bytes, c->len);
    uint64_t at = c->first_seq;
    if (mark && mark->first_seq == at && mark->next_seq <= seq && mark->next_seq > at &&
        mark->offset <= rest.len) {
        rest = span_skip(rest, mark->offset);
        at = mark->next_seq;
    }
    struct record r;
    for (; at < seq; at++)
        BUG_ON(!record_next_checked(&rest, &r));
    if (mark)
        *mark = (struct tail_mark){c->first_seq, seq, (size_t)(rest.ptr - c->bytes)};
    *ret = rest;
    return true;
}

size_t tail_bytes_from(const struct tail *t, uint64_t seq)
{
    size_t bytes = 0;
    for (struct list *n = t->chunks.prev; n != &t->chunks; n = n->prev) {
        const struct chunk *c = container_of(n, struct chunk, link);
        if (seq > c->last_seq)
            return bytes;
        if (seq >= c->first_seq) /* within it: its share by count will do */
            return bytes +
                   (size_t)((c->last_seq - seq + 1) * c->len / (c->last_seq - c->first_seq + 1));
        bytes += c->len;
    }
    return SIZE_MAX;
}
