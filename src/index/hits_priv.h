#pragma once
/* The best k of many hits: a heap in the caller's array, worst on top. */
#include "index/lexical.h"

#include <stdlib.h>

#define SEARCH_MAX 4096u /* hits */

struct hit_heap {
    struct index_hit *items; /* the caller's, k of them */
    unsigned k, used;
};

static inline bool hit_is_worse(struct index_hit a, struct index_hit b)
{
    return a.score < b.score || (!(a.score > b.score) && a.chunk > b.chunk);
}

static inline void hit_swap(struct index_hit *a, struct index_hit *b)
{
    struct index_hit t = *a;
    *a = *b;
    *b = t;
}

static inline void hit_sift_down(struct index_hit *heap, unsigned n, unsigned i)
{
    for (;;) {
        unsigned least = i, l = 2 * i + 1;
        if (l < n && hit_is_worse(heap[l], heap[least]))
            least = l;
        if (l + 1 < n && hit_is_worse(heap[l + 1], heap[least]))
            least = l + 1;
        if (least == i)
            return;
        hit_swap(&heap[i], &heap[least]);
        i = least;
    }
}

/* False when the hit is not among the best. */
static inline bool hit_offer(struct hit_heap *h, uint32_t chunk, float score)
{
    struct index_hit hit = {chunk, score};
    if (h->used < h->k) {
        unsigned i = h->used++;
        h->items[i] = hit;
        while (i > 0 && hit_is_worse(h->items[i], h->items[(i - 1) / 2])) {
            hit_swap(&h->items[i], &h->items[(i - 1) / 2]);
            i = (i - 1) / 2;
        }
        return true;
    }
    if (h->k == 0 || !hit_is_worse(h->items[0], hit))
        return false;
    h->items[0] = hit;
    hit_sift_down(h->items, h->used, 0);
    return true;
}

static inline int hit_compare(const void *a, const void *b)
{
    const struct index_hit *x = a, *y = b;
    return hit_is_worse(*y, *x) ? -1 : hit_is_worse(*x, *y);
}

/* Best first. */
static inline void hit_sort(struct hit_heap *h)
{
    qsort(h->items, h->used, sizeof *h->items, hit_compare);
}
