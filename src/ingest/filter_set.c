#include "ingest/filter_set.h"

#include "base/hash.h"
#include "base/limits.h"
#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>

struct filter_item {
    char *text; /* owned; "+pattern" or "-pattern" */
};

static int hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* A '%' that begins no escape stays. */
static void put_decoded(struct buf *out, struct span s)
{
    for (size_t i = 0; i < s.len; i++) {
        int high = s.ptr[i] == '%' && i + 2 < s.len ? hex(s.ptr[i + 1]) : -1;
        int low = high >= 0 ? hex(s.ptr[i + 2]) : -1;
        if (low >= 0)
            i += 2;
        buf_putc(out, low >= 0 ? (char)(high * 16 + low) : s.ptr[i]);
    }
}

static int add(struct filter_set *s, struct span line, struct err *err)
{
    if (s->count == LIMIT_FILTERS_COUNT)
        return err_set(err, ERR_LIMIT, "more than %d filters for one source", LIMIT_FILTERS_COUNT);
    if (s->count == s->cap) {
        size_t cap = s->cap ? s->cap * 2 : 16;
        struct filter_item *items = mem_try_realloc(s->items, cap * sizeof *items);
        if (!items)
            return err_set(err, ERR_NO_MEMORY, "out of memory for the filters");
        s->items = items;
        s->cap = cap;
    }
    char *text = mem_try_strndup(line.ptr, line.len);
    if (!text)
        return err_set(err, ERR_NO_MEMORY, "out of memory for the filters");
    s->items[s->count++].text = text;
    return 0;
}

static struct span strip(struct span entry)
{
    while (span_starts(entry, SPAN_LIT("./")))
        entry = span_skip(entry, 2);
    while (entry.len && entry.ptr[entry.len - 1] == '/')
        entry.len--;
    return entry;
}

static int check_entry(struct span entry, struct err *err)
{
    if (entry.len > LIMIT_IGNORE_PATTERN_BYTES - 8)
        return err_set(err, ERR_LIMIT, "a filter is longer than %d bytes",
                       LIMIT_IGNORE_PATTERN_BYTES - 8);
    for (size_t i = 0; i < entry.len; i++)
        if ((unsigned char)entry.ptr[i] < 0x20 || entry.ptr[i] == 0x7f)
            return err_set(err, ERR_INVALID, "a filter holds a control character");
    return 0;
}

static bool is_glob(struct span entry)
{
    for (size_t i = 0; i < entry.len; i++)
        if (strchr("*?[", entry.ptr[i]))
            return true;
    return false;
}

/* The line of one entry that is stripped and not empty. */
static int add_entry(struct filter_set *s, bool is_include, bool is_dir, bool is_suffix,
                     struct span entry, struct err *err)
{
    struct buf line = BUF_INIT(2 * LIMIT_IGNORE_PATTERN_BYTES);
    bool is_path = span_find_char(entry, '/') >= 0;
    buf_putc(&line, is_include ? '+' : '-');
    if (is_path && entry.ptr[0] != '/')
        buf_putc(&line, '/'); /* relative to the root, also when it ends with the only slash */
    if (is_suffix && !is_path && !is_glob(entry))
        buf_putc(&line, '*');
    else if (strchr("!#", entry.ptr[0]))
        buf_putc(&line, '\\');
    buf_put_span(&line, entry);
    if (is_dir)
        buf_putc(&line, '/');
    int r = buf_failed(&line) ? err_set(err, ERR_NO_MEMORY, "out of memory for the filters")
                              : add(s, buf_span(&line), err);
    buf_done(&line);
    return r;
}

int filter_set_add_list(struct filter_set *s, enum filter_kind kind, struct span list,
                        struct err *err)
{
    char separator = span_find_char(list, '\n') >= 0 ? '\n' : ',';
    bool is_include = kind == FILTER_INCLUDED_DIR || kind == FILTER_INCLUDED_FILE;
    bool is_dir = kind == FILTER_EXCLUDED_DIR || kind == FILTER_INCLUDED_DIR;
    struct span piece;
    int r = 0;
    while (r == 0 && span_next(&list, separator, &piece)) {
        struct buf decoded = BUF_INIT(LIMIT_HTTP_BODY);
        put_decoded(&decoded, span_trim(piece));
        struct span entry = strip(span_trim(buf_span(&decoded)));
        if (buf_failed(&decoded))
            r = err_set(err, ERR_NO_MEMORY, "out of memory for the filters");
        else if (entry.len && !span_is(entry, "."))
            r = check_entry(entry, err);
        if (r == 0 && entry.len && !span_is(entry, "."))
            r = add_entry(s, is_include, is_dir, kind == FILTER_INCLUDED_FILE, entry, err);
        buf_done(&decoded);
    }
    return r;
}

int filter_set_add_pattern(struct filter_set *s, bool is_include, struct span pattern,
                           struct err *err)
{
    struct span entry = span_trim(pattern);
    bool is_dir = entry.len && entry.ptr[entry.len - 1] == '/';
    entry = strip(entry);
    if (!entry.len || span_is(entry, "."))
        return err_set(err, ERR_INVALID, "an empty pattern to %s",
                       is_include ? "include" : "exclude");
    int r = check_entry(entry, err);
    return r < 0 ? r : add_entry(s, is_include, is_dir, false, entry, err);
}

static int by_text(const void *pa, const void *pb)
{
    const struct filter_item *a = pa, *b = pb;
    return strcmp(a->text, b->text);
}

int filter_set_text(struct filter_set *s, bool include_only, struct buf *out, struct err *err)
{
    if (s->count)
        qsort(s->items, s->count, sizeof s->items[0], by_text);
    bool has_includes = s->count && s->items[0].text[0] == '+'; /* '+' sorts before '-' */
    for (size_t i = 0; i < s->count; i++) {
        const char *text = s->items[i].text;
        if ((i > 0 && strcmp(text, s->items[i - 1].text) == 0) ||
            (include_only && has_includes && text[0] == '-'))
            continue;
        buf_puts(out, text);
        buf_putc(out, '\n');
    }
    return buf_failed(out) ? err_set(err, ERR_TOO_LARGE, "the filters are too long") : 0;
}

void filter_set_done(struct filter_set *s)
{
    for (size_t i = 0; i < s->count; i++)
        mem_free(s->items[i].text);
    mem_free(s->items);
    *s = (struct filter_set){0};
}

void filter_text_hash(struct span text, char ret[9])
{
    uint64_t h = hash_stable(text.ptr, text.len);
    snprintf(ret, 9, "%08x", (unsigned)(h ^ (h >> 32)));
}

/* ---- for the walk ---- */

static bool put_pattern(char **list, size_t *n, const char *prefix, struct span pattern)
{
    struct buf b = BUF_INIT(2 * LIMIT_IGNORE_PATTERN_BYTES);
    buf_puts(&b, prefix);
    buf_put_span(&b, pattern);
    list[*n] = buf_failed(&b) ? NULL : mem_try_strndup(b.ptr, b.len);
    buf_done(&b);
    return list[*n] && ++*n;
}

int filter_patterns_read(struct span text, struct filter_patterns *ret)
{
    struct filter_patterns p = {0};
    size_t lines = 1, e = 0, i = 0;
    for (size_t k = 0; k < text.len; k++)
        lines += text.ptr[k] == '\n';
    p.excludes = mem_try_array(lines + 1, sizeof *p.excludes);
    p.includes = mem_try_array(lines + 1, sizeof *p.includes);
    bool ok = p.excludes && p.includes;
    /* The last pattern that matches decides, and '+' comes first: what is excluded wins. */
    for (struct span line; ok && span_next(&text, '\n', &line);) {
        struct span pattern = span_skip(line, 1);
        if (span_starts(line, SPAN_LIT("-")))
            ok = put_pattern(p.excludes, &e, "", pattern);
        else if (span_starts(line, SPAN_LIT("+")))
            ok = put_pattern(p.includes, &i, "", pattern) &&
                 (!span_ends(pattern, SPAN_LIT("/")) || put_pattern(p.excludes, &e, "!", pattern));
    }
    if (!ok) {
        filter_patterns_done(&p);
        return -ERR_NO_MEMORY;
    }
    if (!e) {
        mem_free(p.excludes);
        p.excludes = NULL;
    }
    if (!i) {
        mem_free(p.includes);
        p.includes = NULL;
    }
    *ret = p;
    return 0;
}

static void free_list(char **list)
{
    for (size_t i = 0; list && list[i]; i++)
        mem_free(list[i]);
    mem_free(list);
}

void filter_patterns_done(struct filter_patterns *p)
{
    free_list(p->excludes);
    free_list(p->includes);
    *p = (struct filter_patterns){0};
}
