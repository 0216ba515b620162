#include "ingest/lex.h"

#include <ctype.h>

#define REGEX_BYTES_MAX 2048
#define LEVELS_MAX 8    /* strings within strings */
#define FRAMES_MAX 200  /* deeper braces are not remembered */
#define WASTE_FACTOR 4u /* bytes that may be searched in vain for each byte there is */

static bool looking_at(const struct lex *l, size_t i, const char *what)
{
    size_t len = strlen(what);
    return l->n - i >= len && memcmp(l->p + i, what, len) == 0;
}

static bool is_lang(const struct lex *l, const char *name)
{
    return strcmp(l->lang->name, name) == 0;
}

size_t lex_line_end(const struct lex *l, size_t i)
{
    const char *e = memchr(l->p + i, '\n', l->n - i);
    return e ? (size_t)(e - l->p) : l->n;
}

bool lex_is_line_start(const struct lex *l, size_t i)
{
    while (i > 0 && (l->p[i - 1] == ' ' || l->p[i - 1] == '\t'))
        i--;
    return i == 0 || l->p[i - 1] == '\n';
}

static size_t find_after(const struct lex *l, size_t i, struct span what)
{
    ptrdiff_t at = i < l->n ? span_find(span_of(l->p + i, l->n - i), what) : -1;
    return at < 0 ? l->n : i + (size_t)at + what.len;
}

static bool may_waste(const struct lex *l)
{
    return l->wasted / WASTE_FACTOR <= l->n;
}

static size_t block_comment_end(const struct lex *l, size_t i)
{
    if (!(l->lang->lex & LEX_NESTED))
        return find_after(l, i + 2, SPAN_LIT("*/"));
    size_t depth = 0;
    while (i < l->n) {
        if (looking_at(l, i, "/*")) {
            depth++;
            i += 2;
        } else if (looking_at(l, i, "*/")) {
            i += 2;
            if (--depth == 0)
                return i;
        } else {
            i++;
        }
    }
    return l->n;
}

static size_t quoted_end(const struct lex *l, size_t i, char quote, bool multi_line, int level);

/* Code within a string, from its opening bracket on: after its closing one, or where the string's line ends. */
static size_t code_end(const struct lex *l, size_t i, char open, char close, bool multi_line,
                       int level)
{
    size_t depth = 0;
    for (; i < l->n; i++) {
        char c = l->p[i];
        if (c == open)
            depth++;
        else if (c == close && --depth == 0)
            return i + 1;
        else if (c == '\n' && !multi_line)
            return i;
        else if ((c == '"' || c == '\'' || (c == '`' && multi_line)) && level < LEVELS_MAX)
            i = quoted_end(l, i, c, c == '`', level + 1) - 1;
    }
    return l->n;
}

/* Does code begin at i, within a string with that quote? The index of its bracket, or 0. */
static size_t code_at(const struct lex *l, size_t i, char quote)
{
    unsigned lex = l->lang->lex;
    char c = l->p[i], next = i + 1 < l->n ? l->p[i + 1] : '\0';
    if (c == '$' && next == '{' && (quote == '`' || (quote == '"' && (lex & LEX_DOLLAR))))
        return i + 1;
    if (c == '\\' && next == '(' && quote == '"' && (lex & LEX_PAREN_CODE))
        return i + 1;
    return 0;
}

/* A quoted string; unless it may span lines, a line end closes it, so that a stray quote costs one line. */
static size_t quoted_end(const struct lex *l, size_t i, char quote, bool multi_line, int level)
{
    for (i++; i < l->n; i++) {
        char c = l->p[i];
        if (c == quote)
            return i + 1;
        size_t code = c == '$' || c == '\\' ? code_at(l, i, quote) : 0;
        if (code)
            i = code_end(l, code, l->p[code], l->p[code] == '{' ? '}' : ')', multi_line, level) - 1;
        else if (c == '\\')
            i++;
        else if (c == '\n' && !multi_line)
            return i;
    }
    return l->n;
}

/* @"…" of C#: a quote is doubled, a backslash is none. */
static size_t verbatim_end(const struct lex *l, size_t i)
{
    for (i++; i < l->n; i++) {
        if (l->p[i] != '"')
            continue;
        if (i + 1 < l->n && l->p[i + 1] == '"')
            i++;
        else
            return i + 1;
    }
    return l->n;
}

/* 'c' '\n' '\u{1f600}'; a quote that closes nothing near is a lifetime or a digit separator. */
static size_t char_end(const struct lex *l, size_t i)
{
    size_t limit = l->n - i > 14 ? i + 14 : l->n;
    if (i + 1 < l->n && l->p[i + 1] == '\\') {
        for (size_t k = i + 3; k < limit; k++)
            if (l->p[k] == '\'')
                return k + 1;
    } else {
        for (size_t k = i + 2; k < limit && k <= i + 5; k++) {
            if (l->p[k] == '\'')
                return k + 1;
            if ((unsigned char)l->p[k] < 0x80)
                break;
        }
    }
    return i + 1;
}

/* "…"#: the quote at i, with as many hashes as stand before it. */
static size_t hashed_end(const struct lex *l, size_t i, size_t hashes)
{
    char close[34] = "\"";
    memset(close + 1, '#', hashes);
    return find_after(l, i + 1, span_of(close, hashes + 1));
}

static size_t count_hashes(const struct lex *l, size_t i)
{
    size_t n = 0;
    while (i + n < l->n && l->p[i + n] == '#' && n < 32)
        n++;
    return n;
}

/* r"…" r#"…"#: i at the r. Returns i when it is none. */
static size_t rust_raw_end(const struct lex *l, size_t i)
{
    size_t hashes = count_hashes(l, i + 1), k = i + 1 + hashes;
    if (k >= l->n || l->p[k] != '"' ||
        (i > 0 && isalnum((unsigned char)l->p[i - 1]) && l->p[i - 1] != 'b'))
        return i;
    return hashed_end(l, k, hashes);
}

/* R"x(…)x": i at the R. Returns i when it is none. */
static size_t cpp_raw_end(const struct lex *l, size_t i)
{
    char close[20] = ")";
    size_t k = i + 2, len = 1;
    if (!looking_at(l, i, "R\""))
        return i;
    while (k < l->n && l->p[k] != '(' && len < 17)
        close[len++] = l->p[k++];
    if (k >= l->n || l->p[k] != '(')
        return i;
    close[len++] = '"';
    return find_after(l, k, span_of(close, len));
}

static bool word_before(const struct lex *l, size_t i, const char *word)
{
    size_t len = strlen(word);
    while (i > 0 && l->p[i - 1] == ' ')
        i--;
    return i >= len && memcmp(l->p + i - len, word, len) == 0 &&
           (i == len || !isalnum((unsigned char)l->p[i - len - 1]));
}

/* A slash where a value may begin starts a literal, if it ends on this line; else it divides. */
static size_t regex_end(struct lex *l, size_t i)
{
    bool in_set = false;
    size_t end = l->n - i > REGEX_BYTES_MAX ? i + REGEX_BYTES_MAX : l->n, k = i + 1;
    if ((i > 0 && l->p[i - 1] == '<') || (i + 1 < l->n && l->p[i + 1] == '>'))
        return i + 1; /* </tag> <tag /> */
    if ((l->last && !strchr("(,=:[!&|?{};+-*%<>~^", l->last) && !word_before(l, i, "return") &&
         !word_before(l, i, "typeof") && !word_before(l, i, "case")) ||
        !may_waste(l))
        return i + 1;
    for (; k < end && l->p[k] != '\n'; k++) {
        if (l->p[k] == '\\')
            k++;
        else if (l->p[k] == '[')
            in_set = true;
        else if (l->p[k] == ']')
            in_set = false;
        else if (l->p[k] == '/' && !in_set)
            return k + 1;
    }
    l->wasted += k - i;
    return i + 1;
}

static size_t directive_end(const struct lex *l, size_t i)
{
    for (;;) {
        size_t e = lex_line_end(l, i);
        size_t last = e > i && l->p[e - 1] == '\r' ? e - 1 : e;
        if (e >= l->n || last == i || l->p[last - 1] != '\\')
            return e;
        i = e + 1;
    }
}

/* ---- here-documents ---- */

/* The end of the line that is the tag (blanks before it allowed; PHP: more may follow), or 0. */
static size_t document_end(struct lex *l, size_t i)
{
    size_t from = i;
    while (i < l->n) {
        size_t e = lex_line_end(l, i);
        struct span line = span_trim(span_of(l->p + i, e - i));
        if (span_starts(line, span_of(l->tag, l->tag_len)) &&
            (line.len == l->tag_len || (!isalnum((unsigned char)line.ptr[l->tag_len]) &&
                                        line.ptr[l->tag_len] != '_' && is_lang(l, "php"))))
            return i + (size_t)(line.ptr - (l->p + i)) + l->tag_len;
        i = e + 1;
    }
    l->wasted += l->n - from;
    return 0;
}

/* <<TAG <<-TAG <<~TAG <<"TAG" <<<TAG (PHP): remembers the tag; after it, or i when it is none. */
static size_t document_begin(struct lex *l, size_t i)
{
    bool is_php = is_lang(l, "php");
    size_t k = i + 2, len = 0;
    if (l->tag_len || !may_waste(l) || (l->n - i > 2 && (l->p[k] == '<') != is_php))
        return i;
    if (is_php)
        k++;
    while (k < l->n && strchr("-~ ", l->p[k]) && !(l->p[k] == ' ' && l->p[k - 1] != '<'))
        k++;
    char quote = k < l->n && strchr("'\"", l->p[k]) ? l->p[k++] : '\0';
    bool is_word = k < l->n && (isalpha((unsigned char)l->p[k]) || l->p[k] == '_');
    while (is_word && k < l->n && len < LEX_TAG_BYTES &&
           (isalnum((unsigned char)l->p[k]) || l->p[k] == '_'))
        l->tag[len++] = l->p[k++];
    if (len < 2 || len == LEX_TAG_BYTES || (quote && (k >= l->n || l->p[k] != quote)))
        return i;
    l->tag_len = len;
    if (!document_end(l, k)) { /* a shift, after all */
        l->tag_len = 0;
        return i;
    }
    return quote ? k + 1 : k;
}

/* ---- */

static size_t skip_comment(struct lex *l, size_t i, enum lex_kind *kind)
{
    unsigned lex = l->lang->lex;
    char c = l->p[i], next = i + 1 < l->n ? l->p[i + 1] : '\0';
    *kind = LEX_COMMENT;
    switch (c) {
    case '/':
        if (next == '/' && (lex & LEX_SLASH))
            return lex_line_end(l, i);
        if (next == '*' && (lex & LEX_BLOCK))
            return block_comment_end(l, i);
        break;
    case '#':
        if ((lex & LEX_PREPROC) && lex_is_line_start(l, i)) {
            *kind = LEX_DIRECTIVE;
            return directive_end(l, i);
        }
        if ((lex & LEX_HASH) && next != '[' && (i == 0 || !strchr("${", l->p[i - 1])))
            return lex_line_end(l, i);
        break;
    case '-':
        if (next == '-' && (lex & LEX_DASH))
            return looking_at(l, i, "--[[") ? find_after(l, i, SPAN_LIT("]]")) : lex_line_end(l, i);
        break;
    case '?': /* what stands between the parts of PHP is not code */
        if (next == '>' && is_lang(l, "php"))
            return find_after(l, i, SPAN_LIT("<?"));
        break;
    case '<':
        if (next == '?' && is_lang(l, "php"))
            return looking_at(l, i, "<?php") ? i + 5 : i + 2;
        break;
    case '=':
        if (lex_is_line_start(l, i) && is_lang(l, "ruby") && looking_at(l, i, "=begin"))
            return find_after(l, i, SPAN_LIT("\n=end"));
        break;
    default:
        break;
    }
    return i;
}

static size_t skip_double_quote(const struct lex *l, size_t i)
{
    unsigned lex = l->lang->lex;
    if ((lex & LEX_TRIPLE) && looking_at(l, i, "\"\"\""))
        return find_after(l, i + 3, SPAN_LIT("\"\"\""));
    if ((lex & LEX_AT_STRING) && i > 0 &&
        (l->p[i - 1] == '@' || (i > 1 && l->p[i - 1] == '$' && l->p[i - 2] == '@')))
        return verbatim_end(l, i);
    return quoted_end(l, i, '"', lex & LEX_MULTI, 0);
}

static size_t skip_string(struct lex *l, size_t i)
{
    unsigned lex = l->lang->lex;
    switch (l->p[i]) {
    case '"':
        return skip_double_quote(l, i);
    case '\'':
        if ((lex & LEX_TRIPLE_SINGLE) && looking_at(l, i, "'''"))
            return find_after(l, i + 3, SPAN_LIT("'''"));
        if (lex & LEX_SQUOTE)
            return quoted_end(l, i, '\'', lex & LEX_MULTI, 0);
        return lex & (LEX_CHAR | LEX_RUST) ? char_end(l, i) : i;
    case '`':
        if (lex & LEX_TEMPLATE)
            return quoted_end(l, i, '`', true, 0);
        return lex & LEX_BACKTICK ? find_after(l, i + 1, SPAN_LIT("`")) : i;
    case '/':
        if (lex & LEX_REGEX) {
            size_t e = regex_end(l, i);
            return e > i + 1 ? e : i;
        }
        return i;
    case '#': /* #"…"# of Swift */
        if (lex & LEX_PAREN_CODE) {
            size_t hashes = count_hashes(l, i);
            if (i + hashes < l->n && l->p[i + hashes] == '"')
                return hashed_end(l, i + hashes, hashes);
        }
        return i;
    case 'r':
        return lex & LEX_RUST ? rust_raw_end(l, i) : i;
    case 'R':
        return lex & LEX_CPP ? cpp_raw_end(l, i) : i;
    case '<':
        return (lex & LEX_HEREDOC) && looking_at(l, i, "<<") ? document_begin(l, i) : i;
    default:
        return i;
    }
}

size_t lex_skip(struct lex *l, size_t i, enum lex_kind *ret_kind)
{
    if (l->p[i] == '\n' && l->tag_len) {
        size_t e = document_end(l, i + 1);
        l->tag_len = 0;
        *ret_kind = LEX_STRING;
        return e ? e : i;
    }
    size_t e = skip_comment(l, i, ret_kind);
    if (e > i)
        return e;
    e = skip_string(l, i);
    *ret_kind = e > i ? LEX_STRING : LEX_NONE;
    return e;
}

/* ---- how lines begin ---- */

struct lines {
    struct lex lex;
    uint8_t *out;
    size_t stride, count, line; /* line: the one that i is on, from 0 */
    uint32_t parens, saved[FRAMES_MAX];
    size_t depth;
};

static void begin_line(struct lines *s, uint8_t how)
{
    if (++s->line < s->count)
        s->out[s->line * s->stride] = how;
}

/* Is a statement left open by what stands before the line end at i? */
static uint8_t how_next_begins(const struct lines *s, size_t i)
{
    const struct lex *l = &s->lex;
    size_t k = i + 1, end = l->n - i > 256 ? i + 256 : l->n;
    while (k < end && isspace((unsigned char)l->p[k]))
        k++;
    char next = k < end ? l->p[k] : '\0', after = k + 1 < end ? l->p[k + 1] : '\0';
    if (s->parens > 0)
        return LEX_IN_PARENS;
    if (l->last && strchr("(=+-*/&|<?\\.%^", l->last) &&
        !(l->last == '|' && s->lex.lang->scanner == SCAN_END)) /* do |x| */
        return LEX_IN_STATEMENT;
    if (next && (strchr(".?=)]", next) || (strchr("&|", next) && after == next) ||
                 (next == ':' && after != ':')))
        return LEX_IN_STATEMENT;
    bool wants_semicolon = (l->lang->lex & LEX_SLASH) &&
                           !(l->lang->lex & (LEX_NO_SEMI | LEX_RUST)) &&
                           l->lang->scanner == SCAN_BRACE;
    if (wants_semicolon && l->last && !strchr(";{},:\n", l->last))
        return LEX_IN_STATEMENT;
    return LEX_AT_BORDER;
}

static void step_bracket(struct lines *s, char c)
{
    if (c == '(' || c == '[')
        s->parens++;
    else if ((c == ')' || c == ']') && s->parens > 0)
        s->parens--;
    else if (c == '{') {
        if (s->depth < FRAMES_MAX)
            s->saved[s->depth] = s->parens;
        s->depth++;
        s->parens = 0;
    } else if (c == '}' && s->depth > 0) {
        s->depth--;
        s->parens = s->depth < FRAMES_MAX ? s->saved[s->depth] : 0;
    }
}

void lex_lines(const struct language *lang, struct span text, uint8_t *ret, size_t stride,
               size_t count)
{
    struct lines s = {.lex = {.lang = lang, .p = text.ptr, .n = text.len},
                      .out = ret,
                      .stride = stride,
                      .count = count};
    for (size_t i = 0; i < count; i++)
        ret[i * stride] = LEX_AT_BORDER;
    for (size_t i = 0; i < text.len && s.line < count;) {
        enum lex_kind kind;
        size_t e = lex_skip(&s.lex, i, &kind);
        if (e > i) {
            for (const char *at = text.ptr + i, *end = text.ptr + e;
                 (at = memchr(at, '\n', (size_t)(end - at))); at++)
                begin_line(&s, kind == LEX_DIRECTIVE ? LEX_IN_STATEMENT : LEX_IN_TEXT);
            if (kind == LEX_STRING)
                s.lex.last = '"';
            else if (kind == LEX_DIRECTIVE)
                s.lex.last = '\n';
            i = e;
            continue;
        }
        char c = text.ptr[i];
        if (c == '\n')
            begin_line(&s, how_next_begins(&s, i));
        else if (!isspace((unsigned char)c)) {
            s.lex.last = c;
            step_bracket(&s, c);
        }
        i++;
    }
}
