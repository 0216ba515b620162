#include "base/json.h"

#include "base/limits.h"
#include "base/mem.h"

#include <math.h>
#include <stdio.h>

static void before_value(struct json_writer *w)
{
    if (w->need_comma)
        buf_puts(w->out, w->spaced ? ", " : ",");
    w->need_comma = true;
}

void jw_obj(struct json_writer *w)
{
    before_value(w);
    buf_putc(w->out, '{');
    w->need_comma = false;
}

void jw_end_obj(struct json_writer *w)
{
    buf_putc(w->out, '}');
    w->need_comma = true;
}

void jw_arr(struct json_writer *w)
{
    before_value(w);
    buf_putc(w->out, '[');
    w->need_comma = false;
}

void jw_end_arr(struct json_writer *w)
{
    buf_putc(w->out, ']');
    w->need_comma = true;
}

void jw_key(struct json_writer *w, const char *key)
{
    before_value(w);
    json_put_string(w->out, span_str(key));
    buf_puts(w->out, w->spaced ? ": " : ":");
    w->need_comma = false;
}

void jw_str(struct json_writer *w, const char *s)
{
    if (s)
        jw_span(w, span_str(s));
    else
        jw_null(w);
}

void jw_span(struct json_writer *w, struct span s)
{
    before_value(w);
    json_put_string(w->out, s);
}

void jw_int(struct json_writer *w, int64_t v)
{
    before_value(w);
    if (v < 0)
        buf_putc(w->out, '-');
    buf_put_u64(w->out, v < 0 ? 0 - (uint64_t)v : (uint64_t)v);
}

void jw_u64(struct json_writer *w, uint64_t v)
{
    before_value(w);
    buf_put_u64(w->out, v);
}

void jw_num(struct json_writer *w, double v)
{
    if (!isfinite(v)) {
        jw_null(w);
        return;
    }
    before_value(w);
    char text[32];
    for (int digits = 6; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, v);
        if (strtod(text, NULL) == v)
            break;
    }
    buf_puts(w->out, text);
}

void jw_bool(struct json_writer *w, bool v)
{
    before_value(w);
    buf_puts(w->out, v ? "true" : "false");
}

void jw_null(struct json_writer *w)
{
    before_value(w);
    buf_puts(w->out, "null");
}

void jw_raw(struct json_writer *w, struct span json)
{
    before_value(w);
    buf_put_span(w->out, json);
}

void jw_kstr(struct json_writer *w, const char *key, const char *s)
{
    jw_key(w, key);
    jw_str(w, s);
}

void jw_kspan(struct json_writer *w, const char *key, struct span s)
{
    jw_key(w, key);
    jw_span(w, s);
}

void jw_kint(struct json_writer *w, const char *key, int64_t v)
{
    jw_key(w, key);
    jw_int(w, v);
}

void jw_kbool(struct json_writer *w, const char *key, bool v)
{
    jw_key(w, key);
    jw_bool(w, v);
}

/* Length of the valid UTF-8 sequence at p (RFC 3629: no surrogates, no overlong forms), 0 if none. */
static size_t utf8_sequence(const unsigned char *p, size_t left)
{
    unsigned c = p[0];
    size_t n = c < 0x80 ? 1 : c < 0xc2 ? 0 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : c < 0xf5 ? 4 : 0;
    if (n == 0 || n > left)
        return 0;
    for (size_t i = 1; i < n; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    if ((c == 0xe0 && p[1] < 0xa0) || (c == 0xed && p[1] > 0x9f) || (c == 0xf0 && p[1] < 0x90) ||
        (c == 0xf4 && p[1] > 0x8f))
        return 0;
    return n;
}

static void put_escape(struct buf *out, unsigned char c)
{
    static const char shorts[] = "\"\"\\\\\bb\ff\nn\rr\tt";
    for (size_t i = 0; i + 1 < sizeof shorts; i += 2) {
        if ((unsigned char)shorts[i] == c) {
            buf_putc(out, '\\');
            buf_putc(out, shorts[i + 1]);
            return;
        }
    }
    buf_printf(out, "\\u%04x", c);
}

void json_put_string(struct buf *out, struct span s)
{
    const unsigned char *p = (const unsigned char *)s.ptr;
    size_t i = 0, plain = 0;
    buf_putc(out, '"');
    while (i < s.len) {
        unsigned char c = p[i];
        if (c >= 0x20 && c != '"' && c != '\\' && c < 0x7f) {
            i++;
            continue;
        }
        size_t n = c < 0x80 ? 0 : utf8_sequence(p + i, s.len - i);
        if (n) {
            i += n;
            continue;
        }
        buf_put(out, p + plain, i - plain);
        if (c < 0x80)
            put_escape(out, c);
        else
            buf_puts(out, "\xef\xbf\xbd");
        plain = ++i;
    }
    if (s.len)
        buf_put(out, p + plain, i - plain);
    buf_putc(out, '"');
}

static int hex4(const char *p)
{
    int v = 0;
    for (int i = 0; i < 4; i++) {
        char c = p[i];
        int d = c >= '0' && c <= '9'   ? c - '0'
                : c >= 'a' && c <= 'f' ? c - 'a' + 10
                : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                       : -1;
        if (d < 0)
            return -1;
        v = v * 16 + d;
    }
    return v;
}

/* Code unit of a \uXXXX escape at offset i, or -1. */
static int escape_at(struct span s, size_t i)
{
    return i + 6 <= s.len && s.ptr[i] == '\\' && s.ptr[i + 1] == 'u' ? hex4(s.ptr + i + 2) : -1;
}

/* Copies the text with each \u surrogate that has no partner replaced by \ufffd; same length. */
static void repair_surrogates(char *copy, struct span s)
{
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] != '\\')
            continue;
        int unit = escape_at(s, i);
        if (unit < 0xd800 || unit > 0xdfff) {
            i++; /* whatever was escaped */
            continue;
        }
        int next = escape_at(s, i + 6);
        if (unit < 0xdc00 && next >= 0xdc00 && next <= 0xdfff) {
            i += 11;
            continue;
        }
        memcpy(copy + i, "\\ufffd", 6);
        i += 5;
    }
}

static bool too_deep(struct span s)
{
    int depth = 0;
    bool in_string = false;
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        if (in_string) {
            if (c == '\\')
                i++;
            else if (c == '"')
                in_string = false;
        } else if (c == '"') {
            in_string = true;
        } else if (c == '{' || c == '[') {
            if (++depth > LIMIT_JSON_DEPTH)
                return true;
        } else if (c == '}' || c == ']') {
            depth--;
        }
    }
    return false;
}

json_t *json_read(struct span text, struct err *err, size_t *ret_offset)
{
    if (ret_offset)
        *ret_offset = 0;
    if (too_deep(text)) {
        err_set(err, ERR_INVALID, "JSON nested deeper than %d levels", LIMIT_JSON_DEPTH);
        return NULL;
    }
    char *copy = mem_try_strndup(text.ptr, text.len);
    if (!copy) {
        err_set(err, ERR_NO_MEMORY, "out of memory");
        return NULL;
    }
    if (span_find(text, SPAN_LIT("\\u")) >= 0)
        repair_surrogates(copy, text);
    json_error_t why;
    json_t *v = json_loadb(copy, text.len, JSON_DECODE_ANY | JSON_ALLOW_NUL, &why);
    mem_free(copy);
    if (!v) {
        err_set(err, ERR_INVALID, "%s: line %d column %d (char %d)", why.text,
                why.line < 1 ? 1 : why.line, why.column < 1 ? 1 : why.column, why.position);
        if (ret_offset)
            *ret_offset = why.position > 0 ? (size_t)why.position : 0;
    }
    return v;
}

const char *json_str(const json_t *obj, const char *key, const char *fallback)
{
    const char *s = json_string_value(json_object_get(obj, key));
    return s ? s : fallback;
}

struct span json_span(const json_t *string_value)
{
    return json_is_string(string_value)
               ? span_of(json_string_value(string_value), json_string_length(string_value))
               : SPAN_NULL;
}

int64_t json_int(const json_t *obj, const char *key, int64_t fallback)
{
    const json_t *v = json_object_get(obj, key);
    return json_is_integer(v) ? json_integer_value(v) : fallback;
}

double json_num(const json_t *obj, const char *key, double fallback)
{
    const json_t *v = json_object_get(obj, key);
    return json_is_number(v) ? json_number_value(v) : fallback;
}

bool json_flag(const json_t *obj, const char *key, bool fallback)
{
    const json_t *v = json_object_get(obj, key);
    return json_is_boolean(v) ? json_is_true(v) : fallback;
}
