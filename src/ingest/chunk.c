#include "ingest/chunk.h"

#include "base/limits.h"
#include "base/mem.h"
#include "ingest/encoding.h"
#include "ingest/lex.h"
#include "ingest/test_mark.h"

#include <ctype.h>

#define KEPT_LINES_COUNT 65536 /* scratch larger than that is not kept for the next file */
#define COMMENT_LINES_MAX 400  /* a longer comment is not part of what follows it */
#define UNIT_LINES 3           /* a function of so many lines is a chunk of its own */
#define INNER_UNIT_LINES 30 /* the same for one within a function that is too large for a chunk */

struct chunk_line {
    uint32_t at; /* byte offset */
    uint16_t indent;
    bool blank;
    uint8_t inside; /* enum lex_inside; known where something is cut */
};

struct chunk_piece {
    uint32_t first, last; /* lines, from 1; both non-blank */
    int32_t symbol;       /* the one it is (part of), or -1 */
    int32_t parent;       /* the container around it, or -1 */
    uint32_t symbol_lines;
    bool merged, is_test;
};

/* How large a chunk of some kind is to be. */
struct shape {
    uint32_t whole_lines;     /* a unit up to this size is not cut */
    uint32_t container_lines; /* a container up to this size is not opened */
    uint32_t target_lines;    /* where larger ones are cut */
    uint32_t max_lines;
    uint32_t merge_lines; /* small neighbours grow up to it */
    uint32_t soft_bytes;
};

static const struct shape shapes[] = {
    [CHUNK_CODE] = {100, 60, 60, 80, 60, LIMIT_CHUNK_BYTES},
    [CHUNK_PROSE] = {60, 30, 40, 60, 40, 4096},
    [CHUNK_DATA] = {80, 80, 60, 80, 60, 4096},
};

struct chunker {
    struct chunk_set *set;
    struct span text;
    const struct language *lang;
    const struct symbol_list *symbols;
    const struct shape *shape;
    struct chunk_line *lines; /* [0] is line 1; one more at the end marks the end of the text */
    uint32_t line_count;
    struct chunk_piece *pieces;
    size_t piece_count;
    bool no_memory;
};

/* ---- lines ---- */

static size_t count_lines(struct span text)
{
    size_t n = 0;
    const char *p = text.ptr, *end = text.ptr + text.len;
    while (p < end) {
        const char *nl = memchr(p, '\n', (size_t)(end - p));
        n++;
        if (!nl)
            break;
        p = nl + 1;
    }
    return n;
}

static void read_line(struct chunk_line *l, const char *text, size_t at, size_t end)
{
    uint32_t indent = 0;
    l->at = (uint32_t)at;
    for (; at < end; at++) {
        if (text[at] == ' ')
            indent++;
        else if (text[at] == '\t')
            indent += 4;
        else if (!isspace((unsigned char)text[at]))
            break;
    }
    l->blank = at == end;
    l->inside = LEX_AT_BORDER;
    l->indent = (uint16_t)(indent < UINT16_MAX ? indent : UINT16_MAX);
}

static int index_lines(struct chunker *c)
{
    size_t n = count_lines(c->text), need = n + 1, at = 0;
    if (need > c->set->lines_cap) {
        size_t cap = need + need / 2, bytes;
        struct chunk_line *p =
            mul_size(cap, sizeof *p, &bytes) ? mem_try_realloc(c->set->lines, bytes) : NULL;
        if (!p)
            return -ERR_NO_MEMORY;
        c->set->lines = p;
        c->set->lines_cap = cap;
    }
    c->lines = c->set->lines;
    c->line_count = (uint32_t)n;
    for (size_t i = 0; i < n; i++) {
        const char *nl = memchr(c->text.ptr + at, '\n', c->text.len - at);
        size_t end = nl ? (size_t)(nl - c->text.ptr) + 1 : c->text.len;
        read_line(&c->lines[i], c->text.ptr, at, end);
        at = end;
    }
    c->lines[n] = (struct chunk_line){(uint32_t)c->text.len, 0, true, 0};
    return 0;
}

static uint32_t bytes_of(const struct chunker *c, uint32_t first, uint32_t last)
{
    return c->lines[last].at - c->lines[first - 1].at;
}

static struct span line_text(const struct chunker *c, uint32_t line)
{
    return span_of(c->text.ptr + c->lines[line - 1].at, bytes_of(c, line, line));
}

static bool is_blank(const struct chunker *c, uint32_t line)
{
    return c->lines[line - 1].blank;
}

/* ---- what stands directly above a unit and belongs to it ---- */

static bool has_lex(const struct chunker *c, unsigned flags)
{
    return (c->lang->lex & flags) != 0;
}

static bool is_comment(const struct chunker *c, struct span t)
{
    return (has_lex(c, LEX_SLASH) && span_starts(t, SPAN_LIT("//"))) ||
           (has_lex(c, LEX_HASH) && span_starts(t, SPAN_LIT("#"))) ||
           (has_lex(c, LEX_DASH) && span_starts(t, SPAN_LIT("--"))) ||
           (has_lex(c, LEX_PERCENT) && span_starts(t, SPAN_LIT("%"))) ||
           (has_lex(c, LEX_SEMI) && span_starts(t, SPAN_LIT(";"))) ||
           (has_lex(c, LEX_BLOCK) && span_starts(t, SPAN_LIT("/*")) &&
            span_ends(t, SPAN_LIT("*/")));
}

static bool is_decoration(const struct chunker *c, struct span t)
{
    if (span_starts(t, SPAN_LIT("@")))
        return !span_starts(t, SPAN_LIT("@end"));
    if (span_starts(t, SPAN_LIT("#[")) || span_starts(t, SPAN_LIT("template")))
        return true;
    return span_starts(t, SPAN_LIT("[")) && span_ends(t, SPAN_LIT("]")) &&
           span_is(span_str(c->lang->name), "csharp");
}

/* "static int" above "name(void)": ctags gives the line of the name. */
static bool is_declaration_start(const struct chunker *c, struct span t)
{
    static const char *const languages[] = {"c", "cpp", "objective-c", "java", "csharp"};
    bool applies = false;
    for (size_t i = 0; i < ARRAY_LEN(languages); i++)
        applies |= span_is(span_str(c->lang->name), languages[i]);
    return applies && t.len && t.ptr[0] != '#' &&
           (isalpha((unsigned char)t.ptr[0]) || t.ptr[0] == '_') &&
           !strchr(";{}:,()\\/", t.ptr[t.len - 1]);
}

/* The line where a block that ends on `line` begins, searching up to `floor`; 0 when it does not. */
static uint32_t block_start(const struct chunker *c, uint32_t line, uint32_t floor,
                            struct span opening)
{
    for (uint32_t n = 0; line >= floor && n < COMMENT_LINES_MAX; line--, n++) {
        struct span t = span_trim(line_text(c, line));
        if (span_starts(t, opening))
            return line;
        if (span_find(t, opening) >= 0 && opening.len > 1)
            return 0;
        if (opening.len == 1 && !t.len)
            return 0;
        if (line == 1)
            break;
    }
    return 0;
}

static uint32_t lead_line(const struct chunker *c, uint32_t line, uint32_t floor)
{
    if (c->lang->kind != CHUNK_CODE)
        return line;
    uint32_t bottom = line;
    while (line > floor && bottom - line < COMMENT_LINES_MAX) {
        uint32_t above = line - 1, from = 0;
        struct span t = span_trim(line_text(c, above));
        if (!t.len)
            break;
        if (is_comment(c, t) || is_decoration(c, t) || is_declaration_start(c, t))
            from = above;
        else if (has_lex(c, LEX_BLOCK) && span_ends(t, SPAN_LIT("*/")))
            from = block_start(c, above, floor, SPAN_LIT("/*"));
        else if (t.ptr[0] == ')' || span_starts(t, SPAN_LIT("})")))
            from = block_start(c, above, floor, SPAN_LIT("@"));
        else if (span_ends(t, SPAN_LIT(")]")))
            from = block_start(c, above, floor, SPAN_LIT("#["));
        if (!from)
            break;
        line = from;
    }
    return line;
}

/* ---- pieces ---- */

static void push(struct chunker *c, struct chunk_piece p)
{
    if (c->piece_count == c->set->pieces_cap) {
        size_t cap = c->set->pieces_cap ? c->set->pieces_cap * 2 : 64;
        struct chunk_piece *items = mem_try_realloc(c->set->pieces, cap * sizeof *items);
        if (!items) {
            c->no_memory = true;
            return;
        }
        c->set->pieces = c->pieces = items;
        c->set->pieces_cap = cap;
    }
    c->pieces = c->set->pieces;
    c->pieces[c->piece_count++] = p;
}

static bool is_test(const struct chunker *c, int32_t symbol)
{
    for (; symbol >= 0; symbol = c->symbols->items[symbol].parent)
        if (c->symbols->items[symbol].is_test)
            return true;
    return false;
}

/* How good is it to cut after line e? Blank lines and shallow beginnings are; far from the target is not. */
static int32_t cut_score(const struct chunker *c, uint32_t e, uint32_t ideal)
{
    uint32_t next = e + 1;
    int32_t score = -(int32_t)(e > ideal ? e - ideal : ideal - e);
    if (next <= c->line_count && is_blank(c, next))
        score += 40;
    else if (is_blank(c, e))
        score += 30;
    while (next < c->line_count && is_blank(c, next))
        next++;
    if (next <= c->line_count) {
        int32_t indent = c->lines[next - 1].indent;
        score -= 2 * (indent < 24 ? indent : 24);
        struct span t = span_trim(line_text(c, next));
        if (t.len && strchr("})]", t.ptr[0]))
            score -= 10; /* a closing bracket belongs to what it closes */
        static const int32_t costs[] = {[LEX_AT_BORDER] = 0,
                                        [LEX_IN_STATEMENT] = 150,
                                        [LEX_IN_PARENS] = 250,
                                        [LEX_IN_TEXT] = 400};
        score -= costs[c->lines[next - 1].inside];
    }
    return score;
}

static uint32_t choose_cut(const struct chunker *c, uint32_t first, uint32_t last)
{
    const struct shape *s = c->shape;
    uint32_t lines = last - first + 1, bytes = bytes_of(c, first, last);
    uint32_t parts = (lines + s->target_lines - 1) / s->target_lines;
    uint32_t by_bytes = bytes / (s->soft_bytes * 3 / 4) + 1;
    parts = parts > by_bytes ? parts : by_bytes;
    uint32_t size = lines / parts ? lines / parts : 1;
    uint32_t ideal = first + size - 1, best = first;
    int32_t best_score = INT32_MIN;
    for (uint32_t e = first; e < last && e < first + s->max_lines; e++) {
        if (e > first && bytes_of(c, first, e) > s->soft_bytes)
            break;
        int32_t score = cut_score(c, e, ideal) - (e - first + 1 < size / 2 ? 100 : 0);
        if (score >= best_score) {
            best = e;
            best_score = score;
        }
    }
    return best;
}

static bool is_too_large(const struct chunker *c, uint32_t first, uint32_t last,
                         uint32_t whole_lines)
{
    return last > first &&
           (last - first + 1 > whole_lines || bytes_of(c, first, last) > c->shape->soft_bytes);
}

/* Finds the statement borders in what is going to be cut. */
static void mark_lines(struct chunker *c, uint32_t first, uint32_t last)
{
    struct span text = span_of(c->text.ptr + c->lines[first - 1].at, bytes_of(c, first, last));
    if (c->lang->kind == CHUNK_CODE)
        lex_lines(c->lang, text, &c->lines[first - 1].inside, sizeof *c->lines, last - first + 1);
}

/* Lines first..last without blank ends, as one piece or several. */
static void add_lines(struct chunker *c, uint32_t first, uint32_t last, int32_t symbol,
                      int32_t parent, uint32_t whole_lines)
{
    if (first < last && is_too_large(c, first, last, whole_lines))
        mark_lines(c, first, last);
    while (first <= last) {
        if (is_blank(c, first)) {
            first++;
            continue;
        }
        while (is_blank(c, last))
            last--;
        uint32_t end = last;
        if (is_too_large(c, first, last, whole_lines))
            end = choose_cut(c, first, last);
        uint32_t next = end + 1;
        while (is_blank(c, end))
            end--;
        push(c, (struct chunk_piece){first, end, symbol, parent, symbol >= 0 ? end - first + 1 : 0,
                                     false, is_test(c, symbol >= 0 ? symbol : parent)});
        first = next;
    }
}

/* Within a function? */
static bool is_inner(const struct chunker *c, int32_t symbol)
{
    int32_t parent = symbol >= 0 ? c->symbols->items[symbol].parent : -1;
    return parent >= 0 && !c->symbols->items[parent].is_container;
}

/* A function of some lines: a chunk of its own. */
static bool is_unit(const struct chunker *c, int32_t symbol, uint32_t lines)
{
    if (symbol < 0)
        return false;
    const struct symbol *s = &c->symbols->items[symbol];
    return lines >= (is_inner(c, symbol) ? INNER_UNIT_LINES : UNIT_LINES) && !s->is_container &&
           strcmp(s->kind, "test") != 0;
}

static bool holds_unit(const struct chunker *c, size_t index)
{
    const struct symbol_list *l = c->symbols;
    for (size_t i = index + 1; i < l->count && l->items[i].depth > l->items[index].depth; i++)
        if (is_unit(c, (int32_t)i, l->items[i].last - l->items[i].first + 1))
            return true;
    return false;
}

static bool opens(const struct chunker *c, size_t index, uint32_t first)
{
    const struct symbol *s = &c->symbols->items[index];
    if (index + 1 >= c->symbols->count || c->symbols->items[index + 1].parent != (int32_t)index)
        return false;
    if (!s->is_container)
        return is_too_large(c, first, s->last, c->shape->whole_lines);
    if (is_too_large(c, first, s->last, c->shape->container_lines))
        return true;
    /* A small object is a table of its functions: one thing. */
    return span_is(span_str(s->kind), "namespace") ||
           (!span_is(span_str(s->kind), "object") && holds_unit(c, index));
}

static void add_range(struct chunker *c, uint32_t first, uint32_t last, int32_t parent,
                      size_t *cursor)
{
    const struct symbol_list *l = c->symbols;
    while (*cursor < l->count && l->items[*cursor].parent == parent) {
        size_t index = (*cursor)++;
        const struct symbol *s = &l->items[index];
        if (s->last >= first) {
            uint32_t lead = lead_line(c, s->first > first ? s->first : first, first);
            if (lead > first)
                add_lines(c, first, lead - 1, -1, parent, c->shape->max_lines);
            if (opens(c, index, lead))
                add_range(c, lead, s->last, (int32_t)index, cursor);
            else
                add_lines(c, lead, s->last, (int32_t)index, parent, c->shape->whole_lines);
            first = s->last + 1;
        }
        while (*cursor < l->count && l->items[*cursor].depth > s->depth)
            ++*cursor;
    }
    if (first <= last)
        add_lines(c, first, last, -1, parent, c->shape->max_lines);
}

/* ---- small neighbours ---- */

static uint32_t lines_of(const struct chunk_piece *p)
{
    return p->last - p->first + 1;
}

static bool is_small(const struct chunker *c, const struct chunk_piece *p)
{
    uint32_t named = is_inner(c, p->symbol) ? INNER_UNIT_LINES : 8;
    return lines_of(p) < (p->merged ? 40u : p->symbol >= 0 ? named : 20u);
}

static bool is_tiny(const struct chunk_piece *p)
{
    return lines_of(p) <= 3 && (p->symbol < 0 || p->merged);
}

static bool fits(const struct chunker *c, const struct chunk_piece *a, const struct chunk_piece *b,
                 uint32_t lines)
{
    return b->last - a->first + 1 <= lines &&
           bytes_of(c, a->first, b->last) <= c->shape->soft_bytes;
}

static bool is_notebook(const struct chunker *c)
{
    return span_is(span_str(c->lang->name), "notebook");
}

/* The outermost symbol that a piece belongs to, or -1. */
static int32_t root_of(const struct chunker *c, const struct chunk_piece *p)
{
    int32_t at = p->symbol >= 0 ? p->symbol : p->parent;
    while (at >= 0 && c->symbols->items[at].parent >= 0)
        at = c->symbols->items[at].parent;
    return at;
}

static enum chunk_kind kind_of(const struct chunker *c, const struct chunk_piece *p)
{
    int32_t root = root_of(c, p);
    struct span kind = root >= 0 ? span_str(c->symbols->items[root].kind) : SPAN_NULL;
    return span_is(kind, "note")     ? CHUNK_PROSE
           : span_is(kind, "script") ? CHUNK_CODE
                                     : c->lang->kind;
}

/* Only what ends the container around it. */
static bool is_closer(const struct chunker *c, const struct chunk_piece *p)
{
    struct span t = span_trim(line_text(c, p->first));
    return p->first == p->last && (t.ptr[0] == '}' || span_is(t, "end"));
}

static bool should_merge(const struct chunker *c, const struct chunk_piece *a,
                         const struct chunk_piece *b)
{
    if (is_notebook(c) && root_of(c, a) != root_of(c, b))
        return false;
    bool a_unit = is_unit(c, a->symbol, a->symbol_lines);
    bool b_unit = is_unit(c, b->symbol, b->symbol_lines);
    if (a->is_test != b->is_test)
        return b->symbol < 0 && is_tiny(b) && fits(c, a, b, c->shape->whole_lines) &&
               is_closer(c, b);
    if (a_unit && b_unit)
        return false;
    /* What stands around a function is not it. */
    if (!a_unit && !b_unit && a->parent == b->parent && is_small(c, a) && is_small(c, b) &&
        fits(c, a, b, c->shape->merge_lines))
        return true;
    return (is_tiny(a) || is_tiny(b)) && fits(c, a, b, c->shape->whole_lines);
}

static void merge(const struct chunker *c, struct chunk_piece *a, const struct chunk_piece *b)
{
    bool keeps = is_unit(c, a->symbol, a->symbol_lines);
    if (!keeps && (b->symbol_lines > a->symbol_lines || is_unit(c, b->symbol, b->symbol_lines))) {
        a->symbol = b->symbol;
        a->symbol_lines = b->symbol_lines;
        a->parent = b->parent;
    } else if (a->symbol < 0 && b->last - b->first > a->last - a->first) {
        a->parent = b->parent;
    }
    a->merged = a->merged || lines_of(b) > 3;
    a->last = b->last;
}

/* "class A {" after something else: it goes with its first member instead. */
static bool begins_container(const struct chunker *c, const struct chunk_piece *before,
                             const struct chunk_piece *p, const struct chunk_piece *next)
{
    return p->symbol < 0 && p->parent >= 0 && before->parent != p->parent &&
           root_of(c, before) != p->parent && next->parent == p->parent && should_merge(c, p, next);
}

static void merge_small(struct chunker *c)
{
    size_t kept = 0;
    for (size_t i = 0; i < c->piece_count; i++) {
        bool is_head = i + 1 < c->piece_count && kept > 0 &&
                       begins_container(c, &c->pieces[kept - 1], &c->pieces[i], &c->pieces[i + 1]);
        if (kept > 0 && !is_head && should_merge(c, &c->pieces[kept - 1], &c->pieces[i]))
            merge(c, &c->pieces[kept - 1], &c->pieces[i]);
        else
            c->pieces[kept++] = c->pieces[i];
    }
    c->piece_count = kept;
}

/* ---- chunks ---- */

/* Replaces control characters and what is not UTF-8, and cuts at the limit. */
static void put_clean(struct buf *out, size_t from, struct span name)
{
    struct buf b = BUF_INIT((size_t)LIMIT_SYMBOL_BYTES * 4);
    encoding_put_lossy(&b, span_first(name, LIMIT_SYMBOL_BYTES));
    size_t used = out->len - from;
    size_t room = used < LIMIT_SYMBOL_BYTES ? LIMIT_SYMBOL_BYTES - used : 0;
    struct span s = buf_span(&b);
    size_t n = encoding_cut(s, room);
    for (size_t i = 0; i < n; i++)
        buf_putc(out, (unsigned char)s.ptr[i] < 0x20 ? ' ' : s.ptr[i]);
    if (buf_failed(&b))
        out->failed = true;
    buf_done(&b);
}

/* "Class.method", "Heading > Sub heading"; the part a name repeats from its parents is not doubled. */
static void put_qualified(struct chunker *c, int32_t symbol)
{
    int32_t chain[LIMIT_SYMBOL_DEPTH + 1];
    size_t n = 0;
    struct buf *out = &c->set->names;
    size_t from = out->len;
    for (; symbol >= 0 && n < ARRAY_LEN(chain); symbol = c->symbols->items[symbol].parent)
        chain[n++] = symbol;
    while (n > 0) {
        const struct symbol *s = &c->symbols->items[chain[--n]];
        struct span so_far = span_of(out->ptr ? out->ptr + from : NULL, out->len - from);
        bool is_title = span_is(span_str(s->kind), "heading") ||
                        span_is(span_str(s->kind), "test") || span_is(span_str(s->kind), "suite");
        if (so_far.len && !is_title && span_starts(s->name, so_far) && s->name.len > so_far.len &&
            s->name.ptr[so_far.len] == '.')
            out->len = from;
        else if (so_far.len)
            buf_puts(out, is_title ? " > " : ".");
        put_clean(out, from, s->name);
    }
}

static void put_chunk(struct chunker *c, struct ingest_chunk chunk)
{
    struct chunk_set *set = c->set;
    if (set->count == set->cap) {
        size_t cap = set->cap ? set->cap * 2 : 64;
        struct ingest_chunk *items = mem_try_realloc(set->items, cap * sizeof *items);
        if (!items) {
            c->no_memory = true;
            return;
        }
        set->items = items;
        set->cap = cap;
    }
    set->items[set->count++] = chunk;
}

static void put_piece(struct chunker *c, const struct chunk_piece *p)
{
    int32_t symbol = p->symbol >= 0 ? p->symbol : p->parent;
    /* A small member among the other lines of its class does not name them all. */
    if (p->symbol >= 0 && p->parent >= 0 && p->symbol_lines * 2 < lines_of(p) &&
        c->symbols->items[p->symbol].parent == p->parent)
        symbol = p->parent;
    struct ingest_chunk chunk = {.start_line = p->first,
                                 .end_line = p->last,
                                 .start = c->lines[p->first - 1].at,
                                 .kind = kind_of(c, p),
                                 .is_test = p->is_test};
    size_t at = c->set->names.len;
    put_qualified(c, symbol);
    /* Names may still move: only lengths now, place_names sets where they are. */
    chunk.symbol = span_of(NULL, c->set->names.len - at);
    if (symbol >= 0)
        chunk.symbol_kind = span_str(c->symbols->items[symbol].kind);
    size_t left = bytes_of(c, p->first, p->last);
    while (left > 0) {
        struct span rest = span_of(c->text.ptr + chunk.start, left);
        chunk.len = encoding_cut(rest, LIMIT_CHUNK_BYTES);
        put_chunk(c, chunk);
        chunk.start += chunk.len;
        left -= chunk.len;
        chunk.symbol.len = 0; /* only the first part of a cut line carries the name */
    }
}

static void place_names(struct chunk_set *set)
{
    const char *at = set->names.ptr;
    for (size_t i = 0; i < set->count; i++) {
        size_t len = set->items[i].symbol.len;
        set->items[i].symbol = len ? span_of(at, len) : SPAN_NULL;
        at = len ? at + len : at;
    }
}

static void drop_large_scratch(struct chunk_set *set)
{
    if (set->lines_cap > KEPT_LINES_COUNT) {
        mem_free(set->lines);
        set->lines = NULL;
        set->lines_cap = 0;
    }
}

/* Which symbols are tests by what they say, not by where they stand. */
static void mark_tests(const struct chunker *c, struct symbol_list *symbols)
{
    struct test_marks m;
    test_marks_init(&m, c->lang, c->text);
    for (size_t i = 0; m.looks && i < symbols->count; i++) {
        struct symbol *s = &symbols->items[i];
        uint32_t from = s->first, to = s->first + TEST_HEAD_LINES;
        while (from > 1 && s->first - from < TEST_LEAD_LINES && !is_blank(c, from - 1) &&
               is_decoration(c, span_trim(line_text(c, from - 1))))
            from--;
        if (to > s->last)
            to = s->last;
        struct span head = span_of(c->text.ptr + c->lines[from - 1].at, bytes_of(c, from, to));
        s->is_test = test_marks_says(&m, symbols, i, span_first(head, TEST_HEAD_BYTES));
    }
}

int chunk_text(struct chunk_set *set, struct span text, const struct language *lang,
               struct symbol_list *symbols)
{
    struct symbol_list own = {0};
    struct chunker c = {.set = set,
                        .text = text,
                        .lang = lang,
                        .symbols = symbols ? symbols : &own,
                        .shape = &shapes[lang->kind]};
    size_t cursor = 0;
    set->count = 0;
    if (set->names.max == 0)
        buf_init(&set->names, LIMIT_CHILD_OUTPUT);
    buf_clear(&set->names);
    int r = text.len ? index_lines(&c) : 0;
    if (r == 0 && !symbols && text.len)
        r = symbols_scan(&own, text, lang);
    if (r == 0 && c.line_count) {
        symbols_settle(symbols ? symbols : &own, c.line_count);
        mark_tests(&c, symbols ? symbols : &own);
        add_range(&c, 1, c.line_count, -1, &cursor);
        merge_small(&c);
        for (size_t i = 0; i < c.piece_count && !c.no_memory; i++)
            put_piece(&c, &c.pieces[i]);
        place_names(set);
        if (c.no_memory || buf_failed(&set->names))
            r = -ERR_NO_MEMORY;
    }
    if (r < 0)
        set->count = 0;
    symbols_done(&own);
    drop_large_scratch(set);
    return r;
}

void chunk_done(struct chunk_set *set)
{
    mem_free(set->items);
    mem_free(set->lines);
    mem_free(set->pieces);
    buf_done(&set->names);
    *set = (struct chunk_set){0};
}
