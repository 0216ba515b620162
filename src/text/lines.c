#include "text/lines.h"

uint32_t lines_count(struct span text)
{
    if (text.len == 0)
        return 0;
    uint32_t n = lines_at(text, text.len);
    return text.ptr[text.len - 1] == '\n' ? n - 1 : n;
}

uint32_t lines_at(struct span text, size_t offset)
{
    const char *p = text.ptr, *end = text.ptr + (offset < text.len ? offset : text.len);
    uint32_t line = 1;
    while (p < end && (p = memchr(p, '\n', (size_t)(end - p)))) {
        line++;
        p++;
    }
    return line;
}

/* Start of a line, or NULL past the last one. */
static const char *line_start(struct span text, uint32_t line)
{
    const char *p = text.ptr, *end = text.ptr + text.len;
    for (uint32_t at = 1; at < line && p < end; at++) {
        p = memchr(p, '\n', (size_t)(end - p));
        if (!p)
            return NULL;
        p++;
    }
    return p < end ? p : NULL;
}

struct span lines_slice(struct span text, uint32_t first, uint32_t last)
{
    if (first == 0 || first > last || text.len == 0)
        return SPAN_NULL;
    const char *from = line_start(text, first);
    if (!from)
        return SPAN_NULL;
    struct span rest = span_of(from, (size_t)(text.ptr + text.len - from));
    /* last - first + 1 lines further on starts what is no longer ours */
    const char *to = last - first == UINT32_MAX ? NULL : line_start(rest, last - first + 2);
    return to ? span_of(from, (size_t)(to - from)) : rest;
}
