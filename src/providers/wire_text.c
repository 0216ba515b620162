#include "base/mem.h"
#include "providers/wire_priv.h"
#include "text/utf8.h"

/* Private characters that stand for what jansson refuses, while an event is read. */
#define MARK_BYTE 0x10f700u /* + a byte that is no UTF-8 */
#define MARK_UNIT 0x10f800u /* + a surrogate without its partner, less 0xd800 */
#define HELD_MAX 256u       /* white space before a tag */

static const struct span tag_open = SPAN_INIT("<think>"), tag_shut = SPAN_INIT("</think>");
static const struct span replacement = SPAN_INIT("\xef\xbf\xbd");

/* ---- JSON with halves of characters ---- */

static int hex_unit(struct span s)
{
    unsigned v = 0;
    if (s.len < 6 || s.ptr[0] != '\\' || s.ptr[1] != 'u')
        return -1;
    for (size_t i = 2; i < 6; i++) {
        char c = s.ptr[i];
        unsigned d = c >= '0' && c <= '9' ? (unsigned)(c - '0') : (unsigned)((c | 32) - 'a') + 10u;
        if (d > 15)
            return -1;
        v = v * 16 + d;
    }
    return (int)v;
}

static bool is_high(int unit)
{
    return unit >= 0xd800 && unit <= 0xdbff;
}

static bool is_low(int unit)
{
    return unit >= 0xdc00 && unit <= 0xdfff;
}

/* How many bytes at s are fine; 0 when s starts with a half, whose mark and length are stored. */
static size_t sound_bytes(struct span s, uint32_t *ret_mark, size_t *ret_len)
{
    if (s.ptr[0] != '\\') {
        size_t n = utf8_decode(s, NULL);
        *ret_mark = MARK_BYTE + (unsigned char)s.ptr[0];
        *ret_len = 1;
        return n;
    }
    int unit = hex_unit(s);
    if (is_high(unit) && is_low(hex_unit(span_skip(s, 6))))
        return 12;
    if (!is_high(unit) && !is_low(unit))
        return s.len > 1 && (unsigned char)s.ptr[1] < 0x80 ? 2 : 1;
    *ret_mark = MARK_UNIT + (uint32_t)unit - 0xd800u;
    *ret_len = 6;
    return 0;
}

static bool has_halves(struct span s)
{
    uint32_t mark;
    size_t len;
    if (span_find(s, SPAN_LIT("\\u")) < 0)
        return !utf8_is_valid(s);
    while (s.len) {
        size_t n = sound_bytes(s, &mark, &len);
        if (n == 0)
            return true;
        s = span_skip(s, n);
    }
    return false;
}

static void put_marked(struct buf *out, struct span s)
{
    while (s.len) {
        uint32_t mark = 0;
        size_t len = 0, n = sound_bytes(s, &mark, &len);
        if (n) {
            buf_put_span(out, span_first(s, n));
        } else {
            char utf8[4];
            buf_put(out, utf8, utf8_encode(mark, utf8));
            n = len;
        }
        s = span_skip(s, n);
    }
}

json_t *wire_json_read(struct span text, bool *ret_has_marks, int *ret_code)
{
    struct err err = {0};
    struct buf marked = BUF_INIT(4 * (size_t)LIMIT_WIRE_EVENT);
    *ret_has_marks = has_halves(text);
    if (*ret_has_marks) {
        put_marked(&marked, text);
        text = buf_span(&marked);
    }
    json_t *v = NULL;
    if (buf_failed(&marked))
        err.code = ERR_NO_MEMORY;
    else
        v = json_read(text, &err, NULL);
    buf_done(&marked);
    if (!v)
        *ret_code = err.code == ERR_NO_MEMORY ? -ERR_NO_MEMORY : -ERR_UPSTREAM;
    return v;
}

/* ---- whole characters ---- */

/* The bytes that marks stand for: a surrogate as the three bytes its UTF-8 form would have. */
static void put_unmarked(struct buf *out, struct span s)
{
    while (s.len) {
        uint32_t cp = 0;
        size_t n = utf8_decode(s, &cp);
        if (n < 4 || cp < MARK_BYTE) {
            buf_put_span(out, span_first(s, n ? n : 1));
        } else if (cp < MARK_UNIT) {
            buf_putc(out, (char)(cp - MARK_BYTE));
        } else {
            uint32_t unit = cp - MARK_UNIT + 0xd800u;
            char three[3] = {(char)0xed, (char)(0x80u | ((unit >> 6) & 0x3fu)),
                             (char)(0x80u | (unit & 0x3fu))};
            buf_put(out, three, 3);
        }
        s = span_skip(s, n ? n : 1);
    }
}

/* Code unit of a surrogate in three bytes at s, or -1. */
static int unit_at(struct span s)
{
    const unsigned char *p = (const unsigned char *)s.ptr;
    if (s.len < 3 || p[0] != 0xed || p[1] < 0xa0 || p[1] > 0xbf || (p[2] & 0xc0) != 0x80)
        return -1;
    return (int)(0xd000u | (p[1] & 0x3fu) << 6 | (p[2] & 0x3fu));
}

/* True when more bytes could make a character of s. */
static bool is_incomplete(struct span s)
{
    unsigned char c = (unsigned char)s.ptr[0];
    size_t n = c >= 0xc2 && c < 0xe0   ? 2
               : c >= 0xe0 && c < 0xf0 ? 3
               : c >= 0xf0 && c < 0xf5 ? 4
                                       : 0;
    if (s.len >= n)
        return false;
    for (size_t i = 1; i < s.len; i++)
        if (((unsigned char)s.ptr[i] & 0xc0) != 0x80)
            return false;
    return true;
}

/* Handles a place that is no UTF-8: bytes used, or 0 when the rest has to wait. */
static size_t repair(struct span s, struct buf *out)
{
    int unit = unit_at(s);
    if (is_high(unit)) {
        struct span next = span_skip(s, 3);
        int low = unit_at(next);
        if (is_low(low)) {
            char utf8[4];
            uint32_t cp = 0x10000u + (((uint32_t)unit - 0xd800u) << 10) + ((uint32_t)low - 0xdc00u);
            buf_put(out, utf8, utf8_encode(cp, utf8));
            return 6;
        }
        if (next.len == 0 || (next.len < 3 && (unsigned char)next.ptr[0] == 0xed))
            return 0;
    }
    if (unit < 0 && is_incomplete(s))
        return 0;
    buf_put_span(out, replacement);
    return unit < 0 ? 1 : 3;
}

/* s starts with what was kept of the piece before. */
static void take_whole(struct wire_chars *c, struct span s, struct buf *out)
{
    c->len = 0;
    while (s.len) {
        size_t n = 0, step;
        while (n < s.len && (step = utf8_decode(span_skip(s, n), NULL)) > 0)
            n += step;
        buf_put_span(out, span_first(s, n));
        s = span_skip(s, n);
        if (!s.len)
            return;
        n = repair(s, out);
        if (n == 0) {
            memcpy(c->part, s.ptr, s.len); /* at most a surrogate and two bytes of the next */
            c->len = s.len;
            return;
        }
        s = span_skip(s, n);
    }
}

/* *ret: whole characters of the piece, in t->whole or in s itself. */
static int whole_characters(struct wire_text *t, struct wire_chars *c, struct span s,
                            bool has_marks, struct span *ret)
{
    if (c->len == 0 && !has_marks && utf8_is_valid(s)) {
        *ret = s;
        return 0;
    }
    struct buf raw = BUF_INIT((size_t)LIMIT_WIRE_EVENT * 4 + sizeof c->part);
    buf_put(&raw, c->part, c->len);
    if (has_marks)
        put_unmarked(&raw, s);
    else
        buf_put_span(&raw, s);
    buf_clear(&t->whole);
    if (!buf_failed(&raw))
        take_whole(c, buf_span(&raw), &t->whole);
    bool has_failed = buf_failed(&raw) || buf_failed(&t->whole);
    buf_done(&raw);
    *ret = buf_span(&t->whole);
    return has_failed ? -ERR_NO_MEMORY : 0;
}

/* ---- events ---- */

static int emit_answer(struct wire_text *t, struct span s, const struct wire_sink *sink)
{
    if (!s.len)
        return 0;
    if (s.len > LIMIT_WIRE_ANSWER - t->answer_bytes)
        return -ERR_TOO_LARGE;
    t->answer_bytes += s.len;
    struct wire_event e = {.type = WIRE_TEXT, .text = s};
    return sink->emit(sink->ctx, &e);
}

static int emit_reasoning(struct wire_text *t, struct span s, const struct wire_sink *sink)
{
    s = span_first(s, utf8_cut(s, LIMIT_WIRE_REASONING - t->reasoning_bytes));
    if (!s.len)
        return 0;
    t->reasoning_bytes += s.len;
    struct wire_event e = {.type = WIRE_REASONING, .text = s};
    return sink->emit(sink->ctx, &e);
}

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static struct span skip_space(struct span s)
{
    while (s.len && is_space(s.ptr[0]))
        s = span_skip(s, 1);
    return s;
}

/* Length of the longest end of s that `tag` starts with, the whole tag excepted. */
static size_t tag_begun(struct span s, struct span tag)
{
    size_t n = s.len < tag.len - 1 ? s.len : tag.len - 1;
    while (n && !span_starts(tag, span_skip(s, s.len - n)))
        n--;
    return n;
}

/* Each step takes from the front of t->held; true when there may be more to do. */
static bool step_start(struct wire_text *t, const struct wire_sink *sink, int *ret)
{
    struct span held = buf_span(&t->held), s = skip_space(held);
    if (span_starts(s, tag_open)) {
        buf_drop(&t->held, held.len - s.len + tag_open.len);
        t->think = WIRE_THINK_INSIDE;
        return true;
    }
    if (span_starts(tag_open, s) && held.len < HELD_MAX)
        return false;
    t->think = WIRE_THINK_NONE;
    *ret = emit_answer(t, held, sink);
    buf_clear(&t->held);
    return false;
}

static bool step_inside(struct wire_text *t, const struct wire_sink *sink, int *ret)
{
    struct span held = buf_span(&t->held);
    ptrdiff_t at = span_find(held, tag_shut);
    size_t n = at < 0 ? held.len - tag_begun(held, tag_shut) : (size_t)at;
    *ret = emit_reasoning(t, span_first(held, n), sink);
    buf_drop(&t->held, at < 0 ? n : n + tag_shut.len);
    if (at >= 0)
        t->think = WIRE_THINK_AFTER;
    return at >= 0;
}

static bool step_after(struct wire_text *t, const struct wire_sink *sink, int *ret)
{
    struct span s = skip_space(buf_span(&t->held));
    if (s.len)
        t->think = WIRE_THINK_NONE;
    *ret = emit_answer(t, s, sink);
    buf_clear(&t->held);
    return false;
}

static int set_apart(struct wire_text *t, struct span s, const struct wire_sink *sink)
{
    if (t->think == WIRE_THINK_NONE)
        return emit_answer(t, s, sink);
    buf_put_span(&t->held, s);
    if (buf_failed(&t->held))
        return -ERR_NO_MEMORY;
    int r = 0;
    bool has_more = true;
    while (has_more && r >= 0 && t->held.len) {
        if (t->think == WIRE_THINK_START)
            has_more = step_start(t, sink, &r);
        else if (t->think == WIRE_THINK_INSIDE)
            has_more = step_inside(t, sink, &r);
        else
            has_more = step_after(t, sink, &r);
    }
    return r < 0 ? r : 0;
}

void wire_text_init(struct wire_text *t, bool has_tags)
{
    *t = (struct wire_text){.think = has_tags ? WIRE_THINK_START : WIRE_THINK_NONE};
    buf_init(&t->whole, (size_t)LIMIT_WIRE_EVENT * 4);
    buf_init(&t->held, (size_t)LIMIT_WIRE_EVENT * 4);
}

void wire_text_done(struct wire_text *t)
{
    buf_done(&t->whole);
    buf_done(&t->held);
}

int wire_text_answer(struct wire_text *t, struct span s, bool has_marks,
                     const struct wire_sink *sink)
{
    int r = whole_characters(t, &t->answer, s, has_marks, &s);
    return r < 0 ? r : set_apart(t, s, sink);
}

int wire_text_reasoning(struct wire_text *t, struct span s, bool has_marks,
                        const struct wire_sink *sink)
{
    int r = whole_characters(t, &t->reasoning, s, has_marks, &s);
    return r < 0 ? r : emit_reasoning(t, s, sink);
}

int wire_text_end(struct wire_text *t, const struct wire_sink *sink)
{
    int r = t->reasoning.len ? emit_reasoning(t, replacement, sink) : 0;
    t->reasoning.len = 0;
    if (r >= 0 && t->answer.len) {
        t->answer.len = 0;
        r = set_apart(t, replacement, sink);
    }
    struct span rest = buf_span(&t->held);
    if (r >= 0 && rest.len)
        r = t->think == WIRE_THINK_INSIDE ? emit_reasoning(t, rest, sink)
                                          : emit_answer(t, rest, sink);
    buf_clear(&t->held);
    return r < 0 ? r : 0;
}
