/*
 * The DeepWiki chat: WS /ws/chat and POST /chat/completions/stream (deepwiki.md §2, §10), with what goes beyond it:
 * X-Stream-Id, resuming by stream_id/after, and the subprotocol headwater.v1 (docs/protocol/native.md).
 *
 * One request per connection. A client that leaves stops nothing; the answer is kept in its stream.
 */
#include "api/api_priv.h"
#include "api/deliver.h"
#include "api/parse.h"
#include "base/bug.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"

#include <stdio.h>

#define SUBPROTOCOL "headwater.v1"
#define ERROR_TEXT_MAX 8192
#define CHAT_ID_MAX \
    31 /* with NUL; stream_new_id's have 26 characters, and no stream has a longer one */
/* HTTP only: how long the status line waits for the first word of an answer before it says 200. */
#define HEAD_WAIT_MS 5000

/* Refusals before any work, in the order of deepwiki.md §2.2 but before indexing (the seeds index first). */
static const char *refusal(const struct chat_fields *f)
{
    if (!f->turn_count)
        return "No messages provided";
    if (!span_is(f->turns[f->turn_count - 1].role, "user"))
        return "Last message must be from the user";
    return NULL;
}

/* Starts the answer. The root's reference moves to the engine when that succeeds. */
static int start_answer(struct api *a, const struct engine_caller *who, struct chat_fields *f,
                        const char *stream_id, struct stream **ret, struct err *err)
{
    struct answer_request q = {
        .source = f->repo_url,
        .access = {f->type, f->branch, f->token},
        .messages = f->turns,
        .message_count = f->turn_count,
        .file_path = f->file_path,
        .provider = f->provider,
        .model = f->model,
        .language = f->language,
        .filters = f->filters,
        .stream_id = stream_id,
        .keep = f->root,
    };
    int r = engine_answer(a->options.engine, who, &q, ret, err);
    if (r == 0)
        f->root = NULL;
    return r;
}

static const char *parse_failure(int result)
{
    return result == -ERR_TOO_LARGE   ? "Too many messages"
           : result == -ERR_NO_MEMORY ? "Out of memory"
                                      : "The server has too much to do. Try again in a few seconds";
}

/* ---- WebSocket ---- */

struct chat_ws {
    struct api *api;
    struct ws *ws; /* NULL once closed */
    struct engine_caller who;
    uint64_t after;
    /* No more than a stream's id needs: thousands of these wait at once. */
    char stream_id[CHAT_ID_MAX];
    bool is_native : 1;
    bool has_request : 1;  /* the one request has been taken */
    bool is_searching : 1; /* hub_find will call back */
    bool is_parsing : 1;   /* chat_parse will call back */
    bool is_stopped : 1;   /* by the client, before the answer began */
};

static bool set_id(struct chat_ws *c, struct span id)
{
    if (id.len >= sizeof c->stream_id)
        return false;
    memcpy(c->stream_id, id.ptr, id.len);
    c->stream_id[id.len] = 0;
    return true;
}

static void chat_ws_free_if_done(struct chat_ws *c)
{
    if (!c->ws && !c->is_searching && !c->is_parsing)
        mem_free(c);
}

/* One text frame, then close 1000: how every fault is told here. */
static void ws_fail(struct chat_ws *c, const char *code, struct span text)
{
    struct buf b = BUF_INIT(ERROR_TEXT_MAX * 2);
    if (c->is_native) {
        struct json_writer w = json_writer(&b);
        jw_obj(&w);
        jw_kstr(&w, "event", "error");
        jw_key(&w, "data");
        jw_obj(&w);
        jw_kstr(&w, "code", code);
        jw_kspan(&w, "message", text);
        jw_end_obj(&w);
        jw_end_obj(&w);
    } else {
        buf_put_span(&b, text);
    }
    if (!buf_failed(&b))
        IGNORE(ws_send(c->ws, true, buf_span(&b))); /* the close says it too */
    buf_done(&b);
    ws_close(c->ws, 1000, "");
}

static void ws_fail_text(struct chat_ws *c, const char *code, const char *prefix, const char *text,
                         const char *hint)
{
    struct buf b = BUF_INIT(ERROR_TEXT_MAX);
    buf_printf(&b, "%s%s", c->is_native ? "" : prefix, text);
    if (hint && hint[0])
        buf_printf(&b, ". %s", hint);
    ws_fail(c, code, buf_span(&b));
    buf_done(&b);
}

static void on_found(void *ctx, struct stream *s, int result)
{
    struct chat_ws *c = ctx;
    c->is_searching = false;
    if (!c->ws)
        stream_unref(s);
    else if (s)
        deliver_ws(c->ws, s, c->is_native ? DIALECT_NATIVE : DIALECT_TEXT, c->after);
    else
        ws_fail_text(c, err_name(result), "Error: ",
                     result == -ERR_NOT_FOUND ? "No such stream" : "The stream could not be read",
                     NULL);
    chat_ws_free_if_done(c);
}

static void ws_resume(struct chat_ws *c, const struct chat_fields *f)
{
    if (!set_id(c, f->stream_id)) {
        ws_fail_text(c, err_name(-ERR_NOT_FOUND), "Error: ", "No such stream", NULL);
        return;
    }
    c->after = f->after;
    c->is_searching = true;
    hub_find(engine_hub(c->api->options.engine), ws_loop(c->ws), c->who.tenant, c->stream_id,
             on_found, c);
}

static void ws_ask(struct chat_ws *c, struct chat_fields *f)
{
    struct err err = {0};
    struct stream *s;
    const char *no = refusal(f);
    if (no) {
        ws_fail_text(c, "invalid_request", "Error: ", no, NULL);
        return;
    }
    if (start_answer(c->api, &c->who, f, c->stream_id, &s, &err) < 0) {
        ws_fail_text(c, err_name(err.code), "Error preparing retriever: ", err.msg, err.hint);
        return;
    }
    LOG_INFO("api", "answer begins", LOG_S("stream", c->stream_id), LOG_S("transport", "ws"));
    if (c->is_stopped)
        IGNORE(engine_stop(c->api->options.engine, c->who.tenant, c->stream_id)); /* or it ended */
    deliver_ws(c->ws, s, c->is_native ? DIALECT_NATIVE : DIALECT_TEXT, 0);
}

static void on_ws_parsed(void *ctx, struct parsed *p)
{
    struct chat_ws *c = ctx;
    c->is_parsing = false;
    if (!c->ws) {
        chat_ws_free_if_done(c);
    } else if (p->result == -ERR_INVALID) {
        struct buf b = BUF_INIT(ERROR_TEXT_MAX);
        buf_puts(&b, c->is_native ? "" : "Error: ");
        buf_put_span(&b, buf_span(&p->problem));
        ws_fail(c, "invalid_request", buf_span(&b));
        buf_done(&b);
    } else if (p->result < 0) {
        ws_fail_text(c, err_name(p->result), "Error: ", parse_failure(p->result), NULL);
    } else if (p->fields.is_resume) {
        ws_resume(c, &p->fields);
    } else {
        ws_ask(c, &p->fields);
    }
}

static void ws_first_message(struct chat_ws *c, struct span payload)
{
    c->is_parsing = true;
    chat_parse(c->api, ws_loop(c->ws), payload, true, PARSE_WS, on_ws_parsed, c);
}

/* After the request only {"type":"stop"} means anything, and only to native clients; the seeds read no second frame. */
static void ws_later_message(struct chat_ws *c, struct span payload)
{
    if (!c->is_native || payload.len > LIMIT_JSON_ON_LOOP)
        return;
    json_t *m = json_read(payload, NULL, NULL);
    bool is_stop = strcmp(json_str(m, "type", ""), "stop") == 0;
    c->is_stopped = c->is_stopped || is_stop;
    if (is_stop && !c->is_parsing)
        IGNORE(engine_stop(c->api->options.engine, c->who.tenant,
                           c->stream_id)); /* not running = nothing to stop */
    json_decref(m);
}

static void on_ws_message(void *ctx, struct ws *ws, bool is_text, struct span payload)
{
    (void)ws;
    struct chat_ws *c = ctx;
    if (c->has_request) {
        ws_later_message(c, payload);
        return;
    }
    c->has_request = true;
    if (is_text)
        ws_first_message(c, payload);
    else
        ws_fail_text(c, "invalid_request", "Error: ", "'text'", NULL);
}

static void on_ws_closed(void *ctx, struct ws *ws, int code)
{
    (void)ws;
    (void)code;
    struct chat_ws *c = ctx;
    c->ws = NULL;
    chat_ws_free_if_done(c);
}

void ws_chat(const struct route_call *call)
{
    static const struct ws_callbacks callbacks = {on_ws_message, on_ws_closed};
    struct chat_ws *c = mem_alloc(sizeof *c);
    c->api = call->api;
    c->who = caller_of(call->x);
    c->is_native = http_header_has(call->request, "Sec-WebSocket-Protocol", SUBPROTOCOL);
    char id[STORE_ID_MAX];
    stream_new_id(id);
    BUG_ON(!set_id(c, span_str(id)));
    exchange_header(call->x, "X-Stream-Id", span_str(id));
    LOG_DEBUG("api", "socket opens", LOG_S("request", call->request_id), LOG_S("stream", id));
    c->ws = exchange_upgrade(call->x, c->is_native ? SUBPROTOCOL : NULL, LIMIT_WS_MESSAGE,
                             &callbacks, c);
    if (!c->ws)
        mem_free(c);
}

/* ---- HTTP ---- */

struct chat_http {
    struct exchange *x;
    struct stream *stream; /* ref */
    struct deliver_gate *gate;
};

static void on_http_abort(void *ctx)
{
    struct chat_http *h = ctx;
    deliver_gate_cancel(h->gate);
    stream_unref(h->stream);
    mem_free(h);
}

/* An error before the first word becomes a status; anything later is told in the text (deepwiki.md §2.2, §8). */
static void on_http_decided(void *ctx, struct span error)
{
    struct chat_http *h = ctx;
    exchange_on_abort(h->x, NULL, NULL);
    if (error.len) {
        struct buf text = BUF_INIT(ERROR_TEXT_MAX);
        deliver_error_text(error, &text);
        exchange_header(h->x, "X-Stream-Id", span_str(stream_id(h->stream)));
        struct span shown = span_trim(buf_span(&text));
        char *detail = mem_try_strndup(shown.ptr, shown.len);
        reply_detail(h->x, 500, detail ? detail : "Internal Server Error");
        mem_free(detail);
        buf_done(&text);
        stream_unref(h->stream);
    } else {
        deliver_http(h->x, h->stream, DIALECT_TEXT, 0);
    }
    mem_free(h);
}

/* A request whose body is being read. */
struct http_asked {
    struct api *api;
    struct exchange *x; /* NULL once the peer has left */
    char request_id[32];
};

static void http_ask(const struct http_asked *call, struct chat_fields *f)
{
    const char *no = refusal(f);
    if (no) {
        reply_detail(call->x, 400, no);
        return;
    }
    struct err err = {0};
    struct stream *s;
    char id[STORE_ID_MAX];
    stream_new_id(id);
    struct engine_caller who = caller_of(call->x);
    if (start_answer(call->api, &who, f, id, &s, &err) < 0) {
        char detail[1024];
        snprintf(detail, sizeof detail, "Error preparing retriever: %s%s%s", err.msg,
                 err.hint[0] ? ". " : "", err.hint);
        bool overload = err.code == ERR_LIMIT || err.code == ERR_UNAVAILABLE;
        if (overload)
            exchange_header(call->x, "Retry-After", SPAN_LIT("5"));
        reply_detail(call->x, overload ? 503 : 500, detail);
        return;
    }
    LOG_INFO("api", "answer begins", LOG_S("stream", id), LOG_S("request", call->request_id),
             LOG_S("transport", "http"));
    struct chat_http *h = mem_alloc(sizeof *h);
    h->x = call->x;
    h->stream = s;
    exchange_on_abort(call->x, on_http_abort, h);
    h->gate = deliver_gate_new(exchange_loop(call->x), s, HEAD_WAIT_MS, on_http_decided, h);
}

struct http_find {
    struct exchange *x;
    uint64_t after;
};

static void on_find_abort(void *ctx)
{
    ((struct http_find *)ctx)->x = NULL;
}

static void on_http_found(void *ctx, struct stream *s, int result)
{
    struct http_find *h = ctx;
    if (!h->x) {
        stream_unref(s);
    } else {
        exchange_on_abort(h->x, NULL, NULL);
        if (s)
            deliver_http(h->x, s, DIALECT_TEXT, h->after);
        else
            reply_detail(h->x, err_http_status(result),
                         result == -ERR_NOT_FOUND ? "No such stream"
                                                  : "The stream could not be read");
    }
    mem_free(h);
}

static void http_resume(const struct http_asked *call, const struct chat_fields *f)
{
    struct http_find *h = mem_alloc(sizeof *h);
    h->x = call->x;
    h->after = f->after;
    char id[STORE_ID_MAX];
    snprintf(id, sizeof id, SPAN_FMT, SPAN_ARG(span_first(f->stream_id, sizeof id - 1)));
    struct engine_caller who = caller_of(call->x);
    exchange_on_abort(call->x, on_find_abort, h);
    hub_find(engine_hub(call->api->options.engine), exchange_loop(call->x), who.tenant, id,
             on_http_found, h);
}

/* application/json, application/…+json or nothing: parsed; anything else is text to the original (§1.0). */
static bool is_json_type(const struct http_request *r)
{
    struct span type = http_header_get(r, "Content-Type");
    ptrdiff_t semi = span_find_char(type, ';');
    type = span_trim(semi < 0 ? type : span_first(type, (size_t)semi));
    return !type.len || span_eq_nocase(type, SPAN_LIT("application/json")) ||
           (span_starts(type, SPAN_LIT("application/")) && span_ends(type, SPAN_LIT("+json")));
}

static void on_http_parsed(void *ctx, struct parsed *p)
{
    struct http_asked *call = ctx;
    struct exchange *x = call->x;
    if (x)
        exchange_on_abort(x, NULL, NULL);
    if (!x) {
        /* the peer has left before its request was read: nothing was begun */
    } else if (p->result == -ERR_INVALID) {
        reply_json(x, 422, &p->problem);
    } else if (p->result < 0) {
        reply_detail(x, err_http_status(p->result), parse_failure(p->result));
    } else if (p->fields.is_resume) {
        http_resume(call, &p->fields);
    } else {
        http_ask(call, &p->fields);
    }
    mem_free(call);
}

static void on_asked_abort(void *ctx)
{
    ((struct http_asked *)ctx)->x = NULL;
}

void post_chat_stream(const struct route_call *call)
{
    struct http_asked *asked = mem_alloc(sizeof *asked);
    asked->api = call->api;
    asked->x = call->x;
    memcpy(asked->request_id, call->request_id, sizeof asked->request_id);
    exchange_on_abort(call->x, on_asked_abort, asked);
    chat_parse(call->api, exchange_loop(call->x), call->request->body, is_json_type(call->request),
               PARSE_HTTP, on_http_parsed, asked);
}

/* ---- /v1/echo: every message comes back as it was, for conformance suites ---- */

static void on_echo_message(void *ctx, struct ws *ws, bool is_text, struct span payload)
{
    (void)ctx;
    if (ws_send(ws, is_text, payload) < 0)
        ws_close(ws, 1013, "reading too slowly");
}

static void on_echo_closed(void *ctx, struct ws *ws, int code)
{
    (void)ctx;
    (void)ws;
    (void)code;
}

void ws_echo(const struct route_call *call)
{
    static const struct ws_callbacks callbacks = {on_echo_message, on_echo_closed};
    (void)exchange_upgrade(call->x, NULL, LIMIT_WS_MESSAGE, &callbacks, NULL);
}
