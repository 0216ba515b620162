#pragma once
/* An upstream for tests: a blocking server with a thread for each connection, plain or TLS, that misbehaves as told. */
#include "base/buf.h"

#include <stdatomic.h>

#define UPSTREAM_CONNECTIONS_COUNT 512

struct upstream;
struct upstream_conn {
    struct upstream *server;
    int fd;
    size_t slot;
    void *tls;     /* SSL, or NULL */
    struct buf in; /* read and not yet used */
};

struct upstream {
    /* False: close the connection. head: request line and headers; path: of the request line. */
    bool (*handle)(struct upstream_conn *c, struct span path, struct span head, struct span body);
    char url[64]; /* "http://127.0.0.1:1234", set by upstream_start */
    unsigned port;
    _Atomic int connections, requests, closed_by_peer;
    _Atomic uint64_t closed_at_ms; /* the latest that upstream_wait_closed saw */
    void *tls;                     /* SSL_CTX */
    int listen_fd;
    unsigned long thread;
    struct upstream_threads *threads;
};

void upstream_start(struct upstream *u, bool with_tls);
void upstream_stop(struct upstream *u);
/* The self-signed certificate of a TLS upstream as PEM, into a file made by the caller. */
void upstream_write_certificate(const struct upstream *u, const char *path);

/* False when the peer is gone. */
bool upstream_send(struct upstream_conn *c, struct span bytes);
bool upstream_puts(struct upstream_conn *c, const char *text);
/* Reads until the peer closes, and notes when. */
void upstream_wait_closed(struct upstream_conn *c);
