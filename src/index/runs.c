#include "index/build_priv.h"

#include "base/hash.h"
#include "base/mem.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#define SLICE_FIRST 24u /* bytes */
#define SLICE_MAX 4096u
#define TABLE_FIRST 8192u

void *pool_add(struct pool *p, size_t size)
{
    size_t need;
    if (!add_size(p->len, size, &need))
        return NULL;
    if (need > p->cap) {
        size_t cap = p->cap ? p->cap : 1024;
        while (cap < need)
            cap += cap / 2;
        uint8_t *ptr = mem_try_realloc(p->ptr, cap);
        if (!ptr)
            return NULL;
        p->ptr = ptr;
        p->cap = cap;
    }
    void *at = p->ptr + p->len;
    p->len = need;
    return at;
}

static void pool_done(struct pool *p)
{
    mem_free(p->ptr);
    *p = (struct pool){0};
}

static struct term_slot *slot_at(const struct runs *r, uint32_t i)
{
    return (struct term_slot *)(void *)r->slots.ptr + i;
}

/* Offset 0 means "none" everywhere, so that byte is never used. */
static bool start_bytes(struct runs *r)
{
    r->bytes.len = 0;
    return pool_add(&r->bytes, 1) != NULL;
}

int runs_init(struct runs *r, const char *path, size_t memory_max, struct err *err)
{
    *r = (struct runs){.memory_max = memory_max, .table_size = TABLE_FIRST};
    int fd = temp_open(path, err);
    if (fd < 0)
        return fd;
    int rc = section_init(&r->out, fd, err);
    if (rc < 0)
        return rc;
    r->table = mem_try_array(r->table_size, sizeof *r->table);
    if (!r->table || !start_bytes(r))
        return err_set(err, ERR_NO_MEMORY, "no memory for the term table of the index");
    return 0;
}

void runs_done(struct runs *r)
{
    pool_done(&r->slots);
    pool_done(&r->strings);
    pool_done(&r->bytes);
    pool_done(&r->chunk_terms);
    pool_done(&r->file_terms);
    pool_done(&r->postings);
    pool_done(&r->list);
    mem_free(r->table);
    r->table = NULL;
    section_done(&r->out);
}

static bool grow_table(struct runs *r)
{
    size_t size = r->table_size * 2;
    uint32_t *table = mem_try_array(size, sizeof *table);
    if (!table)
        return false;
    uint32_t count = (uint32_t)(r->slots.len / sizeof(struct term_slot));
    for (uint32_t i = 0; i < count; i++) {
        size_t at = slot_at(r, i)->hash & (size - 1);
        while (table[at])
            at = (at + 1) & (size - 1);
        table[at] = i + 1;
    }
    mem_free(r->table);
    r->table = table;
    r->table_size = size;
    return true;
}

/* The term's slot number, made when new; UINT32_MAX without memory. */
static uint32_t find_slot(struct runs *r, struct span term)
{
    uint64_t hash = hash_bytes(term.ptr, term.len);
    size_t at = hash & (r->table_size - 1);
    for (; r->table[at]; at = (at + 1) & (r->table_size - 1)) {
        const struct term_slot *s = slot_at(r, r->table[at] - 1);
        if (s->hash == hash && s->len == term.len &&
            memcmp(r->strings.ptr + s->string, term.ptr, term.len) == 0)
            return r->table[at] - 1;
    }
    uint32_t count = (uint32_t)(r->slots.len / sizeof(struct term_slot));
    size_t string = r->strings.len;
    void *copy = pool_add(&r->strings, term.len);
    struct term_slot *s = copy ? pool_add(&r->slots, sizeof *s) : NULL;
    if (!s)
        return UINT32_MAX;
    memcpy(copy, term.ptr, term.len);
    *s = (struct term_slot){.hash = hash, .string = (uint32_t)string, .len = (uint16_t)term.len};
    r->table[at] = count + 1;
    if ((count + 1) * (size_t)2 > r->table_size && !grow_table(r))
        return UINT32_MAX;
    return count;
}

static bool note_term(struct pool *p, uint32_t slot)
{
    void *at = pool_add(p, sizeof slot);
    if (at)
        memcpy(at, &slot, sizeof slot);
    return at != NULL;
}

void runs_add(struct runs *r, struct span term, uint32_t tf)
{
    if (r->failed)
        return;
    uint32_t i = find_slot(r, term);
    if (i == UINT32_MAX) {
        r->failed = true;
        return;
    }
    struct term_slot *s = slot_at(r, i);
    if (s->chunk_tf == 0)
        r->failed = !note_term(&r->chunk_terms, i);
    s->chunk_tf += tf;
}

void runs_end_chunk(struct runs *r, uint32_t chunk_in_file)
{
    const uint32_t *terms = (const uint32_t *)(const void *)r->chunk_terms.ptr;
    size_t count = r->chunk_terms.len / sizeof *terms;
    for (size_t k = 0; k < count && !r->failed; k++) {
        struct term_slot *s = slot_at(r, terms[k]);
        struct file_posting *p = pool_add(&r->postings, sizeof *p);
        if (!p || (s->file_head == 0 && !note_term(&r->file_terms, terms[k]))) {
            r->failed = true;
            break;
        }
        *p = (struct file_posting){0, chunk_in_file, s->chunk_tf};
        uint32_t number = (uint32_t)(r->postings.len / sizeof *p);
        struct file_posting *all = (struct file_posting *)(void *)r->postings.ptr;
        if (s->file_head == 0)
            s->file_head = number;
        else
            all[s->file_tail - 1].next = number;
        s->file_tail = number;
        s->chunk_tf = 0;
    }
    r->chunk_terms.len = 0;
}

static uint32_t load_u32(const uint8_t *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

/* Appends to the term's chain of slices; each new slice is half as long again as the last. */
static bool append_bytes(struct runs *r, struct term_slot *s, const uint8_t *p, size_t len)
{
    s->bytes_count += (uint32_t)len;
    while (len > 0) {
        if (s->tail == s->tail_end) {
            size_t size = s->head ? s->bytes_count / 2 + SLICE_FIRST : SLICE_FIRST;
            size = size > SLICE_MAX ? SLICE_MAX : size;
            size_t at = r->bytes.len;
            if (at + size > UINT32_MAX || !pool_add(&r->bytes, size))
                return false;
            memset(r->bytes.ptr + at, 0, 8);
            uint32_t room = (uint32_t)size - 8, start = (uint32_t)at;
            memcpy(r->bytes.ptr + at, &room, sizeof room);
            if (s->head)
                memcpy(r->bytes.ptr + s->slice + 4, &start, sizeof start);
            else
                s->head = start;
            s->slice = start;
            s->tail = start + 8;
            s->tail_end = s->tail + room;
        }
        size_t n = s->tail_end - s->tail < len ? s->tail_end - s->tail : len;
        memcpy(r->bytes.ptr + s->tail, p, n);
        s->tail += (uint32_t)n;
        p += n;
        len -= n;
    }
    return true;
}

/*
 * One term's postings in the file that ends: file delta, file tf, chunks, then (chunk delta, tf)
 * each.
 */
static bool encode_file(struct runs *r, struct term_slot *s, uint32_t file)
{
    const struct file_posting *all = (const struct file_posting *)(const void *)r->postings.ptr;
    uint32_t tf = 0, count = 0, prev = 0;
    for (uint32_t i = s->file_head; i; i = all[i - 1].next) {
        tf += all[i - 1].tf;
        count++;
    }
    uint8_t out[64];
    size_t n = seg_put_varint(out, file - s->last_file);
    n += seg_put_varint(out + n, tf);
    n += seg_put_varint(out + n, count);
    for (uint32_t i = s->file_head; i; i = all[i - 1].next) {
        n += seg_put_varint(out + n, all[i - 1].chunk - prev);
        n += seg_put_varint(out + n, all[i - 1].tf);
        prev = all[i - 1].chunk;
        if (n > sizeof out - 10) {
            if (!append_bytes(r, s, out, n))
                return false;
            n = 0;
        }
    }
    s->last_file = file;
    s->file_head = 0;
    return append_bytes(r, s, out, n);
}

void runs_end_file(struct runs *r, uint32_t file)
{
    const uint32_t *terms = (const uint32_t *)(const void *)r->file_terms.ptr;
    size_t count = r->file_terms.len / sizeof *terms;
    for (size_t k = 0; k < count && !r->failed; k++)
        r->failed = !encode_file(r, slot_at(r, terms[k]), file);
    r->file_terms.len = 0;
    r->postings.len = 0;
}

bool runs_is_full(const struct runs *r)
{
    return r->bytes.len + r->strings.len + r->slots.len + r->table_size * sizeof *r->table >
           r->memory_max;
}

struct sort_key {
    uint64_t prefix; /* first eight bytes, big-endian: decides most comparisons */
    uint32_t slot;
};

static int compare_keys(const void *a, const void *b, void *ctx)
{
    const struct sort_key *x = a, *y = b;
    const struct runs *r = ctx;
    if (x->prefix != y->prefix)
        return x->prefix < y->prefix ? -1 : 1;
    const struct term_slot *s = slot_at(r, x->slot), *t = slot_at(r, y->slot);
    return span_cmp(span_of((const char *)r->strings.ptr + s->string, s->len),
                    span_of((const char *)r->strings.ptr + t->string, t->len));
}

static struct sort_key *sorted_terms(struct runs *r, size_t count)
{
    struct sort_key *keys = mem_try_array(count, sizeof *keys);
    for (size_t i = 0; keys && i < count; i++) {
        const struct term_slot *s = slot_at(r, (uint32_t)i);
        uint8_t first[8] = {0};
        memcpy(first, r->strings.ptr + s->string, s->len < 8 ? s->len : 8);
        uint64_t v;
        memcpy(&v, first, 8);
        keys[i] = (struct sort_key){__builtin_bswap64(v), (uint32_t)i};
    }
    if (keys)
        qsort_r(keys, count, sizeof *keys, compare_keys, r);
    return keys;
}

/* [u32 term length][term][u32 bytes][bytes] a term, in term order. */
int runs_spill(struct runs *r, struct err *err)
{
    size_t count = r->slots.len / sizeof(struct term_slot);
    if (count == 0)
        return 0;
    struct sort_key *keys = sorted_terms(r, count);
    struct run *run = keys ? pool_add(&r->list, sizeof *run) : NULL;
    if (!run) {
        mem_free(keys);
        return err_set(err, ERR_NO_MEMORY, "no memory to sort the terms of the index");
    }
    run->offset = r->out.len;
    for (size_t i = 0; i < count; i++) {
        const struct term_slot *s = slot_at(r, keys[i].slot);
        uint32_t len = s->len, left = s->bytes_count;
        section_put(&r->out, &len, sizeof len);
        section_put(&r->out, r->strings.ptr + s->string, len);
        section_put(&r->out, &left, sizeof left);
        for (uint32_t at = s->head; at && left; at = load_u32(r->bytes.ptr + at + 4)) {
            uint32_t room = load_u32(r->bytes.ptr + at), n = left < room ? left : room;
            section_put(&r->out, r->bytes.ptr + at + 8, n);
            left -= n;
        }
    }
    run->len = r->out.len - run->offset;
    mem_free(keys);
    section_flush(&r->out);
    if (r->out.error)
        return err_errno(err, r->out.error, "cannot write postings of the index to disk");
    r->slots.len = r->strings.len = 0;
    memset(r->table, 0, r->table_size * sizeof *r->table);
    return start_bytes(r) ? 0 : err_set(err, ERR_NO_MEMORY, "no memory for postings of the index");
}
