/*
 * Requests for embeddings. OpenAI's shape serves every server that speaks it; Azure differs in its
 * address, Google in naming the model in each text, Ollama in its older path, Bedrock (Titan) in
 * taking one text.
 */
#include "providers/embed_priv.h"

#include <stdio.h>

static void put_text(struct wire_body *b, const struct embedder *e, const struct embed_form *form,
                     struct span text)
{
    const char *before = form->purpose == EMBED_QUERY ? e->before_query : e->before_document;
    if (!before) {
        jw_span(&b->w, text);
        return;
    }
    struct buf whole = BUF_INIT(LIMIT_EMBED_TEXT + 256);
    buf_puts(&whole, before);
    buf_put_span(&whole, text);
    b->buf.failed |= buf_failed(&whole);
    jw_span(&b->w, buf_span(&whole));
    buf_done(&whole);
}

static void put_texts(struct wire_body *b, const struct embedder *e, const struct embed_form *form,
                      const struct span *texts, size_t count)
{
    jw_arr(&b->w);
    for (size_t i = 0; i < count; i++)
        put_text(b, e, form, texts[i]);
    jw_end_arr(&b->w);
}

static int finish(struct wire_body *b, int r, struct wire_request *req, struct err *err)
{
    if (r == 0)
        r = wire_body_take(b, req, err);
    wire_body_done(b);
    return r;
}

/* ---- OpenAI, Azure ---- */

static int openai_body(const struct embedder *e, const struct wire_target *t, const char *model,
                       const struct span *texts, size_t count, const struct embed_form *form,
                       struct wire_request *req, struct err *err)
{
    struct wire_body b;
    int r = wire_body_init(&b, t, err);
    if (r == 0) {
        if (model)
            jw_kstr(&b.w, "model", model);
        jw_key(&b.w, "input");
        put_texts(&b, e, form, texts, count);
        jw_kstr(&b.w, "encoding_format", e->is_float || form->is_float ? "float" : "base64");
        if (e->dims)
            jw_kint(&b.w, "dimensions", e->dims);
    }
    return finish(&b, r, req, err);
}

static int openai_url(const struct wire_target *t, struct wire_request *req, struct err *err)
{
    struct span base;
    int r = wire_base_url(t->base_url, &base, err);
    if (r < 0)
        return r;
    struct buf url = BUF_INIT(LIMIT_WIRE_URL);
    buf_put_span(&url, wire_without(wire_without(base, "/chat/completions"), "/embeddings"));
    buf_puts(&url, "/embeddings");
    r = wire_url_take(req, &url, err);
    buf_done(&url);
    return r;
}

/* The URL is there: key, common headers; then the body. */
static int put_headers(struct wire_request *req, const struct wire_target *t, const char *name,
                       struct err *err)
{
    int r = wire_header_key(req, t, name, err);
    return r == 0 ? wire_headers_common(req, t, false, "application/json", err) : r;
}

static int build_openai(const struct embedder *e, const struct wire_target *t,
                        const struct span *texts, size_t count, const struct embed_form *form,
                        struct wire_request *ret, struct err *err)
{
    struct wire_request req;
    int r = wire_request_init(&req, err);
    if (r == 0)
        r = openai_url(t, &req, err);
    if (r == 0)
        r = put_headers(&req, t, "Authorization", err);
    if (r == 0)
        r = openai_body(e, t, t->model, texts, count, form, &req, err);
    if (r < 0)
        wire_request_done(&req);
    *ret = req;
    return r;
}

static int build_azure(const struct embedder *e, const struct wire_target *t,
                       const struct span *texts, size_t count, const struct embed_form *form,
                       struct wire_request *ret, struct err *err)
{
    struct wire_request req;
    int r = wire_request_init(&req, err);
    if (r == 0)
        r = wire_azure_check(t, err);
    if (r == 0)
        r = wire_azure_url(t, "embeddings", &req, err);
    if (r == 0)
        r = put_headers(&req, t, "api-key", err);
    if (r == 0) {
        const char *deployment = t->deployment && *t->deployment ? t->deployment : t->model;
        r = openai_body(e, t, t->use_v1 ? deployment : NULL, texts, count, form, &req, err);
    }
    if (r < 0)
        wire_request_done(&req);
    *ret = req;
    return r;
}

/* ---- Google ---- */

static int google_body(const struct embedder *e, const struct wire_target *t,
                       const struct span *texts, size_t count, const struct embed_form *form,
                       struct wire_request *req, struct err *err)
{
    const char *task = form->purpose == EMBED_QUERY ? e->task_query : e->task_document;
    bool is_path = span_starts(span_str(t->model), SPAN_LIT("models/"));
    char model[LIMIT_MODEL_NAME + 8];
    snprintf(model, sizeof model, "%s%s", is_path ? "" : "models/", t->model);
    struct wire_body b;
    int r = wire_body_init(&b, t, err);
    if (r == 0) {
        jw_key(&b.w, "requests");
        jw_arr(&b.w);
        for (size_t i = 0; i < count; i++) {
            jw_obj(&b.w);
            jw_kstr(&b.w, "model", model);
            jw_key(&b.w, "content");
            jw_obj(&b.w);
            jw_key(&b.w, "parts");
            jw_arr(&b.w);
            jw_obj(&b.w);
            jw_key(&b.w, "text");
            put_text(&b, e, form, texts[i]);
            jw_end_obj(&b.w);
            jw_end_arr(&b.w);
            jw_end_obj(&b.w);
            if (task)
                jw_kstr(&b.w, "taskType", task);
            if (e->dims)
                jw_kint(&b.w, "outputDimensionality", e->dims);
            jw_end_obj(&b.w);
        }
        jw_end_arr(&b.w);
    }
    return finish(&b, r, req, err);
}

static int build_google(const struct embedder *e, const struct wire_target *t,
                        const struct span *texts, size_t count, const struct embed_form *form,
                        struct wire_request *ret, struct err *err)
{
    struct wire_request req;
    int r = wire_request_init(&req, err);
    if (r == 0)
        r = wire_gemini_url(t, ":batchEmbedContents", &req, err);
    if (r == 0)
        r = put_headers(&req, t, "x-goog-api-key", err);
    if (r == 0)
        r = google_body(e, t, texts, count, form, &req, err);
    if (r < 0)
        wire_request_done(&req);
    *ret = req;
    return r;
}

/* ---- Ollama ---- */

static int ollama_body(const struct embedder *e, const struct wire_target *t,
                       const struct span *texts, size_t count, const struct embed_form *form,
                       struct wire_request *req, struct err *err)
{
    struct wire_body b;
    int r = wire_body_init(&b, t, err);
    if (r == 0) {
        jw_kstr(&b.w, "model", t->model);
        jw_key(&b.w, form->is_old ? "prompt" : "input");
        if (form->is_old)
            put_text(&b, e, form, texts[0]);
        else
            put_texts(&b, e, form, texts, count);
        if (e->dims && !form->is_old)
            jw_kint(&b.w, "dimensions", e->dims);
    }
    return finish(&b, r, req, err);
}

static int build_ollama(const struct embedder *e, const struct wire_target *t,
                        const struct span *texts, size_t count, const struct embed_form *form,
                        struct wire_request *ret, struct err *err)
{
    struct wire_request req;
    int r = wire_request_init(&req, err);
    if (r == 0)
        r = wire_ollama_url(t, form->is_old ? "/api/embeddings" : "/api/embed", &req, err);
    if (r == 0)
        r = put_headers(&req, t, "Authorization", err);
    if (r == 0)
        r = ollama_body(e, t, texts, count, form, &req, err);
    if (r < 0)
        wire_request_done(&req);
    *ret = req;
    return r;
}

/* ---- Bedrock: Titan ---- */

static int titan_body(const struct embedder *e, const struct wire_target *t, struct span text,
                      const struct embed_form *form, struct wire_request *req, struct err *err)
{
    struct wire_body b;
    int r = wire_body_init(&b, t, err);
    if (r == 0) {
        jw_key(&b.w, "inputText");
        put_text(&b, e, form, text);
        if (e->dims)
            jw_kint(&b.w, "dimensions", e->dims);
    }
    return finish(&b, r, req, err);
}

static int build_bedrock(const struct embedder *e, const struct wire_target *t,
                         const struct span *texts, size_t count, const struct embed_form *form,
                         struct wire_request *ret, struct err *err)
{
    (void)count; /* one, as its batch_count says */
    struct wire_request req;
    int r = wire_request_init(&req, err);
    if (r == 0)
        r = wire_bedrock_check(t, err);
    if (r == 0)
        r = wire_bedrock_url(t, "/invoke", &req, err);
    if (r == 0)
        r = titan_body(e, t, texts[0], form, &req, err);
    if (r == 0)
        r = wire_headers_common(&req, t, false, "application/json", err);
    if (r == 0)
        r = wire_bedrock_sign(t, &req, err);
    if (r < 0)
        wire_request_done(&req);
    *ret = req;
    return r;
}

/*
 * Texts per request: OpenAI takes 2,048 of 300,000 tokens together, Google 100; Ollama works them
 * off one by one on the owner's machine, so that small batches show progress and fit the time-out.
 */
const struct embed_format embed_openai = {"openai", 128, 256u << 10, 3, build_openai};
const struct embed_format embed_azure = {"azure", 128, 256u << 10, 3, build_azure};
const struct embed_format embed_google = {"google", 100, 128u << 10, 2, build_google};
const struct embed_format embed_ollama = {"ollama", 16, 64u << 10, 2, build_ollama};
const struct embed_format embed_bedrock = {"bedrock", 1, LIMIT_EMBED_TEXT, 4, build_bedrock};
