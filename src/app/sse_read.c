#include "app/sse_read.h"

#include "base/bug.h"
#include "base/err.h"

void sse_read_init(struct sse_read *r)
{
    *r = (struct sse_read){.line = BUF_INIT(SSE_READ_MAX),
                           .data = BUF_INIT(SSE_READ_MAX),
                           .type = BUF_INIT(256),
                           .id = BUF_INIT(256),
                           .next_id = BUF_INIT(256)};
}

void sse_read_done(struct sse_read *r)
{
    buf_done(&r->line);
    buf_done(&r->data);
    buf_done(&r->type);
    buf_done(&r->id);
    buf_done(&r->next_id);
}

static void forget_event(struct sse_read *r)
{
    buf_clear(&r->data);
    buf_clear(&r->type);
    r->has_data = false;
}

void sse_read_restart(struct sse_read *r)
{
    forget_event(r);
    buf_clear(&r->line);
    buf_clear(&r->next_id);
    if (!buf_failed(&r->id))
        buf_put_span(&r->next_id, buf_span(&r->id));
    r->bytes_seen = 0;
    r->after_cr = false;
}

static int why_failed(const struct buf *b, size_t more)
{
    return b->len + more > b->max ? -ERR_TOO_LARGE : -ERR_NO_MEMORY;
}

static int append(struct buf *b, struct span s)
{
    if (!buf_reserve(b, s.len + 1)) /* room for the line feed that may follow */
        return why_failed(b, s.len + 1);
    buf_put_span(b, s);
    return 0;
}

static int set(struct buf *b, struct span s)
{
    buf_clear(b);
    return append(b, s);
}

static int dispatch(struct sse_read *r, sse_handler *handler, void *ctx)
{
    int result = set(&r->id, buf_span(&r->next_id));
    if (result == 0 && r->has_data) {
        struct sse_event e = {r->type.len ? buf_span(&r->type) : SPAN_LIT("message"),
                              buf_span(&r->data), buf_span(&r->id)};
        result = handler(ctx, &e);
    }
    forget_event(r);
    return result < 0 ? result : 0;
}

static int take_field(struct sse_read *r, struct span name, struct span value)
{
    int result = 0;
    if (span_is(name, "data")) {
        if (r->has_data)
            buf_putc(&r->data, '\n'); /* its room was reserved with the line before */
        r->has_data = true;
        result = append(&r->data, value);
    } else if (span_is(name, "event")) {
        result = set(&r->type, value);
    } else if (span_is(name, "id") && span_find_char(value, 0) < 0) {
        result = set(&r->next_id, value);
    } else if (span_is(name, "retry")) {
        uint64_t ms;
        if (parse_u64(value, &ms))
            r->retry_ms = ms;
    }
    return result;
}

static int take_line(struct sse_read *r, sse_handler *handler, void *ctx)
{
    struct span line = buf_span(&r->line), value = SPAN_NULL;
    if (!line.len)
        return dispatch(r, handler, ctx);
    BUG_ON(!line.ptr);
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
    size_t n = 0;
    while (n < s.len && s.ptr[n] != '\n' && s.ptr[n] != '\r')
        n++;
    return n;
}

int sse_read_feed(struct sse_read *r, struct span bytes, sse_handler *handler, void *ctx)
{
    static const char mark[] = "\xef\xbb\xbf";
    while (bytes.len) {
        if (r->after_cr && bytes.ptr[0] == '\n') {
            bytes = span_skip(bytes, 1);
            r->after_cr = false;
            continue;
        }
        r->after_cr = false;
        size_t n = line_length(bytes);
        int result = append(&r->line, span_first(bytes, n));
        if (result < 0)
            return result;
        r->bytes_seen += n;
        if (n == bytes.len)
            return 0;
        r->after_cr = bytes.ptr[n] == '\r';
        bytes = span_skip(bytes, n + 1);
        /* The byte order mark can only be on the first line, where all bytes so far are still in hand. */
        if (r->bytes_seen == r->line.len && span_starts(buf_span(&r->line), span_str(mark)))
            buf_drop(&r->line, 3);
        r->bytes_seen++;
        result = take_line(r, handler, ctx);
        buf_clear(&r->line);
        if (result < 0)
            return result;
    }
    return 0;
}
