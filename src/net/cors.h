#pragma once
/*
 * Cross-origin headers as DeepWiki's servers send them (upstream with origins "*", the fork with a
 * list). Thread: any.
 */
#include "net/http.h"

struct cors {
    char *origins; /* owned; NULL = no CORS */
    bool is_any;
};
int cors_init(struct cors *c, const char *origins) MUST_CHECK; /* 0 or -ERR_NO_MEMORY */
void cors_done(struct cors *c);
/* Headers of an ordinary answer, as "Name: value\r\n" lines; nothing without an Origin header. */
void cors_put_headers(const struct cors *c, const struct http_request *r, struct buf *out);
bool cors_is_preflight(const struct cors *c, const struct http_request *r);
/* Headers of the answer to a preflight; returns its status, *ret_body its text. */
int cors_preflight(const struct cors *c, const struct http_request *r, struct buf *out,
                   struct buf *ret_body);
