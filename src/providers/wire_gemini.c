/* Gemini's streamGenerateContent, as events (alt=sse) or, where that is not honoured, as one list. */
#include "providers/wire_priv.h"

#include <ctype.h>
#include <stdio.h>

static const struct wire_word finishes[] = {
    {"STOP", "stop"},
    {"MAX_TOKENS", "length"},
    {"SAFETY", "content_filter"},
    {"RECITATION", "content_filter"},
    {"BLOCKLIST", "content_filter"},
    {"PROHIBITED_CONTENT", "content_filter"},
    {"SPII", "content_filter"},
    {"IMAGE_SAFETY", "content_filter"},
};

/* ---- reading ---- */

static int put_candidate(struct wire_reader *r, const json_t *c)
{
    size_t i;
    json_t *part;
    json_array_foreach(json_object_get(json_object_get(c, "content"), "parts"), i, part)
    {
        const json_t *text = json_object_get(part, "text");
        int result = json_flag(part, "thought", false) ? wire_put_reasoning(r, text)
                                                       : wire_put_answer(r, text);
        if (result < 0)
            return result;
    }
    const char *finish = json_str(c, "finishReason", NULL);
    if (finish && !span_is(span_str(finish), "FINISH_REASON_UNSPECIFIED"))
        wire_set_finish(r, finish, finishes, ARRAY_LEN(finishes));
    return 0;
}

/* Figures are of the whole answer so far; the thoughts are counted apart. */
static int put_figures(struct wire_reader *r, const json_t *u)
{
    if (!json_is_object(u))
        return 0;
    r->usage.prompt = wire_count(u, "promptTokenCount");
    r->usage.reasoning = wire_count(u, "thoughtsTokenCount");
    r->usage.completion = wire_count(u, "candidatesTokenCount") + r->usage.reasoning;
    r->usage.cached = wire_count(u, "cachedContentTokenCount");
    return wire_put_usage(r);
}

static int take_value(struct wire_reader *r, struct span name, const json_t *obj)
{
    (void)name;
    struct wire_problem p = {0};
    if (json_object_get(obj, "error")) {
        (void)wire_problem_read(obj, &p);
        return wire_put_problem(r, &p);
    }
    size_t i;
    json_t *c;
    int result = 0;
    json_array_foreach(json_object_get(obj, "candidates"), i, c)
    {
        if (result >= 0 && json_int(c, "index", 0) == 0)
            result = put_candidate(r, c);
    }
    if (result >= 0)
        result = put_figures(r, json_object_get(obj, "usageMetadata"));
    const json_t *feedback = json_object_get(obj, "promptFeedback");
    const char *reason = json_str(feedback, "blockReason", NULL);
    if (result < 0 || !reason || span_is(span_str(reason), "BLOCK_REASON_UNSPECIFIED"))
        return result;
    char text[160];
    snprintf(text, sizeof text, "the prompt was blocked: %.100s", reason);
    p.message = span_str(text);
    p.code = SPAN_LIT("content_filter");
    return wire_put_problem(r, &p);
}

static const struct wire_dialect dialect = {.value = take_value};

static int reader_new(struct wire_reader **ret)
{
    return wire_reader_new(&dialect, ret);
}

/* ---- writing ---- */

/* top_p → topP */
static void put_camel_key(struct wire_body *b, const char *key)
{
    char camel[64];
    size_t n = 0;
    for (const char *p = key; *p && n + 1 < sizeof camel; p++) {
        bool is_joint = *p == '_' && p > key && p[1];
        if (is_joint)
            p++;
        camel[n++] = is_joint ? (char)toupper((unsigned char)*p) : *p;
    }
    camel[n] = 0;
    jw_key(&b->w, camel);
}

static void put_members(struct wire_body *b, json_t *obj)
{
    const char *key;
    json_t *v;
    json_object_foreach(obj, key, v)
    {
        if (json_is_null(v))
            continue;
        put_camel_key(b, key);
        wire_body_json(b, v);
    }
}

static void put_generation_config(struct wire_body *b)
{
    jw_key(&b->w, "generationConfig");
    jw_obj(&b->w);
    json_t *own = json_incref(json_object_get(b->params, "generationConfig"));
    json_object_del(b->params, "generationConfig");
    if (!wire_body_param(b, "max_tokens", "maxOutputTokens"))
        (void)wire_body_param(b, "max_completion_tokens", "maxOutputTokens");
    json_object_del(b->params, "max_completion_tokens");
    wire_body_stop(b, "stopSequences");
    put_members(b, b->params);
    put_members(b, own);
    json_decref(own);
    jw_end_obj(&b->w);
}

static int write_body(const struct wire_target *t, struct span prompt, struct wire_request *ret,
                      struct err *err)
{
    static const char *const top[] = {"safetySettings", "systemInstruction", "tools", "toolConfig",
                                      "cachedContent"};
    struct wire_body b;
    int r = wire_body_init(&b, t, err);
    if (r == 0) {
        jw_key(&b.w, "contents");
        jw_arr(&b.w);
        jw_obj(&b.w);
        jw_kstr(&b.w, "role", "user");
        jw_key(&b.w, "parts");
        jw_arr(&b.w);
        jw_obj(&b.w);
        jw_kspan(&b.w, "text", prompt);
        jw_end_obj(&b.w);
        jw_end_arr(&b.w);
        jw_end_obj(&b.w);
        jw_end_arr(&b.w);
        for (size_t i = 0; i < ARRAY_LEN(top); i++)
            (void)wire_body_param(&b, top[i], top[i]);
        json_object_del(b.params, "contents");
        json_object_del(b.params, "model");
        json_object_del(b.params, "stream");
        if (json_object_size(b.params))
            put_generation_config(&b);
        r = wire_body_take(&b, ret, err);
    }
    wire_body_done(&b);
    return r;
}

int wire_gemini_url(const struct wire_target *t, const char *action, struct wire_request *ret,
                    struct err *err)
{
    struct span base, model = span_str(t->model);
    int r = wire_base_url(t->base_url, &base, err);
    if (r < 0)
        return r;
    struct buf url = BUF_INIT(LIMIT_WIRE_URL);
    buf_put_span(&url, base);
    struct span host = span_skip(base, (size_t)span_find(base, SPAN_LIT("//")) + 2);
    if (span_find_char(host, '/') < 0)
        buf_puts(&url, "/v1beta");
    if (span_starts(model, SPAN_LIT("models/")))
        model = span_skip(model, 7);
    buf_puts(&url, "/models/");
    wire_put_encoded(&url, model);
    buf_puts(&url, action);
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
        r = wire_gemini_url(t, stream ? ":streamGenerateContent?alt=sse" : ":generateContent", &req,
                            err);
    if (r == 0)
        r = wire_header_key(&req, t, "x-goog-api-key", err);
    if (r == 0)
        r = wire_headers_common(&req, t, stream, "text/event-stream", err);
    if (r == 0)
        r = write_body(t, prompt, &req, err);
    if (r < 0)
        wire_request_done(&req);
    *ret = req;
    return r;
}

const struct wire_format wire_gemini = {
    "gemini",         build,        reader_new, wire_reader_feed, wire_reader_finish,
    wire_reader_free, wire_classify};
