#pragma once
/*
 * HTTP requests to upstreams (model providers, key sets) on one of our loops: libcurl's multi interface driven by libuv's
 * sockets and timers, with its connection pool, HTTP/2, proxies and TLS. Nothing here blocks. One client per loop; requests
 * belong to that loop. The body of an answer is handed over as it arrives and may be paused.
 * Tracing and logs never show header values or bodies. Thread: the client's loop.
 */
#include "base/err.h"
#include "base/span.h"
#include "loop/loop.h"

struct http_client;
struct http_call; /* a request under way; gone after `end` returned or http_call_cancel */

struct http_client_options {
    unsigned max_calls;        /* 0 = LIMIT_HTTP_CALLS_COUNT; past it -ERR_LIMIT */
    unsigned max_per_host;     /* connections; 0 = no bound of its own */
    /*
     * Called with each address a name resolved to, before connecting (redirects too): false refuses it. NULL = all allowed. For
     * servers that fetch URLs of their clients; providers configured by the owner need none.
     */
    bool (*allow_address)(void *ctx, const char *ip);
    void *allow_ctx;
};
int http_client_new(struct loop *loop, const struct http_client_options *options, struct http_client **ret,
                    struct err *err) MUST_CHECK;
/* Cancels what runs (their `end` is not called). On the loop, before it stops. */
void http_client_free(struct http_client *c);

struct http_call_options {
    const char *method;              /* "POST" */
    const char *url;                 /* http or https only; credentials in it are refused */
    const char *const *headers;      /* "Name: value", NULL-terminated; copied */
    struct span body;                /* copied */
    uint64_t connect_timeout_ms;     /* 0 = 10 s */
    uint64_t first_byte_timeout_ms;  /* from start to the first byte of the body; 0 = none */
    uint64_t idle_timeout_ms;        /* between two pieces of the body; not while paused; 0 = none */
    uint64_t total_timeout_ms;       /* 0 = none */
    size_t max_body;                 /* whole answer; past it the call ends with -ERR_TOO_LARGE; 0 = no bound (streams) */
    unsigned max_redirects;          /* 0 = none followed; never from https to http; authorization is not sent to another host */
};

struct http_answer {
    int status;                  /* 0 when no answer came */
    struct span content_type;    /* valid during the callback */
    int64_t retry_after_ms;      /* from Retry-After (seconds or date), or -1 */
    bool is_connect_failure;     /* nothing was sent to the other side: safe to try again */
};

struct http_call_callbacks {
    /* Status and headers are known (after redirects). Optional. */
    void (*head)(void *ctx, const struct http_answer *answer);
    /* A piece of the body. Return false to pause: the piece is kept and given again after http_call_resume. */
    bool (*body)(void *ctx, struct span piece);
    /*
     * The end, once: result 0 (complete, whatever the status), or -ERR_TIMEOUT, -ERR_UNAVAILABLE (connect, DNS, TLS), -ERR_UPSTREAM (cut in the
     * middle), -ERR_TOO_LARGE, -ERR_FORBIDDEN (allow_address); why: for people, no secrets.
     */
    void (*end)(void *ctx, const struct http_answer *answer, int result, const char *why);
};
int http_call_start(struct http_client *c, const struct http_call_options *options,
                    const struct http_call_callbacks *callbacks /* borrowed, static */, void *ctx, struct http_call **ret,
                    struct err *err) MUST_CHECK;
/* Ends it now: the connection is closed at once (the other side sees it), no callback follows. */
void http_call_cancel(struct http_call *call);
void http_call_resume(struct http_call *call);
