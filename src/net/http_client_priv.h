#pragma once
/*
 * Inside of the HTTP client. http_client.c: the loop's side (sockets, timers, handing over); http_client_call.c: one request,
 * its options and curl's callbacks; http_client_head.c: an answer's head and redirects; http_client_why.c: why one failed.
 *
 * curl's callbacks only record, because neither curl nor the loop's lists may be changed below them. What they recorded is
 * handed over by http_client_pump, after curl has returned. Thread: the client's loop.
 */
#include "base/buf.h"
#include "net/http_client.h"

#include <curl/curl.h>

struct http_client {
    struct loop *loop; /* borrowed */
    CURLM *multi;      /* owned */
    uv_timer_t timer;  /* curl's */
    int epoll_fd;      /* owned: the sockets */
    int pace_fd;       /* owned: a timer that ticks every LIMIT_HTTP_PACE_US while is_pacing */
    uv_poll_t ready, pace;
    bool is_pacing;
    unsigned seen_count,
        seen_ticks; /* since the last look at the rate: times a socket was ready, ticks */
    uint64_t seen_from_ns;
    struct list calls, dirty, sockets;
    struct loop_defer pump_later;
    struct http_client_options options;
    char *ca_file; /* owned; options.ca_file */
    unsigned calls_count;
    unsigned handles_open; /* the client is gone with the last */
    bool is_pumping, is_closing;
};

struct http_call {
    struct http_client *client; /* borrowed */
    const struct http_call_callbacks *callbacks;
    void *ctx;
    struct list link, dirty; /* client->calls, client->dirty */
    struct loop_defer free_later;
    struct timer timer;

    /* the request */
    CURL *easy;                 /* owned */
    CURLU *target;              /* owned; of the present hop */
    struct curl_slist *headers; /* owned */
    char *body;                 /* owned */
    size_t body_len;
    char method[16];
    uint64_t connect_ms, first_byte_ms, idle_ms, total_ms;
    size_t max_body;
    unsigned redirects_left, max_redirects;

    /* the present hop */
    uint64_t hop_started_ms;
    size_t head_bytes, body_bytes;
    char *location; /* owned; or NULL */
    int status;
    int64_t retry_after_ms;
    struct http_rate {
        bool is_used_up;
        int64_t reset_ms;
    } rates[2]; /* requests, tokens */
    char content_type[256];
    bool is_added; /* to curl's multi */
    bool is_connected, has_head, is_redirect;
    bool was_address_refused, was_address_allowed;

    /* the whole call */
    uint64_t started_ms, last_piece_ms;
    struct buf pending; /* read, not yet taken */
    bool has_body, is_sent, is_head_told, is_paused, is_curl_paused, was_resumed, is_ended, is_gone;
    int result;
    char why[400];
    char curl_says[CURL_ERROR_SIZE];
};

/* http_client.c */
void http_client_pump(struct http_client *c); /* not below a callback of curl */
void http_call_mark(struct http_call *call);  /* something is to be handed over */
int http_call_add(struct http_call *call);    /* gives it to curl: 0 or -ERR_NO_MEMORY */

/* http_client_call.c */
void http_call_free_parts(struct http_call *call);
int http_call_fill(struct http_call *call, const struct http_call_options *o,
                   struct err *err) MUST_CHECK;
bool http_call_set_request(struct http_call *call); /* method, body and headers into curl */

/* http_client_head.c */
size_t http_call_on_header(char *ptr, size_t size, size_t count, void *call);
int http_target_check(CURLUcode parsed, CURLU *target, const char **ret_why) MUST_CHECK;
/* Follows call->location: 0 when curl has the next request, or the code of why not (said in call->why). */
int http_call_follow(struct http_call *call) MUST_CHECK;

/* http_client_why.c */
/* "https://host:port/path" for people: no credentials, no query. */
void http_call_name(const struct http_call *call, char *ret, size_t size);
void http_call_fail(struct http_call *call, int result, const char *fmt, ...)
    PRINTF(3, 4);                                            /* the first one stays */
void http_call_judge(struct http_call *call, CURLcode code); /* sets result and why */
