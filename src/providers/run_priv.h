#pragma once
/*
 * The parts of a run: run.c decides (states, endpoints, waits), run_attempt.c does one request
 * (HTTP and wire format, text, time-outs), run_usage.c counts tokens and money, run_metrics.c events. An attempt only records how it ended
 * and asks for a tick; run.c acts at the end of the turn.
 */
#include "base/buf.h"
#include "providers/breaker.h"
#include "providers/run.h"

struct runner {
    struct breaker *health; /* owned */
    struct runner_sources sources;
    struct runner_limits limits; /* none 0 */
};

enum run_state { RUN_READY, RUN_ASKING, RUN_STREAMING, RUN_WAITING, RUN_ENDED, RUN_STATES };

struct failure {
    int code; /* -ERR_X, 0 = none */
    enum wire_error_class error_class;
    bool is_again;   /* the same endpoint may do better later */
    bool is_illness; /* counts against the endpoint's health */
    int64_t retry_after_ms;
    char message[400];
};

/* Tokens: cached and cache_write are part of prompt, reasoning of completion. */
struct figures {
    uint64_t prompt, completion, cached, cache_write, reasoning;
};

/* One request to one endpoint. */
struct attempt {
    size_t endpoint;            /* index */
    struct http_call *call;     /* under way, or NULL */
    struct wire_reader *reader; /* owned */
    bool is_probe, is_left_out; /* its breaker is open */
    bool is_accepted /* 2xx */, is_http_paused, has_finish, is_over;
    bool is_counted; /* in the metrics */
    uint64_t began_ms;
    int status;
    struct buf refusal; /* body of a non-2xx answer */
    struct failure failure;
    const char *finish;
    struct figures figures; /* the provider's */
    bool has_figures;
    struct buf uncounted; /* text since the last estimate */
    uint64_t estimated;   /* tokens of text before that */
    size_t text_bytes;
    uint64_t due_ms; /* of the loop's clock: when it has waited for the other side for too long */
};

struct run {
    enum run_state state;
    struct runner *runner;
    struct http_client *http;
    struct loop *loop;
    const struct run_callbacks *callbacks;
    void *ctx;
    char *provider, *params, *deployment;      /* owned */
    struct provider_model model;               /* strings are the copies above */
    const struct provider_endpoint *endpoints; /* borrowed */
    size_t endpoint_count;
    char *prompt; /* owned */
    size_t prompt_len;
    uint64_t first_token_timeout_ms, idle_timeout_ms, retry_budget_ms;
    uint64_t began_ms;
    struct provider_metrics *metrics; /* borrowed, for ever */
    struct tried {
        unsigned attempts;
        bool is_excluded; /* a failure that the same endpoint would repeat */
    } * tried;            /* owned, per endpoint */
    unsigned attempts, attempts_max;
    size_t next_endpoint; /* the one the wait is for */
    struct attempt now;
    struct failure last;
    bool has_text; /* text that is not void was handed over */
    bool is_paused;
    bool is_feeding; /* the reader is on the stack */
    struct buf held;
    struct figures sum;
    bool is_estimate;
    struct timer timer; /* time-out of the attempt, or the wait between two */
    struct loop_defer tick;
    bool is_tick_due;
};

uint64_t run_now_ms(const struct run *r); /* the runner's clock */
void run_tick_later(struct run *r);
void run_set_state(struct run *r, enum run_state to);

/* Sends the request; a failure is recorded like any other. */
void attempt_start(struct run *r, size_t endpoint, bool is_probe, bool is_left_out);
/* Closes what is open; figures and failure stay. */
void attempt_close(struct run *r);
void attempt_resume(struct run *r);
void attempt_timed_out(struct run *r);
void attempt_fail(struct run *r, int code, enum wire_error_class error_class, bool is_again,
                  const char *message);

/* Text that the model wrote, for an estimate. */
void usage_text(struct attempt *a, struct span text);
/* The provider's figures so far; what they do not say stays. */
void usage_told(struct attempt *a, const struct wire_event *e);
/* Adds an attempt's part to the run's sums, once. */
void usage_add_attempt(struct run *r);
struct chat_usage usage_total(const struct run *r, const char *finish);

enum run_metric {
    RUN_M_RUNS,
    RUN_M_RETRIES,
    RUN_M_FAILOVERS,
    RUN_M_RESETS,
    RUN_M_LEFT_OUT,
    RUN_M_PROMPT,
    RUN_M_CACHED,
    RUN_M_COMPLETION,
    RUN_M_REASONING,
    RUN_M_COST,
    RUN_METRICS
};
enum run_outcome {
    RUN_OUTCOME_OK,
    RUN_OUTCOME_CANCELLED,
    RUN_OUTCOME_AUTH,
    RUN_OUTCOME_RATE,
    RUN_OUTCOME_OVERLOADED,
    RUN_OUTCOME_TOO_LONG,
    RUN_OUTCOME_INVALID,
    RUN_OUTCOME_FILTERED,
    RUN_OUTCOME_TIMEOUT,
    RUN_OUTCOME_UNREACHABLE,
    RUN_OUTCOME_OTHER,
    RUN_OUTCOMES
};
/* Thread: any. */
struct provider_metrics *run_metrics_of(const char *provider);
void run_count(struct run *r, enum run_metric m, int64_t by);
void run_count_first_token(struct run *r, uint64_t ms);
/* How the present attempt ended, once. */
void run_count_request(struct run *r, bool is_cancelled);
void run_count_usage(struct run *r, const struct chat_usage *u);
