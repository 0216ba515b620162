/* Anthropic's messages API, also as Azure and Zhipu serve it: the base URL and the key's header differ. */
#include "providers/model_limits.h"
#include "providers/wire_priv.h"

#define ANSWER_DEFAULT 16384u /* max_tokens is required; more needs to be asked for */

static const struct wire_word finishes[] = {
    {"end_turn", "stop"},          {"stop_sequence", "stop"},
    {"max_tokens", "length"},      {"model_context_window_exceeded", "length"},
    {"refusal", "content_filter"}, {"tool_use", "tool_calls"},
};

/* ---- reading ---- */

/* message_start has the prompt's figures, message_delta the answer's, sometimes both: what is said replaces what was known. */
static int put_figures(struct wire_reader *r, const json_t *u)
{
    if (!json_is_object(u))
        return 0;
    uint64_t read = wire_count(u, "cache_read_input_tokens");
    uint64_t written = wire_count(u, "cache_creation_input_tokens");
    uint64_t prompt = wire_count(u, "input_tokens") + read + written;
    if (prompt) {
        r->usage.prompt = prompt;
        r->usage.cached = read;
        r->usage.cache_write = written;
    }
    if (wire_count(u, "output_tokens"))
        r->usage.completion = wire_count(u, "output_tokens");
    return wire_put_usage(r);
}

static int put_block(struct wire_reader *r, const json_t *block)
{
    int result = wire_put_reasoning(r, json_object_get(block, "thinking"));
    return result < 0 ? result : wire_put_answer(r, json_object_get(block, "text"));
}

/* An answer that was not streamed. */
static int put_whole(struct wire_reader *r, const json_t *message)
{
    size_t i;
    json_t *block;
    int result = 0;
    json_array_foreach(json_object_get(message, "content"), i, block)
    {
        if (result >= 0)
            result = put_block(r, block);
    }
    if (result >= 0)
        result = put_figures(r, json_object_get(message, "usage"));
    wire_set_finish(r, json_str(message, "stop_reason", NULL), finishes, ARRAY_LEN(finishes));
    return result;
}

static int take_value(struct wire_reader *r, struct span name, const json_t *obj)
{
    struct span type = json_span(json_object_get(obj, "type"));
    struct wire_problem p = {0};
    if (span_is(type, "error") || span_is(name, "error") ||
        (!type.len && json_object_get(obj, "error"))) {
        (void)wire_problem_read(obj, &p);
        return wire_put_problem(r, &p);
    }
    if (span_is(type, "content_block_delta"))
        return put_block(r, json_object_get(obj, "delta"));
    if (span_is(type, "content_block_start"))
        return put_block(r, json_object_get(obj, "content_block"));
    if (span_is(type, "message_start"))
        return put_figures(r, json_object_get(json_object_get(obj, "message"), "usage"));
    if (span_is(type, "message_delta")) {
        wire_set_finish(r, json_str(json_object_get(obj, "delta"), "stop_reason", NULL), finishes,
                        ARRAY_LEN(finishes));
        return put_figures(r, json_object_get(obj, "usage"));
    }
    if (span_is(type, "message_stop"))
        return wire_put_end(r);
    return span_is(type, "message") ? put_whole(r, obj) : 0; /* ping, and types to come */
}

static const struct wire_dialect dialect = {.value = take_value};

static int reader_new(struct wire_reader **ret)
{
    return wire_reader_new(&dialect, ret);
}

/* ---- writing ---- */

static void put_max_tokens(struct wire_body *b, const char *model)
{
    uint32_t most = model_limits_find(NULL, span_str(model)).output_tokens;
    if (!wire_body_param(b, "max_tokens", "max_tokens") &&
        !wire_body_param(b, "max_completion_tokens", "max_tokens")) {
        jw_key(&b->w, "max_tokens");
        jw_u64(&b->w, most < ANSWER_DEFAULT ? most : ANSWER_DEFAULT);
    }
}

static void put_parameters(struct wire_body *b)
{
    static const char *const others[] = {
        "model", "messages", "stream", "max_completion_tokens", "stream_options", "options"};
    const json_t *temperature = json_object_get(b->params, "temperature");
    if (temperature && !json_is_null(temperature))
        json_object_del(b->params, "top_p"); /* newer models refuse both together */
    for (size_t i = 0; i < ARRAY_LEN(others); i++)
        json_object_del(b->params, others[i]);
    wire_body_stop(b, "stop_sequences");
    wire_body_params(b);
}

static int write_body(const struct wire_target *t, struct span prompt, bool stream,
                      struct wire_request *ret, struct err *err)
{
    struct wire_body b;
    int r = wire_body_init(&b, t, err);
    if (r == 0) {
        jw_kstr(&b.w, "model", t->model);
        put_max_tokens(&b, t->model);
        jw_key(&b.w, "messages");
        jw_arr(&b.w);
        jw_obj(&b.w);
        jw_kstr(&b.w, "role", "user");
        jw_kspan(&b.w, "content", prompt);
        jw_end_obj(&b.w);
        jw_end_arr(&b.w);
        jw_kbool(&b.w, "stream", stream);
        put_parameters(&b);
        r = wire_body_take(&b, ret, err);
    }
    wire_body_done(&b);
    return r;
}

static int write_url(const struct wire_target *t, struct wire_request *ret, struct err *err)
{
    struct span base;
    int r = wire_base_url(t->base_url, &base, err);
    if (r < 0)
        return r;
    struct buf url = BUF_INIT(LIMIT_WIRE_URL);
    buf_put_span(&url, wire_without(wire_without(base, "/messages"), "/v1"));
    buf_puts(&url, "/v1/messages");
    r = wire_url_take(ret, &url, err);
    buf_done(&url);
    return r;
}

static int build(const struct wire_target *t, struct span prompt, bool stream,
                 struct wire_request *ret, struct err *err)
{
    struct wire_request req;
    int r = wire_request_init(&req, err);
    if (r == 0)
        r = write_url(t, &req, err);
    if (r == 0)
        r = wire_header_key(&req, t, "x-api-key", err);
    if (r == 0)
        r = wire_header_put(&req, "anthropic-version", "", "2023-06-01", err);
    if (r == 0)
        r = wire_headers_common(&req, t, stream, "text/event-stream", err);
    if (r == 0)
        r = write_body(t, prompt, stream, &req, err);
    if (r < 0)
        wire_request_done(&req);
    *ret = req;
    return r;
}

const struct wire_format wire_anthropic = {
    "anthropic",      build,        reader_new, wire_reader_feed, wire_reader_finish,
    wire_reader_free, wire_classify};
