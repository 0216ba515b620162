#pragma once
/*
 * Reading the JSON of a chat request without holding up the loop: up to LIMIT_JSON_ON_LOOP bytes at
 * once, more on a worker of the FAST lane. What is told about a faulty request is written there too
 * (it repeats parts of it), and what a request has beyond its fields is let go there: freeing
 * millions of values takes as long as reading them. Thread: loop.
 */
#include "api/api_priv.h"
#include "api/validate.h"

enum parse_style {
    PARSE_WS,      /* problem: pydantic's text, without "Error: " */
    PARSE_HTTP,    /* problem: FastAPI's document */
    PARSE_PROBLEM, /* problem: one sentence, for /v1 */
};

struct parsed {
    /*
     * 0; -ERR_INVALID: `problem` says why; -ERR_TOO_LARGE (messages); -ERR_NO_MEMORY; -ERR_LIMIT or
     * -ERR_UNAVAILABLE: the server has too much to do.
     */
    int result;
    struct chat_fields fields; /* when 0 */
    struct buf problem;        /* may be taken */
};

/*
 * `bytes` are read when this returns. is_json false: they are a text, as FastAPI takes a body of
 * another type. `then` runs on the loop of the caller, once: before this returns or later; it
 * borrows *p. ctx must live until then.
 */
void chat_parse(struct api *a, struct loop *loop, struct span bytes, bool is_json,
                enum parse_style style, void (*then)(void *ctx, struct parsed *p), void *ctx);
