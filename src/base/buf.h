#pragma once
/*
 * struct buf: bytes that grow up to a stated maximum. Failure (no memory, or past the maximum) is
 * sticky: later puts do nothing and buf_failed() says so, so a builder checks once at its end.
 * ptr is NUL-terminated whenever it is not NULL; the NUL is not counted in len.
 * Owner: whoever holds the struct; release with buf_done. Thread: owner.
 */
#include "base/attr.h"
#include "base/span.h"
#include <stdarg.h>

struct buf {
    char *ptr; /* owned; NULL while empty */
    size_t len;
    size_t cap;
    size_t max;
    bool failed;
};

#define BUF_INIT(max_bytes) ((struct buf){NULL, 0, 0, (max_bytes), false})

void buf_init(struct buf *b, size_t max_bytes);
void buf_done(struct buf *b);
void buf_clear(struct buf *b); /* empty and reusable, memory kept, failure forgotten */

/* Room for `more` bytes beyond len, or false (and sticky). */
bool buf_reserve(struct buf *b, size_t more);
void buf_put(struct buf *b, const void *ptr, size_t len);
void buf_putc(struct buf *b, char c);
void buf_puts(struct buf *b, const char *s);
void buf_put_span(struct buf *b, struct span s);
void buf_printf(struct buf *b, const char *fmt, ...) PRINTF(2, 3);
void buf_vprintf(struct buf *b, const char *fmt, va_list ap) PRINTF(2, 0);
void buf_put_u64(struct buf *b, uint64_t v); /* decimal, faster than printf */
void buf_drop(struct buf *b, size_t n);      /* removes n bytes at the front */

static inline bool buf_failed(const struct buf *b)
{
    return b->failed;
}
static inline struct span buf_span(const struct buf *b)
{
    return span_of(b->ptr, b->len);
}
/* "" when empty. */
static inline const char *buf_str(const struct buf *b)
{
    return b->ptr ? b->ptr : "";
}
/* Hands the bytes out (caller frees with mem_free); NULL when the buffer failed. b is empty after. */
char *buf_detach(struct buf *b);
