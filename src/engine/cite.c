#include "engine/cite.h"

#include "text/lines.h"
#include "text/utf8.h"

#define PATH_MAX_BYTES 400
#define PATH_TRIES 16             /* starts tried for one path */
#define RECHECK_BYTES (16u << 20) /* hashed in search of moved lines */

const char *cite_state_name(enum cite_state state)
{
    static const char *const names[] = {"verified", "moved", "stale", "unsupported"};
    return names[state];
}

void cite_init(struct cite_scanner *s, const struct cite_sink *sink)
{
    *s = (struct cite_scanner){.sink = sink};
}

/* ---- one citation ---- */

struct found {
    size_t path_end; /* offset of '#' or ':' */
    size_t end;      /* offset after the last digit */
    uint32_t first_line, last_line;
    bool is_hash;
};

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_word(char c)
{
    return is_digit(c) || c == '_' || ((c | 32) >= 'a' && (c | 32) <= 'z');
}

static char at(struct span s, size_t i)
{
    return i < s.len ? s.ptr[i] : ' ';
}

/* Up to 8 digits at *i; false when there are none or more. */
static bool read_line(struct span s, size_t *i, uint32_t *ret)
{
    size_t n = 0;
    uint32_t v = 0;
    while (n < 8 && is_digit(at(s, *i + n)))
        v = v * 10 + (uint32_t)(s.ptr[*i + n++] - '0');
    if (n == 0 || is_digit(at(s, *i + n)))
        return false;
    *i += n;
    *ret = v;
    return true;
}

/* "#L10-L20", "#L10-20", "#L10", ":10-20", ":10" at offset i. */
static bool read_lines(struct span s, size_t i, struct found *ret)
{
    struct found f = {.path_end = i, .is_hash = at(s, i) == '#'};
    if (f.is_hash ? at(s, i + 1) != 'L' : at(s, i) != ':')
        return false;
    i += f.is_hash ? 2 : 1;
    if (!read_line(s, &i, &f.first_line))
        return false;
    f.last_line = f.first_line;
    size_t k = i + 1 + (at(s, i + 1) == 'L');
    if (at(s, i) == '-' && read_line(s, &k, &f.last_line))
        i = k;
    f.end = i;
    *ret = f;
    return !is_word(at(s, i));
}

/* A path may start behind this byte. */
static bool is_soft_break(char c)
{
    return c == ' ' || c == '(' || c == '[' || c == '{' || c == ')' || c == ']' || c == '}' ||
           c == ',' || c == ';' || c == '=' || c == '!' || c == '?' || c == '&' || c == '~' ||
           c == '\t';
}

static bool ask_file(const struct cite_scanner *s, struct span path, struct span *ret_path,
                     struct span *ret_text)
{
    while (span_starts(path, SPAN_LIT("./")))
        path = span_skip(path, 2);
    while (path.len && path.ptr[0] == '/')
        path = span_skip(path, 1);
    *ret_path = path;
    return path.len && path.len <= PATH_MAX_BYTES && s->sink->file(s->sink->ctx, path, ret_text);
}

/* The longest path that ends at f->path_end and exists. */
static bool find_path(const struct cite_scanner *s, struct span run, size_t from,
                      const struct found *f, struct span *ret_path, struct span *ret_text)
{
    int tries = 0;
    for (size_t i = from; i < f->path_end && tries < PATH_TRIES; i++) {
        bool is_border =
            i == from || is_soft_break(run.ptr[i - 1]) ||
            ((unsigned char)run.ptr[i - 1] >= 0x80 && (unsigned char)run.ptr[i] < 0x80);
        if (!is_border || is_soft_break(run.ptr[i]))
            is_border = is_border && run.ptr[i] == '[';
        if (!is_border)
            continue;
        tries++;
        if (ask_file(s, span_of(run.ptr + i, f->path_end - i), ret_path, ret_text))
            return true;
    }
    return false;
}

/* What looks like a path before `#L…` although no such file exists; empty when it does not. */
static struct span claimed_path(struct span run, size_t from, size_t end)
{
    size_t i = end;
    bool has_mark = false;
    while (i > from && (is_word(run.ptr[i - 1]) || strchr("./+@-", run.ptr[i - 1]))) {
        i--;
        has_mark |= run.ptr[i] == '.' || run.ptr[i] == '/';
    }
    bool is_url = i > from && run.ptr[i - 1] == ':';
    struct span path = span_of(run.ptr + i, end - i);
    if (!has_mark || is_url || path.len < 2 || path.len > PATH_MAX_BYTES)
        return SPAN_NULL;
    return path;
}

/* False when this citation was reported before, or when there were too many. */
static bool is_new(struct cite_scanner *s, const struct citation *c)
{
    uint32_t lines[2] = {c->start, c->end};
    uint64_t key = hash_bytes(c->path.ptr, c->path.len) ^ (hash_bytes(lines, sizeof lines) * 31);
    for (size_t i = 0; i < s->seen_count; i++)
        if (s->seen[i] == key)
            return false;
    if (s->seen_count == LIMIT_CITATIONS_COUNT)
        return false;
    s->seen[s->seen_count++] = key;
    return true;
}

static void report(struct cite_scanner *s, struct span run, size_t from, const struct found *f)
{
    struct span text = SPAN_NULL;
    struct citation c = {.start = f->first_line, .end = f->last_line, .state = CITE_UNSUPPORTED};
    bool exists = find_path(s, run, from, f, &c.path, &text);
    if (!exists && f->is_hash)
        c.path = claimed_path(run, from, f->path_end);
    if (!exists && (!f->is_hash || c.path.len == 0))
        return;
    if (!is_new(s, &c))
        return;
    struct span quoted = exists && c.start > 0 ? lines_slice(text, c.start, c.end) : SPAN_NULL;
    if (exists && c.start > 0 && c.end >= c.start && c.end <= lines_count(text)) {
        c.state = CITE_VERIFIED;
        sha256_hex(quoted.ptr, quoted.len, c.sha256);
    }
    int r = s->sink->citation(s->sink->ctx, &c);
    if (r < 0)
        s->failed = r;
}

static void scan_run(struct cite_scanner *s, struct span run)
{
    size_t from = 0;
    for (size_t i = 0; i < run.len && !s->failed; i++) {
        struct found f;
        if ((run.ptr[i] != '#' && run.ptr[i] != ':') || !read_lines(run, i, &f))
            continue;
        report(s, run, from, &f);
        from = f.end;
        i = f.end - 1;
    }
}

/* ---- the stream ---- */

/* Does the last byte (or the last three) of the held text end a word? */
static bool ends_run(const struct cite_scanner *s)
{
    const char *p = s->held;
    size_t n = s->held_len;
    char c = p[n - 1];
    if (c == '`' || c == '\n')
        return true;
    if (s->is_code)
        return false;
    if (c == ' ' || c == '\t' || c == '\r' || c == '"' || c == '\'' || c == '<' || c == '>' ||
        c == '|' || c == '*')
        return true;
    if (n < 3)
        return false;
    uint32_t cp = 0;
    if (utf8_decode(span_of(p + n - 3, 3), &cp) != 3)
        return false;
    return (cp >= 0x3000 && cp <= 0x3002) || (cp >= 0x3008 && cp <= 0x3011) || cp == 0xff08 ||
           cp == 0xff09 || cp == 0xff0c || cp == 0xff1a || cp == 0xff1b || cp == 0xff01 ||
           cp == 0xff1f || (cp >= 0x2018 && cp <= 0x201d);
}

/*
 * How many bytes at the front of s end no word, whatever came before them: what ends_run would say no to. All bytes of
 * other than ASCII characters are left to it.
 */
static size_t inner_bytes(struct span s)
{
    static const bool ends[256] = {
        ['`'] = true,  ['\n'] = true, [' '] = true, ['\t'] = true, ['\r'] = true, ['"'] = true,
        ['\''] = true, ['<'] = true,  ['>'] = true, ['|'] = true,  ['*'] = true,
    };
    size_t n = 0;
    while (n < s.len && (unsigned char)s.ptr[n] < 0x80 && !ends[(unsigned char)s.ptr[n]])
        n++;
    return n;
}

/* Where to cut a word that has become too long: behind the last byte no path goes on over, else at its end. */
static size_t overflow_cut(const struct cite_scanner *s)
{
    for (size_t i = s->held_len; i > 0; i--)
        if (is_soft_break(s->held[i - 1]))
            return i;
    size_t n = utf8_cut(span_of(s->held, s->held_len), s->held_len);
    return n ? n : s->held_len;
}

static void emit(struct cite_scanner *s, struct span text)
{
    if (s->failed || text.len == 0)
        return;
    int r = s->sink->text(s->sink->ctx, text);
    if (r < 0)
        s->failed = r;
}

int cite_feed(struct cite_scanner *s, struct span text)
{
    bool has_old = s->held_len > 0; /* held bytes that are not in `text` */
    size_t sent = 0, free_end = 0;  /* of `text`: let through already; may be let through */
    for (size_t i = 0; i < text.len && !s->failed; i++) {
        size_t room = sizeof s->held - 1 - s->held_len;
        size_t inner = inner_bytes(span_first(span_skip(text, i), room));
        memcpy(s->held + s->held_len, text.ptr + i, inner);
        s->held_len += inner;
        i += inner;
        if (i == text.len)
            break;
        char c = text.ptr[i];
        s->held[s->held_len++] = c;
        bool is_end = ends_run(s);
        if (!is_end && s->held_len < sizeof s->held)
            continue;
        size_t cut = is_end ? s->held_len : overflow_cut(s);
        scan_run(s, span_of(s->held, cut));
        size_t rest = s->held_len - cut;
        /* Bytes of an earlier piece go out with the rest of their word; later words straight from `text`. */
        if (has_old) {
            emit(s, span_of(s->held, cut));
            sent = rest > i + 1 ? 0 : i + 1 - rest;
            has_old = rest > i + 1;
        }
        free_end = rest > i + 1 ? 0 : i + 1 - rest;
        memmove(s->held, s->held + cut, rest);
        s->held_len = rest;
        if (is_end && c == '`')
            s->is_code = !s->is_code;
        if (is_end && c == '\n')
            s->is_code = false;
    }
    if (free_end > sent)
        emit(s, span_of(text.ptr + sent, free_end - sent));
    return s->failed;
}

int cite_end(struct cite_scanner *s)
{
    if (s->failed)
        return s->failed;
    scan_run(s, span_of(s->held, s->held_len));
    emit(s, span_of(s->held, s->held_len));
    s->held_len = 0;
    return s->failed;
}

/* ---- later ---- */

static size_t line_end(struct span text, size_t from)
{
    ptrdiff_t n = span_find_char(span_skip(text, from), '\n');
    return n < 0 ? text.len : from + (size_t)n + 1;
}

enum cite_state cite_recheck(struct span text, const char sha256_hex_old[SHA256_HEX],
                             uint32_t *ret_start, uint32_t *ret_end)
{
    char now[SHA256_HEX];
    uint32_t start = *ret_start, end = *ret_end, best = 0, best_distance = UINT32_MAX;
    if (start == 0 || end < start)
        return CITE_STALE;
    size_t head = 0, tail = 0, hashed = 0;
    for (uint32_t i = 0; i < end - start + 1; i++) {
        if (tail >= text.len)
            return CITE_STALE;
        tail = line_end(text, tail);
    }
    for (uint32_t line = 1; hashed < RECHECK_BYTES; line++) {
        uint32_t distance = line > start ? line - start : start - line;
        if (distance < best_distance) {
            hashed += tail - head;
            sha256_hex(text.ptr + head, tail - head, now);
            if (memcmp(now, sha256_hex_old, SHA256_HEX) == 0) {
                best = line;
                best_distance = distance;
            }
        }
        if (tail >= text.len)
            break;
        head = line_end(text, head);
        tail = line_end(text, tail);
    }
    if (!best)
        return CITE_STALE;
    *ret_start = best;
    *ret_end = best + (end - start);
    return best_distance == 0 ? CITE_VERIFIED : CITE_MOVED;
}
