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
    struct buf line, data, event;
    struct buf id;      /* of the last complete event */
    struct buf next_id; /* said since; becomes id when its event is complete */
    int failed;         /* sticky code */
    bool skip_lf, has_data, started;
    int64_t retry_ms; /* last retry: field, or -1 */
};

/* Called once an event is complete; spans last for the call, in which the reader must not be touched. */
typedef int sse_handler(void *ctx, const struct sse_event *e);

/* max_event bounds the data of one event and one line's value (-ERR_TOO_LARGE); names and ids: LIMIT_SSE_FIELD. */
void sse_init(struct sse_reader *r, size_t max_event);
void sse_done(struct sse_reader *r);
/* A new connection: drops the unfinished event and any failure, keeps the last id and retry_ms. */
void sse_restart(struct sse_reader *r);
/*
 * Calls each() for every complete event; a negative return ends with it. 0, -ERR_TOO_LARGE, -ERR_NO_MEMORY. A negative result
 * is sticky: later calls return it until sse_restart. What follows the last empty line is never an event.
 */
int sse_feed(struct sse_reader *r, struct span bytes, sse_handler *each, void *ctx) MUST_CHECK;
