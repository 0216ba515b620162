#pragma once
/*
 * struct span: a borrowed view of bytes, passed and returned by value. Never owns, never NUL-terminated.
 * ptr may be NULL only when len is 0. Thread: any.
 */
#include "base/attr.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct span {
    const char *ptr;
    size_t len;
};

#define SPAN_NULL ((struct span){NULL, 0})
#define SPAN_LIT(s) ((struct span){"" s, sizeof(s) - 1})
#define SPAN_INIT(s)        \
    {                       \
        "" s, sizeof(s) - 1 \
    } /* for initializers of static tables */
#define SPAN_FMT "%.*s"
#define SPAN_ARG(s) (int)((s).len > 4096 ? 4096 : (s).len), (s).ptr ? (s).ptr : ""

static inline struct span span_of(const char *ptr, size_t len)
{
    return (struct span){ptr, len};
}
static inline struct span span_str(const char *s)
{
    return (struct span){s, s ? strlen(s) : 0};
}
static inline bool span_eq(struct span a, struct span b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}
static inline bool span_is(struct span a, const char *s)
{
    return span_eq(a, span_str(s));
}
static inline struct span span_skip(struct span s, size_t n)
{
    return n >= s.len ? span_of(s.ptr ? s.ptr + s.len : NULL, 0) : span_of(s.ptr + n, s.len - n);
}
static inline struct span span_first(struct span s, size_t n)
{
    return span_of(s.ptr, n < s.len ? n : s.len);
}

bool span_eq_nocase(struct span a, struct span b); /* ASCII case only */
bool span_starts(struct span s, struct span prefix);
bool span_ends(struct span s, struct span suffix);
int span_cmp(struct span a, struct span b); /* bytewise, shorter first: memcmp's sign */
/* Offset of the first needle, or -1. */
ptrdiff_t span_find(struct span s, struct span needle);
ptrdiff_t span_find_nocase(struct span s, struct span needle);
ptrdiff_t span_find_char(struct span s, char c);
ptrdiff_t span_rfind_char(struct span s, char c);
/* Without leading and trailing ASCII white space. */
struct span span_trim(struct span s);
/*
 * Cuts the next piece before `sep` off `*rest`. False when nothing is left; an empty piece between
 * two separators is a piece. while (span_next(&rest, '\n', &line)) …
 */
bool span_next(struct span *rest, char sep, struct span *ret_piece);

/* Whole span must be the number; no sign for u64, no white space. False on syntax or range. */
bool parse_u64(struct span s, uint64_t *ret);
bool parse_i64(struct span s, int64_t *ret);
/* true/1/t/yes/on and false/0/f/no/off, any case. */
bool parse_bool(struct span s, bool *ret);
