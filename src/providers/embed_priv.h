#pragma once
/*
 * The parts of the embedder. Private to src/providers.
 *   embed_config.c  which one is asked for: option, environment, embedder.json
 *   embed_build.c   requests, one function per wire format
 *   embed_read.c    answers: one reader for the shapes of all formats
 *   embed_call.c    one request: sent, read, its failure understood
 *   embed_run.c     decides: batches, halves, waits, endpoints, the end
 */
#include "providers/embed.h"
#include "providers/run_priv.h"
#include "providers/wire_priv.h"

/* ---- configuration ---- */

struct embed_format;
struct embedder {
    const char *type, *model, *key, *name;      /* the registry's, as all strings here */
    const char *deployment;                     /* azure; or NULL */
    const char *before_document, *before_query; /* words that the model wants before a text */
    const char *task_document, *task_query;     /* google */
    const struct embed_format *format;
    unsigned dims;      /* asked for; 0 = the model's own */
    size_t batch_count; /* texts in one request */
    bool is_float;      /* numbers rather than base64 are asked for */
    struct provider_endpoint
        *endpoints; /* owned; own addresses, so that health is apart from chat's */
    size_t endpoint_count;
};

/* ---- requests ---- */

struct embed_form {
    enum embed_purpose purpose;
    bool is_float; /* base64 was refused */
    bool is_old;   /* ollama: /api/embeddings, one text */
};
struct embed_format {
    const char *name;
    size_t batch_count, batch_bytes; /* of one request */
    unsigned calls;                  /* under way */
    int (*build)(const struct embedder *e, const struct wire_target *t, const struct span *texts,
                 size_t count, const struct embed_form *form, struct wire_request *ret,
                 struct err *err);
};
extern const struct embed_format embed_openai, embed_azure, embed_google, embed_ollama,
    embed_bedrock;

/* ---- answers ---- */

struct embed_items {
    /* The vector of the at-th text of the request. */
    void (*vector)(void *ctx, size_t at, const float *values, unsigned dims);
    /* There is something in its place that is none: why, static. */
    void (*bad)(void *ctx, size_t at, const char *why);
    void *ctx;
};
struct embed_answer {
    uint64_t tokens; /* 0 = not said */
    bool has_error;  /* a 2xx answer that is an error */
};
/*
 * Reads a whole 2xx body of any format: OpenAI's data[].embedding (numbers or base64 of
 * little-endian float32, by index), Google's embeddings[].values, Ollama's embeddings[][] and
 * embedding[], Titan's embedding[]. Items past `expected` are passed over. `scratch` has
 * LIMIT_EMBED_DIMS_COUNT places. 0, or -ERR_UPSTREAM when it is not JSON of such a shape (items
 * before that place were told).
 */
int embed_read(struct span body, size_t expected, float *scratch, const struct embed_items *items,
               struct embed_answer *ret) MUST_CHECK;
/* Google's RetryInfo in the body of a refusal, in ms; -1 when there is none. */
int64_t embed_retry_delay(struct span body);

/* ---- one request ---- */

struct embed_text {
    size_t at, len; /* in run->bytes; len shrinks when it is cut */
    bool is_over;
    bool was_asked_again; /* for a better vector */
};
/* Texts [from, to) of the run, those of them that are not over. */
struct embed_range {
    size_t from, to;
    unsigned failures; /* in a row, of this range */
};
struct embed_endpoint {
    bool is_excluded, was_asked;
    unsigned failures; /* in a row, of this run */
    uint64_t not_before_ms;
};

enum embed_outcome {
    EMBED_ANSWERED,
    EMBED_TOO_LONG,
    EMBED_REFUSED, /* invalid, filtered: may be one text's fault */
    EMBED_KEY,     /* the endpoint takes our key no more */
    EMBED_RATE,
    EMBED_ILL,      /* overloaded, connection, time-out, no embeddings in the answer */
    EMBED_OURS,     /* not sent: memory, too many requests, configuration */
    EMBED_OLD_FORM, /* ollama knows only the older path */
    EMBED_FLOAT,    /* base64 is not known there */
};
struct embed_call {
    struct embed_run *run;
    struct http_call *http; /* under way, or NULL */
    struct embed_range range;
    size_t *sent; /* owned: index in the run of each text; NULL: the place is free */
    size_t count;
    size_t endpoint;
    bool is_probe, is_old;
    int status;
    struct buf body;
    /* how it ended */
    enum embed_outcome outcome;
    int code; /* of EMBED_OURS */
    bool is_timeout;
    int64_t retry_after_ms; /* -1 = not said */
    int64_t rate_wait_ms;   /* nothing is left of a rate until then; 0 = there is */
    char why[400];
};

enum embed_state { EMBED_RUNNING, EMBED_ENDED };
struct embed_run {
    enum embed_state state;
    struct runner *runner;
    struct http_client *http;
    struct loop *loop;
    const struct embedder *embedder;
    const struct embed_callbacks *callbacks;
    void *ctx;
    char *bytes;              /* owned: all texts */
    struct embed_text *texts; /* owned */
    size_t count;
    struct embed_range *queue; /* owned; a stack of disjoint ranges: at most one per text */
    size_t queued;
    struct embed_call calls[LIMIT_EMBED_CALLS_COUNT];
    unsigned active, most_calls, answers_in_row;
    struct embed_endpoint endpoints[LIMIT_PROVIDER_KEYS_COUNT];
    struct embed_form form;
    unsigned dims;
    float *scratch; /* owned */
    uint64_t retry_budget_ms, progress_ms /* when something last came */;
    uint64_t tokens;
    bool is_estimate, has_vector;
    int excluded_code;      /* why the last endpoint was left out */
    unsigned refused_alone; /* texts that failed alone before any vector came */
    char last_why[400];
    struct timer wait, deadline;
    struct loop_defer tick;
    bool is_tick_due;
};

struct span embed_text_of(const struct embed_run *r, size_t index);
/*
 * Sends the texts c->sent to c->endpoint. 0; else nothing is under way and c->outcome says why.
 * Afterwards embed_call_over is called once, unless embed_call_close came before.
 */
int embed_call_send(struct embed_call *c) MUST_CHECK;
void embed_call_close(struct embed_call *c);
/* embed_run.c */
void embed_call_over(struct embed_call *c);
