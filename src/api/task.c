#include "api/task.h"

#include "api/deliver.h"
#include "base/limits.h"
#include "base/mem.h"

#define TASK_OUT_MAX (8u << 20)

static void task_free(struct task *t)
{
    json_decref(t->body);
    mem_free(t->arg_copy);
    buf_done(&t->raw);
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

static int read_body(struct task *t)
{
    t->body = json_read(buf_span(&t->raw), &t->err, NULL);
    buf_done(&t->raw);
    if (json_is_object(t->body))
        return 0;
    if (t->body)
        return err_set(&t->err, ERR_INVALID, "the body must be a JSON object");
    err_prefix(&t->err, "the body is not JSON");
    return -(int)t->err.code;
}

static void on_run(struct work *w)
{
    struct task *t = container_of(w, struct task, work);
    struct engine *e = t->api->options.engine;
    int r = t->has_body && !t->body ? read_body(t) : 0;
    if (r == 0)
        r = t->call(t);
    if (r == ENGINE_WAITS)
        return;                     /* t is not ours any more: another worker may have it already */
    json_decref(take_ptr(t->body)); /* here: it may take as long as reading it */
    t->result = r;
    if (r < 0 && !t->err.msg[0])
        err_set(&t->err, (enum err_code)(-r), "the request could not be carried out (%s)",
                err_name(r));
    loop_post(t->loop, &t->ended);
    engine_leave(e);
}

static void on_ended(struct loop_msg *msg)
{
    struct task *t = container_of(msg, struct task, ended);
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

/* A task that waits for an index job ends with its peer; one that runs is on its way to on_ended. */
static void on_abort(void *ctx)
{
    struct task *t = ctx;
    struct engine *e = t->api->options.engine;
    t->x = NULL;
    if (engine_wait_cancel(e, &t->wait)) {
        task_free(t);
        engine_leave(e);
    }
}

static int copy_parameters(struct task *t, const struct route_call *c, struct err *err)
{
    buf_init(&t->out, TASK_OUT_MAX);
    buf_init(&t->query, c->request->query.len + 1);
    buf_put_span(&t->query, c->request->query);
    buf_init(&t->raw, LIMIT_TASK_BODY);
    if (t->has_body && c->request->body.len > LIMIT_TASK_BODY)
        return err_set(err, ERR_TOO_LARGE, "the body is longer than %u bytes", LIMIT_TASK_BODY);
    if (t->has_body)
        buf_put_span(&t->raw, c->request->body);
    t->arg_copy = mem_try_strndup(c->arg.ptr, c->arg.len);
    t->arg = span_of(t->arg_copy, c->arg.len);
    return t->arg_copy && !buf_failed(&t->query) && !buf_failed(&t->raw)
               ? 0
               : err_set(err, ERR_NO_MEMORY, "out of memory");
}

void task_start(const struct route_call *c, bool has_body, int (*call)(struct task *t))
{
    struct engine *e = c->api->options.engine;
    struct err err = {0};
    struct task *t = mem_alloc(sizeof *t);
    t->work.run = on_run;
    t->ended.deliver = on_ended;
    t->loop = exchange_loop(c->x);
    t->wait.then = &t->work;
    t->api = c->api;
    t->x = c->x;
    t->who = caller_of(c->x);
    t->has_body = has_body;
    t->call = call;
    t->wants_sse = wants_event_stream(c->request);
    int r = copy_parameters(t, c, &err);
    if (r == 0)
        r = engine_enter(e, &err);
    if (r == 0 && worker_submit(engine_workers(e), WORKER_FAST, &t->work) < 0) {
        engine_leave(e);
        r = err_set(&err, ERR_UNAVAILABLE, "the server has too much to do");
        err_hint(&err, "try again in a few seconds");
    }
    if (r < 0) {
        reply_problem(c->x, &err);
        task_free(t);
        return;
    }
    exchange_on_abort(c->x, on_abort, t);
}
