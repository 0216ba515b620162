/* Any bytes as an event stream, whole and cut in pieces whose size the first byte chooses: same events. */
#include "base/bug.h"
#include "net/sse.h"

#define MAX_EVENT 300 /* small, so that the bounds are reached */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int take(void *ctx, const struct sse_event *e)
{
    struct buf *out = ctx;
    BUG_ON(!e->event.len || e->data.len > MAX_EVENT);
    BUG_ON(span_find_char(e->event, '\n') >= 0 || span_find_char(e->id, '\n') >= 0);
    struct span all[] = {e->event, e->data, e->id};
    for (size_t i = 0; i < 3; i++) {
        buf_put_span(out, all[i]);
        buf_putc(out, '\n');
    }
    return 0;
}

static int read_in_steps(struct span s, size_t step, struct buf *out)
{
    struct sse_reader r;
    int result = 0;
    sse_init(&r, MAX_EVENT);
    while (s.len && result == 0) {
        result = sse_feed(&r, span_first(s, step), take, out);
        s = span_skip(s, step);
    }
    sse_done(&r);
    return result;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!size)
        return 0;
    struct span s = span_of((const char *)data + 1, size - 1);
    struct buf whole = BUF_INIT(16u << 20), cut = BUF_INIT(16u << 20);
    int a = read_in_steps(s, s.len, &whole), b = read_in_steps(s, 1u + data[0] % 13u, &cut);
    BUG_ON(a != b || !span_eq(buf_span(&whole), buf_span(&cut)));
    buf_done(&whole);
    buf_done(&cut);
    return 0;
}
