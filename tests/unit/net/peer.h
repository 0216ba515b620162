#pragma once
/* A server on real loops, and a blocking client to talk to it byte by byte. */
#include "../cm.h"
#include "base/clock.h"
#include "base/fault.h"
#include "base/mem.h"
#include "net/server.h"
#include "net/ws_frame.h"

#include <stdatomic.h>

struct fixture {
    struct loop *loops[2];
    size_t loop_count;
    struct server *server;
    unsigned port;
    char unix_path[64];
};
/* Handlers of the test server (peer.c): the paths it serves are listed there. */
void fixture_start(struct fixture *f, const struct server_options *options, size_t loop_count);
void fixture_stop(struct fixture *f);

/* What the handlers saw; reset by fixture_start. */
struct seen {
    _Atomic int detached_completed, detached_lost, aborted, requests, ws_closed, ws_close_code,
        ws_send_failed, trusted;
    _Atomic size_t consumed;
};
extern struct seen seen;
/* Waits up to two seconds for the counter to reach the value. */
void wait_for(_Atomic int *counter, int value);

int peer_connect(const struct fixture *f);
int peer_connect_unix(const struct fixture *f);
void peer_send(int fd, const void *ptr, size_t len);
void peer_puts(int fd, const char *text);
/* Reads until `until` is in the text (NULL: until end of file); fails after five seconds. Appends.
 */
void peer_read(int fd, struct buf *into, const char *until);
void peer_read_bytes(int fd, struct buf *into, size_t total);
bool peer_is_closed(int fd); /* end of file or reset within five seconds */
/* One request, the connection closed by the server after it; the whole answer. */
void peer_ask(const struct fixture *f, const char *request, struct buf *answer);

/* WebSocket side of the client. */
int peer_ws_open(const struct fixture *f, const char *path);
void peer_ws_send(int fd, int first_byte, const void *ptr, size_t len); /* masked */
/* One server frame; returns the first byte, payload in `into` (cleared). -1 at end of file. */
int peer_ws_frame(int fd, struct buf *into);
