/*
 * A model's answer: the prompt is built on a worker, the run (providers/run.h) lives on a loop, and its text goes through the citation scanner into
 * the stream as it comes.
 *
 *   worker: prompt ──post──► loop: run ──text──► scanner ──► stream ──► end
 *      ▲                                │
 *      └── once more, without context ◄─┘ the provider refused the prompt's length before any text
 *
 * Nothing waits on the loop: what the log cannot take (it is behind) is held, in order, the run is paused, and a timer tries again.
 * engine_stop reaches the loop as a message that owns a reference.
 */
#include "engine/answer_priv.h"

#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"

#include <stdio.h>

#define HELD_MAX (4u << 20)
#define ANSWER_TOKENS_MAX 4096 /* kept free in the model's window for the answer itself */
#define TOO_LARGE_TEXT                                                                            \
    "\nI apologize, but your request is too large for me to process. Please try a shorter query " \
    "or break it into smaller parts."

static void begin(struct loop_msg *m);
static void on_retry(struct timer *t);

/* ---- worker ---- */

static size_t prompt_budget(const struct answer *a)
{
    size_t window = a->model.context_tokens, answer = a->model.max_output_tokens;
    if (!window)
        return 0;
    if (!answer || answer > ANSWER_TOKENS_MAX)
        answer = ANSWER_TOKENS_MAX;
    return window > answer * 2 ? window - answer : window / 2;
}

static void fail_here(struct answer *a, int r, const struct err *err)
{
    answer_emit_usage(a, &a->usage);
    answer_end(a, r, err, "generate", "error", NULL, NULL);
}

void model_generate(struct answer *a)
{
    struct chat_passage *passages;
    struct index_file_view file;
    struct err err = {0};
    if (a->has_prompt)
        prompt_done(&a->prompt);
    a->has_prompt = false;
    size_t budget = prompt_budget(a);
    if (a->without_context && budget > 1)
        budget /= 2;
    int r = answer_prompt(a, !a->without_context, budget, &passages, &file, &a->prompt, &err);
    if (r < 0) {
        fail_here(a, r, &err);
        return;
    }
    a->has_prompt = true;
    mem_free(passages);
    const struct engine_options *o = &a->engine->options;
    a->upstream = &o->upstreams[a->prompt.tokens % o->upstream_count];
    a->begin.deliver = begin;
    atomic_store(&a->is_on_loop, true);
    loop_post(a->upstream->loop, &a->begin);
}

/* ---- loop ---- */

static int hold(struct answer *a, enum stream_event_type type, struct span payload)
{
    uint32_t head[2] = {(uint32_t)type, (uint32_t)payload.len};
    if (!a->held.max)
        buf_init(&a->held, HELD_MAX);
    buf_put(&a->held, head, sizeof head);
    buf_put_span(&a->held, payload);
    if (buf_failed(&a->held))
        return -ERR_LIMIT;
    timer_set(a->upstream->loop, &a->retry, LOOP_TICK_MS, on_retry);
    return 0;
}

int model_put(struct answer *a, enum stream_event_type type, struct span payload)
{
    if (a->held.len)
        return hold(a, type, payload);
    int r = stream_append(a->running.stream, type, payload);
    return r == -ERR_LIMIT ? hold(a, type, payload) : r;
}

/* Moves what is held into the log; what it does not take stays. */
static int flush_held(struct answer *a)
{
    size_t at = 0;
    int r = 0;
    while (at < a->held.len) {
        uint32_t head[2];
        memcpy(head, a->held.ptr + at, sizeof head);
        struct span payload = span_of(a->held.ptr + at + sizeof head, head[1]);
        r = stream_append(a->running.stream, (enum stream_event_type)head[0], payload);
        if (r < 0)
            break;
        at += sizeof head + head[1];
    }
    buf_drop(&a->held, r < 0 && r != -ERR_LIMIT ? a->held.len : at);
    return r;
}

static void done_members(const struct answer *a, struct buf *out)
{
    buf_puts(out, "\"provider\":");
    json_put_string(out, span_str(a->provider));
    buf_puts(out, ",\"model\":");
    json_put_string(out, span_str(a->model.id));
}

static bool may_ask_again(const struct answer *a)
{
    return a->result < 0 && a->error_class == WIRE_ERROR_TOO_LONG && !a->without_context &&
           !answer_is_stopped(a);
}

static void run_again(struct answer *a)
{
    a->without_context = true;
    a->has_ended = false;
    atomic_store(&a->is_on_loop, false);
    emit_status(a->running.stream, "answering", -1,
                "The model could not take so long a prompt; asking again without the passages");
    if (worker_submit(a->engine->options.workers, WORKER_FAST, &a->work) < 0) {
        struct err err;
        err_set(&err, ERR_LIMIT, "too many answers are waiting");
        fail_here(a, -ERR_LIMIT, &err);
    }
}

/* Everything is in the log. */
static void complete(struct answer *a)
{
    struct err err = {0};
    struct buf members = BUF_INIT(2048), text = BUF_INIT(8192);
    int r = a->failed ? a->failed : a->result;
    timer_clear(&a->retry);
    done_members(a, &members);
    if (r < 0) {
        err_set(&err, (enum err_code)(-r), "%s", a->message);
        if (a->error_class == WIRE_ERROR_TOO_LONG)
            buf_puts(&text, TOO_LARGE_TEXT);
        else
            registry_error_text(a->provider, a->message, &text);
    }
    answer_emit_usage(a, &a->usage);
    answer_end(a, r, &err, "generate", a->usage.finish ? a->usage.finish : "stop",
               buf_failed(&members) ? NULL : buf_str(&members), text.len ? buf_str(&text) : NULL);
    buf_done(&members);
    buf_done(&text);
}

static void settle(struct answer *a)
{
    if (a->held.len)
        return; /* on_retry comes back here */
    if (may_ask_again(a))
        run_again(a);
    else
        complete(a);
}

static void on_retry(struct timer *t)
{
    struct answer *a = container_of(t, struct answer, retry);
    int r = flush_held(a);
    if (r < 0 && r != -ERR_LIMIT && !a->failed)
        a->failed = r;
    if (a->failed && a->run) {
        run_cancel(a->run); /* `end` follows before it returns, and `a` may be gone */
        return;
    }
    if (a->held.len)
        timer_set(a->upstream->loop, &a->retry, LOOP_TICK_MS, on_retry);
    else if (a->has_ended)
        settle(a);
    else if (a->run)
        run_resume(a->run);
}

static void give_up(struct answer *a, int r)
{
    if (!a->failed)
        a->failed = r;
    timer_set(a->upstream->loop, &a->retry, 0, on_retry); /* not from inside the run's callback */
}

static bool on_text(void *ctx, struct span text)
{
    struct answer *a = ctx;
    if (a->failed)
        return false;
    int r = cite_feed(&a->cites, text);
    if (r < 0)
        give_up(a, r);
    return r == 0 && !a->held.len;
}

static void put_message_event(struct answer *a, enum stream_event_type type, const char *key,
                              const char *message)
{
    struct buf b = BUF_INIT(4096);
    struct json_writer w = json_writer(&b);
    jw_obj(&w);
    jw_kstr(&w, key, message);
    jw_end_obj(&w);
    int r = buf_failed(&b) ? -ERR_NO_MEMORY : model_put(a, type, buf_span(&b));
    buf_done(&b);
    if (r < 0)
        give_up(a, r);
}

/* The attempt's text is void; the next one begins the answer anew. */
static void on_reset(void *ctx, const char *why)
{
    struct answer *a = ctx;
    cite_init(&a->cites, &a->cite_sink);
    a->cited = 0;
    put_message_event(a, STREAM_RESET, "reason", why);
}

static void on_note(void *ctx, const char *message)
{
    struct answer *a = ctx;
    emit_status(a->running.stream, "answering", -1, "%s", message);
}

static void add_usage(struct chat_usage *sum, const struct chat_usage *more)
{
    sum->prompt_tokens += more->prompt_tokens;
    sum->completion_tokens += more->completion_tokens;
    sum->cached_tokens += more->cached_tokens;
    sum->cache_write_tokens += more->cache_write_tokens;
    sum->reasoning_tokens += more->reasoning_tokens;
    sum->cost += more->cost;
    sum->is_estimate = sum->is_estimate || more->is_estimate;
    sum->finish = more->finish;
}

static void on_end(void *ctx, int result, enum wire_error_class error_class, const char *message,
                   const struct chat_usage *usage)
{
    struct answer *a = ctx;
    a->run = NULL;
    a->result = result;
    a->error_class = error_class;
    snprintf(a->message, sizeof a->message, "%s", message ? message : "");
    add_usage(&a->usage, usage);
    a->has_ended = true;
    int r = a->failed ? 0 : cite_end(&a->cites); /* what the scanner held back is text too */
    if (r < 0 && !a->failed)
        a->failed = r;
    if (a->failed && !a->message[0])
        snprintf(a->message, sizeof a->message, "the answer could not be written (%s)",
                 err_name(a->failed));
    settle(a);
}

static void begin(struct loop_msg *m)
{
    static const struct run_callbacks callbacks = {on_text, on_reset, on_note, on_end};
    struct answer *a = container_of(m, struct answer, begin);
    struct err err = {0};
    struct run_request q = {
        .provider = a->provider,
        .model = a->model,
        .endpoints = a->endpoints,
        .endpoint_count = a->endpoint_count,
        .prompt = buf_span(&a->prompt.text),
    };
    int r = answer_is_stopped(a) ? err_set(&err, ERR_CANCELLED, "stopped")
                                 : run_start(a->engine->options.runner, a->upstream->http, &q,
                                             &callbacks, a, &a->run, &err);
    if (r < 0)
        fail_here(a, r, &err);
}

/* ---- stop ---- */

struct stop_msg {
    struct loop_msg msg;
    struct answer *answer; /* ref */
};

static void on_stop(struct loop_msg *m)
{
    struct stop_msg *s = container_of(m, struct stop_msg, msg);
    if (s->answer->run)
        run_cancel(s->answer->run);
    answer_unref(s->answer);
    mem_free(s);
}

void model_stop(struct answer *a)
{
    if (!atomic_load(&a->is_on_loop))
        return; /* it looks at the stream's flag before it begins */
    struct stop_msg *s = mem_alloc(sizeof *s);
    s->msg.deliver = on_stop;
    s->answer = a;
    atomic_fetch_add(&a->refs, 1);
    loop_post(a->upstream->loop, &s->msg);
}

void model_done(struct answer *a)
{
    if (a->has_prompt)
        prompt_done(&a->prompt);
    buf_done(&a->held);
}
