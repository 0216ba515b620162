/*
 * A run holds a stack of ranges of texts still to be sent. The pump takes ranges off it while calls
 * and endpoints are free; a call that is over puts back what must be sent again, halved or not.
 *
 *              range taken                 answered: vectors told
 *   queue ─────────────────▶ call ───────────────────────────────────▶ (texts over)
 *     ▲                        │  refused, ill, missing: whole, in halves, or alone
 *     └────────────────────────┘
 *
 * Nothing queued and nothing under way: the end.
 */
#include "providers/embed_priv.h"

#include "base/bug.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metric.h"
#include "text/tokens.h"
#include "text/utf8.h"

#include <stdio.h>

#define REFUSED_ALONE_MAX 4  /* texts refused alone before any vector: it is not the texts */
#define FAILURES_ALONE_MAX 4 /* status 500 for one text while others work: it is the text */
#define ANSWERS_FOR_MORE 8   /* in a row, until one more call goes out at a time */
#define BUSY_WAIT_MS 1000    /* another run probes the endpoint, or our client is full */

enum { M_RUNS, M_CALLS, M_FAILED, M_VECTORS, M_TEXTS_FAILED, M_TOKENS };
static struct metric metrics[] = {
    [M_RUNS] = METRIC_COUNTER("headwater_providers_embed_runs_total", "Lists of texts to embed"),
    [M_CALLS] =
        METRIC_COUNTER("headwater_providers_embed_calls_total", "Requests sent to embedders"),
    [M_FAILED] = METRIC_COUNTER("headwater_providers_embed_calls_failed_total",
                                "Requests to embedders that failed"),
    [M_VECTORS] =
        METRIC_COUNTER("headwater_providers_embed_vectors_total", "Vectors that embedders made"),
    [M_TEXTS_FAILED] = METRIC_COUNTER("headwater_providers_embed_texts_failed_total",
                                      "Texts that got no vector for good"),
    [M_TOKENS] =
        METRIC_COUNTER("headwater_providers_embed_tokens_total", "Tokens sent to embedders"),
};

static void pump(struct embed_run *r);

static uint64_t now_ms(const struct embed_run *r)
{
    return r->runner->sources.now_ms(r->runner->sources.ctx);
}

static void note(struct embed_run *r, const char *message)
{
    if (r->callbacks->note && r->state == EMBED_RUNNING)
        r->callbacks->note(r->ctx, message);
}

/* ---- end ---- */

static void release(struct embed_run *r)
{
    mem_free(r->bytes);
    mem_free(r->texts);
    mem_free(r->queue);
    mem_free(r->scratch);
    mem_free(r);
}

static void on_tick(struct loop_defer *d)
{
    struct embed_run *r = container_of(d, struct embed_run, tick);
    r->is_tick_due = false;
    if (r->state == EMBED_ENDED)
        release(r);
    else
        pump(r);
}

static void tick_later(struct embed_run *r)
{
    if (r->is_tick_due)
        return;
    r->is_tick_due = true;
    loop_defer(r->loop, &r->tick);
}

/* The place is free again; a probe without a verdict is given back. */
static void free_call(struct embed_call *c)
{
    struct embed_run *r = c->run;
    if (c->is_probe)
        breaker_release(r->runner->health, &r->embedder->endpoints[c->endpoint]);
    c->is_probe = false;
    embed_call_close(c);
    r->active--;
}

static void run_over(struct embed_run *r, int result, const char *why)
{
    if (r->state == EMBED_ENDED)
        return;
    r->state = EMBED_ENDED;
    timer_clear(&r->wait);
    timer_clear(&r->deadline);
    for (size_t i = 0; i < LIMIT_EMBED_CALLS_COUNT; i++)
        if (r->calls[i].sent)
            free_call(&r->calls[i]);
    metric_add(&metrics[M_TOKENS], (int64_t)r->tokens);
    tick_later(r); /* frees it */
    r->callbacks->end(r->ctx, result, why, r->tokens, r->is_estimate);
}

/* ---- texts ---- */

static void text_failed(struct embed_run *r, size_t index, const char *why)
{
    r->texts[index].is_over = true;
    metric_add(&metrics[M_TEXTS_FAILED], 1);
    r->callbacks->failed(r->ctx, index, why);
}

static void text_refused(struct embed_run *r, size_t index, const char *why)
{
    text_failed(r, index, why);
    r->refused_alone++;
    if (r->state == EMBED_RUNNING && !r->has_vector && r->refused_alone >= REFUSED_ALONE_MAX)
        run_over(r, -ERR_INVALID, why);
}

static void put_back(struct embed_run *r, size_t from, size_t to, unsigned failures)
{
    while (from < to && r->texts[from].is_over)
        from++;
    while (to > from && r->texts[to - 1].is_over)
        to--;
    if (from == to)
        return;
    BUG_ON(r->queued >= r->count);
    r->queue[r->queued++] = (struct embed_range){from, to, failures};
}

static size_t left_in(const struct embed_run *r, const struct embed_range *g)
{
    size_t n = 0;
    for (size_t i = g->from; i < g->to; i++)
        n += !r->texts[i].is_over;
    return n;
}

/* Two ranges with half of what is left each; false when one text is left. */
static bool halve(struct embed_run *r, const struct embed_range *g)
{
    size_t left = left_in(r, g), seen = 0, middle = g->from;
    if (left < 2)
        return false;
    while (seen < left / 2)
        seen += !r->texts[middle++].is_over;
    put_back(r, middle, g->to, 0);
    put_back(r, g->from, middle, 0);
    return true;
}

/* ---- which endpoint, when ---- */

struct choice {
    size_t endpoint;
    uint64_t wait_ms;
    bool is_found, is_probe, is_asked;
};

static void consider(struct embed_run *r, size_t i, struct choice *best)
{
    const struct embed_endpoint *e = &r->endpoints[i];
    uint64_t now = now_ms(r), wait = 0;
    uint64_t pause = e->not_before_ms > now ? e->not_before_ms - now : 0;
    if (pause) { /* no probe is taken that would not be used */
        if (!best->is_found || pause < best->wait_ms)
            *best = (struct choice){.endpoint = i, .wait_ms = pause, .is_found = true};
        return;
    }
    enum breaker_verdict v =
        breaker_ask(r->runner->health, &r->embedder->endpoints[i], e->was_asked, now, &wait);
    if (v == BREAKER_OUT && !wait)
        wait = BUSY_WAIT_MS;
    if (best->is_found && wait >= best->wait_ms)
        return;
    *best = (struct choice){.endpoint = i,
                            .wait_ms = wait,
                            .is_found = true,
                            .is_probe = v == BREAKER_PROBE,
                            .is_asked = v == BREAKER_COOLING};
}

static struct choice choose(struct embed_run *r)
{
    struct choice best = {0};
    uint64_t seen = 0; /* bits; those that failed least in this run come first */
    for (size_t n = 0; n < r->embedder->endpoint_count && !(best.is_found && !best.wait_ms); n++) {
        size_t next = SIZE_MAX;
        for (size_t i = 0; i < r->embedder->endpoint_count; i++)
            if (!(seen >> i & 1) && !r->endpoints[i].is_excluded &&
                (next == SIZE_MAX || r->endpoints[i].failures < r->endpoints[next].failures))
                next = i;
        if (next == SIZE_MAX)
            break;
        seen |= UINT64_C(1) << next;
        consider(r, next, &best);
    }
    return best;
}

static uint64_t backoff_ms(const struct embed_run *r, unsigned failures)
{
    uint64_t most = RUN_BACKOFF_FIRST_MS;
    for (unsigned i = 1; i < failures && most < RUN_BACKOFF_MAX_MS; i++)
        most *= 2;
    uint64_t half = (most < RUN_BACKOFF_MAX_MS ? most : RUN_BACKOFF_MAX_MS) / 2;
    return half + r->runner->sources.random(r->runner->sources.ctx) % (half + 1);
}

static void on_wait_over(struct timer *t)
{
    pump(container_of(t, struct embed_run, wait));
}

static void give_up(struct embed_run *r, const struct choice *c)
{
    char message[sizeof r->last_why + 80];
    snprintf(message, sizeof message, "%s%s",
             r->last_why[0] ? r->last_why : "the embedder is left out after repeated failures",
             c->is_asked ? "; it asks to wait longer than we may" : "");
    run_over(r, -ERR_UNAVAILABLE, message);
}

/* Nothing can be sent right now. */
static void wait_for(struct embed_run *r, const struct choice *c)
{
    char message[sizeof r->last_why + 80];
    if (now_ms(r) - r->progress_ms + c->wait_ms > r->retry_budget_ms) {
        if (!r->active)
            give_up(r, c);
        return; /* what is under way may still bring something */
    }
    snprintf(message, sizeof message, "waiting %.1f s: %s", (double)c->wait_ms / 1000,
             c->is_asked      ? "the provider asked for it"
             : r->last_why[0] ? r->last_why
                              : "the embedder failed before");
    timer_set(r->loop, &r->wait, c->wait_ms, on_wait_over);
    note(r, message);
}

/* ---- sending ---- */

/* The first texts of the range that fit one request; the rest goes back. */
static bool fill_call(struct embed_call *c, const struct embed_range *g)
{
    struct embed_run *r = c->run;
    const struct embed_format *f = r->embedder->format;
    size_t most = c->is_old ? 1 : r->embedder->batch_count, bytes = 0, at = g->from;
    c->sent = mem_try_array(most, sizeof *c->sent);
    if (!c->sent)
        return false;
    c->count = 0;
    for (; at < g->to && c->count < most; at++) {
        if (r->texts[at].is_over)
            continue;
        if (c->count && bytes + r->texts[at].len > f->batch_bytes)
            break;
        bytes += r->texts[at].len;
        c->sent[c->count++] = at;
    }
    c->range = (struct embed_range){g->from, at, g->failures};
    put_back(r, at, g->to, 0);
    return true;
}

static struct embed_call *free_place(struct embed_run *r)
{
    for (size_t i = 0; i < r->most_calls; i++)
        if (!r->calls[i].sent)
            return &r->calls[i];
    return NULL;
}

static void start_call(struct embed_run *r, const struct choice *choice)
{
    struct embed_call *c = free_place(r);
    BUG_ON(!c || !r->queued);
    struct embed_range g = r->queue[--r->queued];
    *c = (struct embed_call){.run = r,
                             .endpoint = choice->endpoint,
                             .is_probe = choice->is_probe,
                             .is_old = r->form.is_old};
    if (!fill_call(c, &g)) {
        if (c->is_probe)
            breaker_release(r->runner->health, &r->embedder->endpoints[c->endpoint]);
        run_over(r, -ERR_NO_MEMORY, "not enough memory to ask the embedder");
        return;
    }
    r->active++;
    r->endpoints[c->endpoint].was_asked = true;
    metric_add(&metrics[M_CALLS], 1);
    if (embed_call_send(c) < 0)
        embed_call_over(c);
}

static void pump(struct embed_run *r)
{
    while (r->state == EMBED_RUNNING && r->queued && free_place(r)) {
        struct choice c = choose(r);
        if (!c.is_found) {
            run_over(r, r->excluded_code, r->last_why);
            return;
        }
        if (c.wait_ms) {
            wait_for(r, &c);
            return;
        }
        start_call(r, &c);
    }
    if (r->state == EMBED_RUNNING && !r->queued && !r->active)
        run_over(r, 0, "");
}

/* ---- answers ---- */

struct taking {
    struct embed_call *call;
    unsigned dims[8], count[8]; /* sizes seen, while none is decided */
};

static void count_dims(void *ctx, size_t at, const float *values, unsigned dims)
{
    struct taking *t = ctx;
    (void)at;
    (void)values;
    for (size_t i = 0; i < ARRAY_LEN(t->dims); i++) {
        if (t->dims[i] && t->dims[i] != dims)
            continue;
        t->dims[i] = dims;
        t->count[i]++;
        return;
    }
}

static void ignore_bad(void *ctx, size_t at, const char *why)
{
    (void)ctx;
    (void)at;
    (void)why;
}

/* Most vectors of the first answer decide. */
static void decide_dims(struct embed_call *c, struct span body)
{
    struct embed_run *r = c->run;
    struct taking t = {.call = c};
    const struct embed_items count = {count_dims, ignore_bad, &t};
    struct embed_answer answer;
    IGNORE(embed_read(body, c->count, r->scratch, &count, &answer)); /* told by the second pass */
    size_t best = 0;
    for (size_t i = 1; i < ARRAY_LEN(t.dims); i++)
        if (t.count[i] > t.count[best])
            best = i;
    r->dims = t.dims[best];
}

static void ask_again(struct embed_run *r, size_t index, const char *why)
{
    struct embed_text *t = &r->texts[index];
    if (t->was_asked_again) {
        text_refused(r, index, why);
        return;
    }
    t->was_asked_again = true; /* stays in its range, which goes back */
    snprintf(r->last_why, sizeof r->last_why, "%s", why);
}

static void take_vector(void *ctx, size_t at, const float *values, unsigned dims)
{
    struct embed_call *c = ctx;
    struct embed_run *r = c->run;
    if (r->state != EMBED_RUNNING) /* c->sent is gone */
        return;
    size_t index = c->sent[at];
    char why[120];
    if (r->texts[index].is_over)
        return;
    if (dims != r->dims) {
        snprintf(why, sizeof why, "the provider sent %u dimensions where the others have %u", dims,
                 r->dims);
        ask_again(r, index, why);
        return;
    }
    r->texts[index].is_over = true;
    r->has_vector = true;
    r->progress_ms = now_ms(r);
    metric_add(&metrics[M_VECTORS], 1);
    r->callbacks->vector(r->ctx, index, values, dims);
}

static void take_bad(void *ctx, size_t at, const char *why)
{
    struct embed_call *c = ctx;
    struct embed_run *r = c->run;
    if (r->state == EMBED_RUNNING && !r->texts[c->sent[at]].is_over)
        ask_again(r, c->sent[at], why);
}

static void count_tokens(struct embed_call *c, uint64_t told)
{
    struct embed_run *r = c->run;
    if (told) {
        r->tokens += told;
        return;
    }
    r->is_estimate = true;
    for (size_t i = 0; i < c->count; i++)
        r->tokens += tokens_estimate(embed_text_of(r, c->sent[i]));
}

/* Those that the answer passed over. */
static void ask_for_missing(struct embed_call *c, size_t told)
{
    struct embed_run *r = c->run;
    for (size_t i = 0; told < c->count && i < c->count && r->state == EMBED_RUNNING; i++) {
        struct embed_text *t = &r->texts[c->sent[i]];
        if (!t->is_over && !t->was_asked_again)
            t->was_asked_again = true;
        else if (!t->is_over && c->count == 1)
            text_refused(r, c->sent[i], "the provider sent no vector for it");
    }
}

static void answered_well(struct embed_run *r, struct embed_call *c)
{
    const struct provider_endpoint *e = &r->embedder->endpoints[c->endpoint];
    r->endpoints[c->endpoint].failures = 0;
    breaker_success(r->runner->health, e);
    if (c->rate_wait_ms > 0) {
        uint64_t wait = (uint64_t)c->rate_wait_ms;
        breaker_cool(r->runner->health, e,
                     now_ms(r) + (wait < RUN_RETRY_AFTER_MAX_MS ? wait : RUN_RETRY_AFTER_MAX_MS));
    }
    c->is_probe = false;
    if (r->most_calls < r->embedder->format->calls && ++r->answers_in_row >= ANSWERS_FOR_MORE) {
        r->most_calls++;
        r->answers_in_row = 0;
    }
}

static struct buf take_body(struct embed_call *c)
{
    struct buf body = c->body;
    buf_init(&c->body, LIMIT_EMBED_ANSWER);
    return body;
}

/* False: there are no embeddings in it; the call failed after all. */
static bool take_answer(struct embed_call *c)
{
    struct embed_run *r = c->run;
    struct embed_answer answer;
    const struct embed_items items = {take_vector, take_bad, c};
    struct buf body = take_body(c); /* a cancel within a callback frees the call's */
    if (!r->dims)
        decide_dims(c, buf_span(&body));
    size_t before = left_in(r, &c->range);
    int rc = embed_read(buf_span(&body), c->count, r->scratch, &items, &answer);
    if (r->state != EMBED_RUNNING) {
        buf_done(&body);
        return true;
    }
    c->body = body;
    size_t after = left_in(r, &c->range);
    if (before == after && (rc < 0 || answer.has_error))
        return false;
    answered_well(r, c);
    count_tokens(c, answer.tokens);
    return true;
}

/* What an answer left open is sent again: together at first, then each alone. */
static void put_back_open(struct embed_call *c)
{
    struct embed_run *r = c->run;
    size_t left = left_in(r, &c->range);
    ask_for_missing(c, c->count - left);
    if (r->state != EMBED_RUNNING)
        return;
    if (!c->range.failures || left < 2) {
        put_back(r, c->range.from, c->range.to, c->range.failures + 1);
        return;
    }
    for (size_t i = c->range.from; i < c->range.to; i++)
        put_back(r, i, i + 1, c->range.failures + 1);
}

/* ---- failures ---- */

static void too_long(struct embed_call *c)
{
    struct embed_run *r = c->run;
    size_t left = left_in(r, &c->range);
    if (left > 1) {
        char message[120];
        snprintf(message, sizeof message, "%zu texts together are too long: sent in halves", left);
        note(r, message);
    }
    if (r->state != EMBED_RUNNING || halve(r, &c->range) || !left)
        return;
    size_t index = c->sent[0];
    struct embed_text *t = &r->texts[index];
    size_t cut = utf8_cut(embed_text_of(r, index), t->len / 2);
    if (cut < EMBED_TEXT_LEAST) {
        text_refused(r, index, c->why);
        return;
    }
    t->len = cut;
    put_back(r, index, index + 1, 0);
}

/* Others may do better; without any the run ends with `code`. */
static void exclude(struct embed_call *c, int code)
{
    struct embed_run *r = c->run;
    r->endpoints[c->endpoint].is_excluded = true;
    r->excluded_code = code;
    put_back(r, c->range.from, c->range.to, 0);
}

static void refused(struct embed_call *c)
{
    struct embed_run *r = c->run;
    if (c->status == 404) /* the model or the address: every text would hear that */
        exclude(c, -ERR_INVALID);
    else if (!halve(r, &c->range))
        text_refused(r, c->sent[0], c->why);
}

static void cool(struct embed_call *c)
{
    struct embed_run *r = c->run;
    struct embed_endpoint *e = &r->endpoints[c->endpoint];
    uint64_t now = now_ms(r);
    e->failures++;
    if (c->retry_after_ms <= 0) {
        e->not_before_ms = now + backoff_ms(r, e->failures);
    } else {
        uint64_t wait = (uint64_t)c->retry_after_ms;
        breaker_cool(r->runner->health, &r->embedder->endpoints[c->endpoint],
                     now + (wait < RUN_RETRY_AFTER_MAX_MS ? wait : RUN_RETRY_AFTER_MAX_MS));
    }
    r->answers_in_row = 0;
}

/* One text, time and again 500, while others get their vectors: that text's own fault. */
static bool is_poison(const struct embed_call *c)
{
    return c->status == 500 && c->run->has_vector && c->range.failures + 1 >= FAILURES_ALONE_MAX;
}

static void ill(struct embed_call *c)
{
    struct embed_run *r = c->run;
    if (breaker_failure(r->runner->health, &r->embedder->endpoints[c->endpoint], now_ms(r)))
        LOG_WARN("providers", "endpoint left out",
                 LOG_S("endpoint", r->embedder->endpoints[c->endpoint].label),
                 LOG_U("for_ms", RUN_COOLDOWN_MS));
    c->is_probe = false;
    cool(c);
    bool is_suspect = c->is_timeout || (c->status == 500 && c->range.failures);
    if (is_suspect && halve(r, &c->range))
        return;
    if (left_in(r, &c->range) == 1 && is_poison(c))
        text_failed(r, c->sent[0], c->why);
    else
        put_back(r, c->range.from, c->range.to, c->range.failures + 1);
}

static void ours(struct embed_call *c)
{
    struct embed_run *r = c->run;
    if (c->code != -ERR_LIMIT) {
        run_over(r, c->code == -ERR_NO_MEMORY ? c->code : -ERR_INVALID, c->why);
        return;
    }
    r->endpoints[c->endpoint].not_before_ms = now_ms(r) + BUSY_WAIT_MS;
    put_back(r, c->range.from, c->range.to, c->range.failures);
}

static void call_failed(struct embed_call *c)
{
    struct embed_run *r = c->run;
    const struct embed_range *g = &c->range;
    metric_add(&metrics[M_FAILED], 1);
    bool is_usual = c->outcome == EMBED_TOO_LONG || c->outcome == EMBED_OLD_FORM ||
                    c->outcome == EMBED_FLOAT; /* found out, not broken */
    LOG_AT(is_usual ? LOG_LEVEL_DEBUG : LOG_LEVEL_WARN, "providers", "embedding failed",
           LOG_S("endpoint", r->embedder->endpoints[c->endpoint].label),
           LOG_S("model", r->embedder->model), LOG_S("why", c->why), LOG_I("status", c->status),
           LOG_U("texts", c->count));
    snprintf(r->last_why, sizeof r->last_why, "%s", c->why);
    if (c->outcome != EMBED_ILL && c->outcome != EMBED_OURS &&
        c->outcome != EMBED_KEY) { /* it answers: healthy */
        breaker_success(r->runner->health, &r->embedder->endpoints[c->endpoint]);
        c->is_probe = false;
    }
    switch (c->outcome) {
    case EMBED_ANSWERED: /* never here */
    case EMBED_ILL:
        ill(c);
        break;
    case EMBED_TOO_LONG:
        too_long(c);
        break;
    case EMBED_REFUSED:
        refused(c);
        break;
    case EMBED_KEY:
        c->is_probe = false;
        IGNORE(breaker_failure(r->runner->health, &r->embedder->endpoints[c->endpoint],
                               now_ms(r))); /* the next run asks another first */
        exclude(c, -ERR_FORBIDDEN);
        break;
    case EMBED_RATE:
        r->most_calls = 1;
        cool(c);
        put_back(r, g->from, g->to, g->failures);
        break;
    case EMBED_OLD_FORM:
        r->form.is_old = true;
        put_back(r, g->from, g->to, 0);
        break;
    case EMBED_FLOAT:
        if (r->form.is_float || r->embedder->is_float) {
            refused(c);
            break;
        }
        r->form.is_float = true;
        put_back(r, g->from, g->to, 0);
        break;
    case EMBED_OURS:
        ours(c);
        break;
    }
}

static void misread(struct embed_call *c)
{
    char words[300];
    enum wire_error_class class = wire_classify(200, buf_span(&c->body), words, sizeof words);
    bool is_said = class != WIRE_ERROR_OTHER && class != WIRE_ERROR_NONE;
    c->outcome = class == WIRE_ERROR_AUTH       ? EMBED_KEY
                 : class == WIRE_ERROR_RATE     ? EMBED_RATE
                 : class == WIRE_ERROR_TOO_LONG ? EMBED_TOO_LONG
                 : class == WIRE_ERROR_INVALID  ? EMBED_REFUSED
                                                : EMBED_ILL;
    snprintf(c->why, sizeof c->why, "the provider's answer holds no embeddings%s%s",
             is_said ? ": " : "", is_said ? words : "");
    wire_mask_target(c->why, &c->run->embedder->endpoints[c->endpoint].target);
}

void embed_call_over(struct embed_call *c)
{
    struct embed_run *r = c->run;
    bool is_answer = c->outcome == EMBED_ANSWERED && take_answer(c);
    if (r->state != EMBED_RUNNING)
        return;
    if (is_answer) {
        put_back_open(c);
    } else {
        if (c->outcome == EMBED_ANSWERED)
            misread(c);
        call_failed(c);
    }
    if (r->state != EMBED_RUNNING)
        return; /* the place was freed with the rest */
    free_call(c);
    tick_later(r);
}

/* ---- interface ---- */

static bool copy_texts(struct embed_run *r, const struct span *texts, size_t count)
{
    size_t all = 0;
    for (size_t i = 0; i < count; i++)
        all += texts[i].len < LIMIT_EMBED_TEXT ? texts[i].len : LIMIT_EMBED_TEXT;
    r->bytes = mem_try(all + 1);
    r->texts = mem_try_array(count, sizeof *r->texts);
    r->queue = mem_try_array(count, sizeof *r->queue);
    r->scratch = mem_try_array(LIMIT_EMBED_DIMS_COUNT, sizeof *r->scratch);
    if (!r->bytes || !r->texts || !r->queue || !r->scratch)
        return false;
    r->count = count;
    for (size_t i = 0, at = 0; i < count; i++) {
        size_t len = utf8_cut(texts[i], LIMIT_EMBED_TEXT);
        if (len)
            memcpy(r->bytes + at, texts[i].ptr, len);
        r->texts[i] = (struct embed_text){.at = at, .len = len};
        at += len;
    }
    return true;
}

/* Some refuse a whole batch for an empty text. */
static void begin(struct loop_defer *d)
{
    struct embed_run *r = container_of(d, struct embed_run, tick);
    r->tick.run = on_tick;
    for (size_t i = 0; i < r->count && r->state == EMBED_RUNNING; i++)
        if (!span_trim(embed_text_of(r, i)).len)
            text_failed(r, i, "the text is empty");
    if (r->state == EMBED_RUNNING)
        put_back(r, 0, r->count, 0);
    on_tick(d);
}

static void on_deadline(struct timer *t)
{
    struct embed_run *r = container_of(t, struct embed_run, deadline);
    run_over(r, -ERR_TIMEOUT, r->last_why[0] ? r->last_why : "the embedder did not answer in time");
}

int embed_start(struct runner *runner, struct http_client *http,
                const struct embed_request *request, const struct embed_callbacks *callbacks,
                void *ctx, struct embed_run **ret, struct err *err)
{
    if (!request->count || request->count > LIMIT_EMBED_TEXTS_COUNT)
        return err_set(err, ERR_INVALID, "1 to %d texts can be embedded at a time",
                       LIMIT_EMBED_TEXTS_COUNT);
    struct embed_run *r = mem_try(sizeof *r);
    if (!r || !copy_texts(r, request->texts, request->count)) {
        if (r)
            release(r);
        return err_set(err, ERR_NO_MEMORY, "not enough memory to embed %zu texts", request->count);
    }
    r->runner = runner;
    r->http = http;
    r->loop = loop_current();
    BUG_ON(!r->loop);
    r->embedder = request->embedder;
    r->callbacks = callbacks;
    r->ctx = ctx;
    r->form.purpose = request->purpose;
    r->dims = request->dims;
    r->most_calls = r->embedder->format->calls;
    r->retry_budget_ms =
        request->retry_budget_ms ? request->retry_budget_ms : EMBED_RETRY_BUDGET_MS;
    r->progress_ms = now_ms(r);
    metric_register(metrics, ARRAY_LEN(metrics));
    metric_add(&metrics[M_RUNS], 1);
    if (request->deadline_ms)
        timer_set(r->loop, &r->deadline, request->deadline_ms, on_deadline);
    r->is_tick_due = true;
    r->tick.run = begin;
    loop_defer(r->loop, &r->tick);
    *ret = r;
    return 0;
}

void embed_cancel(struct embed_run *r)
{
    run_over(r, -ERR_CANCELLED, "cancelled");
}
