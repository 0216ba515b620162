#include "api/task.h"

#include "api/deliver.h"
#include "base/mem.h"

#define TASK_OUT_MAX (8u << 20)

static void task_free(struct task *t)
{
    json_decref(t->body);
    mem_free(t->arg_copy);
    buf_done(&t->query);
    buf_done(&t->out);
    stream_unref(t->stream);
    mem_free(t);
}

bool wants_event_stream(const struct http_request *r)
{
    return span_find_nocase(http_header_get(r, "Accept"), SPAN_LIT("text/event-stream")) >= 0;
}

void reply_stream_accepted(struct exchange *x, const struct stream *s)
{
    struct buf b = BUF_INIT(1024);
    struct json_writer w = json_writer(&b);
    jw_obj(&w);
    jw_kstr(&w, "stream_id", stream_id(s));
    jw_key(&w, "events_url");
    struct buf url = BUF_INIT(256);
    buf_printf(&url, "/v1/streams/%s/events", stream_id(s));
    jw_span(&w, buf_span(&url));
    buf_done(&url);
    jw_end_obj(&w);
    exchange_header(x, "X-Stream-Id", span_str(stream_id(s)));
    reply_json(x, 202, &b);
}

static void on_run(struct work *w)
{
    struct task *t = container_of(w, struct task, work);
    t->result = t->call(t);
}

static void on_done(struct work *w)
{
    struct task *t = container_of(w, struct task, work);
    struct exchange *x = t->x;
    if (x) {
        exchange_on_abort(x, NULL, NULL);
        if (t->result < 0)
            reply_problem(x, &t->err);
        else if (t->stream && t->wants_sse)
            deliver_http(x, take_ptr(t->stream), DIALECT_NATIVE, 0);
        else if (t->stream)
            reply_stream_accepted(x, t->stream);
        else
            reply_json(x, 200, &t->out);
    }
    task_free(t);
}

static void on_abort(void *ctx)
{
    struct task *t = ctx;
    t->x = NULL;
}

void task_start(const struct route_call *c, json_t *body, int (*call)(struct task *t))
{
    struct task *t = mem_alloc(sizeof *t);
    t->work = (struct work){.run = on_run, .done = on_done, .origin = exchange_loop(c->x)};
    t->api = c->api;
    t->x = c->x;
    t->who = caller_of(c->x);
    t->body = body;
    t->call = call;
    t->wants_sse = wants_event_stream(c->request);
    buf_init(&t->out, TASK_OUT_MAX);
    buf_init(&t->query, c->request->query.len + 1);
    buf_put_span(&t->query, c->request->query);
    t->arg_copy = mem_try_strndup(c->arg.ptr, c->arg.len);
    t->arg = span_of(t->arg_copy, t->arg_copy ? c->arg.len : 0);
    if (worker_submit(engine_workers(c->api->options.engine), WORKER_FAST, &t->work) < 0) {
        reply_problem_text(c->x, ERR_UNAVAILABLE, "the server has too much to do",
                           "try again in a few seconds");
        task_free(t);
        return;
    }
    exchange_on_abort(c->x, on_abort, t);
}

json_t *task_body(const struct route_call *c)
{
    struct err err;
    json_t *body = json_read(c->request->body, &err, NULL);
    if (json_is_object(body))
        return body;
    if (body)
        err_set(&err, ERR_INVALID, "the body must be a JSON object");
    else
        err_prefix(&err, "the body is not JSON");
    json_decref(body);
    reply_problem(c->x, &err);
    return NULL;
}
