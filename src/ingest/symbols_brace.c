/*
 * Languages with { }: a lexer that knows comments, strings and preprocessor lines counts braces; what stands
 * before a brace (head.h) says whether it opens a symbol. Bodies of functions are only counted through.
 */
#include "ingest/symbols.h"

#include "base/limits.h"
#include "ingest/head.h"
#include "ingest/lex.h"

#include <ctype.h>

#define FRAMES_MAX 200 /* deeper braces are counted, not remembered */
#define CONDITIONS_MAX 32
#define LOOK_AHEAD_BYTES 512 /* for a line that goes on, past blank lines */

struct frame {
    int32_t symbol; /* index in the list, or -1 */
    uint32_t parens;
    bool is_open, is_type, has_comma_items;
    bool is_function; /* or within one */
    bool is_inline;   /* part of the head that goes on after it: a default value, a type */
};

struct scan {
    struct symbol_list *out;
    const struct language *lang;
    struct lex lex;
    const char *p;
    size_t n, i;
    uint32_t line;
    uint32_t parens;
    struct frame frames[FRAMES_MAX];
    size_t depth, beyond; /* beyond: braces past FRAMES_MAX */
    size_t conditions[CONDITIONS_MAX];
    size_t condition_depth;
    char head[HEAD_BYTES];
    size_t head_len;
    uint32_t head_line;
    struct span first_string;
};

static void head_clear(struct scan *s)
{
    s->head_len = 0;
    s->first_string = SPAN_NULL;
}

static bool is_open(const struct scan *s)
{
    return s->beyond == 0 && (s->depth == 0 || s->frames[s->depth - 1].is_open);
}

static void head_put(struct scan *s, char c)
{
    s->lex.last = c;
    if (!is_open(s))
        return;
    if (s->head_len == 0)
        s->head_line = s->line;
    if (s->head_len < HEAD_BYTES)
        s->head[s->head_len++] = c;
}

static void head_space(struct scan *s)
{
    if (s->head_len > 0 && is_open(s) && s->head_len < HEAD_BYTES &&
        s->head[s->head_len - 1] != ' ')
        s->head[s->head_len++] = ' ';
}

static void advance(struct scan *s, size_t to)
{
    if (to > s->n)
        to = s->n;
    const char *at = s->p + s->i, *end = s->p + to;
    while (at < end && (at = memchr(at, '\n', (size_t)(end - at)))) {
        s->line++;
        at++;
    }
    s->i = to;
}

static bool looking_at(const struct scan *s, size_t i, const char *what)
{
    size_t len = strlen(what);
    return s->n - i >= len && memcmp(s->p + i, what, len) == 0;
}

static void close_to(struct scan *s, size_t depth)
{
    while (s->depth > depth) {
        const struct frame *f = &s->frames[--s->depth];
        if (f->symbol >= 0 && (size_t)f->symbol < s->out->count)
            s->out->items[f->symbol].last = s->line;
        s->parens = f->parens;
    }
}

/* Branches of a condition repeat their braces: each starts from where #if stood. */
static void directive(struct scan *s, size_t i)
{
    size_t k = i + 1;
    while (k < s->n && (s->p[k] == ' ' || s->p[k] == '\t'))
        k++;
    if (looking_at(s, k, "if")) {
        if (s->condition_depth < CONDITIONS_MAX)
            s->conditions[s->condition_depth] = s->depth;
        s->condition_depth++;
    } else if (looking_at(s, k, "el") && s->condition_depth > 0 &&
               s->condition_depth <= CONDITIONS_MAX) {
        size_t depth = s->conditions[s->condition_depth - 1];
        if (s->depth > depth && s->depth - depth == 1 && s->frames[s->depth - 1].symbol < 0) {
            s->parens = s->frames[s->depth - 1].parens;
            s->depth--;
        } else if (s->depth > depth && s->depth - depth == 1) {
            /* Two heads for one body: the second brace is to count for the first. */
            s->frames[s->depth - 1].symbol = -1;
            s->out->count = s->out->count ? s->out->count - 1 : 0;
            s->parens = s->frames[--s->depth].parens;
        }
    } else if (looking_at(s, k, "endif") && s->condition_depth > 0) {
        s->condition_depth--;
    }
}

static int open_brace(struct scan *s)
{
    struct frame f = {.symbol = -1, .parens = s->parens};
    bool in_parens = s->parens > 0;
    if (s->depth == FRAMES_MAX || s->beyond) {
        s->beyond++;
        return 0;
    }
    bool keeps_head = !is_open(s);
    if (is_open(s)) {
        const struct frame *up = s->depth ? &s->frames[s->depth - 1] : NULL;
        struct head h = head_judge(s->lang, span_of(s->head, s->head_len), s->first_string,
                                   up && up->is_type ? HEAD_IN_TYPE : HEAD_IN_FILE, in_parens);
        f.is_open = h.is_open;
        f.has_comma_items = h.has_comma_items;
        f.is_type = h.is_open && h.is_type;
        f.is_inline = keeps_head = h.is_inline;
        f.is_function = (up && up->is_function) || (h.kind && !symbol_is_container(h.kind));
        if (h.kind && up && up->is_function && span_is(span_str(h.kind), "object"))
            h.kind = NULL; /* a value */
        if (h.kind) {
            const char *name = pool_copy(&s->out->names, span_str(h.name));
            size_t before = s->out->count;
            if (!name || symbols_add(s->out, s->head_line, s->line, span_str(name), h.kind) < 0)
                return -ERR_NO_MEMORY;
            if (s->out->count > before)
                f.symbol = (int32_t)before;
        }
    }
    s->frames[s->depth++] = f;
    s->parens = 0;
    if (!keeps_head)
        head_clear(s);
    return 0;
}

static void close_brace(struct scan *s)
{
    if (s->beyond) {
        s->beyond--;
        return;
    }
    /* In C a brace in the first column ends a definition: whatever went wrong before ends there. */
    bool resync = span_is(span_str(s->lang->name), "c") && (s->i == 0 || s->p[s->i - 1] == '\n');
    size_t target = s->depth ? s->depth - 1 : 0;
    if (resync)
        while (target > 0 && !s->frames[target - 1].is_open)
            target--;
    bool was_inline = s->depth > 0 && s->frames[s->depth - 1].is_inline;
    close_to(s, target);
    if (was_inline)
        head_put(s, '}'); /* a value, or a type */
    else if (s->parens == 0 && is_open(s))
        head_clear(s);
}

static bool next_line_continues(const struct scan *s)
{
    static const char *const words[] = {"extends", "implements", "where", "throws", "with "};
    size_t i = s->i, end = s->n - i > LOOK_AHEAD_BYTES ? i + LOOK_AHEAD_BYTES : s->n;
    while (i < end && isspace((unsigned char)s->p[i]))
        i++;
    if (i >= end)
        return end == s->n;
    if (strchr("{.:=?&|)", s->p[i]))
        return true;
    for (size_t k = 0; k < ARRAY_LEN(words); k++)
        if (looking_at(s, i, words[k]))
            return true;
    return false;
}

/* A function whose body is one expression: "fun f() =\n…", "int F() =>\n…". Judged when it takes several lines. */
static int end_statement(struct scan *s, uint32_t last)
{
    struct span head = span_of(s->head, s->head_len);
    const char *mark = span_is(span_str(s->lang->name), "csharp")   ? "=>"
                       : span_is(span_str(s->lang->name), "kotlin") ? " = "
                                                                    : NULL;
    ptrdiff_t at =
        mark && s->head_len && last > s->head_line + 1 ? span_find(head, span_str(mark)) : -1;
    if (at <= 0)
        return 0;
    const struct frame *up = s->depth ? &s->frames[s->depth - 1] : NULL;
    struct head h = head_judge(s->lang, span_trim(span_first(head, (size_t)at)), SPAN_NULL,
                               up && up->is_type ? HEAD_IN_TYPE : HEAD_IN_FILE, false);
    if (!h.kind || h.is_open)
        return 0;
    const char *name = pool_copy(&s->out->names, span_str(h.name));
    return name ? symbols_add(s->out, s->head_line, last, span_str(name), h.kind) : -ERR_NO_MEMORY;
}

static int newline(struct scan *s)
{
    int r = 0;
    s->line++;
    s->i++;
    if (s->head_len == 0 || !is_open(s))
        return 0;
    if ((s->lang->lex & LEX_NO_SEMI) && s->parens == 0 && !strchr(",=(.&|+:<?", s->lex.last) &&
        !next_line_continues(s)) {
        r = end_statement(s, s->line - 1);
        head_clear(s);
    } else {
        head_space(s);
    }
    return r;
}

static int punctuation(struct scan *s, char c)
{
    const struct frame *up = s->depth ? &s->frames[s->depth - 1] : NULL;
    s->i++;
    if (c == '{' || c == '}') {
        s->i--;
        int r = 0;
        if (c == '{')
            r = open_brace(s);
        else
            close_brace(s);
        s->lex.last = c;
        s->i++;
        return r;
    }
    if (c == '(' || c == '[')
        s->parens++;
    else if ((c == ')' || c == ']') && s->parens > 0)
        s->parens--;
    if (s->parens == 0 && is_open(s) && (c == ';' || (c == ',' && up && up->has_comma_items))) {
        int r = c == ';' ? end_statement(s, s->line) : 0;
        head_clear(s);
        s->lex.last = c;
        return r;
    }
    head_put(s, c);
    return 0;
}

static bool is_plain(char c)
{
    return isalnum((unsigned char)c) || c == '_' || (unsigned char)c >= 0x80;
}

/* The same within a body, where no head is kept. */
static void plain_body(struct scan *s)
{
    bool has_raw = s->lang->lex & (LEX_RUST | LEX_CPP);
    const char *p = s->p;
    size_t i = s->i, n = s->n, last = n;
    for (; i < n; i++) {
        if (p[i] == ' ' || p[i] == '\t' || p[i] == '\r' || p[i] == '\f')
            continue;
        if (!is_plain(p[i]) || (has_raw && (p[i] == 'r' || p[i] == 'R')))
            break;
        last = i;
    }
    if (last < n)
        s->lex.last = p[last];
    s->i = i;
}

/* Characters that begin nothing special: taken as they come. */
static void plain_run(struct scan *s)
{
    if (!is_open(s)) {
        plain_body(s);
        return;
    }
    while (s->i < s->n) {
        char c = s->p[s->i];
        if (c == ' ' || c == '\t' || c == '\r' || c == '\f') {
            head_space(s);
            s->i++;
            continue;
        }
        if (!is_plain(c))
            return;
        if ((c == 'r' || c == 'R') && (s->lang->lex & (LEX_RUST | LEX_CPP)))
            return;
        head_put(s, c);
        s->i++;
    }
}

static size_t php_begin(struct span text)
{
    ptrdiff_t at = span_find(text, SPAN_LIT("<?"));
    return at > 0 ? (size_t)at : 0;
}

int symbols_scan_brace(struct symbol_list *l, struct span text, const struct language *lang)
{
    struct scan s = {.out = l,
                     .lang = lang,
                     .lex = {.lang = lang, .p = text.ptr, .n = text.len},
                     .p = text.ptr,
                     .n = text.len,
                     .line = 1};
    if (span_is(span_str(lang->name), "php")) /* what stands before the first "<?" is not code */
        advance(&s, php_begin(text));
    while (s.i < s.n) {
        enum lex_kind kind;
        plain_run(&s);
        if (s.i >= s.n)
            break;
        char c = s.p[s.i];
        if (c == '\n' && !s.lex.tag_len) {
            if (newline(&s) < 0)
                return -ERR_NO_MEMORY;
            continue;
        }
        size_t e = lex_skip(&s.lex, s.i, &kind);
        if (e > s.i) {
            if (kind == LEX_DIRECTIVE)
                directive(&s, s.i);
            if (kind == LEX_STRING && e > s.i + 1) {
                if (!s.first_string.len && e > s.i + 2 && is_open(&s))
                    s.first_string = span_of(s.p + s.i + 1, e - s.i - 2);
                head_put(&s, '"');
            }
            advance(&s, e);
            continue;
        }
        if (c == '\n') {
            if (newline(&s) < 0)
                return -ERR_NO_MEMORY;
            continue;
        }
        int r = punctuation(&s, c);
        if (r < 0)
            return r;
    }
    close_to(&s, 0);
    return 0;
}
