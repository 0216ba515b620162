#pragma once
/*
 * Texts → vectors by a model: the embedder that the owner configured, or none. Nothing leaves the
 * machine for embeddings unless --embedder, HEADWATER_EMBEDDER or DEEPWIKI_EMBEDDER_TYPE names one:
 * a chat key alone configures none.
 *
 * One embed_run is a list of texts, sent in batches (the format's count and bytes at most), a few
 * under way at a time:
 *   - A batch refused as too long, or refused for what may be one text of it, is halved until the
 *     text stands alone. A single text that is too long is cut to its first half and sent again,
 *     down to EMBED_TEXT_LEAST; a text that still fails is told alone. The others are not lost.
 *   - A missing, broken (null, not a number, all zero) vector, or one of other dimensions than the
 *     rest, is asked for once more and else fails alone. Unless the request says the dimensions,
 *     most of the first answer decide them.
 *   - Failures that pass (rate, overload, connection) are tried again: another endpoint at once,
 *     the same one after backoff (half of it chance) or when the provider asked for it: Retry-After, its
 *     rate headers, Google's RetryInfo. After a rate limit one request at a time goes out until it
 *     works again. The run gives up when nothing has come for its retry budget.
 *   - A refused key leaves its endpoint out; without another the run stops (-ERR_FORBIDDEN). A
 *     request that is refused for every text (unknown model, wrong dimensions) stops it too
 *     (-ERR_INVALID).
 *   - Health of endpoints is the runner's (breaker.h), kept apart from that of the same provider's
 *     chat: a slow embedder leaves no chat model out.
 * Thread: the loop of the http_client.
 */
#include "net/http_client.h"
#include "providers/registry.h"

#define EMBED_TEXT_LEAST 256 /* bytes */
#define EMBED_RETRY_BUDGET_MS 120000
#define EMBED_CALL_TIMEOUT_MS 120000 /* one request, whole */

struct embedder; /* immutable; owned by the registry */

/* The configured one, or NULL. */
const struct embedder *registry_embedder(const struct registry *r);
/*
 * "openai/text-embedding-3-small/256": what vectors of it are kept under: two embedders with one
 * key make comparable vectors. No secret; less than 256 bytes.
 */
const char *embedder_key(const struct embedder *e);
const char *
embedder_name(const struct embedder *e);          /* for people: "openai text-embedding-3-small" */
unsigned embedder_dims(const struct embedder *e); /* configured; 0 = the model's own */
/* Texts of one run that keep it busy: what its requests under way take together. */
size_t embedder_texts(const struct embedder *e);
/* What it would contact: base addresses without secrets, in order of use; NULL past the last. */
const char *embedder_address(const struct embedder *e, size_t i);

struct runner;
struct embed_run; /* gone when `end` has returned */

enum embed_purpose { EMBED_DOCUMENT, EMBED_QUERY }; /* some models want to know */

struct embed_callbacks {
    /* One text's vector (finite, not all zero), in any order; valid during the call. */
    void (*vector)(void *ctx, size_t index, const float *values, unsigned dims);
    /* One text failed for good; why: for people, no secrets. */
    void (*failed)(void *ctx, size_t index, const char *why);
    /* What is going on, for people: "waiting 20 s: the provider asked for it". Optional. */
    void (*note)(void *ctx, const char *message);
    /*
     * Once, last. 0: every text was told by vector or failed. Otherwise the run stopped, and texts
     * not told may be tried again later: -ERR_UNAVAILABLE (retry budget spent), -ERR_TIMEOUT (the
     * request's deadline), -ERR_FORBIDDEN (key refused), -ERR_INVALID (the embedder refuses every
     * request), -ERR_CANCELLED, -ERR_NO_MEMORY. tokens: the provider's figures where it sends any,
     * else counted.
     */
    void (*end)(void *ctx, int result, const char *why, uint64_t tokens, bool is_estimate);
};

struct embed_request {
    const struct embedder *embedder; /* borrowed */
    const struct span *texts;        /* copied; LIMIT_EMBED_TEXTS_COUNT at most */
    size_t count;
    enum embed_purpose purpose;
    unsigned dims;            /* of the vectors that are there already; 0 = whatever comes */
    uint64_t retry_budget_ms; /* since something last came; 0 = EMBED_RETRY_BUDGET_MS */
    uint64_t deadline_ms;     /* of the whole run, from its start; 0 = none */
};
/*
 * On the client's loop. No callback before it returns. -ERR_INVALID (no text, too many),
 * -ERR_NO_MEMORY; everything else is told by `end`.
 */
int embed_start(struct runner *runner, struct http_client *http,
                const struct embed_request *request,
                const struct embed_callbacks *callbacks /* borrowed, static */, void *ctx,
                struct embed_run **ret, struct err *err) MUST_CHECK;
/* `end` is called with -ERR_CANCELLED before it returns. Fine within a callback, also after end. */
void embed_cancel(struct embed_run *r);
