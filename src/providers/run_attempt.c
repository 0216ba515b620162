#include "providers/run_priv.h"

#include "base/clock.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"

static int on_event(void *ctx, const struct wire_event *e);

/* ---- how an attempt ends ---- */

static const struct provider_endpoint *endpoint_of(const struct run *r)
{
    return &r->endpoints[r->now.endpoint];
}

void attempt_fail(struct run *r, int code, enum wire_error_class error_class, bool is_again,
                  const char *message)
{
    struct attempt *a = &r->now;
    if (a->is_over)
        return;
    a->is_over = true;
    a->failure = (struct failure){.code = code,
                                  .error_class = error_class,
                                  .is_again = is_again,
                                  .is_illness = is_again || error_class == WIRE_ERROR_AUTH,
                                  .retry_after_ms = -1};
    char clean[sizeof a->failure.message];
    snprintf(clean, sizeof clean, "%s", message);
    wire_mask_target(clean, &endpoint_of(r)->target);
    memcpy(a->failure.message, clean, sizeof clean);
    run_tick_later(r);
}

static void fail_with_class(struct run *r, enum wire_error_class c, int64_t retry_after_ms,
                            const char *message)
{
    bool is_again = c == WIRE_ERROR_RATE || c == WIRE_ERROR_OVERLOADED;
    attempt_fail(r, -ERR_UPSTREAM, c, is_again, message);
    if (c == WIRE_ERROR_RATE)
        r->now.failure.is_illness = false; /* it answers; it wants less of us */
    r->now.failure.retry_after_ms = retry_after_ms;
}

/* ---- time-outs ---- */

static void on_timer(struct timer *t);

/*
 * A timer that is set for sooner is left, and looks again when it fires: moving it with every token would cost more than
 * the token.
 */
static void arm(struct run *r)
{
    uint64_t now = loop_now_ms(r->loop), due = r->now.due_ms;
    bool is_set = r->timer.link.next;
    if (!is_set || r->timer.due_ms > due)
        timer_set(r->loop, &r->timer, due > now ? due - now : 0, on_timer);
}

static void on_timer(struct timer *t)
{
    struct run *r = container_of(t, struct run, timer);
    if (loop_now_ms(r->loop) < r->now.due_ms)
        arm(r); /* something arrived since it was set */
    else
        attempt_timed_out(r);
}

static uint64_t patience_ms(const struct run *r)
{
    if (r->now.has_finish)
        return RUN_END_TIMEOUT_MS;
    return r->state == RUN_STREAMING ? r->idle_timeout_ms : r->first_token_timeout_ms;
}

static void watch(struct run *r)
{
    if (r->is_paused || r->now.is_over) {
        timer_clear(&r->timer);
        return;
    }
    if (__builtin_add_overflow(loop_now_ms(r->loop), patience_ms(r), &r->now.due_ms))
        r->now.due_ms = UINT64_MAX;
    arm(r);
}

/*
 * The connection has failed us, but perhaps not the answer. True when nothing is left to do: the
 * provider had said how the answer ends, or its last bytes ended the attempt otherwise.
 */
static bool is_settled(struct run *r)
{
    struct attempt *a = &r->now;
    if (!a->is_accepted || !a->reader)
        return false;
    r->is_feeding = true;
    int rc = endpoint_of(r)->format->finish(a->reader, on_event, r);
    r->is_feeding = false;
    if (r->state == RUN_ENDED || a->is_over)
        return true;
    if (rc < 0)
        return false;
    a->is_over = true;
    run_tick_later(r);
    return true;
}

void attempt_timed_out(struct run *r)
{
    char message[128];
    if (is_settled(r))
        return;
    if (r->state == RUN_STREAMING)
        snprintf(message, sizeof message, "the provider stopped in the middle: nothing for %.3g s",
                 (double)r->idle_timeout_ms / 1000);
    else
        snprintf(message, sizeof message, "no first token within %.3g s",
                 (double)r->first_token_timeout_ms / 1000);
    attempt_fail(r, -ERR_TIMEOUT, WIRE_ERROR_OVERLOADED, true, message);
}

/* ---- events of the wire format ---- */

static int hand_over(struct run *r, struct span text)
{
    r->has_text = true;
    if (!r->is_paused) {
        if (!r->callbacks->text(r->ctx, text) && r->state != RUN_ENDED)
            r->is_paused = true;
        return r->state == RUN_ENDED ? -ERR_CANCELLED : 0;
    }
    buf_put_span(&r->held, text);
    if (!buf_failed(&r->held))
        return 0;
    attempt_fail(r, -ERR_NO_MEMORY, WIRE_ERROR_OTHER, false,
                 "the answer came faster than it could be kept");
    return -ERR_NO_MEMORY;
}

static void alive(struct run *r)
{
    if (r->state == RUN_ASKING) {
        run_set_state(r, RUN_STREAMING);
        run_count_first_token(r, run_now_ms(r) - r->now.began_ms);
        if (r->now.is_probe ||
            r->now.is_left_out) /* others are let in now; a cut later counts again */
            breaker_success(r->runner->health, endpoint_of(r));
        r->now.is_probe = r->now.is_left_out = false;
    }
    watch(r);
}

static int take_text(struct run *r, struct span text)
{
    struct attempt *a = &r->now;
    if (!text.len)
        return 0;
    if (text.len > LIMIT_RUN_TEXT - a->text_bytes) { /* no model means to write that much */
        a->finish = "length";
        a->has_finish = a->is_over = true;
        run_tick_later(r);
        return -ERR_TOO_LARGE;
    }
    a->text_bytes += text.len;
    alive(r);
    usage_text(a, text);
    int rc = hand_over(r, text);
    if (r->is_paused)
        timer_clear(&r->timer);
    return rc;
}

static int on_event(void *ctx, const struct wire_event *e)
{
    struct run *r = ctx;
    struct attempt *a = &r->now;
    if (r->state == RUN_ENDED || a->is_over)
        return -ERR_CANCELLED;
    switch (e->type) {
    case WIRE_TEXT:
        return take_text(r, e->text);
    case WIRE_REASONING: /* paid for like text, shown nowhere */
        usage_text(a, e->text);
        alive(r);
        return 0;
    case WIRE_USAGE:
        usage_told(a, e);
        a->has_figures = true;
        return 0;
    case WIRE_FINISH:
        a->finish = e->finish;
        a->has_finish = true;
        watch(r);
        return 0;
    case WIRE_ERROR: {
        char message[sizeof a->failure.message];
        snprintf(message, sizeof message, SPAN_FMT, SPAN_ARG(e->text));
        fail_with_class(r, e->error_class, -1,
                        message[0] ? message : "the provider reported an error");
        return -ERR_UPSTREAM;
    }
    }
    return 0;
}

/* ---- HTTP ---- */

static void on_head(void *ctx, const struct http_answer *answer)
{
    struct run *r = ctx;
    r->now.status = answer->status;
    r->now.is_accepted = answer->status >= 200 && answer->status < 300;
}

static void feed(struct run *r, struct span piece, bool is_end)
{
    struct attempt *a = &r->now;
    const struct wire_format *f = endpoint_of(r)->format;
    r->is_feeding = true;
    int rc = is_end ? f->finish(a->reader, on_event, r) : f->feed(a->reader, piece, on_event, r);
    r->is_feeding = false;
    if (r->state == RUN_ENDED || a->is_over)
        return;
    if (rc < 0 && is_end)
        attempt_fail(r, -ERR_UPSTREAM, WIRE_ERROR_OVERLOADED, true,
                     "the answer was cut off before its end");
    else if (rc == -ERR_NO_MEMORY)
        attempt_fail(r, rc, WIRE_ERROR_OTHER, false, "not enough memory to read the answer");
    else if (rc < 0)
        attempt_fail(r, -ERR_UPSTREAM, WIRE_ERROR_OVERLOADED, true,
                     "the provider sent something that is not an answer in its format");
}

static bool on_body(void *ctx, struct span piece)
{
    struct run *r = ctx;
    struct attempt *a = &r->now;
    if (a->is_over)
        return true;
    if (r->is_paused) {
        a->is_http_paused = true;
        return false;
    }
    if (a->is_accepted)
        feed(r, piece, false);
    else if (a->refusal.len + piece.len <= LIMIT_PROVIDER_ERROR)
        buf_put_span(&a->refusal, piece);
    return true;
}

static void refused(struct run *r, const struct http_answer *answer)
{
    char words[300], message[400];
    enum wire_error_class c = endpoint_of(r)->format->classify(
        answer->status, buf_span(&r->now.refusal), words, sizeof words);
    snprintf(message, sizeof message, "HTTP %d: %s", answer->status, words);
    fail_with_class(r, c, answer->retry_after_ms, message);
}

static void on_end(void *ctx, const struct http_answer *answer, int result, const char *why)
{
    struct run *r = ctx;
    struct attempt *a = &r->now;
    a->call = NULL;
    if (a->is_over)
        return;
    if (result == 0 && a->is_accepted) {
        feed(r, SPAN_NULL, true);
        if (r->state == RUN_ENDED || a->is_over)
            return;
        a->is_over = true;
        run_tick_later(r);
    } else if (answer && answer->status && !a->is_accepted) {
        refused(r, answer);
    } else if (!is_settled(r)) {
        bool was_reached = result == -ERR_UPSTREAM || a->is_accepted;
        attempt_fail(r,
                     was_reached              ? -ERR_UPSTREAM
                     : result == -ERR_TIMEOUT ? result
                                              : -ERR_UNAVAILABLE,
                     WIRE_ERROR_OVERLOADED, result != -ERR_FORBIDDEN,
                     why && *why ? why : "the connection was lost");
    }
    timer_clear(&r->timer);
}

static const struct http_call_callbacks http_callbacks = {on_head, on_body, on_end};

/* ---- one attempt ---- */

static int send_request(struct run *r, const struct wire_request *w, struct err *err)
{
    /* Time-outs are ours: a stream that only sends comments is as stalled as a silent one. */
    const struct http_call_options options = {
        .method = "POST",
        .url = w->url,
        .headers = (const char *const *)w->headers,
        .body = span_of(w->body, w->body_len),
        .connect_timeout_ms = RUN_CONNECT_TIMEOUT_MS,
    };
    return http_call_start(r->http, &options, &http_callbacks, r, &r->now.call, err);
}

static int build_and_send(struct run *r, struct err *err)
{
    const struct provider_endpoint *e = endpoint_of(r);
    struct wire_target target = e->target;
    target.model = r->model.id;
    target.params_json = r->model.params_json;
    if (r->model.deployment)
        target.deployment = r->model.deployment;
    target.wall_ms = r->runner->sources.wall_ms(r->runner->sources.ctx);
    if (e->format->reader_new(&r->now.reader) < 0)
        return err_set(err, ERR_NO_MEMORY, "not enough memory to ask %s", e->label);
    struct wire_request w = {0};
    int rc = e->format->build(&target, span_of(r->prompt, r->prompt_len), true, &w, err);
    if (rc < 0)
        return rc;
    rc = send_request(r, &w, err);
    wire_request_done(&w);
    return rc;
}

void attempt_start(struct run *r, size_t endpoint, bool is_probe, bool is_left_out)
{
    struct attempt *a = &r->now;
    *a = (struct attempt){.endpoint = endpoint,
                          .began_ms = run_now_ms(r),
                          .is_probe = is_probe,
                          .is_left_out = is_left_out,
                          .refusal = BUF_INIT(LIMIT_PROVIDER_ERROR),
                          .uncounted = BUF_INIT(LIMIT_PROVIDER_ERROR)};
    r->attempts++;
    r->tried[endpoint].attempts++;
    run_set_state(r, RUN_ASKING);
    struct err err = {0};
    int rc = build_and_send(r, &err);
    if (rc == 0) {
        watch(r);
        return;
    }
    attempt_fail(r, rc == -ERR_LIMIT ? -ERR_UNAVAILABLE : rc,
                 rc == -ERR_LIMIT       ? WIRE_ERROR_OVERLOADED
                 : rc == -ERR_TOO_LARGE ? WIRE_ERROR_TOO_LONG
                                        : WIRE_ERROR_INVALID,
                 rc == -ERR_LIMIT, err.msg);
    a->failure.is_illness = false; /* ours, not the endpoint's */
}

void attempt_close(struct run *r)
{
    struct attempt *a = &r->now;
    timer_clear(&r->timer);
    if (a->call)
        http_call_cancel(take_ptr(a->call));
    if (a->reader && !r->is_feeding) {
        endpoint_of(r)->format->reader_free(take_ptr(a->reader));
        buf_done(&a->refusal);
    }
}

/* Hands over what was held back, then lets the connection go on. */
void attempt_resume(struct run *r)
{
    struct attempt *a = &r->now;
    r->is_paused = false;
    if (r->held.len) {
        struct buf text = r->held;
        buf_init(&r->held, LIMIT_RUN_HELD);
        bool is_wanted = r->callbacks->text(r->ctx, buf_span(&text));
        buf_done(&text);
        if (r->state == RUN_ENDED)
            return;
        r->is_paused = !is_wanted;
    }
    if (r->is_paused)
        return;
    if (a->is_over) {
        run_tick_later(r);
        return;
    }
    watch(r);
    if (a->is_http_paused && a->call) {
        a->is_http_paused = false;
        http_call_resume(a->call);
    }
}
