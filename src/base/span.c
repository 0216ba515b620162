#include "base/span.h"

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

bool span_eq_nocase(struct span a, struct span b)
{
    if (a.len != b.len)
        return false;
    for (size_t i = 0; i < a.len; i++)
        if (lower(a.ptr[i]) != lower(b.ptr[i]))
            return false;
    return true;
}

bool span_starts(struct span s, struct span prefix)
{
    return s.len >= prefix.len && span_eq(span_first(s, prefix.len), prefix);
}

bool span_ends(struct span s, struct span suffix)
{
    return s.len >= suffix.len && span_eq(span_skip(s, s.len - suffix.len), suffix);
}

int span_cmp(struct span a, struct span b)
{
    size_t n = a.len < b.len ? a.len : b.len;
    int c = n ? memcmp(a.ptr, b.ptr, n) : 0;
    if (c)
        return c;
    return a.len < b.len ? -1 : a.len > b.len;
}

ptrdiff_t span_find(struct span s, struct span needle)
{
    if (needle.len == 0)
        return 0;
    if (s.len < needle.len)
        return -1;
    const char *p = memmem(s.ptr, s.len, needle.ptr, needle.len);
    return p ? p - s.ptr : -1;
}

ptrdiff_t span_find_nocase(struct span s, struct span needle)
{
    char first = needle.len ? lower(needle.ptr[0]) : 0;
    for (size_t i = 0; i + needle.len <= s.len; i++)
        if ((!needle.len || lower(s.ptr[i]) == first) &&
            span_eq_nocase(span_of(s.ptr + i, needle.len), needle))
            return (ptrdiff_t)i;
    return -1;
}

ptrdiff_t span_find_char(struct span s, char c)
{
    const char *p = s.len ? memchr(s.ptr, c, s.len) : NULL;
    return p ? p - s.ptr : -1;
}

ptrdiff_t span_rfind_char(struct span s, char c)
{
    const char *p = s.len ? memrchr(s.ptr, c, s.len) : NULL;
    return p ? p - s.ptr : -1;
}

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

struct span span_trim(struct span s)
{
    while (s.len && is_space(s.ptr[0]))
        s = span_skip(s, 1);
    while (s.len && is_space(s.ptr[s.len - 1]))
        s.len--;
    return s;
}

bool span_next(struct span *rest, char sep, struct span *ret_piece)
{
    if (!rest->ptr)
        return false;
    ptrdiff_t at = span_find_char(*rest, sep);
    if (at < 0) {
        *ret_piece = *rest;
        *rest = SPAN_NULL;
        return true;
    }
    *ret_piece = span_first(*rest, (size_t)at);
    *rest = span_of(rest->ptr + at + 1, rest->len - (size_t)at - 1);
    return true;
}

bool parse_u64(struct span s, uint64_t *ret)
{
    uint64_t v = 0;
    if (!s.len)
        return false;
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] < '0' || s.ptr[i] > '9')
            return false;
        if (__builtin_mul_overflow(v, (uint64_t)10, &v) ||
            __builtin_add_overflow(v, (uint64_t)(s.ptr[i] - '0'), &v))
            return false;
    }
    *ret = v;
    return true;
}

bool parse_i64(struct span s, int64_t *ret)
{
    bool neg = s.len && s.ptr[0] == '-';
    uint64_t v;
    if (!parse_u64(neg ? span_skip(s, 1) : s, &v) || v > (uint64_t)INT64_MAX + neg)
        return false;
    *ret = neg ? (int64_t)(0 - v) : (int64_t)v;
    return true;
}

bool parse_bool(struct span s, bool *ret)
{
    static const char *const yes[] = {"true", "1", "t", "yes", "on"};
    static const char *const no[] = {"false", "0", "f", "no", "off"};
    for (size_t i = 0; i < ARRAY_LEN(yes); i++) {
        if (span_eq_nocase(s, span_str(yes[i]))) {
            *ret = true;
            return true;
        }
        if (span_eq_nocase(s, span_str(no[i]))) {
            *ret = false;
            return true;
        }
    }
    return false;
}
