/*
 * Promises of an embedding run: every text is told once, whatever the provider does; the run slows
 * for rate limits, halves what is too long, repairs vectors, fails over, stops for refused keys.
 * The network is a fake that answers each request by a script of the test; the loop is real.
 */
#include "../cm.h"
#include "base/fault.h"
#include "base/mem.h"
#include "providers/embed_priv.h"
#include "providers/registry_priv.h"

#include <semaphore.h>
#include <stdio.h>

#define TEXTS_MAX 64

struct reply {
    int status, result;
    int64_t retry_after_ms, rate_wait_ms;
    struct buf body;
};

/* Of one request, as the fake sees it. */
struct request {
    const char *url;
    const char *texts[TEXTS_MAX];
    size_t count;
    unsigned nth; /* from 0 */
    bool is_old, is_float;
};

struct bed {
    struct loop *loop;
    struct registry *registry;
    struct runner *runner;
    uint64_t clock_ms;
    void (*script)(struct bed *b, const struct request *q, struct reply *r);
    unsigned requests, most_at_once, at_once, texts_sent;
    char urls[64][80];
    /* what a run told */
    struct embed_run *run;
    struct embed_request request;
    sem_t over;
    unsigned vectors[TEXTS_MAX], failures[TEXTS_MAX], dims[TEXTS_MAX];
    char why_failed[TEXTS_MAX][200], why[400];
    struct buf notes;
    int start_result, result;
    unsigned ends, cancel_at, told;
    uint64_t tokens;
    bool is_estimate;
    struct loop_msg msg;
};

/* ---- the fake client ---- */

struct http_client {
    struct bed *bed;
};
struct http_call {
    struct bed *bed;
    const struct http_call_callbacks *callbacks;
    void *ctx;
    struct reply reply;
    struct timer timer;
    struct loop_defer later;
    bool is_gone;
};

static void free_call(struct loop_defer *d)
{
    struct http_call *c = container_of(d, struct http_call, later);
    buf_done(&c->reply.body);
    mem_free(c);
}

static void play(struct timer *t)
{
    struct http_call *c = container_of(t, struct http_call, timer);
    const struct reply *r = &c->reply;
    struct http_answer a = {.status = r->status,
                            .retry_after_ms = r->retry_after_ms ? r->retry_after_ms : -1,
                            .rate_wait_ms = r->rate_wait_ms};
    c->bed->at_once--;
    if (r->status) {
        c->callbacks->head(c->ctx, &a);
        assert_true(c->callbacks->body(c->ctx, buf_span(&r->body)));
    }
    c->is_gone = true;
    c->callbacks->end(c->ctx, &a, r->result, r->result ? "the fake ended it" : "");
    loop_defer(c->bed->loop, &c->later);
}

static void read_request(const struct http_call_options *o, json_t *body, struct request *q)
{
    static const char *const lists[] = {"input", "requests"};
    q->url = o->url;
    q->is_old = strstr(o->url, "/api/embeddings") != NULL;
    q->is_float = strcmp(json_str(body, "encoding_format", ""), "float") == 0;
    const char *one = json_str(body, "prompt", NULL);
    if (one)
        q->texts[q->count++] = one;
    for (size_t l = 0; l < ARRAY_LEN(lists); l++) {
        size_t i;
        json_t *v;
        json_array_foreach(json_object_get(body, lists[l]), i, v)
        {
            assert_true(q->count < TEXTS_MAX);
            json_t *part =
                json_array_get(json_object_get(json_object_get(v, "content"), "parts"), 0);
            q->texts[q->count++] =
                json_is_string(v) ? json_string_value(v) : json_str(part, "text", "");
        }
    }
}

int http_call_start(struct http_client *client, const struct http_call_options *options,
                    const struct http_call_callbacks *callbacks, void *ctx, struct http_call **ret,
                    struct err *err)
{
    struct bed *b = client->bed;
    struct http_call *c = mem_alloc(sizeof *c);
    *c = (struct http_call){.bed = b, .callbacks = callbacks, .ctx = ctx};
    c->reply = (struct reply){.status = 200, .body = BUF_INIT(1u << 20)};
    c->later.run = free_call;
    struct request q = {.nth = b->requests};
    fault_disarm();
    json_t *body = json_read(options->body, err, NULL);
    assert_non_null(body);
    read_request(options, body, &q);
    if (b->requests < ARRAY_LEN(b->urls))
        snprintf(b->urls[b->requests], sizeof b->urls[0], "%s", options->url);
    b->requests++;
    b->texts_sent += (unsigned)q.count;
    b->script(b, &q, &c->reply);
    json_decref(body);
    if (++b->at_once > b->most_at_once)
        b->most_at_once = b->at_once;
    timer_set(b->loop, &c->timer, 1, play);
    *ret = c;
    return 0;
}

void http_call_cancel(struct http_call *c)
{
    assert_false(c->is_gone);
    c->is_gone = true;
    c->bed->at_once--;
    timer_clear(&c->timer);
    loop_defer(c->bed->loop, &c->later);
}

void http_call_resume(struct http_call *c)
{
    (void)c;
}

/* ---- bed ---- */

static const char *env_of(void *ctx, const char *name)
{
    const char *const *pairs = ctx;
    for (size_t i = 0; pairs[i]; i += 2)
        if (strcmp(pairs[i], name) == 0)
            return pairs[i + 1];
    return NULL;
}
static uint64_t bed_random(void *ctx)
{
    (void)ctx;
    return 0;
}
static uint64_t bed_now(void *ctx)
{
    struct bed *b = ctx;
    return b->clock_ms ? b->clock_ms : loop_now_ms(b->loop);
}

#define OPENAI ((const char *const[]){"OPENAI_API_KEY", "sk-one-secret", NULL})
#define TWO_KEYS                                                                               \
    ((const char *const[]){"OPENAI_API_KEY", "sk-one-secret,sk-two-secret", "OPENAI_BASE_URL", \
                           "http://one,http://two", NULL})
#define OLLAMA ((const char *const[]){"OLLAMA_HOST", "http://ollama", NULL})

static void bed_up(struct bed *b, const char *const *env, const char *embedder)
{
    struct err err = {0};
    *b = (struct bed){.notes = BUF_INIT(1u << 16)};
    const struct registry_options o = {
        .env = env_of, .env_ctx = (void *)(uintptr_t)env, .embedder = embedder};
    assert_int_equal(registry_new(&o, &b->registry, &err), 0);
    assert_int_equal(loop_new("test", &b->loop, &err), 0);
    assert_int_equal(loop_start(b->loop, &err), 0);
    assert_int_equal(runner_new(&b->runner, &err), 0);
    runner_set_sources(b->runner, &(struct runner_sources){bed_random, bed_now, NULL, b});
}

static void bed_down(struct bed *b)
{
    loop_stop(b->loop);
    loop_free(b->loop);
    runner_free(b->runner);
    registry_free(b->registry);
    buf_done(&b->notes);
    assert_int_equal(b->at_once, 0);
}

static void told_one(struct bed *b)
{
    if (++b->told == b->cancel_at)
        embed_cancel(b->run);
}
static void on_vector(void *ctx, size_t index, const float *values, unsigned dims)
{
    struct bed *b = ctx;
    (void)values;
    b->vectors[index]++;
    b->dims[index] = dims;
    told_one(b);
}
static void on_failed(void *ctx, size_t index, const char *why)
{
    struct bed *b = ctx;
    b->failures[index]++;
    snprintf(b->why_failed[index], sizeof b->why_failed[0], "%s", why);
    told_one(b);
}
static void on_note(void *ctx, const char *message)
{
    struct bed *b = ctx;
    buf_printf(&b->notes, "[%s]", message);
}
static void on_end(void *ctx, int result, const char *why, uint64_t tokens, bool is_estimate)
{
    struct bed *b = ctx;
    b->ends++;
    b->result = result;
    b->tokens = tokens;
    b->is_estimate = is_estimate;
    snprintf(b->why, sizeof b->why, "%s", why);
    sem_post(&b->over);
}
static const struct embed_callbacks callbacks = {on_vector, on_failed, on_note, on_end};

static void start_on_loop(struct loop_msg *m)
{
    struct bed *b = container_of(m, struct bed, msg);
    static struct http_client client;
    struct err err = {0};
    client.bed = b;
    b->start_result = embed_start(b->runner, &client, &b->request, &callbacks, b, &b->run, &err);
    if (b->start_result < 0)
        sem_post(&b->over);
}

/* Runs `count` texts "t0 …" of `len` bytes each. */
static void embed(struct bed *b, size_t count, size_t len,
                  void (*script)(struct bed *, const struct request *, struct reply *))
{
    struct span texts[TEXTS_MAX];
    char *bytes = mem_alloc(count * (len + 8));
    for (size_t i = 0; i < count; i++) {
        char *at = bytes + i * (len + 8);
        memset(at, 'x', len);
        int n = snprintf(at, len, "t%zu ", i);
        at[n] = 'y';
        texts[i] = span_of(at, len);
    }
    b->script = script;
    b->request.embedder = registry_embedder(b->registry);
    b->request.texts = texts;
    b->request.count = count;
    b->msg.deliver = start_on_loop;
    sem_init(&b->over, 0, 0);
    loop_post(b->loop, &b->msg);
    sem_wait(&b->over);
    sem_destroy(&b->over);
    mem_free(bytes);
}

/* Each text once: told by vector or by failure. */
static void check_all(const struct bed *b, size_t count, int result)
{
    if (b->result != result)
        fail_msg("result %d, not %d: %s", b->result, result, b->why);
    assert_int_equal(b->ends, 1);
    for (size_t i = 0; i < count && result == 0; i++)
        if (b->vectors[i] + b->failures[i] != 1)
            fail_msg("text %zu: %u vectors, %u failures", i, b->vectors[i], b->failures[i]);
    assert_null(strstr(b->why, "secret"));
    assert_null(strstr(buf_str(&b->notes), "secret"));
}

/* ---- replies ---- */

static void good_of(const struct request *q, struct reply *r, unsigned dims, size_t odd)
{
    bool is_ollama = strstr(q->url, "/api/") != NULL;
    buf_puts(&r->body, q->is_old   ? "{\"embedding\":"
                       : is_ollama ? "{\"embeddings\":["
                                   : "{\"data\":[");
    for (size_t i = 0; i < q->count; i++) {
        if (i)
            buf_putc(&r->body, ',');
        if (!is_ollama)
            buf_printf(&r->body, "{\"index\":%zu,\"embedding\":", i);
        buf_putc(&r->body, '[');
        for (unsigned d = 0; d < (i == odd ? dims + 1 : dims); d++)
            buf_printf(&r->body, "%s%u.5", d ? "," : "", d);
        buf_puts(&r->body, is_ollama ? "]" : "]}");
    }
    buf_puts(&r->body, q->is_old   ? "}"
                       : is_ollama ? "],\"prompt_eval_count\":3}"
                                   : "],\"usage\":{\"total_tokens\":10}}");
}
static void good(struct bed *b, const struct request *q, struct reply *r)
{
    (void)b;
    good_of(q, r, 3, SIZE_MAX);
}
static void say(struct reply *r, int status, const char *message)
{
    r->status = status;
    buf_printf(&r->body, "{\"error\":{\"message\":\"%s\"}}", message);
}
static size_t bytes_of(const struct request *q)
{
    size_t n = 0;
    for (size_t i = 0; i < q->count; i++)
        n += strlen(q->texts[i]);
    return n;
}

/* ---- promises ---- */

static void embed_sends_batches_and_tells_each_text(void **state)
{
    (void)state;
    struct bed b;
    bed_up(&b, OLLAMA, "ollama:m");
    embed(&b, 40, 30, good);
    check_all(&b, 40, 0);
    assert_int_equal(b.requests, 3); /* 16 + 16 + 8 */
    assert_int_equal(b.most_at_once, 2);
    assert_int_equal(b.tokens, 9);
    assert_false(b.is_estimate);
    bed_down(&b);
    bed_up(&b, OPENAI, "openai");
    embed(&b, 40, 8000, good); /* 256 KiB a request */
    check_all(&b, 40, 0);
    assert_int_equal(b.requests, 2);
    bed_down(&b);
}

static void too_long_script(struct bed *b, const struct request *q, struct reply *r)
{
    (void)b;
    if (bytes_of(q) > 1000)
        say(r, 400, "This model's maximum context length is 250 tokens");
    else
        good_of(q, r, 3, SIZE_MAX);
}
static void embed_halves_what_is_too_long_then_cuts(void **state)
{
    (void)state;
    struct bed b;
    bed_up(&b, OPENAI, "openai");
    embed(&b, 16, 300, too_long_script); /* three fit */
    check_all(&b, 16, 0);
    for (size_t i = 0; i < 16; i++)
        assert_int_equal(b.vectors[i], 1);
    assert_non_null(strstr(buf_str(&b.notes), "sent in halves"));
    bed_down(&b);
    bed_up(&b, OPENAI, "openai");
    embed(&b, 3, 3000, too_long_script); /* each is cut: 3000, 1500, 750 */
    check_all(&b, 3, 0);
    assert_int_equal(b.vectors[1], 1);
    bed_down(&b);
}

static void never_fits(struct bed *b, const struct request *q, struct reply *r)
{
    (void)b;
    if (bytes_of(q) > 1000 || strstr(q->texts[0], "t2 ") ||
        (q->count > 1 && strstr(q->texts[1], "t2 ")))
        say(r, 413, "input is too large to process. increase the physical batch size");
    else
        good_of(q, r, 3, SIZE_MAX);
}
static void embed_tells_a_text_that_never_fits_alone(void **state)
{
    (void)state;
    struct bed b;
    bed_up(&b, OPENAI, "openai");
    embed(&b, 6, 600, never_fits);
    check_all(&b, 6, 0);
    assert_int_equal(b.failures[2], 1);
    assert_non_null(strstr(b.why_failed[2], "too large"));
    assert_int_equal(b.vectors[0] + b.vectors[1] + b.vectors[3] + b.vectors[4] + b.vectors[5], 5);
    bed_down(&b);
}

static void odd_script(struct bed *b, const struct request *q, struct reply *r)
{
    (void)b;
    bool is_t3 = q->count > 3 && strstr(q->texts[3], "t3 ");
    good_of(q, r, 3, is_t3 ? 3 : SIZE_MAX);
}
static void always_odd(struct bed *b, const struct request *q, struct reply *r)
{
    (void)b;
    size_t odd = SIZE_MAX;
    for (size_t i = 0; i < q->count; i++)
        if (strstr(q->texts[i], "t3 "))
            odd = i;
    good_of(q, r, 3, odd);
}
static void embed_repairs_dimensions_or_fails_the_text(void **state)
{
    (void)state;
    struct bed b;
    bed_up(&b, OPENAI, "openai");
    embed(&b, 8, 30, odd_script);
    check_all(&b, 8, 0);
    assert_int_equal(b.vectors[3], 1);
    assert_int_equal(b.dims[3], 3);
    assert_int_equal(b.requests, 2);
    assert_int_equal(b.texts_sent, 9);
    bed_down(&b);
    bed_up(&b, OPENAI, "openai");
    embed(&b, 8, 30, always_odd);
    check_all(&b, 8, 0);
    assert_int_equal(b.failures[3], 1);
    assert_string_equal(b.why_failed[3], "the provider sent 4 dimensions where the others have 3");
    bed_down(&b);
    bed_up(&b, OPENAI, "openai"); /* the vectors that are there have others: nothing will fit */
    b.request.dims = 5;
    embed(&b, 30, 30, good);
    check_all(&b, 30, -ERR_INVALID);
    assert_true(b.requests <= 3);
    bed_down(&b);
}

static void missing_script(struct bed *b, const struct request *q, struct reply *r)
{
    (void)b;
    /* The last two are left out, t1 is null, whenever others come with it; alone it is left out. */
    size_t told = q->count > 2 ? q->count - 2 : q->count;
    buf_puts(&r->body, "{\"data\":[");
    for (size_t i = 0; i < told; i++) {
        bool is_t1 = strstr(q->texts[i], "t1 ") != NULL;
        if (!is_t1 || q->count > 1)
            buf_printf(&r->body, "%s{\"index\":%zu,\"embedding\":%s}", i ? "," : "", i,
                       is_t1 ? "null" : "[1,2,3]");
    }
    buf_puts(&r->body, "]}");
}
static void embed_isolates_missing_and_broken_vectors(void **state)
{
    (void)state;
    struct bed b;
    bed_up(&b, OPENAI, "openai");
    embed(&b, 6, 30, missing_script);
    check_all(&b, 6, 0);
    assert_int_equal(b.failures[1], 1);
    for (size_t i = 0; i < 6; i++)
        if (i != 1)
            assert_int_equal(b.vectors[i], 1);
    bed_down(&b);
}

static void rate_script(struct bed *b, const struct request *q, struct reply *r)
{
    (void)b;
    if (q->nth == 0) {
        say(r, 429, "slow down");
        r->retry_after_ms = 300;
    } else {
        good_of(q, r, 3, SIZE_MAX);
        r->rate_wait_ms = q->nth == 1 ? 200 : 0;
    }
}
static void embed_obeys_rate_limits_and_goes_on(void **state)
{
    (void)state;
    struct bed b;
    bed_up(&b, OLLAMA, "ollama:m");
    embed(&b, 40, 30, rate_script);
    check_all(&b, 40, 0);
    assert_int_equal(b.requests, 4);
    assert_non_null(strstr(buf_str(&b.notes), "the provider asked for it"));
    bed_down(&b);
}

static void rate_forever(struct bed *b, const struct request *q, struct reply *r)
{
    (void)b;
    (void)q;
    say(r, 429, "insufficient_quota for sk-one-secret");
    r->retry_after_ms = 500000;
}
static void embed_gives_up_when_the_budget_is_spent(void **state)
{
    (void)state;
    struct bed b;
    bed_up(&b, OPENAI, "openai");
    embed(&b, 4, 30, rate_forever);
    check_all(&b, 4, -ERR_UNAVAILABLE);
    assert_int_equal(b.requests, 1);
    assert_non_null(strstr(b.why, "asks to wait longer"));
    bed_down(&b);
}

static void key_script(struct bed *b, const struct request *q, struct reply *r)
{
    (void)b;
    if (strstr(q->url, "one"))
        say(r, 401, "Incorrect API key provided: sk-one-secret");
    else
        good_of(q, r, 3, SIZE_MAX);
}
static void no_key_script(struct bed *b, const struct request *q, struct reply *r)
{
    (void)b;
    (void)q;
    say(r, 401, "Incorrect API key provided: sk-one-secret");
}
static void embed_leaves_out_refused_keys_and_stops_without_any(void **state)
{
    (void)state;
    struct bed b;
    bed_up(&b, TWO_KEYS, "openai");
    embed(&b, 4, 30, key_script);
    check_all(&b, 4, 0);
    assert_int_equal(b.requests, 2);
    bed_down(&b);
    bed_up(&b, TWO_KEYS, "openai");
    embed(&b, 4, 30, no_key_script);
    check_all(&b, 4, -ERR_FORBIDDEN);
    assert_int_equal(b.requests, 2);
    assert_non_null(strstr(b.why, "HTTP 401"));
    bed_down(&b);
}

static void overloaded_one(struct bed *b, const struct request *q, struct reply *r)
{
    (void)b;
    if (strstr(q->url, "one"))
        say(r, 503, "overloaded");
    else
        good_of(q, r, 3, SIZE_MAX);
}
static void embed_fails_over_between_endpoints(void **state)
{
    (void)state;
    struct bed b;
    bed_up(&b, TWO_KEYS, "openai");
    embed(&b, 4, 30, overloaded_one);
    check_all(&b, 4, 0);
    assert_true(b.requests <= 4);
    bed_down(&b);
}

static void poison_script(struct bed *b, const struct request *q, struct reply *r)
{
    (void)b;
    for (size_t i = 0; i < q->count; i++)
        if (strstr(q->texts[i], "t5 ")) {
            say(r, 500, "json: unsupported value: NaN");
            return;
        }
    good_of(q, r, 3, SIZE_MAX);
}
static void embed_isolates_a_text_that_the_server_breaks_on(void **state)
{
    (void)state;
    struct bed b;
    bed_up(&b, OLLAMA, "ollama:m");
    embed(&b, 20, 30, poison_script);
    check_all(&b, 20, 0);
    assert_int_equal(b.failures[5], 1);
    assert_non_null(strstr(b.why_failed[5], "NaN"));
    bed_down(&b);
}

static void old_ollama(struct bed *b, const struct request *q, struct reply *r)
{
    (void)b;
    if (q->is_old) {
        assert_int_equal(q->count, 1);
        good_of(q, r, 3, SIZE_MAX);
    } else {
        r->status = 404;
        buf_puts(&r->body, "404 page not found");
    }
}
static void no_model(struct bed *b, const struct request *q, struct reply *r)
{
    (void)b;
    (void)q;
    r->status = 404;
    buf_puts(&r->body, "{\"error\":\"model \\\"m\\\" not found, try pulling it first\"}");
}
static void embed_speaks_ollamas_older_path_and_names_a_missing_model(void **state)
{
    (void)state;
    struct bed b;
    bed_up(&b, OLLAMA, "ollama:m");
    embed(&b, 5, 30, old_ollama);
    check_all(&b, 5, 0);
    assert_int_equal(b.vectors[4], 1);
    assert_true(b.is_estimate);
    bed_down(&b);
    bed_up(&b, OLLAMA, "ollama:m");
    embed(&b, 5, 30, no_model);
    check_all(&b, 5, -ERR_INVALID);
    assert_string_equal(b.why,
                        "Ollama model 'm' not found. Please run 'ollama pull m' to install it.");
    assert_int_equal(b.requests, 1);
    bed_down(&b);
}

static void no_base64(struct bed *b, const struct request *q, struct reply *r)
{
    (void)b;
    if (q->is_float)
        good_of(q, r, 3, SIZE_MAX);
    else
        say(r, 400, "unknown value for encoding_format");
}
static void embed_asks_for_numbers_where_base64_is_unknown(void **state)
{
    (void)state;
    struct bed b;
    bed_up(&b, OPENAI, "openai");
    embed(&b, 5, 30, no_base64);
    check_all(&b, 5, 0);
    assert_int_equal(b.requests, 2);
    bed_down(&b);
}

static void refuses_all(struct bed *b, const struct request *q, struct reply *r)
{
    (void)b;
    (void)q;
    say(r, 400, "dimensions: not supported by this model");
}
static void refuses_t1(struct bed *b, const struct request *q, struct reply *r)
{
    (void)b;
    for (size_t i = 0; i < q->count; i++)
        if (strstr(q->texts[i], "t1 ")) {
            say(r, 400, "the text is not of this world");
            return;
        }
    good_of(q, r, 3, SIZE_MAX);
}
static void embed_tells_one_bad_text_from_a_bad_request(void **state)
{
    (void)state;
    struct bed b;
    bed_up(&b, OPENAI, "openai");
    embed(&b, 64, 30, refuses_all);
    check_all(&b, 64, -ERR_INVALID);
    assert_true(b.requests < 30);
    assert_non_null(strstr(b.why, "dimensions: not supported"));
    bed_down(&b);
    bed_up(&b, OPENAI, "openai");
    embed(&b, 32, 30, refuses_t1);
    check_all(&b, 32, 0);
    assert_int_equal(b.failures[1], 1);
    bed_down(&b);
}

static void says_error_in_200(struct bed *b, const struct request *q, struct reply *r)
{
    (void)b;
    if (q->nth == 0)
        buf_puts(&r->body, "{\"error\":{\"message\":\"Rate limit exceeded\",\"code\":429}}");
    else
        good_of(q, r, 3, SIZE_MAX);
}
static void html(struct bed *b, const struct request *q, struct reply *r)
{
    (void)b;
    (void)q;
    buf_puts(&r->body, "<html>hello</html>");
}
static void embed_reads_errors_in_good_answers(void **state)
{
    (void)state;
    struct bed b;
    bed_up(&b, OPENAI, "openai");
    embed(&b, 4, 30, says_error_in_200);
    check_all(&b, 4, 0);
    bed_down(&b);
    bed_up(&b, OPENAI, "openai");
    b.request.retry_budget_ms = 300;
    embed(&b, 4, 30, html);
    check_all(&b, 4, -ERR_UNAVAILABLE);
    assert_non_null(strstr(b.why, "no embeddings"));
    bed_down(&b);
}

static void unreachable(struct bed *b, const struct request *q, struct reply *r)
{
    (void)b;
    (void)q;
    r->status = 0;
    r->result = -ERR_UNAVAILABLE;
}
static void embed_keeps_its_deadline(void **state)
{
    (void)state;
    struct bed b;
    bed_up(&b, OPENAI, "openai");
    b.request.deadline_ms = 400;
    embed(&b, 1, 30, unreachable);
    check_all(&b, 1, -ERR_TIMEOUT);
    bed_down(&b);
}

static void embed_cancelled_in_a_callback_ends_at_once(void **state)
{
    (void)state;
    for (unsigned at = 1; at <= 8; at++) {
        struct bed b;
        bed_up(&b, OLLAMA, "ollama:m");
        b.cancel_at = at;
        embed(&b, 8, 30, at % 2 ? good : refuses_t1);
        assert_int_equal(b.ends, 1);
        assert_int_equal(b.told, at);
        assert_int_equal(b.result, -ERR_CANCELLED);
        bed_down(&b);
    }
}

static void embed_tells_empty_texts_without_sending_them(void **state)
{
    (void)state;
    struct bed b;
    bed_up(&b, OPENAI, "openai");
    b.script = good;
    struct span texts[] = {SPAN_INIT(" \n"), SPAN_INIT("word"), {NULL, 0}};
    b.request = (struct embed_request){
        .embedder = registry_embedder(b.registry), .texts = texts, .count = 3};
    b.msg.deliver = start_on_loop;
    sem_init(&b.over, 0, 0);
    loop_post(b.loop, &b.msg);
    sem_wait(&b.over);
    check_all(&b, 3, 0);
    assert_int_equal(b.failures[0] + b.failures[2], 2);
    assert_int_equal(b.texts_sent, 1);
    bed_down(&b);
}

static void embed_survives_lack_of_memory(void **state)
{
    (void)state;
    for (uint64_t n = 1; n < 40; n++) {
        struct bed b;
        bed_up(&b, OPENAI, "openai");
        fault_arm(FAULT_ALLOC, n, 0);
        embed(&b, 4, 30, good);
        fault_disarm();
        if (b.start_result == 0)
            assert_true(b.result == 0 || b.result == -ERR_NO_MEMORY);
        else
            assert_int_equal(b.start_result, -ERR_NO_MEMORY);
        bed_down(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(embed_sends_batches_and_tells_each_text),
        cmocka_unit_test(embed_halves_what_is_too_long_then_cuts),
        cmocka_unit_test(embed_tells_a_text_that_never_fits_alone),
        cmocka_unit_test(embed_repairs_dimensions_or_fails_the_text),
        cmocka_unit_test(embed_isolates_missing_and_broken_vectors),
        cmocka_unit_test(embed_obeys_rate_limits_and_goes_on),
        cmocka_unit_test(embed_gives_up_when_the_budget_is_spent),
        cmocka_unit_test(embed_leaves_out_refused_keys_and_stops_without_any),
        cmocka_unit_test(embed_fails_over_between_endpoints),
        cmocka_unit_test(embed_isolates_a_text_that_the_server_breaks_on),
        cmocka_unit_test(embed_speaks_ollamas_older_path_and_names_a_missing_model),
        cmocka_unit_test(embed_asks_for_numbers_where_base64_is_unknown),
        cmocka_unit_test(embed_tells_one_bad_text_from_a_bad_request),
        cmocka_unit_test(embed_reads_errors_in_good_answers),
        cmocka_unit_test(embed_keeps_its_deadline),
        cmocka_unit_test(embed_cancelled_in_a_callback_ends_at_once),
        cmocka_unit_test(embed_tells_empty_texts_without_sending_them),
        cmocka_unit_test(embed_survives_lack_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
