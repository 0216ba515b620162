/* The two behaviours of the DeepWiki servers: everything allowed, or a list. */
#include "net/cors.h"

#include "base/buf.h"
#include "base/mem.h"

#define METHODS_ANY "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT"
#define METHODS_LIST "GET, POST, PUT, PATCH, DELETE, OPTIONS"
#define HEADERS_LIST \
    "Accept, Accept-Language, Authorization, Content-Language, Content-Type, X-API-Key"
#define EXPOSED "X-Stream-Id, Content-Disposition"

int cors_init(struct cors *c, const char *origins)
{
    *c = (struct cors){0};
    struct span text = span_trim(span_str(origins));
    if (!text.len)
        return 0;
    c->origins = mem_try_strndup(text.ptr, text.len);
    if (!c->origins)
        return -ERR_NO_MEMORY;
    struct span rest = text, piece;
    while (span_next(&rest, ',', &piece))
        if (span_is(span_trim(piece), "*"))
            c->is_any = true;
    return 0;
}

void cors_done(struct cors *c)
{
    mem_free(c->origins);
    c->origins = NULL;
}

static bool list_has(const char *list, struct span item)
{
    struct span rest = span_str(list), piece;
    while (span_next(&rest, ',', &piece))
        if (span_eq_nocase(span_trim(piece), item))
            return true;
    return false;
}

static bool is_allowed(const struct cors *c, struct span origin)
{
    struct span rest = span_str(c->origins), piece;
    while (span_next(&rest, ',', &piece))
        if (span_eq(span_trim(piece), origin))
            return true;
    return c->is_any;
}

static void put(struct buf *out, const char *name, struct span value)
{
    buf_puts(out, name);
    buf_put(out, ": ", 2);
    buf_put_span(out, value);
    buf_put(out, "\r\n", 2);
}

void cors_put_headers(const struct cors *c, const struct http_request *r, struct buf *out)
{
    struct span origin = http_header_get(r, "origin");
    if (!c->origins || !origin.ptr)
        return;
    bool has_cookie = http_header_get(r, "cookie").ptr;
    if (c->is_any && !has_cookie) {
        put(out, "Access-Control-Allow-Origin", SPAN_LIT("*"));
    } else if (is_allowed(c, origin)) {
        put(out, "Access-Control-Allow-Origin", origin);
        put(out, "Vary", SPAN_LIT("Origin"));
    }
    put(out, "Access-Control-Allow-Credentials", SPAN_LIT("true"));
    put(out, "Access-Control-Expose-Headers", SPAN_LIT(EXPOSED));
}

bool cors_is_preflight(const struct cors *c, const struct http_request *r)
{
    return c->origins && r->method == HTTP_OPTIONS_ && http_header_get(r, "origin").ptr &&
           http_header_get(r, "access-control-request-method").ptr;
}

static bool are_headers_allowed(struct span asked)
{
    struct span piece;
    while (span_next(&asked, ',', &piece)) {
        piece = span_trim(piece);
        if (piece.len && !list_has(HEADERS_LIST, piece))
            return false;
    }
    return true;
}

int cors_preflight(const struct cors *c, const struct http_request *r, struct buf *out,
                   struct buf *ret_body)
{
    struct span origin = http_header_get(r, "origin");
    struct span asked = http_header_get(r, "access-control-request-headers");
    struct span method = http_header_get(r, "access-control-request-method");
    const char *methods = c->is_any ? METHODS_ANY : METHODS_LIST;
    bool origin_ok = is_allowed(c, origin), method_ok = list_has(methods, method);
    bool headers_ok = c->is_any || are_headers_allowed(asked);
    put(out, "Vary", SPAN_LIT("Origin"));
    put(out, "Access-Control-Allow-Methods", span_str(methods));
    put(out, "Access-Control-Max-Age", SPAN_LIT("600"));
    put(out, "Access-Control-Allow-Credentials", SPAN_LIT("true"));
    if (origin_ok)
        put(out, "Access-Control-Allow-Origin", origin);
    if (!c->is_any)
        put(out, "Access-Control-Allow-Headers", SPAN_LIT(HEADERS_LIST));
    else if (asked.ptr)
        put(out, "Access-Control-Allow-Headers", asked);
    if (origin_ok && method_ok && headers_ok) {
        buf_puts(ret_body, "OK");
        return 200;
    }
    buf_puts(ret_body, "Disallowed CORS ");
    const char *faults[] = {origin_ok ? NULL : "origin", method_ok ? NULL : "method",
                            headers_ok ? NULL : "headers"};
    const char *comma = "";
    for (size_t i = 0; i < ARRAY_LEN(faults); i++) {
        if (!faults[i])
            continue;
        buf_puts(ret_body, comma);
        buf_puts(ret_body, faults[i]);
        comma = ", ";
    }
    return 400;
}
