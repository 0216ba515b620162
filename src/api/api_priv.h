#pragma once
/* What the files of api/ share. */
#include "api/api.h"
#include "base/buf.h"

struct api {
    struct api_options options;
    _Atomic bool draining;
    char instance[9]; /* of this process, in front of request ids */
    _Atomic uint64_t requests;
};

/* What a handler gets: the exchange and the piece of the path that matched {}, "" when the route has none. */
struct route_call {
    struct api *api;
    struct exchange *x;
    const struct http_request *request;
    struct span arg;
    char request_id[32]; /* also in X-Request-Id and in the log */
};
typedef void (*route_handler)(const struct route_call *call);

struct engine_caller caller_of(const struct exchange *x);

/* error.c */
/* {"detail":text} as the DeepWiki paths answer */
void reply_detail(struct exchange *x, int status, const char *text);
/* RFC 9457 problem details, for /v1 */
void reply_problem(struct exchange *x, const struct err *err);
void reply_problem_text(struct exchange *x, enum err_code code, const char *text, const char *hint);
/* 404 or 405 for a path without a handler, in the shape of the path's family */
void reply_no_route(struct exchange *x, struct span path, int status);
/* JSON from a buffer; 500 when the buffer failed. Consumes it. */
void reply_json(struct exchange *x, int status, struct buf *json);

/* handlers, by file */
void get_root(const struct route_call *c);
void get_health(const struct route_call *c);
void get_healthz(const struct route_call *c);
void get_readyz(const struct route_call *c);
void get_metrics(const struct route_call *c);
void get_auth_status(const struct route_call *c);
void get_models_config(const struct route_call *c);
void get_lang_config(const struct route_call *c);
void get_asset(const struct route_call *c);
void ws_chat(const struct route_call *c);
void post_chat_stream(const struct route_call *c);
void ws_echo(const struct route_call *c);
void post_answers(const struct route_call *c);
void get_stream_events(const struct route_call *c);
void ws_stream_events(const struct route_call *c);
void post_stream_stop(const struct route_call *c);
void get_sources(const struct route_call *c);
void post_sources(const struct route_call *c);
void get_source_skipped(const struct route_call *c);
void delete_source(const struct route_call *c);
void get_source_file(const struct route_call *c);
void post_search(const struct route_call *c);

/* routes.c: the table as data, for the index of endpoints */
struct route {
    unsigned methods; /* HTTP_BIT(…)s; 0 = WebSocket */
    const char *path; /* one {} matches one segment */
    route_handler handle;
    bool (*enabled)(const struct api *a); /* NULL = always */
};
const struct route *routes_all(size_t *ret_count);
