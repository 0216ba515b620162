#pragma once
/* "Did you mean …?" for a mistyped name: nearest candidate by edits (a swap of neighbours counts as one). */
#include "base/span.h"

#define SUGGEST_NAME_MAX 48 /* longer names get no suggestion */

struct suggest {
    struct span typed;
    const char *best; /* NULL while nothing is near enough */
    unsigned best_edits;
};

static inline struct suggest suggest_for(struct span typed)
{
    return (struct suggest){typed, NULL, ~0u};
}
/* Considers one candidate; the best of all is in s->best (borrowed from the caller). */
void suggest_try(struct suggest *s, const char *candidate);
/* Edits between two names, or ~0u when either is longer than SUGGEST_NAME_MAX. */
unsigned suggest_distance(struct span a, struct span b);
