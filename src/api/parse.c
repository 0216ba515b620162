#include "api/parse.h"

#include "base/limits.h"
#include "base/mem.h"

struct parse {
    struct work work;
    struct loop_msg ended;
    struct loop *loop;
    struct engine *engine;
    char *copy; /* owned; NULL when read in place */
    struct span bytes;
    bool is_json;
    enum parse_style style;
    struct parsed out;
    void (*then)(void *ctx, struct parsed *p);
    void *ctx;
};

static int put_invalid(struct parse *p, const char *prefix, const char *why)
{
    buf_printf(&p->out.problem, "%s%s", prefix, why);
    return -ERR_INVALID;
}

static int put_syntax(struct parse *p, const struct err *err, size_t offset)
{
    if (p->style == PARSE_HTTP) {
        chat_syntax_json(err->msg, offset, &p->out.problem);
        return -ERR_INVALID;
    }
    return put_invalid(p, p->style == PARSE_PROBLEM ? "the body is not JSON: " : "", err->msg);
}

static void put_issues(struct parse *p)
{
    const struct chat_fields *f = &p->out.fields;
    if (p->style == PARSE_WS)
        chat_issues_text(f, &p->out.problem);
    else if (p->style == PARSE_HTTP)
        chat_issues_json(f, &p->out.problem);
    else
        buf_printf(&p->out.problem, "the request is not valid: %s: %s",
                   f->issues[0].loc[0] ? f->issues[0].loc : "body", f->issues[0].msg);
}

static int read_fields(struct parse *p)
{
    struct err err = {0};
    size_t offset = 0;
    struct span b = p->bytes;
    json_t *root =
        p->is_json ? json_read(b, &err, &offset) : json_stringn_nocheck(b.ptr ? b.ptr : "", b.len);
    if (!root && (b.len || p->style != PARSE_HTTP))
        return put_syntax(p, &err, offset);
    if (p->style != PARSE_HTTP && !json_is_object(root)) {
        json_decref(root);
        return put_invalid(p, "",
                           p->style == PARSE_WS ? "the request must be a JSON object (argument "
                                                  "after ** must be a mapping)"
                                                : "the body must be a JSON object");
    }
    int r = chat_decode(root, &p->out.fields);
    if (r == -ERR_INVALID)
        put_issues(p);
    if (r < 0)
        chat_fields_done(&p->out.fields);
    else
        chat_fields_trim(&p->out.fields);
    return r;
}

static void on_run(struct work *w)
{
    struct parse *p = container_of(w, struct parse, work);
    struct engine *e = p->engine;
    p->out.result = read_fields(p);
    mem_free(take_ptr(p->copy));
    loop_post(p->loop, &p->ended); /* from here on p is the loop's */
    engine_leave(e);
}

static void finish(struct parse *p)
{
    p->then(p->ctx, &p->out);
    if (p->out.result == 0)
        chat_fields_done(&p->out.fields);
    buf_done(&p->out.problem);
}

static void on_ended(struct loop_msg *m)
{
    struct parse *p = container_of(m, struct parse, ended);
    finish(p);
    mem_free(p);
}

static int submit(struct parse *p)
{
    p->copy = mem_try_strndup(p->bytes.ptr, p->bytes.len);
    if (!p->copy)
        return -ERR_NO_MEMORY;
    p->bytes = span_of(p->copy, p->bytes.len);
    int r = engine_enter(p->engine, NULL);
    if (r < 0)
        return r;
    r = worker_submit(engine_workers(p->engine), WORKER_FAST, &p->work);
    if (r < 0)
        engine_leave(p->engine);
    return r;
}

void chat_parse(struct api *a, struct loop *loop, struct span bytes, bool is_json,
                enum parse_style style, void (*then)(void *ctx, struct parsed *p), void *ctx)
{
    struct parse here = {
        .work.run = on_run,
        .ended.deliver = on_ended,
        .loop = loop,
        .engine = a->options.engine,
        .bytes = bytes,
        .is_json = is_json,
        .style = style,
        .out.problem = BUF_INIT(LIMIT_HTTP_BODY),
        .then = then,
        .ctx = ctx,
    };
    if (bytes.len <= LIMIT_JSON_ON_LOOP) {
        here.out.result = read_fields(&here);
        finish(&here);
        return;
    }
    struct parse *p = mem_alloc(sizeof *p);
    *p = here;
    int r = submit(p);
    if (r == 0)
        return;
    mem_free(p->copy);
    p->out.result = r;
    finish(p);
    mem_free(p);
}
