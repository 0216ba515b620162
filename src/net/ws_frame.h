#pragma once
/*
 * The WebSocket wire format (RFC 6455), as values: received frames to messages, headers of sent
 * frames, borders between sent frames. Knows no socket. The result does not depend on how the bytes
 * were cut into pieces. A parser is a value; keep it on the heap only while ws_parser_is_idle() is
 * false. Thread: owner.
 */
#include "base/buf.h"

#include <sys/uio.h>

enum {
    WS_OP_CONTINUE = 0,
    WS_OP_TEXT = 1,
    WS_OP_BINARY = 2,
    WS_OP_CLOSE = 8,
    WS_OP_PING = 9,
    WS_OP_PONG = 10
};

/* Fail-fast UTF-8 (RFC 3629) over pieces: zero to begin; `need` is 0 at a character border. */
struct ws_utf8 {
    uint8_t need;      /* continuation bytes to come */
    uint8_t low, high; /* range of the next one */
};
/* False at the first byte that can belong to no valid text. */
bool ws_utf8_feed(struct ws_utf8 *u, const char *ptr, size_t len);

struct ws_parser {
    size_t max_message;
    uint8_t header[14];
    uint8_t header_len, header_need; /* bytes collected, bytes wanted */
    bool in_payload;                 /* the header is complete, its payload is not */
    bool in_message;                 /* a fragmented message is open */
    bool is_text, is_last;
    uint8_t opcode;
    uint8_t mask[4];
    uint64_t left; /* payload bytes to come of this frame */
    uint64_t got;  /* payload bytes seen of this frame: position in the mask */
    uint32_t fragments;
    struct ws_utf8 utf8;
    uint8_t control[125];
    uint8_t control_len;
    struct buf message; /* owned */
};

enum ws_event_kind {
    WS_EVENT_NONE,
    WS_EVENT_MESSAGE,
    WS_EVENT_PING,
    WS_EVENT_PONG,
    WS_EVENT_CLOSE,
    WS_EVENT_ERROR
};
struct ws_event {
    enum ws_event_kind kind;
    bool is_text;
    struct span payload; /* message, ping, pong; reason of a close. Borrowed until the next call or
                            from the input */
    int code;            /* close: the peer's (1005 when it gave none); error: what to close with */
    bool is_frame_end;   /* with NONE: a fragment ended (metrics) */
};

void ws_parser_init(struct ws_parser *p, size_t max_message);
void ws_parser_done(struct ws_parser *p);
/* Nothing is open: no half header, no half message. */
bool ws_parser_is_idle(const struct ws_parser *p);
/*
 * Takes bytes until an event or the end of them; *used says how many. The input is unmasked in
 * place. After an ERROR the parser must not be fed again. Codes: 1002 protocol, 1007 not UTF-8,
 * 1009 too big or too many fragments, 1011 out of memory.
 */
struct ws_event ws_parser_feed(struct ws_parser *p, char *in, size_t len, size_t *used);

/* True when a peer may send the code in a close frame (RFC 6455 §7.4). */
bool ws_is_code_valid(int code);

#define WS_BORDER_BAD SIZE_MAX
/*
 * iov holds whole sent frames, after the last `left` bytes of one already begun. Of these,
 * `written` bytes went out: how many more until a border between frames. WS_BORDER_BAD when the
 * bytes do not end on a border. Thread: any.
 */
size_t ws_border_after(const struct iovec *iov, int count, size_t left, size_t written);
