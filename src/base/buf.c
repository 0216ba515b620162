#include "base/buf.h"

#include "base/mem.h"

#include <stdio.h>

void buf_init(struct buf *b, size_t max_bytes)
{
    *b = BUF_INIT(max_bytes);
}

void buf_done(struct buf *b)
{
    mem_free(b->ptr);
    *b = BUF_INIT(b->max);
}

void buf_clear(struct buf *b)
{
    b->len = 0;
    b->failed = false;
    if (b->ptr)
        b->ptr[0] = 0;
}

bool buf_reserve(struct buf *b, size_t more)
{
    size_t need;
    if (b->failed || !add_size(b->len, more, &need) || need > b->max) {
        b->failed = true;
        return false;
    }
    if (need < b->cap)
        return true;
    size_t cap = b->cap ? b->cap : 64;
    while (cap <= need)
        cap *= 2;
    if (cap > b->max + 1)
        cap = b->max + 1;
    char *p = mem_try_realloc(b->ptr, cap);
    if (!p) {
        b->failed = true;
        return false;
    }
    b->ptr = p;
    b->cap = cap;
    b->ptr[b->len] = 0;
    return true;
}

void buf_put(struct buf *b, const void *ptr, size_t len)
{
    if (!len || !buf_reserve(b, len))
        return;
    memcpy(b->ptr + b->len, ptr, len);
    b->len += len;
    b->ptr[b->len] = 0;
}

void buf_putc(struct buf *b, char c)
{
    buf_put(b, &c, 1);
}

void buf_puts(struct buf *b, const char *s)
{
    buf_put(b, s, strlen(s));
}

void buf_put_span(struct buf *b, struct span s)
{
    buf_put(b, s.ptr, s.len);
}

void buf_vprintf(struct buf *b, const char *fmt, va_list ap)
{
    va_list again;
    va_copy(again, ap);
    char small[256];
    int n = vsnprintf(small, sizeof small, fmt, ap);
    if (n < 0) {
        b->failed = true;
    } else if ((size_t)n < sizeof small) {
        buf_put(b, small, (size_t)n);
    } else if (buf_reserve(b, (size_t)n + 1)) {
        vsnprintf(b->ptr + b->len, (size_t)n + 1, fmt, again);
        b->len += (size_t)n;
    }
    va_end(again);
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    buf_vprintf(b, fmt, ap);
    va_end(ap);
}

void buf_put_u64(struct buf *b, uint64_t v)
{
    char digits[20];
    size_t i = sizeof digits;
    do
        digits[--i] = (char)('0' + v % 10);
    while (v /= 10);
    buf_put(b, digits + i, sizeof digits - i);
}

void buf_drop(struct buf *b, size_t n)
{
    if (n >= b->len) {
        b->len = 0;
    } else {
        memmove(b->ptr, b->ptr + n, b->len - n);
        b->len -= n;
    }
    if (b->ptr)
        b->ptr[b->len] = 0;
}

char *buf_detach(struct buf *b)
{
    char *p = NULL;
    if (!b->failed && buf_reserve(b, 0) && !b->ptr)
        b->ptr = mem_try(1);
    if (!b->failed)
        p = take_ptr(b->ptr);
    buf_done(b);
    return p;
}
