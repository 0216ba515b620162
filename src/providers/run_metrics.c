/*
 * Metrics of runs, apart for each provider. The sets are made when a provider is first asked and
 * stay: their number is bounded, and what comes after the last counts as "other".
 */
#include "base/limits.h"
#include "base/lock.h"
#include "base/metric.h"
#include "providers/run_priv.h"

#include <ctype.h>

#define NAME_MAX_BYTES 48
#define LABELS_MAX (NAME_MAX_BYTES + 48)

struct provider_metrics {
    char provider[NAME_MAX_BYTES], labels[LABELS_MAX];
    char outcome_labels[RUN_OUTCOMES][LABELS_MAX];
    struct metric of[RUN_METRICS], outcomes[RUN_OUTCOMES], first_token;
    _Atomic int64_t first_token_buckets[METRIC_BUCKETS];
};

static struct lock sets_lock = LOCK_INIT; /* metric_register is called while it is held */
static struct provider_metrics sets[LIMIT_PROVIDERS_COUNT + 1];
static size_t set_count;

static const struct metric kinds[RUN_METRICS] = {
    [RUN_M_RUNS] = METRIC_COUNTER("headwater_providers_runs_total", "Answers asked from models"),
    [RUN_M_RETRIES] = METRIC_COUNTER("headwater_providers_retries_total",
                                     "Requests to an endpoint that had failed in the same answer"),
    [RUN_M_FAILOVERS] =
        METRIC_COUNTER("headwater_providers_failovers_total",
                       "Requests to another endpoint after one had failed in the same answer"),
    [RUN_M_RESETS] = METRIC_COUNTER("headwater_providers_resets_total",
                                    "Answers begun again elsewhere after their first token"),
    [RUN_M_LEFT_OUT] = METRIC_COUNTER("headwater_providers_endpoints_left_out_total",
                                      "Times an endpoint was left out after repeated failures"),
    [RUN_M_PROMPT] =
        METRIC_COUNTER("headwater_providers_prompt_tokens_total", "Tokens sent to models"),
    [RUN_M_CACHED] = METRIC_COUNTER("headwater_providers_cached_tokens_total",
                                    "Of the tokens sent, those that a provider had in its cache"),
    [RUN_M_COMPLETION] =
        METRIC_COUNTER("headwater_providers_completion_tokens_total", "Tokens that models wrote"),
    [RUN_M_REASONING] = METRIC_COUNTER("headwater_providers_reasoning_tokens_total",
                                       "Of the tokens written, those of thinking"),
    [RUN_M_COST] = METRIC_COUNTER("headwater_providers_cost_microdollars_total",
                                  "Cost by model_pricing.json, in millionths of a US dollar"),
};
static const struct metric outcome_kind =
    METRIC_COUNTER("headwater_providers_requests_total", "Requests to models, by how they ended");

static const char *const outcomes[RUN_OUTCOMES] = {
    [RUN_OUTCOME_OK] = "ok",
    [RUN_OUTCOME_CANCELLED] = "cancelled",
    [RUN_OUTCOME_AUTH] = "auth",
    [RUN_OUTCOME_RATE] = "rate",
    [RUN_OUTCOME_OVERLOADED] = "overloaded",
    [RUN_OUTCOME_TOO_LONG] = "too_long",
    [RUN_OUTCOME_INVALID] = "invalid",
    [RUN_OUTCOME_FILTERED] = "filtered",
    [RUN_OUTCOME_TIMEOUT] = "timeout",
    [RUN_OUTCOME_UNREACHABLE] = "unreachable",
    [RUN_OUTCOME_OTHER] = "other",
};

static void set_fill(struct provider_metrics *s, const char *provider)
{
    snprintf(s->provider, sizeof s->provider, "%s", provider);
    snprintf(s->labels, sizeof s->labels, "provider=\"%s\"", provider);
    for (size_t i = 0; i < RUN_METRICS; i++) {
        s->of[i] = kinds[i];
        s->of[i].labels = s->labels;
    }
    for (size_t i = 0; i < RUN_OUTCOMES; i++) {
        snprintf(s->outcome_labels[i], LABELS_MAX, "provider=\"%s\",outcome=\"%s\"", provider,
                 outcomes[i]);
        s->outcomes[i] = outcome_kind;
        s->outcomes[i].labels = s->outcome_labels[i];
    }
    s->first_token = (struct metric)METRIC_TIMES(
        "headwater_providers_first_token_seconds",
        "From a request to the first text or thinking of its answer", s->first_token_buckets);
    s->first_token.labels = s->labels;
    metric_register(s->of, RUN_METRICS);
    metric_register(s->outcomes, RUN_OUTCOMES);
    metric_register(&s->first_token, 1);
}

struct provider_metrics *run_metrics_of(const char *provider)
{
    char name[NAME_MAX_BYTES]; /* an owner's own name: nothing that would have to be escaped */
    size_t n = 0;
    for (; provider[n] && n < sizeof name - 1; n++)
        name[n] =
            isalnum((unsigned char)provider[n]) || strchr("_.-", provider[n]) ? provider[n] : '_';
    name[n] = 0;
    lock_enter(&sets_lock);
    size_t i = 0;
    while (i < set_count && strcmp(sets[i].provider, name) != 0)
        i++;
    if (i > LIMIT_PROVIDERS_COUNT)
        i = LIMIT_PROVIDERS_COUNT;
    if (i == set_count) {
        set_fill(&sets[i], i < LIMIT_PROVIDERS_COUNT ? name : "other");
        set_count++;
    }
    lock_leave(&sets_lock);
    return &sets[i];
}

void run_count(struct run *r, enum run_metric m, int64_t by)
{
    metric_add(&r->metrics->of[m], by);
}

void run_count_first_token(struct run *r, uint64_t ms)
{
    metric_time(&r->metrics->first_token, ms);
}

static enum run_outcome outcome_of(const struct failure *f)
{
    static const enum run_outcome by_class[] = {
        [WIRE_ERROR_NONE] = RUN_OUTCOME_OTHER,
        [WIRE_ERROR_AUTH] = RUN_OUTCOME_AUTH,
        [WIRE_ERROR_RATE] = RUN_OUTCOME_RATE,
        [WIRE_ERROR_OVERLOADED] = RUN_OUTCOME_OVERLOADED,
        [WIRE_ERROR_TOO_LONG] = RUN_OUTCOME_TOO_LONG,
        [WIRE_ERROR_INVALID] = RUN_OUTCOME_INVALID,
        [WIRE_ERROR_FILTERED] = RUN_OUTCOME_FILTERED,
        [WIRE_ERROR_OTHER] = RUN_OUTCOME_OTHER,
    };
    if (f->code == 0)
        return RUN_OUTCOME_OK;
    if (f->code == -ERR_TIMEOUT)
        return RUN_OUTCOME_TIMEOUT;
    if (f->code == -ERR_UNAVAILABLE)
        return RUN_OUTCOME_UNREACHABLE;
    return by_class[f->error_class];
}

void run_count_request(struct run *r, bool is_cancelled)
{
    struct attempt *a = &r->now;
    if (a->is_counted)
        return;
    a->is_counted = true;
    metric_add(
        &r->metrics->outcomes[is_cancelled ? RUN_OUTCOME_CANCELLED : outcome_of(&a->failure)], 1);
}

void run_count_usage(struct run *r, const struct chat_usage *u)
{
    run_count(r, RUN_M_PROMPT, (int64_t)u->prompt_tokens);
    run_count(r, RUN_M_CACHED, (int64_t)u->cached_tokens);
    run_count(r, RUN_M_COMPLETION, (int64_t)u->completion_tokens);
    run_count(r, RUN_M_REASONING, (int64_t)u->reasoning_tokens);
    run_count(r, RUN_M_COST, (int64_t)(u->cost * 1e6 + 0.5));
}
