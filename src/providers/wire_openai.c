/*
 * OpenAI-compatible chat completions, streamed: OpenAI, OpenRouter, DeepSeek, DashScope, Zhipu, local servers; and Azure's
 * two forms of them.
 */
#include "providers/wire_priv.h"

static const struct wire_word finishes[] = {
    {"stop", "stop"},
    {"eos", "stop"},
    {"end_turn", "stop"},
    {"length", "length"},
    {"max_tokens", "length"},
    {"model_length", "length"},
    {"content_filter", "content_filter"},
    {"sensitive", "content_filter"}, /* Zhipu */
    {"tool_calls", "tool_calls"},
    {"function_call", "tool_calls"},
};

/* ---- reading ---- */

/* A list of parts: text, and thinking where a server puts it there. */
static int put_parts(struct wire_reader *r, const json_t *parts)
{
    size_t i;
    json_t *part;
    json_array_foreach(parts, i, part)
    {
        struct span type = json_span(json_object_get(part, "type"));
        int result = 0;
        if (span_is(type, "thinking") || span_is(type, "reasoning")) {
            const json_t *inner = json_object_get(part, "thinking");
            const json_t *first = json_array_get(inner, 0);
            result = wire_put_reasoning(r, first ? json_object_get(first, "text") : inner);
            if (result >= 0)
                result = wire_put_reasoning(r, json_object_get(part, "text"));
        } else {
            result = wire_put_answer(r, json_object_get(part, "text"));
        }
        if (result < 0)
            return result;
    }
    return 0;
}

/* reasoning_content (DeepSeek, DashScope, Zhipu), reasoning (OpenRouter, vLLM); reasoning_details only where both are missing,
 * since OpenRouter sends the same text twice. */
static int put_thinking(struct wire_reader *r, const json_t *delta)
{
    static const char *const keys[] = {"reasoning_content", "reasoning"};
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        const json_t *v = json_object_get(delta, keys[i]);
        if (json_string_length(v) > 0)
            return wire_put_reasoning(r, v);
    }
    size_t i;
    json_t *d;
    json_array_foreach(json_object_get(delta, "reasoning_details"), i, d)
    {
        const json_t *text = json_object_get(d, "text");
        int result = wire_put_reasoning(r, text ? text : json_object_get(d, "summary"));
        if (result < 0)
            return result;
    }
    return 0;
}

static int put_message(struct wire_reader *r, const json_t *message)
{
    int result = put_thinking(r, message);
    if (result < 0)
        return result;
    const json_t *content = json_object_get(message, "content");
    result = json_is_array(content) ? put_parts(r, content) : wire_put_answer(r, content);
    return result < 0 ? result : wire_put_answer(r, json_object_get(message, "refusal"));
}

static int put_choices(struct wire_reader *r, const json_t *choices)
{
    size_t i;
    json_t *c;
    json_array_foreach(choices, i, c)
    {
        if (json_int(c, "index", 0) != 0)
            continue; /* n > 1 was asked for by a parameter: the first is the answer */
        const json_t *delta = json_object_get(c, "delta");
        int result = put_message(r, delta ? delta : json_object_get(c, "message"));
        if (result < 0)
            return result;
        wire_set_finish(r, json_str(c, "finish_reason", NULL), finishes, ARRAY_LEN(finishes));
    }
    return 0;
}

static int put_figures(struct wire_reader *r, const json_t *u)
{
    if (!json_is_object(u))
        return 0;
    const json_t *in = json_object_get(u, "prompt_tokens_details");
    const json_t *out = json_object_get(u, "completion_tokens_details");
    r->usage.prompt = wire_count(u, "prompt_tokens");
    r->usage.completion = wire_count(u, "completion_tokens");
    r->usage.reasoning = wire_count(out, "reasoning_tokens");
    r->usage.cached = wire_count(in, "cached_tokens");
    if (!r->usage.cached)
        r->usage.cached = wire_count(u, "prompt_cache_hit_tokens"); /* DeepSeek */
    r->usage.cache_write = wire_count(in, "cache_write_tokens");    /* OpenRouter */
    return wire_put_usage(r);
}

static int take_value(struct wire_reader *r, struct span name, const json_t *obj)
{
    const json_t *choices = json_object_get(obj, "choices");
    const json_t *holder = obj;
    if (!json_object_get(obj, "error") && json_object_get(json_array_get(choices, 0), "error"))
        holder = json_array_get(choices, 0); /* OpenRouter, of one choice */
    const json_t *error = json_object_get(holder, "error");
    bool has_error = error && !json_is_null(error);
    int result = put_choices(r, choices); /* a failing chunk may still carry text */
    if (result >= 0)
        result = put_figures(r, json_object_get(obj, "usage"));
    if (result < 0)
        return result;
    struct wire_problem p = {0};
    if (has_error || span_is(name, "error") || (!choices && !json_object_get(obj, "usage"))) {
        if (wire_problem_read(holder, &p) || has_error || span_is(name, "error"))
            return wire_put_problem(r, &p);
    }
    return 0;
}

static const struct wire_dialect dialect = {
    .has_tags = true, .value = take_value, .quick = wire_quick_openai};

static int reader_new(struct wire_reader **ret)
{
    return wire_reader_new(&dialect, ret);
}

/* ---- writing ---- */

static int write_body(const struct wire_target *t, struct span prompt, const char *model,
                      const char *role, bool with_stream, bool with_usage, struct wire_request *ret,
                      struct err *err)
{
    struct wire_body b;
    int r = wire_body_init(&b, t, err);
    if (r == 0) {
        if (model)
            jw_kstr(&b.w, "model", model);
        jw_key(&b.w, "messages");
        jw_arr(&b.w);
        jw_obj(&b.w);
        jw_kstr(&b.w, "role", role);
        jw_kspan(&b.w, "content", prompt);
        jw_end_obj(&b.w);
        jw_end_arr(&b.w);
        jw_kbool(&b.w, "stream", with_stream);
        /* A null in the parameters keeps it out for servers that refuse it. */
        bool has_own = json_object_get(b.params, "stream_options") != NULL;
        bool is_own = wire_body_param(&b, "stream_options", "stream_options");
        if (with_stream && with_usage && !has_own && !is_own) {
            jw_key(&b.w, "stream_options");
            jw_obj(&b.w);
            jw_kbool(&b.w, "include_usage", true);
            jw_end_obj(&b.w);
        }
        json_object_del(b.params, "model");
        json_object_del(b.params, "messages");
        json_object_del(b.params, "stream");
        wire_body_params(&b);
        r = wire_body_take(&b, ret, err);
    }
    wire_body_done(&b);
    return r;
}

static int write_url(struct span base, struct wire_request *ret, struct err *err)
{
    struct buf url = BUF_INIT(LIMIT_WIRE_URL);
    buf_put_span(&url, wire_without(base, "/chat/completions"));
    buf_puts(&url, "/chat/completions");
    int r = wire_url_take(ret, &url, err);
    buf_done(&url);
    return r;
}

static int build(const struct wire_target *t, struct span prompt, bool stream,
                 struct wire_request *ret, struct err *err)
{
    struct wire_request req;
    struct span base;
    int r = wire_request_init(&req, err);
    if (r == 0)
        r = wire_base_url(t->base_url, &base, err);
    if (r == 0)
        r = write_url(base, &req, err);
    if (r == 0)
        r = wire_header_key(&req, t, "Authorization", err);
    if (r == 0)
        r = wire_headers_common(&req, t, stream, "text/event-stream", err);
    if (r == 0)
        r = write_body(t, prompt, t->model, "user", stream, true, &req, err);
    if (r < 0)
        wire_request_done(&req);
    *ret = req;
    return r;
}

const struct wire_format wire_openai = {
    "openai",         build,        reader_new, wire_reader_feed, wire_reader_finish,
    wire_reader_free, wire_classify};

/* ---- Azure ---- */

static const char *deployment_of(const struct wire_target *t)
{
    return t->deployment && *t->deployment ? t->deployment : t->model;
}

int wire_azure_url(const struct wire_target *t, const char *action, struct wire_request *ret,
                   struct err *err)
{
    struct span base;
    int r = wire_base_url(t->base_url, &base, err);
    if (r < 0)
        return r;
    struct buf url = BUF_INIT(LIMIT_WIRE_URL);
    base = wire_without(wire_without(base, "/v1"), "/openai"); /* as the portal's pages show it */
    buf_put_span(&url, base);
    if (t->use_v1) {
        buf_printf(&url, "/openai/v1/%s", action);
    } else {
        buf_puts(&url, "/openai/deployments/");
        wire_put_encoded(&url, span_str(deployment_of(t)));
        buf_printf(&url, "/%s?api-version=", action);
        wire_put_encoded(&url, span_str(t->api_version));
    }
    r = wire_url_take(ret, &url, err);
    buf_done(&url);
    return r;
}

int wire_azure_check(const struct wire_target *t, struct err *err)
{
    if (!deployment_of(t) || !*deployment_of(t))
        return err_set(err, ERR_INVALID, "Azure: no deployment is named");
    if (t->use_v1 || (t->api_version && *t->api_version))
        return 0;
    err_set(err, ERR_INVALID, "Azure: no API version is set");
    err_hint(err, "set AZURE_OPENAI_VERSION, for example to 2024-10-21");
    return -ERR_INVALID;
}

static int build_azure(const struct wire_target *t, struct span prompt, bool stream,
                       struct wire_request *ret, struct err *err)
{
    struct wire_request req;
    int r = wire_request_init(&req, err);
    if (r == 0)
        r = wire_azure_check(t, err);
    if (r == 0)
        r = wire_azure_url(t, "chat/completions", &req, err);
    if (r == 0)
        r = wire_header_key(&req, t, "api-key", err);
    if (r == 0)
        r = wire_headers_common(&req, t, stream, "text/event-stream", err);
    if (r == 0) {
        /* Versions before this one refuse stream_options. */
        bool with_usage = t->use_v1 || span_cmp(span_str(t->api_version), SPAN_LIT("2024-09")) > 0;
        r = write_body(t, prompt, t->use_v1 ? deployment_of(t) : NULL,
                       t->use_v1 ? "user" : "system", stream, with_usage, &req, err);
    }
    if (r < 0)
        wire_request_done(&req);
    *ret = req;
    return r;
}

const struct wire_format wire_azure = {"azure",          build_azure,        reader_new,
                                       wire_reader_feed, wire_reader_finish, wire_reader_free,
                                       wire_classify};
