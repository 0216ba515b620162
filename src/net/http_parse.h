#pragma once
/*
 * HTTP/1.1 request parser: bytes in, one request out; knows no socket. The head is collected
 * (bounded) and checked byte by byte as it arrives, then parsed by llhttp; the body is framed here.
 * Strict where leniency has led to request smuggling: bare CR or LF, folded headers, space before a
 * colon, both lengths, repeated Content-Length, odd chunk sizes and control bytes are refused. The
 * result does not depend on how the bytes were cut into pieces. Bounds: LIMIT_HTTP_TARGET 414,
 * LIMIT_HTTP_HEAD and LIMIT_HTTP_HEADER_COUNT 431, LIMIT_HTTP_BODY 413. Memory exists only while a
 * request is in progress. Thread: owner.
 */
#include "net/http.h"

enum http_parse {
    HTTP_PARSE_MORE,  /* all bytes used, more needed */
    HTTP_PARSE_HEAD,  /* the head is complete and has a body to follow; reported once */
    HTTP_PARSE_DONE,  /* the request is complete; the bytes after `used` belong to the next one */
    HTTP_PARSE_ERROR, /* answer http_parser_status() and close; feeding more repeats it */
};

struct http_parser;
/* NULL when memory is gone. */
struct http_parser *http_parser_new(void) MUST_CHECK;
void http_parser_free(struct http_parser *p);
/* *used is set always: how many bytes of `in` belong to this request. */
enum http_parse http_parser_feed(struct http_parser *p, struct span in, size_t *used);
int http_parser_status(const struct http_parser *p);        /* after ERROR: 400, 413, 414, … */
const char *http_parser_error(const struct http_parser *p); /* what was wrong, for {"detail":…} */
/* Valid after HEAD (without body) and DONE, until http_parser_free. */
const struct http_request *http_parser_request(const struct http_parser *p);
/* The same, for the connection to note what it found (wants_websocket). */
struct http_request *http_parser_edit_request(struct http_parser *p);
bool http_parser_keep_alive(const struct http_parser *p);
bool http_parser_expects_continue(const struct http_parser *p); /* after HEAD */
bool http_parser_has_begun(const struct http_parser *p); /* a byte of a request line was seen */
bool http_parser_has_head(const struct http_parser *p);
