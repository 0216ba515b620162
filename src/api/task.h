#pragma once
/*
 * A blocking engine call on behalf of an exchange: runs on a worker of the FAST lane, answers on the loop, and survives the
 * peer leaving in between.
 */
#include "api/api_priv.h"
#include "base/json.h"

struct task {
    struct work work;
    struct loop_msg ended; /* to `loop`, once `call` is done for good */
    struct loop *loop;
    struct index_waiter wait; /* for calls that return ENGINE_WAITS: they are made again after it */
    struct api *api;
    struct exchange *x; /* NULL once the peer has left */
    struct engine_caller who;
    struct buf raw;  /* the request's body as it came, until the worker has read it */
    json_t *body;    /* owned; an object; spans of the parameters point into it; the worker's */
    struct span arg; /* path piece, owned copy */
    char *arg_copy;
    struct buf query;      /* owned copy of the query string */
    struct buf out;        /* the answer's JSON */
    struct stream *stream; /* ref: an answer that is a stream instead */
    bool wants_sse, has_body;
    int result;
    struct err err;
    int (*call)(struct task *t); /* on the worker: fills out or stream; 0, <0 or ENGINE_WAITS */
};

/*
 * Starts `call`; with has_body after the request's body was read as a JSON object, on the worker too (400 when it is none,
 * 413 past LIMIT_TASK_BODY). The answer: a problem document when call failed; the stream (SSE when asked for, else 202 with its
 * address) when it set one; 200 with `out` otherwise.
 */
void task_start(const struct route_call *c, bool has_body, int (*call)(struct task *t));
/* 202 {"stream_id","events_url"} */
void reply_stream_accepted(struct exchange *x, const struct stream *s);
bool wants_event_stream(const struct http_request *r);
