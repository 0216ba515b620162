/* Our own protocol under /v1 (docs/protocol/native.md): sources, search, answers, and the events of any stream. */
#include "api/api_priv.h"
#include "api/deliver.h"
#include "api/parse.h"
#include "api/task.h"
#include "base/limits.h"
#include "base/mem.h"

#include <stdio.h>

#define SEARCH_K_DEFAULT 10
#define SEARCH_K_MAX 100
#define SKIPPED_PAGE_MAX 1000

/* ---- answers ---- */

/* A request whose body is being read. */
struct answer_asked {
    struct api *api;
    struct exchange *x; /* NULL once the peer has left */
    bool wants_sse;
};

static void begin_answer(const struct answer_asked *c, struct chat_fields *f)
{
    struct err err = {0};
    struct stream *s;
    struct engine_caller who = caller_of(c->x);
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
        .keep = f->root,
    };
    q.filters.include = json_object_get(f->root, "include");
    q.filters.exclude = json_object_get(f->root, "exclude");
    if (!f->turn_count || !span_is(f->turns[f->turn_count - 1].role, "user")) {
        reply_problem_text(c->x, ERR_INVALID, "the last message must be the user's", NULL);
    } else if (engine_answer(c->api->options.engine, &who, &q, &s, &err) < 0) {
        reply_problem(c->x, &err);
    } else {
        f->root = NULL;
        if (c->wants_sse) {
            deliver_http(c->x, s, DIALECT_NATIVE, 0);
        } else {
            reply_stream_accepted(c->x, s);
            stream_unref(s);
        }
    }
}

static void on_parsed(void *ctx, struct parsed *p)
{
    struct answer_asked *c = ctx;
    if (c->x)
        exchange_on_abort(c->x, NULL, NULL);
    if (!c->x) {
        /* the peer has left before its request was read: nothing was begun */
    } else if (p->result == -ERR_INVALID) {
        reply_problem_text(c->x, ERR_INVALID, buf_str(&p->problem), NULL);
    } else if (p->result == -ERR_TOO_LARGE || p->result == -ERR_NO_MEMORY) {
        reply_problem_text(c->x, (enum err_code)(-p->result),
                           p->result == -ERR_TOO_LARGE ? "too many messages" : "out of memory",
                           NULL);
    } else if (p->result < 0) {
        reply_problem_text(c->x, ERR_UNAVAILABLE, "the server has too much to do",
                           "try again in a few seconds");
    } else if (p->fields.is_resume) {
        reply_problem_text(c->x, ERR_INVALID, "messages is missing",
                           "to resume, GET /v1/streams/{id}/events");
    } else {
        begin_answer(c, &p->fields);
    }
    mem_free(c);
}

static void on_asked_abort(void *ctx)
{
    ((struct answer_asked *)ctx)->x = NULL;
}

void post_answers(const struct route_call *c)
{
    struct answer_asked *asked = mem_alloc(sizeof *asked);
    asked->api = c->api;
    asked->x = c->x;
    asked->wants_sse = wants_event_stream(c->request);
    exchange_on_abort(c->x, on_asked_abort, asked);
    chat_parse(c->api, exchange_loop(c->x), c->request->body, true, PARSE_PROBLEM, on_parsed,
               asked);
}

/* ---- streams ---- */

struct find {
    struct exchange *x; /* NULL once gone (HTTP) or upgraded */
    struct ws *ws;      /* NULL once closed */
    bool is_searching;
    uint64_t after;
    char id[STORE_ID_MAX];
    struct engine_caller who;
    struct api *api;
};

static void find_free_if_done(struct find *f)
{
    if (!f->is_searching && !f->ws)
        mem_free(f);
}

static void on_abort(void *ctx)
{
    ((struct find *)ctx)->x = NULL;
}

static void on_found(void *ctx, struct stream *s, int result)
{
    struct find *f = ctx;
    f->is_searching = false;
    if (f->x) {
        exchange_on_abort(f->x, NULL, NULL);
        if (s)
            deliver_http(f->x, s, DIALECT_NATIVE, f->after);
        else if (result == -ERR_NOT_FOUND)
            reply_problem_text(f->x, ERR_NOT_FOUND, "no such stream",
                               "streams are kept for a limited time");
        else
            reply_problem_text(f->x, (enum err_code)(-result), "the stream could not be read",
                               NULL);
    } else if (f->ws && s) {
        deliver_ws(f->ws, s, DIALECT_NATIVE, f->after);
    } else if (f->ws) {
        ws_close(f->ws, 1008, "no such stream");
    } else {
        stream_unref(s);
    }
    find_free_if_done(f);
}

/* Last-Event-ID, or ?after=; false when it is not a number. */
static bool read_after(const struct http_request *r, uint64_t *ret)
{
    struct span header = http_header_get(r, "Last-Event-ID");
    struct buf query = BUF_INIT(64);
    bool ok = true;
    *ret = 0;
    if (http_query_get(r->query, "after", &query))
        ok = parse_u64(buf_span(&query), ret);
    else if (header.len)
        ok = parse_u64(span_trim(header), ret);
    buf_done(&query);
    return ok;
}

static struct find *find_new(const struct route_call *c)
{
    struct find *f = mem_alloc(sizeof *f);
    f->api = c->api;
    f->who = caller_of(c->x);
    snprintf(f->id, sizeof f->id, SPAN_FMT, SPAN_ARG(span_first(c->arg, sizeof f->id - 1)));
    if (!read_after(c->request, &f->after)) {
        mem_free(f);
        reply_problem_text(c->x, ERR_INVALID, "'after' must be the number of an event",
                           "send the id of the last event you have seen");
        return NULL;
    }
    f->is_searching = true;
    return f;
}

void get_stream_events(const struct route_call *c)
{
    struct find *f = find_new(c);
    if (!f)
        return;
    f->x = c->x;
    exchange_on_abort(c->x, on_abort, f);
    hub_find(engine_hub(c->api->options.engine), exchange_loop(c->x), f->who.tenant, f->id,
             on_found, f);
}

static void on_ws_message(void *ctx, struct ws *ws, bool is_text, struct span payload)
{
    (void)ws;
    (void)is_text;
    struct find *f = ctx;
    json_t *m = json_read(payload, NULL, NULL);
    if (strcmp(json_str(m, "type", ""), "stop") == 0)
        IGNORE(engine_stop(f->api->options.engine, f->who.tenant,
                           f->id)); /* not running = nothing to stop */
    json_decref(m);
}

static void on_ws_closed(void *ctx, struct ws *ws, int code)
{
    (void)ws;
    (void)code;
    struct find *f = ctx;
    f->ws = NULL;
    find_free_if_done(f);
}

void ws_stream_events(const struct route_call *c)
{
    static const struct ws_callbacks callbacks = {on_ws_message, on_ws_closed};
    struct find *f = find_new(c);
    if (!f)
        return;
    struct loop *loop = exchange_loop(c->x);
    bool offered = http_header_has(c->request, "Sec-WebSocket-Protocol", "headwater.v1");
    f->ws = exchange_upgrade(c->x, offered ? "headwater.v1" : NULL, LIMIT_WS_MESSAGE_SMALL,
                             &callbacks, f);
    if (!f->ws) {
        mem_free(f);
        return;
    }
    hub_find(engine_hub(c->api->options.engine), loop, f->who.tenant, f->id, on_found, f);
}

void post_stream_stop(const struct route_call *c)
{
    char id[STORE_ID_MAX];
    snprintf(id, sizeof id, SPAN_FMT, SPAN_ARG(span_first(c->arg, sizeof id - 1)));
    struct engine_caller who = caller_of(c->x);
    if (engine_stop(c->api->options.engine, who.tenant, id) < 0)
        reply_problem_text(c->x, ERR_NOT_FOUND, "nothing runs under this id",
                           "it may have ended already");
    else
        exchange_reply(c->x, 200, "application/json", SPAN_LIT("{\"stopping\":true}"));
}

/* ---- sources ---- */

static int call_sources(struct task *t)
{
    return engine_sources_json(t->api->options.engine, &t->who, &t->out, &t->err);
}

void get_sources(const struct route_call *c)
{
    task_start(c, false, call_sources);
}

static struct span body_text(const struct task *t, const char *key)
{
    return json_span(json_object_get(t->body, key));
}

static struct engine_filters body_filters(const struct task *t)
{
    return (struct engine_filters){.include = json_object_get(t->body, "include"),
                                   .exclude = json_object_get(t->body, "exclude")};
}

static struct source_access body_access(const struct task *t)
{
    return (struct source_access){body_text(t, "type"), body_text(t, "branch"),
                                  body_text(t, "token")};
}

static int call_index(struct task *t)
{
    struct index_request q = {
        .source = body_text(t, "source"),
        .access = body_access(t),
        .name = body_text(t, "name"),
        .force = json_flag(t->body, "force", false),
        .filters = body_filters(t),
    };
    if (!q.source.len)
        return err_set(&t->err, ERR_INVALID, "source is missing");
    return engine_index(t->api->options.engine, &t->who, &q, &t->stream, &t->err);
}

void post_sources(const struct route_call *c)
{
    task_start(c, true, call_index);
}

static int call_delete(struct task *t)
{
    int r = engine_source_delete(t->api->options.engine, &t->who, t->arg, &t->err);
    if (r == 0)
        buf_puts(&t->out, "{\"deleted\":true}");
    return r;
}

void delete_source(const struct route_call *c)
{
    task_start(c, false, call_delete);
}

static uint64_t query_number(const struct task *t, const char *name, uint64_t fallback)
{
    struct buf b = BUF_INIT(32);
    uint64_t v;
    if (!http_query_get(buf_span(&t->query), name, &b) || !parse_u64(buf_span(&b), &v))
        v = fallback;
    buf_done(&b);
    return v;
}

static int call_skipped(struct task *t)
{
    uint64_t limit = query_number(t, "limit", SKIPPED_PAGE_MAX);
    return engine_skipped_json(
        t->api->options.engine, &t->who, t->arg, query_number(t, "offset", 0),
        limit > SKIPPED_PAGE_MAX ? SKIPPED_PAGE_MAX : limit, &t->out, &t->err);
}

void get_source_skipped(const struct route_call *c)
{
    task_start(c, false, call_skipped);
}

static uint32_t query_line(const struct task *t, const char *name, uint32_t fallback)
{
    uint64_t v = query_number(t, name, fallback);
    return v > UINT32_MAX ? UINT32_MAX : (uint32_t)v;
}

static int call_file(struct task *t)
{
    struct buf path = BUF_INIT(4096);
    int r;
    if (!http_query_get(buf_span(&t->query), "path", &path) || buf_failed(&path))
        r = err_set(&t->err, ERR_INVALID, "path is missing");
    else
        r = engine_file_json(t->api->options.engine, &t->who, t->arg, buf_span(&path),
                             query_line(t, "start", 1), query_line(t, "end", UINT32_MAX), &t->out,
                             &t->err);
    buf_done(&path);
    return r;
}

void get_source_file(const struct route_call *c)
{
    task_start(c, false, call_file);
}

static int call_search(struct task *t)
{
    int64_t k = json_int(t->body, "k", SEARCH_K_DEFAULT);
    struct search_request q = {
        .source = body_text(t, "source"),
        .access = body_access(t),
        .query = body_text(t, "query"),
        .k = (unsigned)k,
        .explain = json_flag(t->body, "explain", false),
        .filters = body_filters(t),
    };
    if (!q.source.len || !q.query.len)
        return err_set(&t->err, ERR_INVALID, "%s is missing", q.source.len ? "query" : "source");
    if (q.query.len > LIMIT_QUERY_BYTES)
        return err_set(&t->err, ERR_TOO_LARGE, "the query is longer than %u bytes",
                       LIMIT_QUERY_BYTES);
    if (k < 1 || k > SEARCH_K_MAX)
        return err_set(&t->err, ERR_INVALID, "k must be 1 to %d", SEARCH_K_MAX);
    return engine_search_json(t->api->options.engine, &t->who, &q, &t->wait, &t->out, &t->err);
}

void post_search(const struct route_call *c)
{
    task_start(c, true, call_search);
}
