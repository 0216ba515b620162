#pragma once
/*
 * net/http_client.h without a network: each call plays the next script. The whole script runs at
 * the end of one turn, as far as the reader takes it; a script may leave the call open, so that
 * only a time-out or a cancel ends it.
 */
#include "net/http_client.h"

struct fake_script {
    const char *host;       /* part of the URL that it answers; NULL = any */
    int status;             /* 0: no answer */
    int64_t retry_after_ms; /* 0 = not said */
    const char *pieces[8];
    int result; /* of the end */
    const char *why;
    bool stays_open;
};

/* What happened, for the test to look at afterwards. */
struct fake_http {
    const struct fake_script *scripts;
    size_t count, next;
    unsigned started, cancelled, unexpected;
    char urls[16][64];
    bool is_refusing; /* start fails with -ERR_LIMIT */
};
/* The state behind a client made by fake_http_client. */
struct http_client *fake_http_client(struct loop *loop, struct fake_http *state);
void fake_http_free(struct http_client *c);
