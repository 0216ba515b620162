/*
 * HTTP requests from hostile bytes. The first byte seeds how the rest is cut into pieces: both ways
 * must end with the same verdict, the same bytes used and the same request.
 */
#include "base/bug.h"
#include "base/hash.h"
#include "base/mem.h"
#include "net/http_parse.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct outcome {
    enum http_parse last;
    int status;
    size_t used;
    uint64_t hash;
};

static void mix(struct outcome *o, struct span s)
{
    o->hash = o->hash * 31 + s.len;
    o->hash = o->hash * 31 + (s.len ? hash_bytes(s.ptr, s.len) : 0);
}

static void mix_request(struct outcome *o, const struct http_request *r)
{
    BUG_ON(!r->path.len || (r->path.ptr[0] != '/' && !span_is(r->path, "*")));
    o->hash = (uint64_t)r->method * 31 + r->minor;
    mix(o, r->target);
    mix(o, r->path);
    mix(o, r->query);
    mix(o, r->body);
    for (size_t i = 0; i < r->header_count; i++) {
        BUG_ON(!r->headers[i].name.len);
        mix(o, r->headers[i].name);
        mix(o, r->headers[i].value);
    }
}

static struct outcome parse(struct span in, uint32_t seed)
{
    struct outcome o = {HTTP_PARSE_MORE, 0, 0, 0};
    struct http_parser *p = http_parser_new();
    BUG_ON(!p);
    while (o.used < in.len && o.last != HTTP_PARSE_DONE && o.last != HTTP_PARSE_ERROR) {
        seed = seed * 1664525 + 1013904223;
        size_t n = seed ? 1 + (seed >> 24) % 37 : in.len, used;
        struct span piece = span_first(span_skip(in, o.used), n);
        o.last = http_parser_feed(p, piece, &used);
        BUG_ON(used > piece.len || (o.last == HTTP_PARSE_MORE && used != piece.len));
        o.used += used;
    }
    if (o.last == HTTP_PARSE_HEAD)
        o.last = HTTP_PARSE_MORE; /* where the input ended makes the difference, not what was
                                     understood */
    if (o.last == HTTP_PARSE_DONE)
        mix_request(&o, http_parser_request(p));
    o.status = http_parser_status(p);
    http_parser_free(p);
    return o;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!size)
        return 0;
    struct span in = span_of((const char *)data + 1, size - 1);
    struct outcome whole = parse(in, 0), pieces = parse(in, data[0] + 1u);
    BUG_ON(whole.last != pieces.last || whole.status != pieces.status ||
           whole.used != pieces.used || whole.hash != pieces.hash);
    BUG_ON((whole.last == HTTP_PARSE_ERROR) != (whole.status >= 400 && whole.status <= 505));
    return 0;
}
