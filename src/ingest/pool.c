#include "ingest/pool.h"

#include "base/mem.h"

#define BLOCK_BYTES (32u << 10)

struct pool_block {
    struct pool_block *next; /* owned */
    size_t used, size;
    char bytes[];
};

const char *pool_copy(struct pool *p, struct span s)
{
    size_t need;
    if (!add_size(s.len, 1, &need))
        return NULL;
    if (!p->head || p->head->size - p->head->used < need) {
        size_t size = need > BLOCK_BYTES ? need : BLOCK_BYTES, total;
        struct pool_block *b =
            add_size(sizeof *b, size, &total) ? mem_try_realloc(NULL, total) : NULL;
        if (!b)
            return NULL;
        b->next = p->head;
        b->used = 0;
        b->size = size;
        p->head = b;
    }
    char *at = p->head->bytes + p->head->used;
    if (s.len)
        memcpy(at, s.ptr, s.len);
    at[s.len] = '\0';
    p->head->used += need;
    return at;
}

void pool_done(struct pool *p)
{
    while (p->head) {
        struct pool_block *b = p->head;
        p->head = b->next;
        mem_free(b);
    }
}
