#include "ingest/ignore.h"

#include "base/limits.h"
#include "base/mem.h"

#include <ctype.h>

struct ignore_pattern {
    char *text; /* owned; without '!', without slashes at either end */
    size_t len;
    bool negated, dir_only;
    bool is_path; /* had a slash before its end: compared with the whole path, else with the name */
    bool is_literal; /* no character is special */
};

/* Trailing spaces go, unless the first of them is escaped. */
static struct span trim_trailing_spaces(struct span line)
{
    size_t keep = 0;
    for (size_t i = 0; i < line.len; i++) {
        if (line.ptr[i] == '\\')
            i++;
        else if (line.ptr[i] == ' ')
            continue;
        keep = i < line.len ? i + 1 : line.len;
    }
    return span_first(line, keep);
}

static bool is_special(char c)
{
    return c == '*' || c == '?' || c == '[' || c == '\\';
}

static int append(struct ignore_list *l, struct ignore_pattern p)
{
    if (l->count == l->cap) {
        size_t cap = l->cap ? l->cap * 2 : 16, bytes;
        struct ignore_pattern *items =
            mul_size(cap, sizeof *items, &bytes) ? mem_try_realloc(l->items, bytes) : NULL;
        if (!items)
            return -ERR_NO_MEMORY;
        l->items = items;
        l->cap = cap;
    }
    l->items[l->count++] = p;
    return 0;
}

int ignore_add_line(struct ignore_list *l, struct span line)
{
    struct ignore_pattern p = {.is_literal = true};
    if (line.len && line.ptr[line.len - 1] == '\r')
        line.len--;
    if (!line.len || line.ptr[0] == '#')
        return 0;
    line = trim_trailing_spaces(line);
    if (line.len && line.ptr[0] == '!') {
        p.negated = true;
        line = span_skip(line, 1);
    }
    if (line.len && line.ptr[line.len - 1] == '/') {
        p.dir_only = true;
        line.len--;
    }
    p.is_path = span_find_char(line, '/') >= 0;
    if (line.len && line.ptr[0] == '/')
        line = span_skip(line, 1);
    /* An empty part of a path matches nothing. */
    if (span_find(line, SPAN_LIT("//")) >= 0 || span_starts(line, SPAN_LIT("/")) ||
        span_ends(line, SPAN_LIT("/")))
        return 0;
    if (!line.len || line.len > LIMIT_IGNORE_PATTERN_BYTES ||
        l->count >= LIMIT_IGNORE_PATTERNS_COUNT)
        return 0;
    for (size_t i = 0; i < line.len; i++)
        if (is_special(line.ptr[i]))
            p.is_literal = false;
    p.len = line.len;
    p.text = mem_try_strndup(line.ptr, line.len);
    if (!p.text || append(l, p) < 0) {
        mem_free(p.text);
        return -ERR_NO_MEMORY;
    }
    return 0;
}

int ignore_add_text(struct ignore_list *l, struct span text)
{
    struct span line;
    if (span_starts(text, SPAN_LIT("\xef\xbb\xbf")))
        text = span_skip(text, 3);
    while (span_next(&text, '\n', &line)) {
        int r = ignore_add_line(l, line);
        if (r < 0)
            return r;
    }
    return 0;
}

void ignore_done(struct ignore_list *l)
{
    for (size_t i = 0; i < l->count; i++)
        mem_free(l->items[i].text);
    mem_free(l->items);
    *l = (struct ignore_list){0};
}

static bool in_class(struct span name, unsigned char c)
{
    static const struct {
        const char *name;
        int (*is)(int);
    } classes[] = {
        {"alnum", isalnum}, {"alpha", isalpha}, {"blank", isblank}, {"cntrl", iscntrl},
        {"digit", isdigit}, {"graph", isgraph}, {"lower", islower}, {"print", isprint},
        {"punct", ispunct}, {"space", isspace}, {"upper", isupper}, {"xdigit", isxdigit},
    };
    for (size_t i = 0; i < ARRAY_LEN(classes); i++)
        if (span_is(name, classes[i].name))
            return c < 0x80 && classes[i].is(c);
    return false;
}

/*
 * The set at p[*at] == '[': 1 when c is in it, 0 when not, -1 when it is never closed (then nothing
 * matches). *at moves past it. A ']' directly after "[" or "[!" is a member.
 */
static int match_set(struct span p, size_t *at, unsigned char c)
{
    size_t i = *at + 1;
    bool negated = false, matched = false, first = true;
    int prev = -1; /* the start of a possible range */
    if (i < p.len && (p.ptr[i] == '!' || p.ptr[i] == '^')) {
        negated = true;
        i++;
    }
    for (; i < p.len && (first || p.ptr[i] != ']'); i++, first = false) {
        unsigned char m = (unsigned char)p.ptr[i];
        struct span rest = span_skip(p, i);
        if (m == '[' && rest.len > 1 && rest.ptr[1] == ':') {
            ptrdiff_t close = span_find_char(span_skip(rest, 2), ']');
            if (close < 0)
                return -1;
            if (close > 0 && rest.ptr[close + 1] == ':') {
                matched |= in_class(span_of(rest.ptr + 2, (size_t)close - 1), c);
                i += (size_t)close + 2;
                prev = -1;
                continue;
            }
        }
        if (m == '-' && prev >= 0 && i + 1 < p.len && p.ptr[i + 1] != ']') {
            i++;
            if (p.ptr[i] == '\\' && ++i >= p.len)
                return -1;
            matched |= c >= prev && c <= (unsigned char)p.ptr[i];
            prev = -1;
            continue;
        }
        if (m == '\\') {
            if (++i >= p.len)
                return -1;
            m = (unsigned char)p.ptr[i];
        }
        matched |= c == m;
        prev = m;
    }
    if (i >= p.len)
        return -1;
    *at = i + 1;
    return matched != negated;
}

/* One element of p at *at against c: 1, 0, or -1 (nothing can match). Moves *at past it on 1. */
static int match_one(struct span p, size_t *at, unsigned char c)
{
    switch (p.ptr[*at]) {
    case '?':
        ++*at;
        return 1;
    case '[':
        return match_set(p, at, c);
    case '\\':
        if (*at + 1 >= p.len)
            return -1;
        if ((unsigned char)p.ptr[*at + 1] != c)
            return 0;
        *at += 2;
        return 1;
    default:
        if ((unsigned char)p.ptr[*at] != c)
            return 0;
        ++*at;
        return 1;
    }
}

/* One path segment. Only the last '*' ever needs another try, so this is O(pattern × text). */
static bool match_segment(struct span p, struct span t)
{
    size_t pi = 0, ti = 0, star = SIZE_MAX, star_ti = 0;
    while (ti < t.len) {
        if (pi < p.len && p.ptr[pi] == '*') {
            star = ++pi;
            star_ti = ti;
            continue;
        }
        int r = pi < p.len ? match_one(p, &pi, (unsigned char)t.ptr[ti]) : 0;
        if (r < 0)
            return false;
        if (r > 0) {
            ti++;
        } else if (star != SIZE_MAX) {
            pi = star;
            ti = ++star_ti;
        } else {
            return false;
        }
    }
    while (pi < p.len && p.ptr[pi] == '*')
        pi++;
    return pi == p.len;
}

/* Cuts the segment before the next slash off *rest; a slash in a set or escaped does not confuse it. */
static struct span cut_segment(struct span *rest)
{
    struct span p = *rest;
    size_t i = 0;
    while (i < p.len && p.ptr[i] != '/') {
        size_t next = i;
        if (p.ptr[i] == '[' && match_set(p, &next, 0) >= 0)
            i = next;
        else if (p.ptr[i] == '\\' && i + 1 < p.len && p.ptr[i + 1] != '/')
            i += 2;
        else
            i++;
    }
    if (i > p.len)
        i = p.len;
    *rest = span_skip(p, i < p.len ? i + 1 : i);
    if (i < p.len && i > 0 && p.ptr[i - 1] == '\\')
        i--; /* an escaped slash is a slash */
    return span_first(p, i);
}

/* Whole paths, segment by segment; "**" takes any number of them, and only the last "**" needs retries. */
static bool match_path(struct span p, struct span t)
{
    struct span star_p = SPAN_NULL, star_t = SPAN_NULL;
    bool has_star = false;
    while (t.len) {
        struct span prest = p, trest = t;
        struct span pseg = cut_segment(&prest), tseg;
        if (p.len && span_is(pseg, "**")) {
            if (!prest.len)
                return true; /* everything inside: at least one segment is left */
            has_star = true;
            star_p = p = prest;
            star_t = t;
            continue;
        }
        span_next(&trest, '/', &tseg);
        if (p.len && match_segment(pseg, tseg)) {
            p = prest;
            t = trest;
        } else if (has_star) {
            span_next(&star_t, '/', &tseg);
            p = star_p;
            t = star_t;
        } else {
            return false;
        }
    }
    return p.len == 0;
}

static bool matches(const struct ignore_pattern *p, struct span path, struct span name)
{
    struct span text = span_of(p->text, p->len), subject = p->is_path ? path : name;
    if (p->is_literal)
        return span_eq(text, subject);
    return p->is_path ? match_path(text, subject) : match_segment(text, subject);
}

enum ignore_verdict ignore_match(const struct ignore_list *l, struct span path, bool is_dir)
{
    ptrdiff_t slash = span_rfind_char(path, '/');
    struct span name = slash < 0 ? path : span_skip(path, (size_t)slash + 1);
    for (size_t i = l->count; i > 0; i--) {
        const struct ignore_pattern *p = &l->items[i - 1];
        if ((!p->dir_only || is_dir) && matches(p, path, name))
            return p->negated ? IGNORE_INCLUDED : IGNORE_EXCLUDED;
    }
    return IGNORE_UNDECIDED;
}
