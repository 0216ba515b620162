#include "providers/wire_priv.h"

void wire_split_init(struct wire_split *s)
{
    *s = (struct wire_split){.value = BUF_INIT(LIMIT_WIRE_EVENT)};
}

void wire_split_done(struct wire_split *s)
{
    buf_done(&s->value);
}

/* Between objects: 1 when c opens one, 0 when it may stand there, -ERR_UPSTREAM. */
static int between(struct wire_split *s, char c)
{
    if (c == ' ' || c == '\t' || c == '\r' || c == '\n')
        return 0;
    if (s->is_over)
        return -ERR_UPSTREAM;
    if (c == '{')
        return 1;
    if (c == '[' && !s->in_list) {
        s->in_list = true;
        return 0;
    }
    if (c == ']' && s->in_list) {
        s->is_over = true;
        return 0;
    }
    return c == ',' && s->in_list ? 0 : -ERR_UPSTREAM;
}

/* Inside an object: 1 after its last byte, 0, -ERR_UPSTREAM. */
static int inside(struct wire_split *s, char c)
{
    if (s->in_string) {
        if ((unsigned char)c < 0x20)
            return -ERR_UPSTREAM; /* a cut line must not swallow the lines after it */
        if (s->is_escaped)
            s->is_escaped = false;
        else if (c == '\\')
            s->is_escaped = true;
        else if (c == '"')
            s->in_string = false;
        return 0;
    }
    if (c == '"')
        s->in_string = true;
    else if (c == '{' || c == '[')
        s->depth++;
    else if (c == '}' || c == ']')
        return --s->depth == 0;
    return 0;
}

static int keep(struct wire_split *s, struct span piece)
{
    buf_put_span(&s->value, piece);
    if (!buf_failed(&s->value))
        return 0;
    return s->value.len + piece.len > s->value.max ? -ERR_TOO_LARGE : -ERR_NO_MEMORY;
}

/* The part of bytes that belongs to the open object; *ret_is_whole when its end is among them. */
static int object_part(struct wire_split *s, struct span bytes, size_t *ret_len, bool *ret_is_whole)
{
    size_t n = 0;
    int r = 0;
    while (n < bytes.len && r == 0)
        r = inside(s, bytes.ptr[n++]);
    *ret_len = n;
    *ret_is_whole = r == 1;
    return r < 0 ? r : 0;
}

int wire_split_feed(struct wire_split *s, struct span bytes,
                    int (*each)(void *ctx, struct span value), void *ctx)
{
    while (bytes.len) {
        if (s->depth == 0) {
            int r = between(s, bytes.ptr[0]);
            if (r < 0)
                return r;
            if (r == 0) {
                bytes = span_skip(bytes, 1);
                continue;
            }
        }
        size_t n;
        bool is_whole;
        int r = object_part(s, bytes, &n, &is_whole);
        if (r == 0)
            r = keep(s, span_first(bytes, n));
        if (r == 0 && is_whole) {
            r = each(ctx, buf_span(&s->value));
            buf_clear(&s->value);
        }
        if (r < 0)
            return r;
        bytes = span_skip(bytes, n);
    }
    return 0;
}
