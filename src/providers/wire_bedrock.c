/*
 * Bedrock's ConverseStream: one body and one set of events for all models, in binary messages, signed (SigV4) or with a
 * bearer token. Models without the Converse API are not served.
 */
#include "providers/wire_priv.h"

static const struct wire_word finishes[] = {
    {"end_turn", "stop"},
    {"stop_sequence", "stop"},
    {"max_tokens", "length"},
    {"model_context_window_exceeded", "length"},
    {"guardrail_intervened", "content_filter"},
    {"content_filtered", "content_filter"},
    {"tool_use", "tool_calls"},
};

/* ---- reading ---- */

/* Tokens read from or written to the cache are not in inputTokens. */
static int put_figures(struct wire_reader *r, const json_t *u)
{
    if (!json_is_object(u))
        return 0;
    r->usage.cached = wire_count(u, "cacheReadInputTokens");
    r->usage.cache_write = wire_count(u, "cacheWriteInputTokens");
    r->usage.prompt = wire_count(u, "inputTokens") + r->usage.cached + r->usage.cache_write;
    r->usage.completion = wire_count(u, "outputTokens");
    return wire_put_usage(r);
}

/* A delta, or a whole block where the thinking is one level deeper. */
static int put_block(struct wire_reader *r, const json_t *block)
{
    const json_t *thinking = json_object_get(block, "reasoningContent");
    const json_t *whole = json_object_get(thinking, "reasoningText");
    int result = wire_put_reasoning(r, json_object_get(whole ? whole : thinking, "text"));
    return result < 0 ? result : wire_put_answer(r, json_object_get(block, "text"));
}

static int put_whole(struct wire_reader *r, const json_t *obj)
{
    const json_t *message = json_object_get(json_object_get(obj, "output"), "message");
    size_t i;
    json_t *block;
    int result = 0;
    json_array_foreach(json_object_get(message, "content"), i, block)
    {
        if (result >= 0)
            result = put_block(r, block);
    }
    if (result >= 0)
        result = put_figures(r, json_object_get(obj, "usage"));
    wire_set_finish(r, json_str(obj, "stopReason", NULL), finishes, ARRAY_LEN(finishes));
    return result;
}

static int take_value(struct wire_reader *r, struct span name, const json_t *obj)
{
    struct wire_problem p = {0};
    if (span_is(name, "contentBlockDelta"))
        return put_block(r, json_object_get(obj, "delta"));
    if (span_is(name, "messageStop"))
        wire_set_finish(r, json_str(obj, "stopReason", NULL), finishes, ARRAY_LEN(finishes));
    else if (span_is(name, "metadata")) { /* the last event, after messageStop */
        int result = put_figures(r, json_object_get(obj, "usage"));
        return result < 0 || !r->finish ? result : wire_put_end(r);
    }
    if (name.len)
        return 0; /* messageStart, contentBlockStart and -Stop, and events to come */
    if (json_object_get(obj, "output"))
        return put_whole(r, obj);
    (void)wire_problem_read(obj, &p);
    return wire_put_problem(r, &p);
}

static const struct wire_dialect dialect = {.is_frames = true, .value = take_value};

static int reader_new(struct wire_reader **ret)
{
    return wire_reader_new(&dialect, ret);
}

/* ---- writing ---- */

static void put_parameters(struct wire_body *b, const char *model)
{
    static const char *const others[] = {"model",  "messages",       "max_completion_tokens",
                                         "stream", "stream_options", "options"};
    const json_t *temperature = json_object_get(b->params, "temperature");
    bool is_claude = span_find(span_str(model), SPAN_LIT("claude")) >= 0;
    if (is_claude && temperature && !json_is_null(temperature))
        json_object_del(b->params, "top_p"); /* newer models refuse both together */
    jw_key(&b->w, "inferenceConfig");
    jw_obj(&b->w);
    if (!wire_body_param(b, "max_tokens", "maxTokens"))
        (void)wire_body_param(b, "max_completion_tokens", "maxTokens");
    (void)wire_body_param(b, "temperature", "temperature");
    (void)wire_body_param(b, "top_p", "topP");
    wire_body_stop(b, "stopSequences");
    jw_end_obj(&b->w);
    for (size_t i = 0; i < ARRAY_LEN(others); i++)
        json_object_del(b->params, others[i]);
    if (!json_object_size(b->params))
        return;
    jw_key(&b->w, "additionalModelRequestFields");
    jw_obj(&b->w);
    wire_body_params(b);
    jw_end_obj(&b->w);
}

static int write_body(const struct wire_target *t, struct span prompt, struct wire_request *ret,
                      struct err *err)
{
    struct wire_body b;
    int r = wire_body_init(&b, t, err);
    if (r == 0) {
        jw_key(&b.w, "messages");
        jw_arr(&b.w);
        jw_obj(&b.w);
        jw_kstr(&b.w, "role", "user");
        jw_key(&b.w, "content");
        jw_arr(&b.w);
        jw_obj(&b.w);
        jw_kspan(&b.w, "text", prompt);
        jw_end_obj(&b.w);
        jw_end_arr(&b.w);
        jw_end_obj(&b.w);
        jw_end_arr(&b.w);
        put_parameters(&b, t->model);
        r = wire_body_take(&b, ret, err);
    }
    wire_body_done(&b);
    return r;
}

static bool is_region(const char *region)
{
    size_t n = region ? strlen(region) : 0;
    for (size_t i = 0; i < n; i++)
        if (!((region[i] >= 'a' && region[i] <= 'z') || (region[i] >= '0' && region[i] <= '9') ||
              region[i] == '-'))
            return false;
    return n > 0 && n < 64;
}

int wire_bedrock_check(const struct wire_target *t, struct err *err)
{
    bool has_pair =
        t->access_key_id && *t->access_key_id && t->secret_access_key && *t->secret_access_key;
    if (!is_region(t->region)) {
        err_set(err, ERR_INVALID, "Bedrock: %s",
                t->region && *t->region ? "the region is no region's name" : "no region is set");
        err_hint(err, "set AWS_REGION, for example to us-east-1");
        return -ERR_INVALID;
    }
    if (has_pair || (t->api_key && *t->api_key))
        return 0;
    err_set(err, ERR_INVALID, "Bedrock: no credentials are set");
    err_hint(err, "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY");
    return -ERR_INVALID;
}

int wire_bedrock_url(const struct wire_target *t, const char *action, struct wire_request *ret,
                     struct err *err)
{
    struct buf url = BUF_INIT(LIMIT_WIRE_URL);
    struct span base;
    int r = 0;
    if (t->base_url && *t->base_url) {
        r = wire_base_url(t->base_url, &base, err);
        if (r == 0)
            buf_put_span(&url, base);
    } else {
        buf_printf(&url, "https://bedrock-runtime.%s.amazonaws.com", t->region);
    }
    buf_puts(&url, "/model/");
    wire_put_encoded(&url, span_str(t->model));
    buf_puts(&url, action);
    if (r == 0)
        r = wire_url_take(ret, &url, err);
    buf_done(&url);
    return r;
}

static struct span host_to_sign(struct span authority, bool is_https)
{
    return wire_without(authority, is_https ? ":443" : ":80");
}

int wire_bedrock_sign(const struct wire_target *t, struct wire_request *r, struct err *err)
{
    if (t->api_key && *t->api_key)
        return wire_header_key(r, t, "Authorization", err);
    struct span url = span_str(r->url);
    bool is_https = span_starts(url, SPAN_LIT("https://"));
    struct span rest = span_skip(url, is_https ? 8 : 7);
    size_t host_len = (size_t)span_find_char(rest, '/');
    struct wire_sign s = {.method = "POST",
                          .host = host_to_sign(span_first(rest, host_len), is_https),
                          .path = span_skip(rest, host_len),
                          .body = span_of(r->body, r->body_len),
                          .service = "bedrock",
                          .region = t->region,
                          .access_key_id = t->access_key_id,
                          .secret_access_key = t->secret_access_key,
                          .session_token = t->session_token,
                          .wall_ms = t->wall_ms};
    struct wire_signature signature;
    int result = wire_sign(&s, &signature, err);
    if (result == 0)
        result = wire_header_put(r, "X-Amz-Date", "", signature.date, err);
    if (result == 0)
        result = wire_header_put(r, "X-Amz-Security-Token", "", t->session_token, err);
    if (result == 0)
        result = wire_header_put(r, "Authorization", "", signature.authorization, err);
    return result;
}

static int build(const struct wire_target *t, struct span prompt, bool stream,
                 struct wire_request *ret, struct err *err)
{
    struct wire_request req;
    int r = wire_request_init(&req, err);
    if (r == 0 && (!t->model || !*t->model))
        r = err_set(err, ERR_INVALID, "Bedrock: no model is named");
    if (r == 0)
        r = wire_bedrock_check(t, err);
    if (r == 0)
        r = wire_bedrock_url(t, stream ? "/converse-stream" : "/converse", &req, err);
    if (r == 0)
        r = write_body(t, prompt, &req, err);
    if (r == 0)
        r = wire_headers_common(&req, t, stream, "application/vnd.amazon.eventstream", err);
    if (r == 0)
        r = wire_bedrock_sign(t, &req, err);
    if (r < 0)
        wire_request_done(&req);
    *ret = req;
    return r;
}

const struct wire_format wire_bedrock = {
    "bedrock",        build,        reader_new, wire_reader_feed, wire_reader_finish,
    wire_reader_free, wire_classify};
