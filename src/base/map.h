#pragma once
/*
 * struct map: byte-string keys to pointers, open addressing. Keys are copied in; values are borrowed.
 * Grows; insertion can fail for lack of memory. Thread: owner.
 */
#include "base/span.h"

struct map_slot {
    char *key; /* owned; NULL = empty */
    uint32_t key_len;
    uint32_t hash;
    void *value;
};

struct map {
    struct map_slot *slots; /* owned */
    size_t cap, count;
};

void map_init(struct map *m);
void map_done(struct map *m);                        /* frees keys, not values */
void *map_get(const struct map *m, struct span key); /* NULL when absent */
/* Sets or replaces; *ret_old gets the replaced value or NULL (may be NULL). 0 or -ERR_NO_MEMORY. */
int map_set(struct map *m, struct span key, void *value, void **ret_old) MUST_CHECK;
void *map_remove(struct map *m, struct span key); /* the removed value or NULL */
/* Iterate: size_t at = 0; while (map_each(m, &at, &key, &value)) … ; no changes meanwhile. */
bool map_each(const struct map *m, size_t *at, struct span *ret_key, void **ret_value);
