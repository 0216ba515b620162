#include "ingest/skip.h"

#include "base/limits.h"
#include "base/mem.h"
#include "ingest/encoding.h"

struct skip_array {
    struct skip_array *next; /* owned */
    struct ingest_skipped items[];
};

/* Outgrown arrays are kept: a caller may still hold one. Doubling makes that at most as much again. */
static int grow(struct skip_list *l)
{
    size_t cap = l->cap ? l->cap * 2 : 64, bytes;
    if (!mul_size(cap, sizeof l->items[0], &bytes) ||
        !add_size(bytes, sizeof(struct skip_array), &bytes))
        return -ERR_NO_MEMORY;
    struct skip_array *a = mem_try_realloc(NULL, bytes);
    if (!a)
        return -ERR_NO_MEMORY;
    if (l->count)
        memcpy(a->items, l->items, l->count * sizeof l->items[0]);
    a->next = l->arrays;
    l->arrays = a;
    l->items = a->items;
    l->cap = cap;
    return 0;
}

int skip_add(struct skip_list *l, struct span path, bool is_dir, const char *reason)
{
    if (l->count >= LIMIT_SKIPPED_COUNT) {
        l->dropped_count++;
        return 0;
    }
    if (l->count == l->cap && grow(l) < 0)
        return -ERR_NO_MEMORY;
    struct buf b = BUF_INIT(LIMIT_PATH_BYTES * 3);
    encoding_put_lossy(&b, path);
    if (is_dir)
        buf_putc(&b, '/');
    const char *copy = buf_failed(&b) ? NULL : pool_copy(&l->pool, buf_span(&b));
    size_t len = b.len;
    buf_done(&b);
    if (!copy)
        return -ERR_NO_MEMORY;
    l->items[l->count++] = (struct ingest_skipped){span_of(copy, len), reason};
    return 0;
}

void skip_done(struct skip_list *l)
{
    while (l->arrays) {
        struct skip_array *a = l->arrays;
        l->arrays = a->next;
        mem_free(a);
    }
    pool_done(&l->pool);
    *l = (struct skip_list){0};
}
