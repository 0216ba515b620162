/*
 * Languages with { }: a lexer that knows comments, strings and preprocessor lines counts braces; what stands
 * before a brace (head.h) says whether it opens a symbol. Bodies of functions are only counted through.
 */
#include "ingest/symbols.h"

#include "base/limits.h"
#include "ingest/head.h"

#include <ctype.h>

#define FRAMES_MAX 200 /* deeper braces are counted, not remembered */
#define CONDITIONS_MAX 32

struct frame {
    int32_t symbol; /* index in the list, or -1 */
    uint32_t parens;
    bool is_open, is_type, has_comma_items;
};

struct scan {
    struct symbol_list *out;
    const struct language *lang;
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
    char last; /* last significant character */
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
    s->last = c;
    if (!is_open(s))
        return;
    if (s->head_len == 0)
        s->head_line = s->line;
    if (s->head_len < HEAD_BYTES)
        s->head[s->head_len++] = c;
}

static void head_space(struct scan *s)
{
    if (s->head_len > 0 && s->head_len < HEAD_BYTES && s->head[s->head_len - 1] != ' ')
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

static size_t line_end(const struct scan *s, size_t i)
{
    const char *e = memchr(s->p + i, '\n', s->n - i);
    return e ? (size_t)(e - s->p) : s->n;
}

static size_t find_after(const struct scan *s, size_t i, struct span what)
{
    ptrdiff_t at = i < s->n ? span_find(span_of(s->p + i, s->n - i), what) : -1;
    return at < 0 ? s->n : i + (size_t)at + what.len;
}

static size_t block_comment_end(const struct scan *s, size_t i)
{
    if (!(s->lang->lex & LEX_NESTED))
        return find_after(s, i + 2, SPAN_LIT("*/"));
    size_t depth = 0;
    while (i < s->n) {
        if (looking_at(s, i, "/*")) {
            depth++;
            i += 2;
        } else if (looking_at(s, i, "*/")) {
            i += 2;
            if (--depth == 0)
                return i;
        } else {
            i++;
        }
    }
    return s->n;
}

/* A quoted string; unless it may span lines, a line end closes it, so that a stray quote costs one line. */
static size_t string_end(const struct scan *s, size_t i, char quote, bool multi_line)
{
    for (i++; i < s->n; i++) {
        char c = s->p[i];
        if (c == quote)
            return i + 1;
        if (c == '\\')
            i++;
        else if (c == '\n' && !multi_line)
            return i;
    }
    return s->n;
}

static size_t template_end(const struct scan *s, size_t i, int level)
{
    size_t braces = 0;
    for (i++; i < s->n; i++) {
        char c = s->p[i];
        if (c == '\\')
            i++;
        else if (braces == 0 && c == '`')
            return i + 1;
        else if (braces == 0 && c == '$' && looking_at(s, i, "${"))
            braces = 1, i++;
        else if (braces > 0 && c == '{')
            braces++;
        else if (braces > 0 && c == '}')
            braces--;
        else if (braces > 0 && (c == '"' || c == '\''))
            i = string_end(s, i, c, false) - 1;
        else if (braces > 0 && c == '`' && level < 8)
            i = template_end(s, i, level + 1) - 1;
    }
    return s->n;
}

/* 'c' '\n' '\u{1f600}'; a quote that closes nothing near is a lifetime or a digit separator. */
static size_t char_end(const struct scan *s, size_t i)
{
    size_t limit = s->n - i > 14 ? i + 14 : s->n;
    if (i + 1 < s->n && s->p[i + 1] == '\\') {
        for (size_t k = i + 3; k < limit; k++)
            if (s->p[k] == '\'')
                return k + 1;
    } else {
        for (size_t k = i + 2; k < limit && k <= i + 5; k++) {
            if (s->p[k] == '\'')
                return k + 1;
            if ((unsigned char)s->p[k] < 0x80)
                break;
        }
    }
    return i + 1;
}

/* r"…" r#"…"#: i at the r. Returns i when it is none. */
static size_t rust_raw_end(const struct scan *s, size_t i)
{
    size_t hashes = 0, k = i + 1;
    while (k < s->n && s->p[k] == '#' && hashes < 32)
        k++, hashes++;
    if (k >= s->n || s->p[k] != '"' ||
        (i > 0 && isalnum((unsigned char)s->p[i - 1]) && s->p[i - 1] != 'b'))
        return i;
    char close[34] = "\"";
    memset(close + 1, '#', hashes);
    return find_after(s, k + 1, span_of(close, hashes + 1));
}

/* R"x(…)x": i at the R. Returns i when it is none. */
static size_t cpp_raw_end(const struct scan *s, size_t i)
{
    char close[20] = ")";
    size_t k = i + 2, len = 1;
    if (!looking_at(s, i, "R\""))
        return i;
    while (k < s->n && s->p[k] != '(' && len < 17)
        close[len++] = s->p[k++];
    if (k >= s->n || s->p[k] != '(')
        return i;
    close[len++] = '"';
    return find_after(s, k, span_of(close, len));
}

static bool word_before(const struct scan *s, const char *word)
{
    size_t len = strlen(word), e = s->i;
    while (e > 0 && s->p[e - 1] == ' ')
        e--;
    return e >= len && memcmp(s->p + e - len, word, len) == 0 &&
           (e == len || !isalnum((unsigned char)s->p[e - len - 1]));
}

/* A slash where a value may begin starts a literal, if it ends on this line; else it divides. */
static size_t regex_end(const struct scan *s)
{
    bool in_set = false;
    if (s->last && !strchr("(,=:[!&|?{};+-*%<>~^", s->last) && !word_before(s, "return") &&
        !word_before(s, "typeof") && !word_before(s, "case"))
        return s->i + 1;
    for (size_t k = s->i + 1; k < s->n && s->p[k] != '\n'; k++) {
        if (s->p[k] == '\\')
            k++;
        else if (s->p[k] == '[')
            in_set = true;
        else if (s->p[k] == ']')
            in_set = false;
        else if (s->p[k] == '/' && !in_set)
            return k + 1;
    }
    return s->i + 1;
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

static size_t directive_end(const struct scan *s, size_t i)
{
    for (;;) {
        size_t e = line_end(s, i);
        size_t last = e > i && s->p[e - 1] == '\r' ? e - 1 : e;
        if (e >= s->n || last == i || s->p[last - 1] != '\\')
            return e;
        i = e + 1;
    }
}

static bool is_line_start(const struct scan *s)
{
    size_t i = s->i;
    while (i > 0 && (s->p[i - 1] == ' ' || s->p[i - 1] == '\t'))
        i--;
    return i == 0 || s->p[i - 1] == '\n';
}

static int open_brace(struct scan *s)
{
    struct frame f = {.symbol = -1, .parens = s->parens};
    bool in_parens = s->parens > 0;
    if (s->depth == FRAMES_MAX || s->beyond) {
        s->beyond++;
        return 0;
    }
    if (is_open(s)) {
        const struct frame *up = s->depth ? &s->frames[s->depth - 1] : NULL;
        struct head h = head_judge(s->lang, span_of(s->head, s->head_len), s->first_string,
                                   up && up->is_type ? HEAD_IN_TYPE : HEAD_IN_FILE, in_parens);
        f.is_open = h.is_open;
        f.has_comma_items = h.has_comma_items;
        f.is_type = h.is_open && h.kind && !span_is(span_str(h.kind), "namespace") &&
                    !span_is(span_str(h.kind), "module") && !span_is(span_str(h.kind), "suite");
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
    close_to(s, target);
    if (s->parens == 0)
        head_clear(s);
}

static bool next_line_continues(const struct scan *s)
{
    static const char *const words[] = {"extends", "implements", "where", "throws", "with "};
    size_t i = s->i;
    while (i < s->n && isspace((unsigned char)s->p[i]))
        i++;
    if (i >= s->n || strchr("{.:=?&|)", s->p[i]))
        return true;
    for (size_t k = 0; k < ARRAY_LEN(words); k++)
        if (looking_at(s, i, words[k]))
            return true;
    return false;
}

static void newline(struct scan *s)
{
    s->line++;
    s->i++;
    if (s->head_len == 0)
        return;
    if ((s->lang->lex & LEX_NO_SEMI) && s->parens == 0 && !strchr(",=(.&|+:<?", s->last) &&
        !next_line_continues(s))
        head_clear(s);
    else
        head_space(s);
}

/* Comments, strings and literals at s->i: where they end, or s->i when there is none. */
static size_t skip_inert(struct scan *s, bool *ret_is_string)
{
    unsigned lex = s->lang->lex;
    size_t i = s->i;
    char c = s->p[i], next = i + 1 < s->n ? s->p[i + 1] : '\0';
    *ret_is_string = false;
    if (c == '/' && next == '/' && (lex & LEX_SLASH))
        return line_end(s, i);
    if (c == '<' && next == '?' && looking_at(s, i, "<?php"))
        return i + 5;
    if (c == '/' && next == '*' && (lex & LEX_BLOCK))
        return block_comment_end(s, i);
    if (c == '#' && (lex & LEX_PREPROC) && is_line_start(s)) {
        directive(s, i);
        return directive_end(s, i);
    }
    if (c == '#' && (lex & LEX_HASH) && next != '[' && (i == 0 || s->p[i - 1] != '$'))
        return line_end(s, i);
    if (c == '-' && next == '-' && (lex & LEX_DASH))
        return line_end(s, i);
    *ret_is_string = true;
    if (c == '"' && (lex & LEX_TRIPLE) && looking_at(s, i, "\"\"\""))
        return find_after(s, i + 3, SPAN_LIT("\"\"\""));
    if (c == '"' && (lex & LEX_AT_STRING) && i > 0 && s->p[i - 1] == '@')
        return find_after(s, i + 1, SPAN_LIT("\""));
    if (c == '"')
        return string_end(s, i, c, lex & LEX_RUST);
    if (c == '\'' && (lex & LEX_SQUOTE))
        return string_end(s, i, c, false);
    if (c == '\'' && (lex & (LEX_CHAR | LEX_RUST)))
        return char_end(s, i);
    if (c == '`' && (lex & LEX_TEMPLATE))
        return template_end(s, i, 0);
    if (c == '`' && (lex & LEX_BACKTICK))
        return find_after(s, i + 1, SPAN_LIT("`"));
    if (c == '/' && (lex & LEX_REGEX)) {
        size_t e = regex_end(s);
        if (e > i + 1)
            return e;
    }
    if (c == 'r' && (lex & LEX_RUST))
        return rust_raw_end(s, i);
    if (c == 'R' && (lex & LEX_CPP))
        return cpp_raw_end(s, i);
    *ret_is_string = false;
    return i;
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
        s->last = c;
        s->i++;
        return r;
    }
    if (c == '(' || c == '[')
        s->parens++;
    else if ((c == ')' || c == ']') && s->parens > 0)
        s->parens--;
    if (s->parens == 0 && (c == ';' || (c == ',' && up && up->has_comma_items))) {
        head_clear(s);
        s->last = c;
        return 0;
    }
    head_put(s, c);
    return 0;
}

/* Characters that begin nothing special: taken as they come. */
static void plain_run(struct scan *s)
{
    while (s->i < s->n) {
        char c = s->p[s->i];
        if (c == ' ' || c == '\t' || c == '\r' || c == '\f') {
            head_space(s);
            s->i++;
            continue;
        }
        if (!isalnum((unsigned char)c) && c != '_' && (unsigned char)c < 0x80)
            return;
        if ((c == 'r' || c == 'R') && (s->lang->lex & (LEX_RUST | LEX_CPP)))
            return;
        head_put(s, c);
        s->i++;
    }
}

int symbols_scan_brace(struct symbol_list *l, struct span text, const struct language *lang)
{
    struct scan s = {.out = l, .lang = lang, .p = text.ptr, .n = text.len, .line = 1};
    while (s.i < s.n) {
        bool is_string;
        plain_run(&s);
        if (s.i >= s.n)
            break;
        char c = s.p[s.i];
        if (c == '\n') {
            newline(&s);
            continue;
        }
        size_t e = skip_inert(&s, &is_string);
        if (e > s.i) {
            if (is_string && e > s.i + 1) {
                if (!s.first_string.len && e > s.i + 2)
                    s.first_string = span_of(s.p + s.i + 1, e - s.i - 2);
                head_put(&s, '"');
            }
            advance(&s, e);
            continue;
        }
        int r = punctuation(&s, c);
        if (r < 0)
            return r;
    }
    close_to(&s, 0);
    return 0;
}
