#include "ingest/symbols.h"

#include "base/limits.h"
#include "base/mem.h"

#include <stdlib.h>

#define CANDIDATES_MAX 256 /* looked at for one tag */
#define HEAD_LINES_MAX 40  /* from the first line of a declaration to the one with its name */

int symbols_add(struct symbol_list *l, uint32_t first, uint32_t last, struct span name,
                const char *kind)
{
    if (l->count >= LIMIT_SYMBOLS_COUNT)
        return 0;
    if (l->count == l->cap) {
        size_t cap = l->cap ? l->cap * 2 : 64;
        struct symbol *items = mem_try_realloc(l->items, cap * sizeof *items);
        if (!items)
            return -ERR_NO_MEMORY;
        l->items = items;
        l->cap = cap;
    }
    l->items[l->count++] = (struct symbol){first, last, name, kind, -1, 0, false, false};
    return 0;
}

void symbols_clear(struct symbol_list *l)
{
    l->count = 0;
    pool_done(&l->names);
}

void symbols_done(struct symbol_list *l)
{
    mem_free(l->items);
    pool_done(&l->names);
    *l = (struct symbol_list){0};
}

bool symbol_is_container(const char *kind)
{
    static const char *const kinds[] = {
        "class",    "struct",  "interface", "namespace", "module",  "trait",
        "impl",     "object",  "protocol",  "extension", "heading", "enum",
        "contract", "service", "union",     "component", "suite",   "cell",
        "note",     "script",  "style",     "template"};
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
        if (span_is(span_str(kind), kinds[i]))
            return true;
    return false;
}

static int by_place(const void *pa, const void *pb)
{
    const struct symbol *a = pa, *b = pb;
    if (a->first != b->first)
        return a->first < b->first ? -1 : 1;
    if (a->last != b->last)
        return a->last > b->last ? -1 : 1;
    return span_cmp(a->name, b->name);
}

void symbols_settle(struct symbol_list *l, uint32_t line_count)
{
    int32_t open[LIMIT_SYMBOL_DEPTH];
    uint32_t depth = 0;
    size_t kept = 0;
    if (l->count)
        qsort(l->items, l->count, sizeof l->items[0], by_place);
    for (size_t i = 0; i < l->count; i++) {
        struct symbol s = l->items[i];
        if (s.last > line_count)
            s.last = line_count;
        if (s.first < 1 || s.last < s.first)
            continue;
        while (depth > 0 && l->items[open[depth - 1]].last < s.first)
            depth--;
        if (depth > 0) {
            const struct symbol *parent = &l->items[open[depth - 1]];
            /* The same lines twice: one unit is enough. */
            if (depth == LIMIT_SYMBOL_DEPTH || (s.first == parent->first && s.last >= parent->last))
                continue;
            if (s.last > parent->last)
                s.last = parent->last;
        }
        s.parent = depth > 0 ? open[depth - 1] : -1;
        s.depth = depth;
        s.is_container = symbol_is_container(s.kind);
        l->items[kept] = s;
        open[depth++] = (int32_t)kept;
        kept++;
    }
    l->count = kept;
}

int symbols_scan(struct symbol_list *l, struct span text, const struct language *lang)
{
    switch (lang->scanner) {
    case SCAN_NONE:
        return 0;
    case SCAN_BRACE:
        return symbols_scan_brace(l, text, lang);
    case SCAN_PARTS:
        return symbols_scan_parts(l, text, lang);
    case SCAN_INDENT:
    case SCAN_END:
    case SCAN_SHELL:
    case SCAN_SQL:
    case SCAN_MARKDOWN:
    case SCAN_RST:
    case SCAN_ASCIIDOC:
    case SCAN_ORG:
    case SCAN_TEX:
        return symbols_scan_lines(l, text, lang);
    }
    return 0;
}

/* "A.f" and "f": the same function, one of them with the class that it belongs to. */
static bool is_same_name(struct span a, struct span b)
{
    struct span longer = a.len > b.len ? a : b, shorter = a.len > b.len ? b : a;
    return span_ends(longer, shorter) &&
           (longer.len == shorter.len ||
            strchr(".:#", longer.ptr[longer.len - shorter.len - 1]) != NULL);
}

int symbols_join(struct symbol_list *l, struct span text, const struct language *lang)
{
    struct symbol_list own = {0};
    size_t tags = l->count, kept = 0, from = 0;
    int r = symbols_scan(&own, text, lang);
    if (r == 0 && own.count)
        qsort(own.items, own.count, sizeof own.items[0], by_place);
    if (r == 0 && tags)
        qsort(l->items, tags, sizeof l->items[0], by_place);
    for (size_t i = 0; r == 0 && i < tags; i++) {
        uint32_t line = l->items[i].first;
        bool is_known = false;
        while (from < own.count && own.items[from].first + HEAD_LINES_MAX < line)
            from++;
        for (size_t k = from; k < own.count && k < from + CANDIDATES_MAX &&
                              own.items[k].first <= line + 1 && !is_known;
             k++)
            is_known =
                own.items[k].last >= line && is_same_name(own.items[k].name, l->items[i].name);
        if (!is_known)
            l->items[kept++] = l->items[i];
    }
    if (r == 0)
        l->count = kept;
    for (size_t i = 0; r == 0 && i < own.count; i++) {
        const char *name = pool_copy(&l->names, own.items[i].name);
        r = name ? symbols_add(l, own.items[i].first, own.items[i].last,
                               span_of(name, own.items[i].name.len), own.items[i].kind)
                 : -ERR_NO_MEMORY;
    }
    symbols_done(&own);
    return r;
}
