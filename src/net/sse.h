#pragma once
/*
 * Reads server-sent events (HTML standard, §9.2.6) from bytes in any pieces; pure, fuzzed. Used for upstreams and by the
 * command line's client. Thread: owner.
 */
#include "base/buf.h"

struct sse_event {
    struct span event; /* "message" when not said */
    struct span data;  /* lines joined with '\n' */
    struct span id;    /* last id seen, may be empty */
};

struct sse_reader {
    struct buf line, data, event, id;
    bool skip_lf, has_data, started;
    int64_t retry_ms; /* last retry: field, or -1 */
};

/* max_event bounds the data of one event (-ERR_TOO_LARGE). */
void sse_init(struct sse_reader *r, size_t max_event);
void sse_done(struct sse_reader *r);
/* Calls each() for every complete event; a negative return ends with it. 0, -ERR_TOO_LARGE, -ERR_NO_MEMORY (sticky). */
int sse_feed(struct sse_reader *r, struct span bytes, int (*each)(void *ctx, const struct sse_event *e), void *ctx) MUST_CHECK;
