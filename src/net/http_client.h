#pragma once
/*
 * HTTP requests to upstreams (model providers, key sets) on one of our loops: libcurl's multi interface driven by libuv's
 * sockets and timers, with its connection pool, HTTP/2, proxies and TLS. Nothing here blocks. One client per loop; requests
 * belong to that loop. The body of an answer is handed over as it arrives and may be paused.
 * Tracing and logs never show header values or bodies. SIGPIPE must be ignored in the process (TLS writes have no flag for
 * it). Proxies come from the environment (https_proxy, no_proxy …). Thread: the client's loop.
 */
#include "base/err.h"
#include "base/span.h"
#include "loop/loop.h"

struct http_client;
struct http_call; /* a request under way; gone after `end` returned or http_call_cancel */

struct http_client_options {
    unsigned max_calls;    /* 0 = LIMIT_HTTP_CALLS_COUNT; past it -ERR_LIMIT */
    unsigned max_per_host; /* connections; 0 = no bound of its own */
    /*
     * Called with each address a name resolved to, before connecting (redirects too): false refuses it. NULL = all allowed. For
     * servers that fetch URLs of their clients; providers configured by the owner need none. With it no proxy is used: a proxy
     * would connect to addresses that nobody asked about. An IPv4 address within IPv6 comes as IPv4. Pure: it must not call
     * the client.
     */
    bool (*allow_address)(void *ctx, const char *ip);
    void *allow_ctx;
    const char *
        ca_file; /* PEM certificates to trust in place of the system's; copied; NULL = the system's */
};
int http_client_new(struct loop *loop, const struct http_client_options *options,
                    struct http_client **ret, struct err *err) MUST_CHECK;
/* Cancels what runs (their `end` is not called). On the loop, before it stops. */
void http_client_free(struct http_client *c);

struct http_call_options {
    const char *method;         /* "POST" */
    const char *url;            /* http or https only; credentials in it are refused */
    const char *const *headers; /* "Name: value", NULL-terminated; copied */
    struct span body;           /* copied */
    uint64_t
        connect_timeout_ms; /* name, connection, TLS, waiting for max_per_host; each redirect anew; 0 = 10 s */
    uint64_t first_byte_timeout_ms; /* from start to the first byte of the body; 0 = none */
    uint64_t idle_timeout_ms;       /* between two pieces of the body; not while paused; 0 = none */
    uint64_t total_timeout_ms;      /* 0 = none */
    size_t
        max_body; /* whole answer; past it the call ends with -ERR_TOO_LARGE; 0 = no bound (streams) */
    /*
     * 0 = none followed: the 3xx is the answer. Past it, from https to http, or to a URL with credentials: -ERR_UPSTREAM.
     * To another scheme, host or port no header goes whose name speaks of a secret (authorization, cookie, …key, …token).
     * 303, and a POST's 301 and 302, go on as GET without the body.
     */
    unsigned max_redirects;
};
/* Timers have the loop's grain (LOOP_TICK_MS), never early. */

struct http_answer {
    int status;               /* 0 when no answer came */
    struct span content_type; /* valid during the callback */
    struct span location;     /* of a 3xx that was not followed, as it came; valid likewise */
    int64_t retry_after_ms;   /* from Retry-After (seconds or date), retry-after-ms, or -1 */
    /*
     * Until there is something left of a rate that this answer used up (x-ratelimit-remaining-… of 0
     * and its x-ratelimit-reset-…), or 0.
     */
    int64_t rate_wait_ms;
    bool is_connect_failure; /* nothing was sent to the other side: safe to try again */
};

struct http_call_callbacks {
    /* Status and headers are known (after redirects). Optional. */
    void (*head)(void *ctx, const struct http_answer *answer);
    /* A piece of the body. Return false to pause: the piece is kept and given again after http_call_resume. */
    bool (*body)(void *ctx, struct span piece);
    /*
     * The end, once, after the last piece was taken (a time-out drops what is not): result 0 (complete, whatever the status), or
     * -ERR_TIMEOUT, -ERR_UNAVAILABLE (connect, DNS, TLS), -ERR_UPSTREAM (cut in the middle, not HTTP, redirects),
     * -ERR_TOO_LARGE (body, or a head past LIMIT_HTTP_HEAD), -ERR_FORBIDDEN (allow_address), -ERR_NO_MEMORY; why: for people,
     * no secrets ("" when 0).
     */
    void (*end)(void *ctx, const struct http_answer *answer, int result, const char *why);
};
/*
 * No callback runs before it returned; each callback may call anything here, also cancel or http_client_free.
 * -ERR_INVALID (URL, method, headers), -ERR_LIMIT (max_calls), -ERR_NO_MEMORY. Content-Length and Transfer-Encoding are
 * written here and refused among the headers; a header without a value is not sent.
 */
int http_call_start(struct http_client *c, const struct http_call_options *options,
                    const struct http_call_callbacks *callbacks /* borrowed, static */, void *ctx,
                    struct http_call **ret, struct err *err) MUST_CHECK;
/*
 * Ends it now: the connection is closed at once (HTTP/2 too: a connection has one stream at a time), so that the other
 * side sees it; no callback follows.
 */
void http_call_cancel(struct http_call *call);
void http_call_resume(struct http_call *call);
