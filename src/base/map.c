#include "base/map.h"

#include "base/err.h"
#include "base/hash.h"
#include "base/mem.h"

void map_init(struct map *m)
{
    *m = (struct map){0};
}

void map_done(struct map *m)
{
    for (size_t i = 0; i < m->cap; i++)
        mem_free(m->slots[i].key);
    mem_free(m->slots);
    map_init(m);
}

/* Slot that holds the key, or the empty one where it belongs. The table always has an empty slot. */
static size_t find_slot(const struct map *m, struct span key, uint32_t hash)
{
    size_t i = hash & (m->cap - 1);
    while (m->slots[i].key) {
        const struct map_slot *s = &m->slots[i];
        if (s->hash == hash && s->key_len == key.len && memcmp(s->key, key.ptr, key.len) == 0)
            break;
        i = (i + 1) & (m->cap - 1);
    }
    return i;
}

void *map_get(const struct map *m, struct span key)
{
    if (!m->count)
        return NULL;
    return m->slots[find_slot(m, key, (uint32_t)hash_bytes(key.ptr, key.len))].value;
}

static int grow(struct map *m)
{
    struct map bigger = {.cap = m->cap ? m->cap * 2 : 16, .count = m->count};
    bigger.slots = mem_try_array(bigger.cap, sizeof *bigger.slots);
    if (!bigger.slots)
        return -ERR_NO_MEMORY;
    for (size_t i = 0; i < m->cap; i++) {
        struct map_slot *s = &m->slots[i];
        if (s->key)
            bigger.slots[find_slot(&bigger, span_of(s->key, s->key_len), s->hash)] = *s;
    }
    mem_free(m->slots);
    *m = bigger;
    return 0;
}

int map_set(struct map *m, struct span key, void *value, void **ret_old)
{
    if (key.len > UINT32_MAX)
        return -ERR_TOO_LARGE;
    if ((m->count + 1) * 4 > m->cap * 3) {
        int r = grow(m);
        if (r < 0)
            return r;
    }
    uint32_t hash = (uint32_t)hash_bytes(key.ptr, key.len);
    struct map_slot *s = &m->slots[find_slot(m, key, hash)];
    if (ret_old)
        *ret_old = s->key ? s->value : NULL;
    if (!s->key) {
        s->key = mem_try_strndup(key.ptr, key.len);
        if (!s->key)
            return -ERR_NO_MEMORY;
        s->key_len = (uint32_t)key.len;
        s->hash = hash;
        m->count++;
    }
    s->value = value;
    return 0;
}

void *map_remove(struct map *m, struct span key)
{
    if (!m->count)
        return NULL;
    size_t hole = find_slot(m, key, (uint32_t)hash_bytes(key.ptr, key.len));
    if (!m->slots[hole].key)
        return NULL;
    void *value = m->slots[hole].value;
    mem_free(m->slots[hole].key);
    m->slots[hole] = (struct map_slot){0};
    m->count--;
    /* Close the gap: move back each later entry of the run that the hole would hide. */
    for (size_t i = (hole + 1) & (m->cap - 1); m->slots[i].key; i = (i + 1) & (m->cap - 1)) {
        size_t home = m->slots[i].hash & (m->cap - 1);
        if (((i - home) & (m->cap - 1)) >= ((i - hole) & (m->cap - 1))) {
            m->slots[hole] = m->slots[i];
            m->slots[i] = (struct map_slot){0};
            hole = i;
        }
    }
    return value;
}

bool map_each(const struct map *m, size_t *at, struct span *ret_key, void **ret_value)
{
    while (*at < m->cap) {
        const struct map_slot *s = &m->slots[(*at)++];
        if (!s->key)
            continue;
        *ret_key = span_of(s->key, s->key_len);
        *ret_value = s->value;
        return true;
    }
    return false;
}
