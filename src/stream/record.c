#include "stream/record.h"

#include "base/bug.h"
#include "base/hash.h"

#define TYPE_EVENT_FIRST 1u
#define TYPE_EVENT_LAST 7u
#define TEXT_MAX_BYTES 127u

static size_t varint_size(uint64_t v)
{
    size_t n = 1;
    while (v >= 0x80) {
        v >>= 7;
        n++;
    }
    return n;
}

static char *varint_put(char *p, uint64_t v)
{
    while (v >= 0x80) {
        *p++ = (char)(v | 0x80);
        v >>= 7;
    }
    *p++ = (char)v;
    return p;
}

/* False when the number does not end within the span, is too large, or is longer than it need be.
 */
static bool varint_get(struct span *s, uint64_t *ret)
{
    uint64_t v = 0;
    for (unsigned i = 0; i < 10 && i < s->len; i++) {
        uint8_t b = (uint8_t)s->ptr[i];
        if (i == 9 && b > 1)
            return false;
        v |= (uint64_t)(b & 0x7f) << (7 * i);
        if (b & 0x80)
            continue;
        if (i > 0 && b == 0)
            return false;
        *s = span_skip(*s, i + 1);
        *ret = v;
        return true;
    }
    return false;
}

static void put_u32(char *p, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        p[i] = (char)(v >> (8 * i));
}

static uint32_t get_u32(const char *p)
{
    uint32_t v = 0;
    for (int i = 0; i < 4; i++)
        v |= (uint32_t)(uint8_t)p[i] << (8 * i);
    return v;
}

/* Any one changed byte of the length shows; and zeros are no valid word, so neither is a hole in a
 * file. */
static uint32_t length_word(uint32_t length)
{
    uint32_t check = (length ^ (length >> 8) ^ (length >> 16) ^ 0xa5u) & 0xffu;
    return length | check << 24;
}

size_t record_size(const struct record *r)
{
    return RECORD_HEADER_BYTES + 1 + varint_size(r->key) + varint_size(r->seq) + r->payload.len;
}

size_t record_put(char *out, const struct record *r)
{
    BUG_ON(r->payload.len > LIMIT_STREAM_EVENT);
    char *body = out + RECORD_HEADER_BYTES, *p = body;
    *p++ = (char)r->type;
    p = varint_put(p, r->key);
    p = varint_put(p, r->seq);
    if (r->payload.len)
        memcpy(p, r->payload.ptr, r->payload.len);
    p += r->payload.len;
    uint32_t word = length_word((uint32_t)(p - body));
    put_u32(out, word);
    put_u32(out + 4, crc32c(word, body, (size_t)(p - body)));
    return (size_t)(p - out);
}

static bool parse_body(struct span body, struct record *ret)
{
    if (!body.len)
        return false;
    struct record r = {.type = (uint8_t)body.ptr[0]};
    if ((r.type < TYPE_EVENT_FIRST || r.type > TYPE_EVENT_LAST) && r.type != RECORD_OPEN)
        return false;
    body = span_skip(body, 1);
    if (!varint_get(&body, &r.key) || !varint_get(&body, &r.seq))
        return false;
    if (body.len > LIMIT_STREAM_EVENT || r.seq == UINT64_MAX)
        return false;
    r.payload = body;
    *ret = r;
    return true;
}

enum record_result record_next(struct span *rest, struct record *ret)
{
    if (!rest->len)
        return RECORD_END;
    if (rest->len < RECORD_HEADER_BYTES)
        return RECORD_TORN;
    uint32_t word = get_u32(rest->ptr), length = word & 0xffffffu;
    if (word != length_word(length) || length > LIMIT_STREAM_EVENT + RECORD_FIELDS_MAX_BYTES)
        return RECORD_DAMAGED;
    if (rest->len - RECORD_HEADER_BYTES < length)
        return RECORD_TORN;
    struct span body = span_of(rest->ptr + RECORD_HEADER_BYTES, length);
    if (crc32c(word, body.ptr, body.len) != get_u32(rest->ptr + 4) || !parse_body(body, ret))
        return RECORD_DAMAGED;
    *rest = span_skip(*rest, RECORD_HEADER_BYTES + length);
    return RECORD_OK;
}

bool record_next_checked(struct span *rest, struct record *ret)
{
    if (rest->len < RECORD_HEADER_BYTES)
        return false;
    uint32_t length = get_u32(rest->ptr) & 0xffffffu;
    BUG_ON(length > rest->len - RECORD_HEADER_BYTES);
    BUG_ON(!parse_body(span_of(rest->ptr + RECORD_HEADER_BYTES, length), ret));
    *rest = span_skip(*rest, RECORD_HEADER_BYTES + length);
    return true;
}

bool record_check_run(struct span bytes, uint64_t first, uint64_t *ret_last)
{
    uint64_t next = first;
    struct record r;
    enum record_result result;
    while ((result = record_next(&bytes, &r)) == RECORD_OK)
        if (r.type == RECORD_OPEN || r.seq != next++)
            return false;
    if (result != RECORD_END || next == first)
        return false;
    *ret_last = next - 1;
    return true;
}

static char *text_put(char *p, struct span s)
{
    BUG_ON(s.len > TEXT_MAX_BYTES);
    *p++ = (char)s.len;
    if (s.len)
        memcpy(p, s.ptr, s.len);
    return p + s.len;
}

/* No NUL inside: the texts become C strings. */
static bool text_get(struct span *s, struct span *ret)
{
    if (!s->len || (uint8_t)s->ptr[0] > TEXT_MAX_BYTES || (size_t)s->ptr[0] > s->len - 1)
        return false;
    *ret = span_of(s->ptr + 1, (size_t)s->ptr[0]);
    *s = span_skip(*s, ret->len + 1);
    return !ret->len || !memchr(ret->ptr, 0, ret->len);
}

size_t record_open_put(char *out, const struct record_open *o)
{
    char *p = varint_put(out, (uint64_t)o->created_ms);
    p = text_put(p, o->id);
    p = text_put(p, o->tenant);
    p = text_put(p, o->kind);
    return (size_t)(p - out);
}

bool record_open_parse(struct span payload, struct record_open *ret)
{
    uint64_t created;
    struct record_open o = {0};
    if (!varint_get(&payload, &created) || !text_get(&payload, &o.id) ||
        !text_get(&payload, &o.tenant) || !text_get(&payload, &o.kind) || payload.len || !o.id.len)
        return false;
    o.created_ms = (int64_t)created;
    *ret = o;
    return true;
}
