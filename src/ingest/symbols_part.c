/*
 * Pages and components (HTML, Vue, Svelte): their <script>, <style> and <template> parts, and what the scripts
 * define. A part is taken when it spans lines.
 */
#include "ingest/symbols.h"

#include <ctype.h>

struct part {
    const char *kind; /* also its name */
    struct span open, close;
};

static const struct part parts[] = {
    {"script", SPAN_INIT("<script"), SPAN_INIT("</script")},
    {"style", SPAN_INIT("<style"), SPAN_INIT("</style")},
    {"template", SPAN_INIT("<template"), SPAN_INIT("</template")},
};

static uint32_t count_lines(struct span text)
{
    uint32_t n = 0;
    for (const char *at = text.ptr, *end = text.ptr + text.len;
         at < end && (at = memchr(at, '\n', (size_t)(end - at))); at++)
        n++;
    return n;
}

/* The part that begins at text (which starts with '<'), or NULL. */
static const struct part *part_at(struct span text)
{
    for (size_t i = 0; i < ARRAY_LEN(parts); i++)
        if (span_starts(text, parts[i].open) && text.len > parts[i].open.len &&
            (isspace((unsigned char)text.ptr[parts[i].open.len]) ||
             text.ptr[parts[i].open.len] == '>'))
            return &parts[i];
    return NULL;
}

/* Where the part's content ends. A template may hold others. */
static ptrdiff_t part_end(const struct part *p, struct span body)
{
    size_t depth = 1, at = 0;
    for (;;) {
        ptrdiff_t next = span_find_char(span_skip(body, at), '<');
        if (next < 0)
            return -1;
        at += (size_t)next;
        struct span here = span_skip(body, at);
        if (span_starts(here, p->close) && --depth == 0)
            return (ptrdiff_t)at;
        depth += span_is(span_str(p->kind), "template") && span_starts(here, p->open);
        at++;
    }
}

static int scan_script(struct symbol_list *l, struct span body, uint32_t first)
{
    size_t from = l->count;
    int r = symbols_scan_brace(l, body, language_named(SPAN_LIT("typescript")));
    for (size_t i = from; r == 0 && i < l->count; i++) {
        l->items[i].first += first - 1;
        l->items[i].last += first - 1;
    }
    return r;
}

int symbols_scan_parts(struct symbol_list *l, struct span text, const struct language *lang)
{
    uint32_t line = 1;
    bool is_page = span_is(span_str(lang->name), "html");
    for (ptrdiff_t at; (at = span_find_char(text, '<')) >= 0;) {
        line += count_lines(span_first(text, (size_t)at));
        text = span_skip(text, (size_t)at);
        const struct part *p = part_at(text);
        ptrdiff_t open = p ? span_find_char(text, '>') : -1;
        struct span body = open > 0 ? span_skip(text, (size_t)open + 1) : SPAN_NULL;
        ptrdiff_t end = open > 0 ? part_end(p, body) : -1;
        if (p && end < 0)
            break; /* never closed: the rest belongs to it */
        bool is_wanted = end > 0 && (!is_page || span_is(span_str(p->kind), "script"));
        if (end < 0) {
            text = span_skip(text, 1);
            continue;
        }
        uint32_t first = line + count_lines(span_first(text, (size_t)open));
        body = span_first(body, (size_t)end);
        uint32_t last = first + count_lines(body);
        int r = 0;
        if (is_wanted && last > line)
            r = symbols_add(l, line, last, span_str(p->kind), p->kind);
        if (r == 0 && is_wanted && span_is(span_str(p->kind), "script"))
            r = scan_script(l, body, first);
        if (r < 0)
            return r;
        line = last;
        text = span_skip(text, (size_t)open + 1 + (size_t)end);
    }
    return 0;
}
