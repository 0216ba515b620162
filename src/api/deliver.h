#pragma once
/*
 * The one place where stream events become bytes on a connection. A delivery is a follower (stream/) behind a byte_source
 * (net/): whoever reads, live, late or resuming, comes through here, with one meaning of "after".
 *
 *   TEXT    what the DeepWiki seeds promise: the answer's text alone (deepwiki.md §2); errors as text
 *   NATIVE  every event: SSE over HTTP, {"id","event","data"} over WebSocket (docs/protocol/native.md)
 *
 * Thread: the connection's loop.
 */
#include "net/server.h"
#include "stream/stream.h"

enum dialect { DIALECT_TEXT, DIALECT_NATIVE };

/* Answers the exchange with the stream's events after number `after`. Takes the reference. */
void deliver_http(struct exchange *x, struct stream *s, enum dialect dialect, uint64_t after);
/* Sends the events over the socket, then closes it with 1000 (1011 when the log could not be read). Takes the reference. */
void deliver_ws(struct ws *ws, struct stream *s, enum dialect dialect, uint64_t after);

/*
 * Waits until it is known how a stream begins: `decided` gets the payload of its first error event if that comes before any
 * token, else an empty span. Called once, on the loop, never from inside deliver_gate; then the gate is gone. Borrows s for its life.
 * A gate that takes longer than timeout_ms is decided as "no error".
 */
struct deliver_gate;
struct deliver_gate *deliver_gate_new(struct loop *loop, struct stream *s, uint64_t timeout_ms,
                                      void (*decided)(void *ctx, struct span error), void *ctx);
void deliver_gate_cancel(
    struct deliver_gate *g); /* before it was decided; `decided` is not called */

/* The text a DeepWiki client sees for an error event's payload. */
void deliver_error_text(struct span payload, struct buf *out);
