/*
 * States of a run. Callbacks of the connection record what happened (struct attempt); everything
 * below happens in run_tick at the end of the loop's turn, or in the timer.
 *
 *              endpoint free                  first token
 *   READY ───────────────────────▶ ASKING ─────────────────▶ STREAMING
 *    │  ▲                            │                           │
 *    │  │        failed, may go on   │                           │
 *    │  └────────────────────────────┴───────────────────────────┤ (after a reset)
 *    │  only after a wait      due                                │
 *    ├────────────────▶ WAITING ─────▶ ASKING                     │
 *    ▼                     ▼ cancel                               ▼ done, failed for good, cancel
 *   ENDED ◀────────────────┴──────────────────────────────────────┘
 */
#include "providers/run_priv.h"

#include "base/bug.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"

#define BIT(s) (1u << (s))
static const unsigned allowed[RUN_STATES] = {
    [RUN_READY] = BIT(RUN_ASKING) | BIT(RUN_WAITING) | BIT(RUN_ENDED),
    [RUN_ASKING] = BIT(RUN_STREAMING) | BIT(RUN_READY) | BIT(RUN_ENDED),
    [RUN_STREAMING] = BIT(RUN_READY) | BIT(RUN_ENDED),
    [RUN_WAITING] = BIT(RUN_ASKING) | BIT(RUN_ENDED),
    [RUN_ENDED] = 0,
};

/* ---- runner ---- */

static uint64_t real_random(void *ctx)
{
    (void)ctx;
    uint64_t v;
    random_bytes(&v, sizeof v);
    return v;
}
static uint64_t real_now(void *ctx)
{
    (void)ctx;
    return clock_ms();
}
static int64_t real_wall(void *ctx)
{
    (void)ctx;
    return clock_wall_ms();
}

int runner_new(struct runner **ret, struct err *err)
{
    struct runner *r = mem_try(sizeof *r);
    if (!r || breaker_new(RUN_BREAKER_FAILURES, RUN_COOLDOWN_MS, &r->health) < 0) {
        mem_free(r);
        return err_set(err, ERR_NO_MEMORY, "cannot start asking models: not enough memory");
    }
    r->sources = (struct runner_sources){real_random, real_now, real_wall, NULL};
    r->limits = (struct runner_limits){RUN_FIRST_TOKEN_TIMEOUT_MS, RUN_IDLE_TIMEOUT_MS,
                                       RUN_RETRY_BUDGET_MS};
    *ret = r;
    return 0;
}

void runner_free(struct runner *r)
{
    if (!r)
        return;
    breaker_free(r->health);
    mem_free(r);
}

void runner_set_sources(struct runner *r, const struct runner_sources *s)
{
    if (s->random)
        r->sources.random = s->random;
    if (s->now_ms)
        r->sources.now_ms = s->now_ms;
    if (s->wall_ms)
        r->sources.wall_ms = s->wall_ms;
    r->sources.ctx = s->ctx;
}

static void override(uint64_t *value, uint64_t wanted)
{
    if (wanted)
        *value = wanted;
}

void runner_set_limits(struct runner *r, const struct runner_limits *limits)
{
    override(&r->limits.first_token_timeout_ms, limits->first_token_timeout_ms);
    override(&r->limits.idle_timeout_ms, limits->idle_timeout_ms);
    override(&r->limits.retry_budget_ms, limits->retry_budget_ms);
}

uint64_t run_now_ms(const struct run *r)
{
    return r->runner->sources.now_ms(r->runner->sources.ctx);
}

/* ---- end ---- */

static void run_release(struct run *r)
{
    attempt_close(r);
    buf_done(&r->now.uncounted);
    buf_done(&r->now.refusal);
    buf_done(&r->held);
    mem_free(r->provider);
    mem_free(r->deployment);
    mem_free(r->params);
    mem_free(r->prompt);
    mem_free(r->tried);
    mem_free(r);
}

void run_set_state(struct run *r, enum run_state to)
{
    BUG_ON(!(allowed[r->state] & BIT(to)));
    r->state = to;
}

static void run_end(struct run *r, int result, enum wire_error_class error_class,
                    const char *message)
{
    if (r->state == RUN_ASKING || r->state == RUN_STREAMING)
        run_count_request(r, result == -ERR_CANCELLED);
    attempt_close(r);
    usage_add_attempt(r);
    if (r->now.is_probe)
        breaker_release(r->runner->health, &r->endpoints[r->now.endpoint]);
    run_set_state(r, RUN_ENDED);
    const char *finish = result == 0                ? (r->now.finish ? r->now.finish : "stop")
                         : result == -ERR_CANCELLED ? "cancelled"
                                                    : "error";
    struct chat_usage usage = usage_total(r, finish);
    run_count_usage(r, &usage);
    run_tick_later(r); /* frees it */
    r->callbacks->end(r->ctx, result, error_class, message, &usage);
}

static void end_with_failure(struct run *r)
{
    const struct failure f = r->last;
    char message[480];
    if (r->attempts > 1)
        snprintf(message, sizeof message, "%s (after %u attempts)", f.message, r->attempts);
    else
        snprintf(message, sizeof message, "%s", f.message);
    run_end(r, f.code, f.error_class, message);
}

/* ---- choice of the next attempt ---- */

struct choice {
    size_t endpoint;
    uint64_t delay_ms;
    bool is_found, is_probe, is_asked; /* is_asked: the wait is the provider's wish */
    bool is_any_out;
    uint64_t out_ms;     /* shortest time until an endpoint that is left out may be probed: … */
    size_t out_endpoint; /* … this one */
};

static void consider_fresh(struct run *r, size_t i, struct choice *c)
{
    uint64_t wait = 0;
    enum breaker_verdict v =
        breaker_ask(r->runner->health, &r->endpoints[i], BREAKER_NEWCOMER, run_now_ms(r), &wait);
    if (v == BREAKER_OUT) {
        if (!c->is_any_out || wait < c->out_ms) {
            c->out_ms = wait;
            c->out_endpoint = i;
        }
        c->is_any_out = true;
    } else if (v == BREAKER_GO || v == BREAKER_PROBE) {
        *c = (struct choice){.endpoint = i, .is_found = true, .is_probe = v == BREAKER_PROBE};
    } else if (!c->is_found || wait < c->delay_ms) {
        c->endpoint = i;
        c->delay_ms = wait;
        c->is_found = c->is_asked = true;
    }
}

/*
 * An endpoint not tried yet that can be asked at once, or else the one that can be asked soonest.
 */
static struct choice choose_fresh(struct run *r)
{
    struct choice c = {0};
    for (size_t i = 0; i < r->endpoint_count; i++) {
        if (r->tried[i].attempts || r->tried[i].is_excluded)
            continue;
        consider_fresh(r, i, &c);
        if (c.is_found && !c.delay_ms)
            break;
    }
    return c;
}

static uint64_t backoff_ms(struct run *r)
{
    uint64_t most = RUN_BACKOFF_FIRST_MS;
    for (unsigned i = 1; i < r->attempts && most < RUN_BACKOFF_MAX_MS; i++)
        most *= 2;
    if (most > RUN_BACKOFF_MAX_MS)
        most = RUN_BACKOFF_MAX_MS;
    return r->runner->sources.random(r->runner->sources.ctx) % (most + 1);
}

static void choose_again(struct run *r, struct choice *c)
{
    uint64_t pause = backoff_ms(r);
    unsigned fewest = RUN_ATTEMPTS_MAX + 1;
    for (size_t i = 0; i < r->endpoint_count; i++) {
        const struct tried *t = &r->tried[i];
        uint64_t wait = 0;
        if (!t->attempts || t->is_excluded)
            continue;
        enum breaker_verdict v =
            breaker_ask(r->runner->health, &r->endpoints[i], BREAKER_INSIDER, run_now_ms(r), &wait);
        uint64_t delay = wait > pause ? wait : pause;
        if (!c->is_found || delay < c->delay_ms || (delay == c->delay_ms && t->attempts < fewest)) {
            c->endpoint = i;
            c->delay_ms = delay;
            c->is_asked = v == BREAKER_COOLING && wait >= pause;
            c->is_found = true;
            fewest = t->attempts;
        }
    }
}

/* ---- actions ---- */

static void count_another(struct run *r, size_t endpoint)
{
    if (r->attempts)
        run_count(r, r->tried[endpoint].attempts ? RUN_M_RETRIES : RUN_M_FAILOVERS, 1);
}

static void start_attempt(struct run *r, size_t endpoint, bool is_probe)
{
    count_another(r, endpoint);
    attempt_start(r, endpoint, is_probe, false);
}

/*
 * Nothing else is left. It opened for everybody's good, but nobody is served by not asking: the
 * breaker only takes care that it is asked less.
 */
static void ask_left_out(struct run *r, size_t endpoint)
{
    uint64_t wait;
    enum breaker_verdict v = breaker_ask(r->runner->health, &r->endpoints[endpoint],
                                         BREAKER_WITHOUT_CHOICE, run_now_ms(r), &wait);
    if (r->attempts_max > r->attempts + RUN_ATTEMPTS_LEFT_OUT)
        r->attempts_max = r->attempts + RUN_ATTEMPTS_LEFT_OUT;
    count_another(r, endpoint);
    attempt_start(r, endpoint, v == BREAKER_PROBE, v == BREAKER_GO);
}

static void on_wait_over(struct timer *t)
{
    struct run *r = container_of(t, struct run, timer);
    start_attempt(r, r->next_endpoint, false);
}

static void wait_for(struct run *r, const struct choice *c)
{
    char note[600];
    snprintf(note, sizeof note, "waiting %.1f s: %s%s", (double)c->delay_ms / 1000,
             c->is_asked ? "the provider asked for it" : r->last.message,
             c->is_asked ? "" : "; then trying again");
    r->next_endpoint = c->endpoint;
    run_set_state(r, RUN_WAITING);
    timer_set(r->loop, &r->timer, c->delay_ms, on_wait_over);
    if (r->callbacks->note)
        r->callbacks->note(r->ctx, note);
}

static void next_attempt(struct run *r)
{
    if (r->attempts >= r->attempts_max) {
        end_with_failure(r);
        return;
    }
    struct choice c = choose_fresh(r);
    if (!c.is_found || c.delay_ms)
        choose_again(r, &c);
    if (c.is_found && !c.delay_ms && !r->tried[c.endpoint].attempts) {
        start_attempt(r, c.endpoint, c.is_probe);
        return;
    }
    uint64_t spent = run_now_ms(r) - r->began_ms;
    if (c.is_found && spent + c.delay_ms <= r->retry_budget_ms) {
        wait_for(r, &c);
    } else if (c.is_any_out) {
        ask_left_out(r, c.out_endpoint);
    } else if (r->attempts) {
        if (c.is_found && c.is_asked) {
            size_t n = strlen(r->last.message);
            snprintf(r->last.message + n, sizeof r->last.message - n, "; it asks to wait %.0f s",
                     (double)c.delay_ms / 1000);
        }
        end_with_failure(r);
    } else {
        char message[200];
        snprintf(message, sizeof message, "%s asks to wait %.0f s before the next request",
                 r->provider, (double)c.delay_ms / 1000);
        run_end(r, -ERR_UPSTREAM, WIRE_ERROR_RATE, message);
    }
}

static void note_failure(struct run *r)
{
    struct attempt *a = &r->now;
    const struct provider_endpoint *e = &r->endpoints[a->endpoint];
    struct failure *f = &a->failure;
    uint64_t now = run_now_ms(r);
    LOG_WARN("providers", "attempt failed", LOG_S("endpoint", e->label),
             LOG_S("model", r->model.id), LOG_S("why", f->message), LOG_I("status", a->status),
             LOG_U("attempt", r->attempts));
    if (f->is_illness) {
        if (breaker_failure(r->runner->health, e, now)) {
            run_count(r, RUN_M_LEFT_OUT, 1);
            LOG_WARN("providers", "endpoint left out", LOG_S("endpoint", e->label),
                     LOG_U("for_ms", RUN_COOLDOWN_MS));
        }
    } else if (a->status) {
        breaker_success(r->runner->health, e); /* it answered: healthy, if unwilling */
    } else if (a->is_probe) {
        breaker_release(r->runner->health, e);
    }
    a->is_probe = false;
    if (f->retry_after_ms > 0) {
        uint64_t wait = (uint64_t)f->retry_after_ms;
        breaker_cool(r->runner->health, e,
                     now + (wait < RUN_RETRY_AFTER_MAX_MS ? wait : RUN_RETRY_AFTER_MAX_MS));
    }
    if (!f->is_again)
        r->tried[a->endpoint].is_excluded = true;
}

/* After the first token: only where the answer can begin anew at once. */
static void begin_anew(struct run *r)
{
    struct choice c = {0};
    if (r->last.error_class != WIRE_ERROR_FILTERED && r->attempts < r->attempts_max)
        c = choose_fresh(r);
    if (!c.is_found || c.delay_ms) {
        end_with_failure(r);
        return;
    }
    run_count(r, RUN_M_RESETS, 1);
    r->has_text = false;
    run_set_state(r, RUN_READY);
    r->now.endpoint = c.endpoint;
    r->now.is_probe = c.is_probe; /* a cancel inside reset gives it back */
    if (r->callbacks->reset)
        r->callbacks->reset(r->ctx, r->last.message);
    if (r->state != RUN_ENDED)
        start_attempt(r, c.endpoint, c.is_probe);
}

static void attempt_over(struct run *r)
{
    struct attempt *a = &r->now;
    run_count_request(r, false);
    attempt_close(r);
    if (a->failure.code == 0) {
        breaker_success(r->runner->health, &r->endpoints[a->endpoint]);
        a->is_probe = false;
        run_end(r, 0, WIRE_ERROR_NONE, "");
        return;
    }
    note_failure(r);
    usage_add_attempt(r);
    buf_done(&a->uncounted);
    r->last = a->failure;
    if (r->last.error_class == WIRE_ERROR_TOO_LONG || r->last.code == -ERR_NO_MEMORY) {
        end_with_failure(r);
    } else if (r->has_text) {
        begin_anew(r);
    } else {
        run_set_state(r, RUN_READY);
        next_attempt(r);
    }
}

static void run_tick(struct loop_defer *d)
{
    struct run *r = container_of(d, struct run, tick);
    r->is_tick_due = false;
    if (r->state == RUN_ENDED)
        run_release(r);
    else if (r->state == RUN_READY)
        next_attempt(r);
    else if (r->now.is_over && !r->is_paused)
        attempt_over(r);
    else if (r->now.is_over)
        attempt_close(r); /* held text first; the connection need not wait for that */
}

void run_tick_later(struct run *r)
{
    if (r->is_tick_due)
        return;
    r->is_tick_due = true;
    loop_defer(r->loop, &r->tick);
}

/* ---- interface ---- */

static bool copy_request(struct run *r, const struct run_request *q)
{
    r->model = q->model;
    r->provider = mem_try_strndup(q->provider, strlen(q->provider));
    r->prompt = mem_try_strndup(q->prompt.len ? q->prompt.ptr : "", q->prompt.len);
    r->prompt_len = q->prompt.len;
    r->tried = mem_try_array(q->endpoint_count, sizeof *r->tried);
    if (q->model.params_json)
        r->params = mem_try_strndup(q->model.params_json, strlen(q->model.params_json));
    if (q->model.deployment)
        r->deployment = mem_try_strndup(q->model.deployment, strlen(q->model.deployment));
    r->model.params_json = r->params;
    r->model.deployment = r->deployment;
    return r->provider && r->prompt && r->tried && (r->params || !q->model.params_json) &&
           (r->deployment || !q->model.deployment);
}

int run_start(struct runner *runner, struct http_client *http, const struct run_request *request,
              const struct run_callbacks *callbacks, void *ctx, struct run **ret, struct err *err)
{
    if (!request->endpoint_count || request->endpoint_count > LIMIT_PROVIDER_KEYS_COUNT)
        return err_set(err, ERR_INVALID, "provider '%s' has no endpoint that could be asked",
                       request->provider);
    struct run *r = mem_try(sizeof *r);
    if (!r)
        return err_set(err, ERR_NO_MEMORY, "not enough memory to ask %s", request->provider);
    if (!copy_request(r, request)) {
        run_release(r);
        return err_set(err, ERR_NO_MEMORY, "not enough memory to ask %s", request->provider);
    }
    r->runner = runner;
    r->http = http;
    r->loop = loop_current();
    BUG_ON(!r->loop);
    r->callbacks = callbacks;
    r->ctx = ctx;
    r->endpoints = request->endpoints;
    r->endpoint_count = request->endpoint_count;
    r->first_token_timeout_ms = runner->limits.first_token_timeout_ms;
    r->idle_timeout_ms = runner->limits.idle_timeout_ms;
    r->retry_budget_ms = runner->limits.retry_budget_ms;
    override(&r->first_token_timeout_ms, request->first_token_timeout_ms);
    override(&r->idle_timeout_ms, request->idle_timeout_ms);
    override(&r->retry_budget_ms, request->retry_budget_ms);
    r->attempts_max = RUN_ATTEMPTS_MAX;
    r->began_ms = run_now_ms(r);
    buf_init(&r->held, LIMIT_RUN_HELD);
    r->tick.run = run_tick;
    r->state = RUN_READY;
    r->metrics = run_metrics_of(r->provider);
    run_count(r, RUN_M_RUNS, 1);
    run_tick_later(r);
    *ret = r;
    return 0;
}

void run_cancel(struct run *r)
{
    if (r->state != RUN_ENDED)
        run_end(r, -ERR_CANCELLED, WIRE_ERROR_NONE, "cancelled");
}

void run_resume(struct run *r)
{
    if (r->state != RUN_ENDED && r->is_paused)
        attempt_resume(r);
}
