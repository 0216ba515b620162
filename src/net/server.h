#pragma once
/*
 * Listeners and connections. One server spans several loops; each loop has its own listening socket (SO_REUSEPORT) and owns the
 * connections it accepts for life. A connection has no send queue: it writes from a byte_source, a cursor that someone else
 * fills (a stream's follower, a small buffer), whenever the socket takes bytes.
 * Limits and time-outs: base/limits.h. HTTP errors that never reach a handler (400, 408, 413, 414, 431, 501, 505) are
 * answered here with {"detail":…}.
 * Threads: server_* from main before and after the loops run; exchange_* and ws_* on the connection's loop.
 */
#include "loop/loop.h"
#include "net/http.h"

struct server;
struct exchange; /* one request and its answer; gone after the answer was sent or the peer left */
struct ws;       /* an open WebSocket; gone after `closed` returned */

/* ---- bytes to write ---- */

enum source_result { SOURCE_READY, SOURCE_WAIT, SOURCE_END, SOURCE_FAILED };
/*
 * Where a connection writes from. peek fills at most *count pieces (all within whole frames for a WebSocket: the last one ends a
 * frame) and sets *count; READY means at least one byte. It returns pieces that stay valid until consume or detach; it may be asked again for
 * bytes it has already shown and that were not consumed.
 */
struct byte_source {
    enum source_result (*peek)(struct byte_source *s, struct iovec *iov, int *count);
    void (*consume)(struct byte_source *s, size_t bytes);
    /* Last call, exactly once: everything sent (completed) or the peer is gone / the connection ends. Free yourself here. */
    void (*detach)(struct byte_source *s, bool completed);
    void *conn; /* the connection's; set while attached */
};
/* More bytes may be there: call after a SOURCE_WAIT. Not from inside peek or consume. Thread: loop. */
void source_wake(struct byte_source *s);

/* ---- HTTP ---- */

/* exchange_*, ws_* and source_wake never call back: what they cause happens at the end of the turn. Only ws_close detaches at once. */

struct server_callbacks {
    /* A complete request. Answer now or later with exactly one of exchange_reply / _stream / _upgrade. */
    void (*request)(void *ctx, struct exchange *x);
    /* Called once per loop as listening begins, may be NULL. */
    void *ctx;
};

/* Valid until the handler has answered and returned to the loop. */
const struct http_request *exchange_request(const struct exchange *x);
const struct http_peer *exchange_peer(const struct exchange *x);
struct loop *exchange_loop(const struct exchange *x);
/*
 * The handler's own pointer, and a call if the peer leaves before the answer was given (then x is gone). A peer that shuts only
 * its sending side has left too, as for the servers of the seeds; an answer already given is still written to it.
 */
void exchange_on_abort(struct exchange *x, void (*aborted)(void *ctx), void *ctx);
/* A header for the answer to come; name is borrowed (literal), value is copied. */
void exchange_header(struct exchange *x, const char *name, struct span value);
/* Whole answer. The body is copied. HEAD sends no body. */
void exchange_reply(struct exchange *x, int status, const char *content_type, struct span body);
/* Takes the buffer's bytes instead of copying. */
void exchange_reply_buf(struct exchange *x, int status, const char *content_type, struct buf *body);
/*
 * Head now, body from the source until SOURCE_END. With HTTP/1.1 the source's bytes must already be framed as chunks when
 * exchange_wants_chunks(x); the last chunk is added here. HTTP/1.0: raw bytes, then close.
 * SOURCE_FAILED cuts the connection without the last chunk (the peer sees a truncated body).
 */
void exchange_stream(struct exchange *x, int status, const char *content_type,
                     struct byte_source *src);
bool exchange_wants_chunks(const struct exchange *x);

/* ---- WebSocket (RFC 6455) ---- */

struct ws_callbacks {
    void (*message)(void *ctx, struct ws *ws, bool is_text,
                    struct span payload); /* text is valid UTF-8 */
    /* Last call: the peer closed (its code; 1005 none; 1006 lost), or we did. */
    void (*closed)(void *ctx, struct ws *ws, int code);
};
/*
 * 101 with the headers set by exchange_header; x is gone after. `subprotocol` (or NULL) must be one the client offered. Incoming
 * messages above max_message close with 1009. `callbacks` is borrowed and outlives the server (a static table).
 * NULL when memory is gone: then x was answered with 503.
 */
struct ws *exchange_upgrade(struct exchange *x, const char *subprotocol, size_t max_message,
                            const struct ws_callbacks *callbacks, void *ctx);
void ws_set_ctx(struct ws *ws, void *ctx);
/* A whole small message of ours (error texts, acknowledgements), copied; -ERR_LIMIT past 1 MiB unsent. */
int ws_send(struct ws *ws, bool is_text, struct span payload) MUST_CHECK;
/* Frames come from the source (already WebSocket frames, unmasked) after what ws_send queued; one source at a time. */
void ws_attach(struct ws *ws, struct byte_source *src);
/* Detaches the source (if any, at once; a frame of it begun is finished from a copy), sends what ws_send queued, then close(code, reason ≤ 123 bytes); waits for the peer's close at most 2 s. */
void ws_close(struct ws *ws, int code, const char *reason);
struct loop *ws_loop(const struct ws *ws);
/* Appends one unmasked server frame header for a payload of len bytes (opcode 1 text, 2 binary, 8..10 control). */
#define WS_FRAME_HEADER_MAX 10 /* bytes it appends at most */
void ws_frame_header(struct buf *out, int opcode, size_t len);

/* ---- lifetime ---- */

struct server_options {
    const char *cors_origins;  /* "*" or comma list or NULL = none */
    uint64_t ping_interval_ms; /* 0 = TIMEOUT_WS_PING_MS (tests shorten it) */
    uint64_t pong_timeout_ms;
    unsigned max_connections; /* 0 = LIMIT_CONNECTIONS_COUNT; past it 503 and close */
    /* 0 = TIMEOUT_HTTP_HEAD_MS, _BODY_MS, _IDLE_MS, TIMEOUT_WRITE_STALL_MS, TIMEOUT_WS_CLOSE_MS */
    uint64_t head_timeout_ms, body_timeout_ms, idle_timeout_ms, write_stall_ms, close_timeout_ms;
};
int server_new(struct loop *const *loops, size_t loop_count, const struct server_options *options,
               const struct server_callbacks *callbacks, struct server **ret,
               struct err *err) MUST_CHECK;
/* "127.0.0.1:8001", "[::1]:0", "unix:/path" (mode 0600, trusted). The bound port in *ret_port. Before server_start. */
int server_listen(struct server *s, const char *address, unsigned *ret_port,
                  struct err *err) MUST_CHECK;
/* Begins to accept, on all loops (which must be running). */
void server_start(struct server *s);
/*
 * Stops accepting. What is idle ends now (WebSockets with 1001); running answers may finish, also on
 * WebSockets, until the time is up: then open WebSockets get 1001 with as long to answer it as after
 * any close, and the others are cut. A request that arrives meanwhile on a connection still open
 * gets 503 and Connection: close. Blocks until all connections are gone. Then server_free.
 */
void server_drain(struct server *s, uint64_t timeout_ms);
void server_free(struct server *s);
