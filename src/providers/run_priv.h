#pragma once
/*
 * The parts of a run: run.c decides (states, endpoints, waits), run_attempt.c does one request
 * (HTTP and wire format, text, time-outs), run_usage.c counts. An attempt only records how it ended
 * and asks for a tick; run.c acts at the end of the turn.
 */
#include "base/buf.h"
#include "providers/breaker.h"
#include "providers/run.h"

struct runner {
    const struct registry *registry; /* borrowed */
    struct breaker *health;          /* owned */
    struct runner_sources sources;
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

/* One request to one endpoint. */
struct attempt {
    size_t endpoint;            /* index */
    struct http_call *call;     /* under way, or NULL */
    struct wire_reader *reader; /* owned */
    bool is_probe, is_accepted /* 2xx */, is_http_paused, has_finish, is_over;
    int status;
    struct buf refusal; /* body of a non-2xx answer */
    struct failure failure;
    const char *finish;
    uint64_t prompt_tokens, completion_tokens; /* the provider's figures */
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
    struct tried {
        unsigned attempts;
        bool is_excluded; /* a failure that the same endpoint would repeat */
    } * tried;            /* owned, per endpoint */
    unsigned attempts;
    size_t next_endpoint; /* the one the wait is for */
    struct attempt now;
    struct failure last;
    bool has_text; /* text that is not void was handed over */
    bool is_paused;
    bool is_feeding; /* the reader is on the stack */
    struct buf held;
    uint64_t prompt_sum, completion_sum;
    bool is_estimate;
    struct timer timer; /* time-out of the attempt, or the wait between two */
    struct loop_defer tick;
    bool is_tick_due;
};

void run_tick_later(struct run *r);
void run_set_state(struct run *r, enum run_state to);

/* Sends the request; a failure is recorded like any other. */
void attempt_start(struct run *r, size_t endpoint, bool is_probe);
/* Closes what is open; figures and failure stay. */
void attempt_close(struct run *r);
void attempt_resume(struct run *r);
void attempt_timed_out(struct run *r);
void attempt_fail(struct run *r, int code, enum wire_error_class error_class, bool is_again,
                  const char *message);

/* Text that the model wrote, for an estimate. */
void usage_text(struct attempt *a, struct span text);
/* Adds an attempt's part to the run's sums, once. */
void usage_add_attempt(struct run *r);
struct chat_usage usage_total(const struct run *r, const char *finish);
