#include "providers/breaker.h"

#include "base/err.h"
#include "base/limits.h"
#include "base/lock.h"
#include "base/map.h"
#include "base/mem.h"

enum breaker_state { BREAKER_CLOSED, BREAKER_OPEN, BREAKER_HALF_OPEN };

struct health {
    enum breaker_state state;
    unsigned failures; /* in a row */
    uint64_t open_until_ms, cool_until_ms;
};

struct breaker {
    struct lock lock; /* innermost but the log: nothing is called while it is held */
    struct map table; /* address of an endpoint → struct health, owned */
    unsigned failures;
    uint64_t cooldown_ms;
};

int breaker_new(unsigned failures, uint64_t cooldown_ms, struct breaker **ret)
{
    struct breaker *b = mem_try(sizeof *b);
    if (!b)
        return -ERR_NO_MEMORY;
    lock_init(&b->lock);
    map_init(&b->table);
    b->failures = failures;
    b->cooldown_ms = cooldown_ms;
    *ret = b;
    return 0;
}

void breaker_free(struct breaker *b)
{
    if (!b)
        return;
    size_t at = 0;
    struct span key;
    void *value;
    while (map_each(&b->table, &at, &key, &value))
        mem_free(value);
    map_done(&b->table);
    lock_done(&b->lock);
    mem_free(b);
}

static struct health *health_find(struct breaker *b, const void *endpoint)
{
    return map_get(&b->table, span_of((const char *)&endpoint, sizeof endpoint));
}

/* NULL without memory or past the bound: such an endpoint counts as healthy. */
static struct health *health_get(struct breaker *b, const void *endpoint)
{
    struct health *h = health_find(b, endpoint);
    if (h || b->table.count >= LIMIT_ENDPOINTS_COUNT)
        return h;
    h = mem_try(sizeof *h);
    if (h && map_set(&b->table, span_of((const char *)&endpoint, sizeof endpoint), h, NULL) < 0) {
        mem_free(h);
        return NULL;
    }
    return h;
}

static enum breaker_verdict verdict(struct health *h, enum breaker_asker asker, uint64_t now_ms,
                                    uint64_t *ret_wait_ms)
{
    if (!h)
        return BREAKER_GO;
    if (h->cool_until_ms > now_ms) {
        *ret_wait_ms = h->cool_until_ms - now_ms;
        return BREAKER_COOLING;
    }
    if (h->state == BREAKER_CLOSED || asker == BREAKER_INSIDER)
        return BREAKER_GO;
    bool is_due = h->state == BREAKER_OPEN && h->open_until_ms <= now_ms;
    if (!is_due && asker == BREAKER_WITHOUT_CHOICE)
        return BREAKER_GO;
    if (h->state == BREAKER_HALF_OPEN)
        return BREAKER_OUT;
    if (!is_due) {
        *ret_wait_ms = h->open_until_ms - now_ms;
        return BREAKER_OUT;
    }
    h->state = BREAKER_HALF_OPEN;
    return BREAKER_PROBE;
}

enum breaker_verdict breaker_ask(struct breaker *b, const void *endpoint, enum breaker_asker asker,
                                 uint64_t now_ms, uint64_t *ret_wait_ms)
{
    *ret_wait_ms = 0;
    lock_enter(&b->lock);
    enum breaker_verdict v = verdict(health_find(b, endpoint), asker, now_ms, ret_wait_ms);
    lock_leave(&b->lock);
    return v;
}

void breaker_success(struct breaker *b, const void *endpoint)
{
    lock_enter(&b->lock);
    struct health *h = health_find(b, endpoint);
    if (h) {
        h->state = BREAKER_CLOSED;
        h->failures = 0;
    }
    lock_leave(&b->lock);
}

bool breaker_failure(struct breaker *b, const void *endpoint, uint64_t now_ms)
{
    bool opened = false;
    lock_enter(&b->lock);
    struct health *h = health_get(b, endpoint);
    if (h) {
        h->failures++;
        if (h->failures >= b->failures || h->state == BREAKER_HALF_OPEN) {
            opened = h->state != BREAKER_OPEN;
            h->state = BREAKER_OPEN;
            h->open_until_ms = now_ms + b->cooldown_ms;
        }
    }
    lock_leave(&b->lock);
    return opened;
}

void breaker_cool(struct breaker *b, const void *endpoint, uint64_t until_ms)
{
    lock_enter(&b->lock);
    struct health *h = health_get(b, endpoint);
    if (h && until_ms > h->cool_until_ms)
        h->cool_until_ms = until_ms;
    lock_leave(&b->lock);
}

void breaker_release(struct breaker *b, const void *endpoint)
{
    lock_enter(&b->lock);
    struct health *h = health_find(b, endpoint);
    if (h && h->state == BREAKER_HALF_OPEN) {
        h->state = BREAKER_OPEN;
        h->open_until_ms = 0;
    }
    lock_leave(&b->lock);
}
