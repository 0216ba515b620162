#pragma once
/* The promises of chunk.h, checked on any text. Used by unit tests and fuzz targets. */
#include "base/limits.h"
#include "ingest/chunk.h"
#include "ingest/encoding.h"

#include <ctype.h>

/* NULL when all hold, else which one does not. */
static inline const char *chunk_check(const struct chunk_set *set, struct span text)
{
    size_t at = 0; /* bytes before it are covered or blank */
    uint32_t line = 1;
    for (size_t i = 0; i < set->count; i++) {
        const struct ingest_chunk *c = &set->items[i];
        if (c->start < at || c->start > text.len || c->len > text.len - c->start)
            return "chunks overlap, are out of order, or leave the text";
        if (c->len == 0 || c->len > LIMIT_CHUNK_BYTES)
            return "a chunk is empty or larger than the limit";
        for (; at < c->start; at++) {
            if (!isspace((unsigned char)text.ptr[at]))
                return "a non-blank line is in no chunk";
            line += text.ptr[at] == '\n';
        }
        bool is_continued = i > 0 && at > 0 && text.ptr[at - 1] != '\n' &&
                            set->items[i - 1].start + set->items[i - 1].len == at;
        if (!is_continued && at > 0 && text.ptr[at - 1] != '\n')
            return "a chunk begins within a line";
        if (c->start_line != line)
            return "start_line is wrong";
        at = c->start + c->len;
        for (size_t k = c->start; k < at; k++)
            line += text.ptr[k] == '\n';
        bool ends_line = at == text.len || text.ptr[at - 1] == '\n';
        if (c->end_line != line - (text.ptr[at - 1] == '\n'))
            return "end_line is wrong";
        if (!ends_line && c->start_line != c->end_line)
            return "a chunk ends within a line";
        if (!encoding_is_utf8(span_of(text.ptr + c->start, c->len)))
            return "a chunk cuts a character";
        if (!encoding_is_utf8(c->symbol) || c->symbol.len > LIMIT_SYMBOL_BYTES + 3)
            return "a symbol is not UTF-8 or too long";
    }
    for (; at < text.len; at++)
        if (!isspace((unsigned char)text.ptr[at]))
            return "a non-blank line at the end is in no chunk";
    return NULL;
}
