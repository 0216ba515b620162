/* The table of routes and its dispatch, with the answers that belong to no handler (deepwiki.md §1.0). */
#include "api/api_priv.h"

#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"

#include <stdio.h>

#define GET HTTP_BIT(HTTP_GET_)
#define GET_HEAD (HTTP_BIT(HTTP_GET_) | HTTP_BIT(HTTP_HEAD_))
#define POST HTTP_BIT(HTTP_POST_)
#define DELETE HTTP_BIT(HTTP_DELETE_)
#define WEBSOCKET 0

static bool echo_enabled(const struct api *a)
{
    return a->options.enable_echo;
}

static const struct route routes[] = {
    {GET_HEAD, "/", get_root, NULL},
    {GET_HEAD, "/assets/{}", get_asset, NULL},
    {GET, "/auth/status", get_auth_status, NULL},
    {POST, "/chat/completions/stream", post_chat_stream, NULL},
    {POST, "/api/chat/stream", post_chat_stream, NULL},
    {GET_HEAD, "/health", get_health, NULL},
    {GET_HEAD, "/healthz", get_healthz, NULL},
    {GET_HEAD, "/readyz", get_readyz, NULL},
    {GET, "/lang/config", get_lang_config, NULL},
    {GET, "/api/lang/config", get_lang_config, NULL},
    {GET, "/metrics", get_metrics, NULL},
    {GET, "/models/config", get_models_config, NULL},
    {GET, "/api/models/config", get_models_config, NULL},
    {GET, "/api/auth/status", get_auth_status, NULL},
    {POST, "/v1/answers", post_answers, NULL},
    {POST, "/v1/search", post_search, NULL},
    {GET, "/v1/sources", get_sources, NULL},
    {POST, "/v1/sources", post_sources, NULL},
    {DELETE, "/v1/sources/{}", delete_source, NULL},
    {GET, "/v1/sources/{}/file", get_source_file, NULL},
    {GET, "/v1/sources/{}/skipped", get_source_skipped, NULL},
    {GET, "/v1/streams/{}/events", get_stream_events, NULL},
    {POST, "/v1/streams/{}/stop", post_stream_stop, NULL},
    {WEBSOCKET, "/ws/chat", ws_chat, NULL},
    {WEBSOCKET, "/v1/streams/{}/events", ws_stream_events, NULL},
    {WEBSOCKET, "/v1/echo", ws_echo, echo_enabled},
};

const struct route *routes_all(size_t *ret_count)
{
    *ret_count = ARRAY_LEN(routes);
    return routes;
}

struct engine_caller caller_of(const struct exchange *x)
{
    return (struct engine_caller){STORE_TENANT_DEFAULT, exchange_peer(x)->is_trusted};
}

static bool path_matches(const char *pattern, struct span path, struct span *ret_arg)
{
    *ret_arg = SPAN_NULL;
    const char *hole = strstr(pattern, "{}");
    if (!hole)
        return span_is(path, pattern);
    struct span before = span_of(pattern, (size_t)(hole - pattern)), after = span_str(hole + 2);
    if (path.len <= before.len + after.len || !span_starts(path, before) || !span_ends(path, after))
        return false;
    *ret_arg = span_of(path.ptr + before.len, path.len - before.len - after.len);
    return span_find_char(*ret_arg, '/') < 0;
}

static void reply_method_not_allowed(struct exchange *x, struct span path, unsigned allowed)
{
    char allow[64] = "";
    size_t n = 0;
    for (unsigned m = 0; m < HTTP_OTHER_; m++)
        if (allowed & HTTP_BIT(m))
            n += (size_t)snprintf(allow + n, sizeof allow - n, "%s%s", n ? ", " : "",
                                  http_method_name((enum http_method)m));
    exchange_header(x, "Allow", span_str(allow));
    reply_no_route(x, path, 405);
}

/* 307 to the path without its trailing slash, when that one exists. */
static bool redirect_slash(struct exchange *x, const struct http_request *r)
{
    if (r->path.len < 2 || r->path.ptr[r->path.len - 1] != '/')
        return false;
    struct span path = span_first(r->path, r->path.len - 1), arg;
    for (size_t i = 0; i < ARRAY_LEN(routes); i++) {
        if (!routes[i].methods || !path_matches(routes[i].path, path, &arg))
            continue;
        struct buf to = BUF_INIT(16384);
        ptrdiff_t mark = span_find_char(r->target, '?');
        struct span raw = mark < 0 ? r->target : span_first(r->target, (size_t)mark);
        if (!span_starts(raw, SPAN_LIT("/")))
            return false; /* absolute-form: the host in it is the client's word */
        while (raw.len > 1 && raw.ptr[raw.len - 1] == '/')
            raw.len--;
        /* "//host" would leave this server */
        while (raw.len > 1 && raw.ptr[0] == '/' && raw.ptr[1] == '/')
            raw = span_skip(raw, 1);
        buf_put_span(&to, raw);
        if (r->query.len) {
            buf_putc(&to, '?');
            buf_put_span(&to, r->query);
        }
        exchange_header(x, "Location", buf_span(&to));
        buf_done(&to);
        exchange_reply(x, 307, "text/plain; charset=utf-8", SPAN_NULL);
        return true;
    }
    return false;
}

static void name_request(struct route_call *call)
{
    uint64_t n = atomic_fetch_add(&call->api->requests, 1) + 1;
    snprintf(call->request_id, sizeof call->request_id, "%s-%llu", call->api->instance,
             (unsigned long long)n);
    exchange_header(call->x, "X-Request-Id", span_str(call->request_id));
    LOG_DEBUG("api", "request", LOG_S("request", call->request_id),
              LOG_S("method", http_method_name(call->request->method)),
              LOG_SPAN("path", call->request->path),
              LOG_S("peer", exchange_peer(call->x)->address));
}

static void on_request(void *ctx, struct exchange *x)
{
    struct route_call call = {.api = ctx, .x = x, .request = exchange_request(x)};
    const struct http_request *r = call.request;
    unsigned others = 0;
    name_request(&call);
    for (size_t i = 0; i < ARRAY_LEN(routes); i++) {
        const struct route *route = &routes[i];
        if (!path_matches(route->path, r->path, &call.arg) ||
            (route->enabled && !route->enabled(call.api)))
            continue;
        if (r->wants_websocket ? route->methods == WEBSOCKET
                               : (route->methods & HTTP_BIT(r->method)) != 0) {
            route->handle(&call);
            return;
        }
        others |= route->methods;
    }
    if (r->wants_websocket)
        exchange_reply(x, 403, "text/plain", SPAN_NULL);
    else if (others)
        reply_method_not_allowed(x, r->path, others);
    else if (!redirect_slash(x, r))
        reply_no_route(x, r->path, 404);
}

void api_callbacks(struct api *a, struct server_callbacks *ret)
{
    *ret = (struct server_callbacks){.request = on_request, .ctx = a};
}

struct api *api_new(const struct api_options *options)
{
    struct api *a = mem_alloc(sizeof *a);
    a->options = *options;
    random_id(a->instance, sizeof a->instance - 1);
    return a;
}

void api_free(struct api *a)
{
    mem_free(a);
}

void api_set_draining(struct api *a)
{
    atomic_store(&a->draining, true);
}
