#include "providers/wire_priv.h"

#include "base/bug.h"

#define PRELUDE 12u /* total length, headers length, checksum of both */
#define TRAILER 4u  /* checksum of all before it */

uint32_t wire_crc32(uint32_t crc, struct span s)
{
    /* Four bits a step: small, and messages are short. */
    static const uint32_t table[16] = {0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac,
                                       0x76dc4190, 0x6b6b51f4, 0x4db26158, 0x5005713c,
                                       0xedb88320, 0xf00f9344, 0xd6d6a3e8, 0xcb61b38c,
                                       0x9b64c2b0, 0x86d3d2d4, 0xa00ae278, 0xbdbdf21c};
    crc = ~crc;
    for (size_t i = 0; i < s.len; i++) {
        crc ^= (unsigned char)s.ptr[i];
        crc = crc >> 4 ^ table[crc & 15];
        crc = crc >> 4 ^ table[crc & 15];
    }
    return ~crc;
}

static uint32_t be32(struct span s)
{
    const unsigned char *p = (const unsigned char *)s.ptr;
    BUG_ON(!p || s.len < 4);
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* Takes n bytes off the front; false when there are fewer. */
static bool cut(struct span *rest, size_t n, struct span *ret)
{
    if (rest->len < n)
        return false;
    *ret = span_first(*rest, n);
    *rest = span_skip(*rest, n);
    return true;
}

/* One header: its name, and its value where that is a string (else empty). */
static bool next_header(struct span *rest, struct span *ret_name, struct span *ret_value)
{
    static const uint8_t sizes[] = {0, 0, 1, 2, 4, 8, 0, 0, 8, 16}; /* 6 and 7 say their own */
    struct span one, value;
    if (!cut(rest, 1, &one) || !cut(rest, (unsigned char)one.ptr[0], ret_name) ||
        !cut(rest, 1, &one))
        return false;
    unsigned type = (unsigned char)one.ptr[0];
    if (type >= ARRAY_LEN(sizes))
        return false;
    size_t size = sizes[type];
    if (type == 6 || type == 7) {
        struct span two;
        if (!cut(rest, 2, &two))
            return false;
        size = (size_t)(unsigned char)two.ptr[0] << 8 | (unsigned char)two.ptr[1];
    }
    if (!cut(rest, size, &value))
        return false;
    *ret_value = type == 7 ? value : SPAN_NULL;
    return true;
}

static int read_headers(struct span rest, struct wire_frame *m)
{
    struct span name, value;
    for (unsigned count = 0; rest.len; count++) {
        if (count == LIMIT_WIRE_HEADERS_COUNT || !next_header(&rest, &name, &value))
            return -ERR_UPSTREAM;
        if (span_is(name, ":message-type"))
            m->type = value;
        else if (span_is(name, ":event-type") || span_is(name, ":exception-type") ||
                 span_is(name, ":error-code"))
            m->name = value;
        else if (span_is(name, ":error-message"))
            m->message = value;
    }
    return 0;
}

static int read_prelude(struct wire_frames *f)
{
    struct span s = buf_span(&f->bytes);
    uint32_t total = be32(s), headers = be32(span_skip(s, 4));
    if (wire_crc32(0, span_first(s, 8)) != be32(span_skip(s, 8)))
        return -ERR_UPSTREAM;
    if (total > LIMIT_WIRE_EVENT)
        return -ERR_TOO_LARGE;
    if (total < PRELUDE + TRAILER || headers > total - PRELUDE - TRAILER)
        return -ERR_UPSTREAM;
    f->need = total;
    return 0;
}

static int read_message(struct wire_frames *f, int (*each)(void *ctx, const struct wire_frame *m),
                        void *ctx)
{
    struct span s = buf_span(&f->bytes);
    size_t headers = be32(span_skip(s, 4)), end = f->need - TRAILER;
    if (wire_crc32(0, span_first(s, end)) != be32(span_skip(s, end)))
        return -ERR_UPSTREAM;
    struct wire_frame m = {.payload = span_skip(span_first(s, end), PRELUDE + headers)};
    int r = read_headers(span_first(span_skip(s, PRELUDE), headers), &m);
    if (r == 0)
        r = each(ctx, &m);
    buf_clear(&f->bytes);
    f->need = 0;
    return r < 0 ? r : 0;
}

void wire_frames_init(struct wire_frames *f)
{
    *f = (struct wire_frames){.bytes = BUF_INIT(LIMIT_WIRE_EVENT)};
}

void wire_frames_done(struct wire_frames *f)
{
    buf_done(&f->bytes);
}

int wire_frames_feed(struct wire_frames *f, struct span bytes,
                     int (*each)(void *ctx, const struct wire_frame *m), void *ctx)
{
    while (bytes.len) {
        size_t want = (f->need ? f->need : PRELUDE) - f->bytes.len;
        struct span piece = span_first(bytes, want);
        buf_put_span(&f->bytes, piece);
        if (buf_failed(&f->bytes))
            return -ERR_NO_MEMORY;
        bytes = span_skip(bytes, piece.len);
        if (piece.len < want)
            return 0;
        int r = f->need ? read_message(f, each, ctx) : read_prelude(f);
        if (r < 0)
            return r;
    }
    return 0;
}
