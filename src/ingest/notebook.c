#include "ingest/notebook.h"

#include "base/json.h"

#include <stdio.h>

struct notebook {
    const struct language *lang; /* of its code */
    struct buf *out;
    struct symbol_list *cells;
    uint32_t line; /* the next to be written, from 1 */
    unsigned number;
};

/* A source is a string, or a list of strings that bring their line ends with them. */
static void put_source(struct buf *out, const json_t *source)
{
    size_t i;
    json_t *part;
    if (json_is_string(source))
        buf_put_span(out, json_span(source));
    json_array_foreach(source, i, part) buf_put_span(out, json_span(part));
}

static uint32_t count_lines(struct span text)
{
    uint32_t n = 0;
    for (size_t i = 0; i < text.len; i++)
        n += text.ptr[i] == '\n';
    return n;
}

/* The first heading of a text, or nothing. */
static struct span heading_of(struct span text)
{
    struct span line;
    for (int n = 0; n < 20 && span_next(&text, '\n', &line); n++) {
        size_t marks = 0;
        while (marks < line.len && line.ptr[marks] == '#')
            marks++;
        if (marks > 0 && marks < 7 && marks < line.len && line.ptr[marks] == ' ')
            return span_trim(span_skip(line, marks));
    }
    return SPAN_NULL;
}

static int add_symbol(struct notebook *n, uint32_t first, struct span name, const char *kind)
{
    char number[32];
    if (!name.len) {
        snprintf(number, sizeof number, "cell %u", n->number);
        name = span_str(number);
    }
    const char *copy = pool_copy(&n->cells->names, name);
    if (!copy)
        return -ERR_NO_MEMORY;
    return symbols_add(n->cells, first, n->line - 1, span_of(copy, name.len), kind);
}

/* What a cell of code defines; `first` is the line before its source. */
static int add_definitions(struct notebook *n, struct span source, uint32_t first)
{
    struct symbol_list own = {0};
    int r = symbols_scan(&own, source, n->lang);
    for (size_t i = 0; r == 0 && i < own.count; i++) {
        const struct symbol *s = &own.items[i];
        const char *name = pool_copy(&n->cells->names, s->name);
        r = name ? symbols_add(n->cells, first + s->first, first + s->last,
                               span_of(name, s->name.len), s->kind)
                 : -ERR_NO_MEMORY;
    }
    symbols_done(&own);
    return r;
}

static int put_cell(struct notebook *n, const json_t *cell)
{
    const json_t *source = json_object_get(cell, "source");
    bool is_code = span_is(span_str(json_str(cell, "cell_type", "")), "code");
    uint32_t first = n->line;
    size_t start = n->out->len;
    n->number++;
    buf_printf(n->out, "# %%%% %scell %u\n", is_code ? "" : "[markdown] ", n->number);
    size_t from = n->out->len;
    put_source(n->out, source ? source : json_object_get(cell, "input"));
    if (buf_failed(n->out))
        return -ERR_NO_MEMORY;
    struct span text = span_of(n->out->ptr + from, n->out->len - from);
    if (!span_trim(text).len) {
        n->out->len = start;
        return 0;
    }
    n->line += 1 + count_lines(text);
    if (text.ptr[text.len - 1] != '\n') {
        buf_putc(n->out, '\n');
        n->line++;
    }
    buf_putc(n->out, '\n');
    text = span_of(n->out->ptr + from, text.len);
    int r = buf_failed(n->out) ? -ERR_NO_MEMORY
                               : add_symbol(n, first, is_code ? SPAN_NULL : heading_of(text),
                                            is_code ? "cell" : "note");
    if (r == 0 && is_code)
        r = add_definitions(n, text, first);
    n->line++;
    return r;
}

static int put_cells(struct notebook *n, const json_t *cells)
{
    size_t i;
    json_t *cell;
    int r = 0;
    json_array_foreach(cells, i, cell)
    {
        if (r == 0 && json_is_object(cell))
            r = put_cell(n, cell);
    }
    return r;
}

static const struct language *code_language(const json_t *v)
{
    const json_t *meta = json_object_get(v, "metadata");
    const char *name = json_str(json_object_get(meta, "language_info"), "name", "");
    if (!name[0])
        name = json_str(json_object_get(meta, "kernelspec"), "language", "python");
    const struct language *l = language_named(span_str(name));
    return l ? l : language_named(SPAN_LIT("python"));
}

int notebook_text(struct span json, struct buf *out, struct symbol_list *cells)
{
    json_t *v = json_read(json, NULL, NULL);
    struct notebook n = {.lang = code_language(v), .out = out, .cells = cells, .line = 1};
    const json_t *direct = json_object_get(v, "cells");
    size_t i;
    json_t *sheet;
    int r = put_cells(&n, direct);
    json_array_foreach(json_object_get(v, "worksheets"), i, sheet)
    {
        if (r == 0)
            r = put_cells(&n, json_object_get(sheet, "cells"));
    }
    bool is_notebook = json_is_array(direct) || json_object_get(v, "worksheets");
    json_decref(v);
    return r < 0 ? r : is_notebook && n.line > 1;
}
