/* Ollama's /api/chat: one JSON object a line. */
#include "providers/wire_priv.h"

static const struct wire_word finishes[] = {
    {"stop", "stop"},
    {"length", "length"},
};

/* ---- reading ---- */

static int take_value(struct wire_reader *r, struct span name, const json_t *obj)
{
    (void)name;
    struct wire_problem p = {0};
    if (json_object_get(obj, "error")) {
        (void)wire_problem_read(obj, &p);
        return wire_put_problem(r, &p);
    }
    const json_t *message = json_object_get(obj, "message");
    int result = wire_put_reasoning(r, json_object_get(message, "thinking"));
    if (result >= 0)
        result = wire_put_answer(r, json_object_get(message, "content"));
    if (result < 0 || !json_flag(obj, "done", false))
        return result;
    /* A prompt taken from the cache has no count in some versions: 0 is "not said". */
    r->usage.prompt = wire_count(obj, "prompt_eval_count");
    r->usage.completion = wire_count(obj, "eval_count");
    if (r->usage.prompt || r->usage.completion)
        result = wire_put_usage(r);
    wire_set_finish(r, json_str(obj, "done_reason", "stop"), finishes, ARRAY_LEN(finishes));
    return result < 0 ? result : wire_put_end(r);
}

static const struct wire_dialect dialect = {
    .is_values = true, .has_tags = true, .value = take_value};

static int reader_new(struct wire_reader **ret)
{
    return wire_reader_new(&dialect, ret);
}

/* ---- writing ---- */

/* `options` as given, and what stands beside it under the names of other APIs. */
static void put_options(struct wire_body *b)
{
    jw_key(&b->w, "options");
    jw_obj(&b->w);
    json_t *own = json_incref(json_object_get(b->params, "options"));
    json_object_del(b->params, "options");
    if (!wire_body_param(b, "max_tokens", "num_predict"))
        (void)wire_body_param(b, "max_completion_tokens", "num_predict");
    json_object_del(b->params, "max_completion_tokens");
    wire_body_params(b);
    wire_body_members(b, own);
    json_decref(own);
    jw_end_obj(&b->w);
}

static int write_body(const struct wire_target *t, struct span prompt, bool stream,
                      struct wire_request *ret, struct err *err)
{
    static const char *const top[] = {"think", "format", "keep_alive", "tools"};
    struct wire_body b;
    int r = wire_body_init(&b, t, err);
    if (r == 0) {
        jw_kstr(&b.w, "model", t->model);
        jw_key(&b.w, "messages");
        jw_arr(&b.w);
        jw_obj(&b.w);
        jw_kstr(&b.w, "role", "user");
        jw_kspan(&b.w, "content", prompt);
        jw_end_obj(&b.w);
        jw_end_arr(&b.w);
        jw_kbool(&b.w, "stream", stream);
        for (size_t i = 0; i < ARRAY_LEN(top); i++)
            (void)wire_body_param(&b, top[i], top[i]);
        json_object_del(b.params, "model");
        json_object_del(b.params, "messages");
        json_object_del(b.params, "stream");
        if (json_object_size(b.params))
            put_options(&b);
        r = wire_body_take(&b, ret, err);
    }
    wire_body_done(&b);
    return r;
}

/* OLLAMA_HOST may come without a scheme, and with the path of either API. */
int wire_ollama_url(const struct wire_target *t, const char *path, struct wire_request *ret,
                    struct err *err)
{
    struct span base = SPAN_NULL, given = span_trim(span_str(t->base_url));
    struct buf full = BUF_INIT(LIMIT_WIRE_URL), url = BUF_INIT(LIMIT_WIRE_URL);
    if (given.len && span_find(given, SPAN_LIT("://")) < 0)
        buf_puts(&full, "http://");
    buf_put_span(&full, given);
    int r = buf_failed(&full) ? err_set(err, ERR_NO_MEMORY, "Ollama's address: no memory left")
                              : wire_base_url(buf_str(&full), &base, err);
    if (r == 0) {
        buf_put_span(&url, wire_without(wire_without(base, "/v1"), "/api"));
        buf_puts(&url, path);
        r = wire_url_take(ret, &url, err);
    }
    buf_done(&full);
    buf_done(&url);
    return r;
}

static int build(const struct wire_target *t, struct span prompt, bool stream,
                 struct wire_request *ret, struct err *err)
{
    struct wire_request req;
    int r = wire_request_init(&req, err);
    if (r == 0)
        r = wire_ollama_url(t, "/api/chat", &req, err);
    if (r == 0)
        r = wire_header_key(&req, t, "Authorization", err);
    if (r == 0)
        r = wire_headers_common(&req, t, stream, "application/x-ndjson", err);
    if (r == 0)
        r = write_body(t, prompt, stream, &req, err);
    if (r < 0)
        wire_request_done(&req);
    *ret = req;
    return r;
}

const struct wire_format wire_ollama = {
    "ollama",         build,        reader_new, wire_reader_feed, wire_reader_finish,
    wire_reader_free, wire_classify};
