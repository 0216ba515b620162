#pragma once
/*
 * Strings that live as long as an iterator: copied in, never moved, released together. Thread: owner.
 */
#include "base/span.h"

struct pool_block;

struct pool {
    struct pool_block *head; /* owned */
};

/* NUL-terminated copy that stays where it is until pool_done, or NULL without memory. */
const char *pool_copy(struct pool *p, struct span s) MUST_CHECK;
void pool_done(struct pool *p);
