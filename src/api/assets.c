/* Serves the embedded page, with ETag so that a reload costs nothing. */
#include "api/assets.h"

#include "api/api_priv.h"

void get_asset(const struct route_call *c)
{
    for (size_t i = 0; i < asset_count; i++) {
        const struct asset *a = &assets[i];
        if (!span_is(c->arg, a->name))
            continue;
        exchange_header(c->x, "ETag", span_str(a->etag));
        exchange_header(c->x, "Cache-Control", SPAN_LIT("no-cache"));
        exchange_header(c->x, "Vary", SPAN_LIT("Accept"));
        struct span seen = http_header_get(c->request, "If-None-Match");
        if (seen.len && span_find(seen, span_str(a->etag)) >= 0)
            exchange_reply(c->x, 304, NULL, SPAN_NULL);
        else
            exchange_reply(c->x, 200, a->content_type, span_of((const char *)a->bytes, a->len));
        return;
    }
    reply_detail(c->x, 404, "Not Found");
}
