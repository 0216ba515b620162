#pragma once
/*
 * The protocols on top of the engine: each request is decoded, authorised, handed to the engine, and what comes
 * back is encoded. One table of routes (routes.c); one place where stream events become bytes (deliver.c).
 * Contracts: docs/protocol/. Thread: the loop of the connection; blocking engine calls go to a worker (task.h).
 */
#include "engine/engine.h"
#include "net/server.h"

struct api;

struct api_options {
    struct engine *engine; /* borrowed */
    bool enable_echo;      /* WS /v1/echo, for conformance tests */
    int64_t started_ms;    /* wall clock */
};
struct api *api_new(const struct api_options *options);
void api_free(struct api *a);
/* Callbacks for server_new; ctx is the api. */
void api_callbacks(struct api *a, struct server_callbacks *ret);
/* The program is going down: /readyz answers 503 from now on. Thread: any. */
void api_set_draining(struct api *a);
