#pragma once
/*
 * One answer from a model, whatever it takes: picks an endpoint, streams, retries with backoff and
 * Retry-After, fails over between endpoints and keys (cooldown, circuit breaker shared by all runs
 * of a `runner`), keeps the time-outs, counts tokens and money in every ending.
 *
 * Rules:
 *   - Before the first token a failure (connect, 429, 5xx, first-token time-out, broken answer)
 *     tries again: the next endpoint not tried yet at once; when there is none, one of those tried
 *     after backoff (full jitter; Retry-After obeyed when it fits). At most RUN_ATTEMPTS_MAX
 *     attempts; none on an endpoint already tried later than the retry budget after the start.
 *   - After the first token a failed attempt is followed by another only if an endpoint is left
 *     that was not tried; then `reset` is called first: the text so far is void and the new
 *     attempt's text is the answer from its beginning. Without another endpoint the text stays and
 *     the run ends with the error. A content filter's refusal is never tried elsewhere after the
 *     first token.
 *   - An answer whose end the provider has named is whole, however its connection ends: reset,
 *     silent, or kept open (then for RUN_END_TIMEOUT_MS, in which the connection may be given back).
 *   - WIRE_ERROR_TOO_LONG ends the run at once (the engine asks again without context); AUTH,
 *     INVALID, FILTERED are not retried on the same endpoint.
 *   - Usage: the provider's own figures of every attempt that sent any, plus estimates
 *     (text/tokens.h) for attempts that were accepted (2xx) and did not, or were cut before the
 *     final figures: summed; is_estimate when any part is one. A cancelled run waits for nothing.
 *   - run_cancel closes the provider's connection at once; `end` is called with -ERR_CANCELLED and
 *     the usage so far before it returns.
 *   - An endpoint that failed RUN_BREAKER_FAILURES times in a row is left out for RUN_COOLDOWN_MS
 *     by runs that have another. Then one run probes it. Runs that had tried it before go on within
 *     their budget (breaker.h). A run to which nothing else is left, as with a sole endpoint, asks
 *     it nevertheless, but at most RUN_ATTEMPTS_LEFT_OUT times: an answer that may come is worth
 *     more than a refusal, and an ailing provider is not asked five times by everybody.
 * Messages, also those of the log, never hold secrets of the endpoint. Thread: the loop of the http_client.
 */
#include "net/http_client.h"
#include "providers/registry.h"

#define RUN_ATTEMPTS_MAX 5
#define RUN_ATTEMPTS_LEFT_OUT 2 /* further ones, once only what is left out is left */
#define RUN_RETRY_BUDGET_MS 30000
#define RUN_FIRST_TOKEN_TIMEOUT_MS 120000 /* start of an attempt to its first text or reasoning */
#define RUN_IDLE_TIMEOUT_MS 60000         /* between two of those; not while held back */
#define RUN_END_TIMEOUT_MS 1000           /* from the answer's last event to the end of its body */
#define RUN_CONNECT_TIMEOUT_MS 10000
#define RUN_COOLDOWN_MS 30000
#define RUN_BREAKER_FAILURES 3
#define RUN_BACKOFF_FIRST_MS 500 /* upper end of the first wait, doubled each time … */
#define RUN_BACKOFF_MAX_MS 8000  /* … up to this */
#define RUN_RETRY_AFTER_MAX_MS \
    600000 /* an endpoint is not left alone longer than this, whatever it asks */

struct runner; /* per process: health of endpoints, shared by all loops */
int runner_new(struct runner **ret, struct err *err) MUST_CHECK;
/* When no run is left. */
void runner_free(struct runner *r);

/*
 * Where chance and time come from; tests replace them before the first run. NULL members keep what
 * is there.
 */
struct runner_sources {
    uint64_t (*random)(void *ctx);
    /* Monotonic: budget and cooldown. The waits themselves are the loop's timers. */
    uint64_t (*now_ms)(void *ctx);
    int64_t (*wall_ms)(void *ctx); /* for signatures */
    void *ctx;
};
void runner_set_sources(struct runner *r, const struct runner_sources *sources);

/* The owner's time limits; 0 keeps the default above. */
struct runner_limits {
    uint64_t first_token_timeout_ms, idle_timeout_ms, retry_budget_ms;
};
/* Before the first run. */
void runner_set_limits(struct runner *r, const struct runner_limits *limits);

struct run; /* gone when `end` has returned */
struct run_callbacks {
    /*
     * Text of the answer, taken in any case. False: no more until run_resume (the log is behind).
     */
    bool (*text)(void *ctx, struct span text);
    void (*reset)(void *ctx, const char *why); /* see above; optional only with one endpoint */
    /* Progress for people: "waiting 2 s: the provider asked for it". Optional. */
    void (*note)(void *ctx, const char *message);
    /*
     * Once: 0 (usage->finish "stop", "length", "content_filter"), -ERR_CANCELLED, or the failure:
     * -ERR_UPSTREAM (the provider answered with it, or cut the answer), -ERR_UNAVAILABLE (not
     * reached, or left out), -ERR_TIMEOUT, -ERR_INVALID (request cannot be built), -ERR_NO_MEMORY;
     * with the class and a message for people (usage->finish is then "error" or "cancelled").
     */
    void (*end)(void *ctx, int result, enum wire_error_class error_class, const char *message,
                const struct chat_usage *usage);
};
struct run_request {
    const char *provider;
    struct provider_model model;               /* copied */
    const struct provider_endpoint *endpoints; /* borrowed from the registry, which outlives us */
    size_t endpoint_count;                     /* 1 to LIMIT_PROVIDER_KEYS_COUNT */
    struct span prompt;                        /* copied */
    /* 0 = the runner's. */
    uint64_t first_token_timeout_ms, idle_timeout_ms, retry_budget_ms;
};
/*
 * On the client's loop. No callback before it returns. -ERR_INVALID (no endpoint), -ERR_NO_MEMORY;
 * everything else is told by `end`.
 */
int run_start(struct runner *runner, struct http_client *http, const struct run_request *request,
              const struct run_callbacks *callbacks /* borrowed, static */, void *ctx,
              struct run **ret, struct err *err) MUST_CHECK;
void run_cancel(struct run *r);
/* Fine at any time, also when nothing is held back. */
void run_resume(struct run *r);
