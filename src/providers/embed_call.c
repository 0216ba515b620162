/* One request for embeddings: built, sent, and what became of it. The answer is read by the run. */
#include "providers/embed_priv.h"

#include "base/mem.h"

#include <stdio.h>

static const struct provider_endpoint *endpoint_of(const struct embed_call *c)
{
    return &c->run->embedder->endpoints[c->endpoint];
}

struct span embed_text_of(const struct embed_run *r, size_t index)
{
    return span_of(r->bytes + r->texts[index].at, r->texts[index].len);
}

/* ---- how it ended ---- */

/* Secrets of the endpoint masked. */
static void say(struct embed_call *c, const char *text)
{
    char clean[sizeof c->why];
    snprintf(clean, sizeof clean, "%s", text);
    wire_mask_target(clean, &endpoint_of(c)->target);
    memcpy(c->why, clean, sizeof clean);
}

static bool body_says(const struct embed_call *c, const char *text)
{
    return span_find_nocase(buf_span(&c->body), span_str(text)) >= 0;
}

static enum embed_outcome outcome_of(enum wire_error_class class)
{
    switch (class) {
    case WIRE_ERROR_TOO_LONG:
        return EMBED_TOO_LONG;
    case WIRE_ERROR_AUTH:
        return EMBED_KEY;
    case WIRE_ERROR_RATE:
        return EMBED_RATE;
    case WIRE_ERROR_INVALID:
    case WIRE_ERROR_FILTERED:
        return EMBED_REFUSED;
    case WIRE_ERROR_NONE:
    case WIRE_ERROR_OVERLOADED:
    case WIRE_ERROR_OTHER:
        break;
    }
    return EMBED_ILL;
}

/* Words of embedders that the common table, made for prompts, does not know. */
static bool is_too_long(const struct embed_call *c)
{
    static const char *const texts[] = {
        "maximum allowed length", /* validating servers */
        "must have less than",    /* text-embeddings-inference: `inputs` tokens */
        "max input token",        /* Azure: "Too many inputs. The max number of inputs is" */
        "max number of inputs",
        "maximum input length",
        "input is too large to process", /* llama.cpp: increase the physical batch size */
        "max_tokens_per_request",
        "batch size exceeds",
        "at most 100 requests can be in one batch",
        "expected maxlength", /* Titan: "expected maxLength: 50000" */
        "array too long",
        "maximum request size",
    };
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        if (body_says(c, texts[i]))
            return true;
    return false;
}

static void refused_by_ollama(struct embed_call *c)
{
    bool is_path = c->status == 404 && !body_says(c, "model");
    char message[sizeof c->why];
    if (is_path && !c->is_old) {
        c->outcome = EMBED_OLD_FORM;
    } else if (c->status == 404) {
        const char *model = c->run->embedder->model;
        snprintf(message, sizeof message,
                 "Ollama model '%.120s' not found. Please run 'ollama pull %.120s' to install it.",
                 model, model);
        say(c, message);
    }
}

static void refused(struct embed_call *c)
{
    char words[300], message[sizeof c->why];
    enum wire_error_class class = wire_classify(c->status, buf_span(&c->body), words, sizeof words);
    snprintf(message, sizeof message, "HTTP %d: %s", c->status, words);
    say(c, message);
    c->outcome = outcome_of(class);
    if (c->outcome != EMBED_RATE && c->outcome != EMBED_KEY && is_too_long(c))
        c->outcome = EMBED_TOO_LONG;
    if (c->outcome == EMBED_REFUSED && body_says(c, "encoding_format"))
        c->outcome = EMBED_FLOAT;
    if (c->run->embedder->format == &embed_ollama)
        refused_by_ollama(c);
    if (c->retry_after_ms < 0)
        c->retry_after_ms = embed_retry_delay(buf_span(&c->body));
}

static void on_head(void *ctx, const struct http_answer *answer)
{
    struct embed_call *c = ctx;
    c->status = answer->status;
}

static bool on_body(void *ctx, struct span piece)
{
    struct embed_call *c = ctx;
    bool is_refusal = c->status < 200 || c->status >= 300;
    if (!is_refusal || c->body.len + piece.len <= LIMIT_PROVIDER_ERROR)
        buf_put_span(&c->body, piece);
    return true;
}

static void on_end(void *ctx, const struct http_answer *answer, int result, const char *why)
{
    struct embed_call *c = ctx;
    c->http = NULL;
    c->status = answer ? answer->status : 0;
    c->retry_after_ms = answer ? answer->retry_after_ms : -1;
    c->rate_wait_ms = answer ? answer->rate_wait_ms : 0;
    if (c->retry_after_ms < 0 && c->rate_wait_ms > 0)
        c->retry_after_ms = c->rate_wait_ms;
    if (result == 0 && c->status >= 200 && c->status < 300) {
        c->outcome = EMBED_ANSWERED;
        if (buf_failed(&c->body)) {
            c->outcome = EMBED_OURS;
            c->code = -ERR_NO_MEMORY;
            say(c, "not enough memory to read the answer");
        }
    } else if (c->status && result == 0) {
        refused(c);
    } else {
        c->outcome = result == -ERR_TOO_LARGE ? EMBED_TOO_LONG : EMBED_ILL;
        c->is_timeout = result == -ERR_TIMEOUT;
        say(c, why && *why ? why : "the connection was lost");
    }
    embed_call_over(c);
}

static const struct http_call_callbacks http_callbacks = {on_head, on_body, on_end};

/* ---- sending ---- */

static int build(struct embed_call *c, struct wire_request *w, struct err *err)
{
    struct embed_run *r = c->run;
    const struct embedder *e = r->embedder;
    struct wire_target target = endpoint_of(c)->target;
    struct embed_form form = r->form;
    form.is_old = c->is_old;
    target.wall_ms = r->runner->sources.wall_ms(r->runner->sources.ctx);
    struct span *texts = mem_try_array(c->count, sizeof *texts);
    if (!texts)
        return err_set(err, ERR_NO_MEMORY, "not enough memory to ask %s", e->name);
    for (size_t i = 0; i < c->count; i++)
        texts[i] = embed_text_of(r, c->sent[i]);
    int rc = e->format->build(e, &target, texts, c->count, &form, w, err);
    mem_free(texts);
    return rc;
}

int embed_call_send(struct embed_call *c)
{
    struct err err = {0};
    struct wire_request w = {0};
    c->status = 0;
    c->is_timeout = false;
    c->retry_after_ms = -1;
    c->why[0] = '\0';
    buf_init(&c->body, LIMIT_EMBED_ANSWER);
    int rc = build(c, &w, &err);
    if (rc == 0) {
        const struct http_call_options options = {
            .method = "POST",
            .url = w.url,
            .headers = (const char *const *)w.headers,
            .body = span_of(w.body, w.body_len),
            .connect_timeout_ms = RUN_CONNECT_TIMEOUT_MS,
            .total_timeout_ms = EMBED_CALL_TIMEOUT_MS,
            .max_body = LIMIT_EMBED_ANSWER,
        };
        rc = http_call_start(c->run->http, &options, &http_callbacks, c, &c->http, &err);
        wire_request_done(&w);
    }
    if (rc == 0)
        return 0;
    c->outcome = rc == -ERR_TOO_LARGE ? EMBED_TOO_LONG : EMBED_OURS;
    c->code = rc;
    say(c, err.msg);
    return rc;
}

void embed_call_close(struct embed_call *c)
{
    if (c->http)
        http_call_cancel(take_ptr(c->http));
    buf_done(&c->body);
    mem_free(take_ptr(c->sent));
}
