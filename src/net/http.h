#pragma once
/*
 * HTTP/1.1 (RFC 9110, 9112) server side, as values: what a handler sees of a request and how it answers. The parser
 * (net/http_parse.h) turns bytes into these and knows no socket; the connection (net/server.h) owns the socket.
 * Thread: the loop of the connection.
 */
#include "base/buf.h"
#include "base/err.h"
#include "base/span.h"

#include <sys/uio.h>

struct http_header {
    struct span name, value;
};

enum http_method {
    HTTP_GET_,
    HTTP_HEAD_,
    HTTP_POST_,
    HTTP_PUT_,
    HTTP_DELETE_,
    HTTP_PATCH_,
    HTTP_OPTIONS_,
    HTTP_OTHER_
};
const char *http_method_name(enum http_method m);
/* Bit of a method in a route's allowed set. */
#define HTTP_BIT(m) (1u << (m))

struct http_request {
    enum http_method method;
    struct span target; /* as sent */
    struct span
        path; /* percent-decoded, "/" first ("*" of OPTIONS *); NUL bytes and bad escapes were refused with 400 */
    struct span query; /* raw, without '?' */
    const struct http_header *headers;
    size_t header_count;
    struct span body;     /* complete */
    unsigned minor;       /* HTTP/1.minor */
    bool wants_websocket; /* a valid RFC 6455 upgrade */
};
/* First value of a header (any case), empty when absent (ptr NULL). */
struct span http_header_get(const struct http_request *r, const char *name);
/* True when the comma list of a header holds the token (any case). */
bool http_header_has(const struct http_request *r, const char *name, const char *token);
/*
 * Decoded value of a query parameter ('+' is a space) appended to `out`. False when absent.
 */
bool http_query_get(struct span query, const char *name, struct buf *out);
bool http_percent_decode(struct span in, bool plus_is_space, struct buf *out);
const char *http_reason(int status); /* "Not Found" */

/* Who is on the other side. */
struct http_peer {
    char address[48]; /* "127.0.0.1", "unix" */
    bool is_loopback;
    bool
        is_trusted; /* came through the data directory's socket file: has the rights of the command line */
};
