/* Any bytes as a binary event stream, and as the headers and payload of a message whose lengths and checksums are right. */
#include "base/bug.h"
#include "providers/wire_priv.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int see(void *ctx, const struct wire_frame *m)
{
    struct buf *out = ctx;
    struct span all[] = {m->type, m->name, m->message, m->payload};
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        buf_put_u64(out, all[i].len);
        buf_put_span(out, all[i]);
    }
    return 0;
}

static int feed(struct span s, size_t step, struct buf *out)
{
    struct wire_frames f;
    int r = 0;
    wire_frames_init(&f);
    while (s.len && r == 0) {
        r = wire_frames_feed(&f, span_first(s, step), see, out);
        s = span_skip(s, step);
    }
    wire_frames_done(&f);
    return r;
}

static void check(struct span s, size_t step)
{
    struct buf a = BUF_INIT(64u << 20), b = BUF_INIT(64u << 20);
    int x = feed(s, s.len, &a), y = feed(s, step, &b);
    BUG_ON(x != y || !span_eq(buf_span(&a), buf_span(&b)));
    buf_done(&a);
    buf_done(&b);
}

static void put_be32(struct buf *b, size_t v)
{
    for (int shift = 24; shift >= 0; shift -= 8)
        buf_putc(b, (char)(v >> shift));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 3)
        return 0;
    struct span s = span_of((const char *)data + 3, size - 3);
    size_t step = 1u + data[0] % 13u, headers = ((size_t)data[1] << 8 | data[2]) % (s.len + 1);
    struct buf m = BUF_INIT(16u << 20);
    check(s, step);
    put_be32(&m, 16 + s.len);
    put_be32(&m, headers);
    put_be32(&m, wire_crc32(0, buf_span(&m)));
    buf_put_span(&m, s);
    put_be32(&m, wire_crc32(0, buf_span(&m)));
    check(buf_span(&m), step);
    buf_done(&m);
    return 0;
}
