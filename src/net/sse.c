#include "net/sse.h"

#include "base/bug.h"
#include "base/err.h"
#include "base/limits.h"
#include "base/mem.h"

#define BYTE_ORDER_MARK "\xef\xbb\xbf"

void sse_init(struct sse_reader *r, size_t max_event)
{
    *r =
        (struct sse_reader){.line = BUF_INIT(max_event + LIMIT_SSE_FIELD),
                            .data = BUF_INIT(max_event + 1), /* and the line feed that may follow */
                            .event = BUF_INIT(LIMIT_SSE_FIELD),
                            .id = BUF_INIT(LIMIT_SSE_FIELD),
                            .next_id = BUF_INIT(LIMIT_SSE_FIELD),
                            .retry_ms = -1};
}

void sse_done(struct sse_reader *r)
{
    buf_done(&r->line);
    buf_done(&r->data);
    buf_done(&r->event);
    buf_done(&r->id);
    buf_done(&r->next_id);
}

static int append(struct buf *b, struct span s, size_t room_after)
{
    size_t need;
    if (!add_size(b->len, room_after, &need) || !add_size(need, s.len, &need) || need > b->max)
        return -ERR_TOO_LARGE;
    if (!buf_reserve(b, s.len + room_after))
        return -ERR_NO_MEMORY;
    buf_put_span(b, s);
    return 0;
}

static int set(struct buf *b, struct span s)
{
    buf_clear(b);
    return append(b, s, 0);
}

static void forget_event(struct sse_reader *r)
{
    buf_clear(&r->data);
    buf_clear(&r->event);
    r->has_data = false;
}

void sse_restart(struct sse_reader *r)
{
    forget_event(r);
    buf_clear(&r->line);
    r->skip_lf = r->started = false;
    r->failed = buf_failed(&r->id) ? -ERR_NO_MEMORY : set(&r->next_id, buf_span(&r->id));
}

static int dispatch(struct sse_reader *r, sse_handler *each, void *ctx)
{
    int result = set(&r->id, buf_span(&r->next_id));
    if (result == 0 && r->has_data) {
        struct sse_event e = {r->event.len ? buf_span(&r->event) : SPAN_LIT("message"),
                              buf_span(&r->data), buf_span(&r->id)};
        result = each(ctx, &e);
    }
    forget_event(r);
    return result < 0 ? result : 0;
}

/* Digits only, as the standard has it; a number that fits nowhere is ignored like any other text. */
static void take_retry(struct sse_reader *r, struct span value)
{
    uint64_t ms;
    if (parse_u64(value, &ms) && ms <= INT64_MAX)
        r->retry_ms = (int64_t)ms;
}

static int take_field(struct sse_reader *r, struct span name, struct span value)
{
    if (span_is(name, "data")) {
        if (r->has_data)
            buf_putc(&r->data, '\n'); /* its room was reserved with the line before */
        r->has_data = true;
        return append(&r->data, value, 1);
    }
    if (span_is(name, "event"))
        return set(&r->event, value);
    if (span_is(name, "id") && span_find_char(value, 0) < 0)
        return set(&r->next_id, value);
    if (span_is(name, "retry"))
        take_retry(r, value);
    return 0;
}

static int take_line(struct sse_reader *r, struct span line, sse_handler *each, void *ctx)
{
    struct span value = SPAN_NULL;
    if (!r->started && span_starts(line, SPAN_LIT(BYTE_ORDER_MARK)))
        line = span_skip(line, 3);
    r->started = true;
    if (!line.len)
        return dispatch(r, each, ctx);
    BUG_ON(!line.ptr); /* a length has bytes */
    ptrdiff_t colon = span_find_char(line, ':');
    if (colon == 0)
        return 0; /* a comment: keep-alive */
    if (colon > 0) {
        value = span_skip(line, (size_t)colon + 1);
        if (value.len && value.ptr[0] == ' ')
            value = span_skip(value, 1);
        line = span_first(line, (size_t)colon);
    }
    return take_field(r, line, value);
}

static size_t line_length(struct span s)
{
    const char *lf = memchr(s.ptr, '\n', s.len);
    size_t n = lf ? (size_t)(lf - s.ptr) : s.len;
    const char *cr = memchr(s.ptr, '\r', n);
    return cr ? (size_t)(cr - s.ptr) : n;
}

int sse_feed(struct sse_reader *r, struct span bytes, sse_handler *each, void *ctx)
{
    while (bytes.len && r->failed == 0) {
        if (r->skip_lf && bytes.ptr[0] == '\n')
            bytes = span_skip(bytes, 1);
        r->skip_lf = false;
        if (!bytes.len)
            break;
        size_t n = line_length(bytes);
        struct span line = span_first(bytes, n);
        /* A line that is here whole is read where it is, within the same bound. */
        bool is_whole = n < bytes.len && !r->line.len && n <= r->line.max;
        if (!is_whole) {
            r->failed = append(&r->line, line, 0);
            line = buf_span(&r->line);
        }
        if (r->failed < 0 || n == bytes.len)
            break;
        r->skip_lf = bytes.ptr[n] == '\r';
        bytes = span_skip(bytes, n + 1);
        r->failed = take_line(r, line, each, ctx);
        buf_clear(&r->line);
    }
    return r->failed;
}
