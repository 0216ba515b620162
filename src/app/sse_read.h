#pragma once
/*
 * Reads a stream of server-sent events (WHATWG HTML §9.2.6) from pieces cut anywhere. Untrusted bytes:
 * bounded, fuzzed, touches no socket. Thread: owner.
 */
#include "base/buf.h"
#include "base/limits.h"

#define SSE_READ_MAX (LIMIT_STREAM_EVENT + (64u << 10)) /* one line, and one event's data */

struct sse_event {
    struct span type; /* "message" when the stream names none */
    struct span data;
    struct span id; /* the last id seen, also of earlier events */
};

/* Called once an event is complete; spans last for the call. Negative ends the reading with that code. */
typedef int sse_handler(void *ctx, const struct sse_event *event);

struct sse_read {
    struct buf line, data, type, id, next_id;
    uint64_t retry_ms;   /* what the stream asked for; 0 = nothing */
    uint64_t bytes_seen; /* saturates; only its beginning matters, for the byte order mark */
    bool has_data, after_cr;
};

void sse_read_init(struct sse_read *r);
void sse_read_done(struct sse_read *r);
/* A new connection: drops the unfinished event, keeps the last id. */
void sse_read_restart(struct sse_read *r);
/* 0; what the handler returned when negative; -ERR_TOO_LARGE or -ERR_NO_MEMORY (then only done or restart). */
int sse_read_feed(struct sse_read *r, struct span bytes, sse_handler *handler,
                  void *ctx) MUST_CHECK;
