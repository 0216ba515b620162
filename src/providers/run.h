#pragma once
/*
 * One answer from a model, whatever it takes: picks an endpoint, streams, retries with backoff and Retry-After, fails over between endpoints
 * and keys (cooldown, circuit breaker shared by all runs of a `runner`), keeps the time-outs, counts tokens and money in every ending.
 *
 * Rules:
 *   - Before the first token any retryable failure (connect, 429, 5xx, first-token time-out) tries again: the next endpoint, else the same
 *     after backoff (full jitter, at most RUN_ATTEMPTS_MAX and RUN_RETRY_BUDGET_MS in all, Retry-After obeyed when it fits).
 *   - After the first token a failed attempt may be followed by another only if an endpoint is left; then `reset` is called first: the text so far is
 *     void and the new attempt's text is the answer from its beginning. Without another endpoint the text stays and the run ends with the error.
 *   - WIRE_ERROR_TOO_LONG ends the run at once (the engine asks again without context); AUTH, INVALID, FILTERED are not retried on the same endpoint.
 *   - Usage: the provider's own figures of every attempt that sent any, plus estimates (text/tokens.h) for those that did not: summed; is_estimate when
 *     any part is one. A cancelled run waits for nothing.
 *   - run_cancel closes the provider's connection at once; `end` is called with -ERR_CANCELLED and the usage so far before it returns.
 * Thread: the loop of the http_client.
 */
#include "net/http_client.h"
#include "providers/registry.h"

#define RUN_ATTEMPTS_MAX 5
#define RUN_RETRY_BUDGET_MS 30000
#define RUN_FIRST_TOKEN_TIMEOUT_MS 120000
#define RUN_IDLE_TIMEOUT_MS 60000
#define RUN_COOLDOWN_MS 30000      /* an endpoint that failed RUN_BREAKER_FAILURES times in a row is left out so long, then tried by one run first */
#define RUN_BREAKER_FAILURES 3

struct runner; /* per process: health of endpoints, shared by all loops */
int runner_new(const struct registry *registry, struct runner **ret, struct err *err) MUST_CHECK;
void runner_free(struct runner *r);

struct run;
struct run_callbacks {
    /* Text of the answer. False: hold back (the log is behind); run_resume goes on. */
    bool (*text)(void *ctx, struct span text);
    void (*reset)(void *ctx, const char *why);            /* see above */
    void (*note)(void *ctx, const char *message);          /* progress for people: "waiting 2 s: the provider asked for it" */
    /* Once: 0 (finish "stop", "length", "content_filter"), -ERR_CANCELLED, -ERR_UPSTREAM … with the class and a message for people. */
    void (*end)(void *ctx, int result, enum wire_error_class error_class, const char *message, const struct chat_usage *usage);
};
struct run_request {
    const char *provider;
    struct provider_model model;                 /* copied */
    const struct provider_endpoint *endpoints;   /* borrowed from the registry */
    size_t endpoint_count;
    struct span prompt;                          /* copied */
    uint64_t first_token_timeout_ms, idle_timeout_ms, retry_budget_ms; /* 0 = the defaults above (tests shorten them) */
};
int run_start(struct runner *r, struct http_client *http, const struct run_request *request,
              const struct run_callbacks *callbacks /* static */, void *ctx, struct run **ret, struct err *err) MUST_CHECK;
void run_cancel(struct run *run);
void run_resume(struct run *run);
