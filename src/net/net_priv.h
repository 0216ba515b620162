#pragma once
/*
 * What the files of net/ share. A connection is a state machine:
 *
 *   IDLE -> READING -> WAITING -> WRITING -> IDLE …      WAITING: the handler has the request
 *                        |           |
 *                        v           v
 *                        WS       LINGER -> CLOSED       LINGER: our side is shut
 *
 * conn_run() is the only place where it moves and from where callbacks of handlers and sources are
 * called; everything else (exchange_*, ws_*, source_wake) records and asks for a run by
 * conn_kick(), so no call into net ever calls back. The exception is stated in server.h: ws_close
 * detaches the source.
 * Memory: what an idle connection needs is in struct conn and struct ws; the rest exists while it
 * is used.
 */
#include "base/buf.h"
#include "base/metric.h"
#include "net/cors.h"
#include "net/http_parse.h"
#include "net/server.h"
#include "net/ws_frame.h"

#include <stdatomic.h>

#define NET_IOV_MAX 64

enum net_metric {
    NET_CONNECTIONS_OPEN,
    NET_CONNECTIONS_TOTAL,
    NET_CONNECTIONS_REFUSED,
    NET_ACCEPT_FAILURES,
    NET_REQUESTS,
    NET_REQUESTS_REFUSED,
    NET_BYTES_IN,
    NET_BYTES_OUT,
    NET_WRITES,
    NET_TIMEOUTS,
    NET_WS_OPEN,
    NET_WS_TOTAL,
    NET_WS_FRAMES_IN,
    NET_WS_MESSAGES_IN,
    NET_WS_CLOSES_NORMAL,
    NET_WS_CLOSES_FAULT,
    NET_WS_CLOSES_LOST,
    NET_WS_CLOSES_OTHER,
    NET_METRICS
};
extern struct metric net_metrics[NET_METRICS];
static inline void net_count(enum net_metric m, int64_t by)
{
    metric_add(&net_metrics[m], by);
}

/* ---- server ---- */

struct listener {
    uv_poll_t poll;
    struct timer retry; /* after accept failed for want of descriptors */
    struct server_loop *sl;
    int fd;
    bool is_unix;
    struct listener *next;
};

/* What a server has on one loop. */
struct server_loop {
    struct server *server;
    struct loop *loop;
    struct listener *listeners; /* owned */
    struct list conns;
    struct list kicked; /* connections to run at the end of this turn */
    struct list dead;   /* closed ones, freed then */
    struct loop_defer run_kicked, free_dead;
    int epoll_fd; /* where the sockets of the connections are watched: watch.c */
    uv_poll_t epoll;
    char *scratch;  /* owned; LIMIT_READ_TURN bytes, filled and used up within one read */
    int reserve_fd; /* given up to accept and close when descriptors are out */
    bool draining;
    size_t handles; /* connections not yet freed and listeners not yet closed by libuv */
    uint64_t date_s;
    char date[32];
    struct timer drain_timer;
    struct loop_msg start_msg, drain_msg;
};

struct server {
    struct server_callbacks callbacks;
    struct server_options options; /* zeros replaced */
    struct cors cors;
    struct server_loop *loops; /* owned */
    size_t loop_count;
    bool started, drained;
    _Atomic unsigned connections;
    uint64_t drain_ms;
    uv_sem_t sem;    /* one post a loop: started, then drained */
    char *unix_path; /* owned; removed at the end */
};

/* One of those counted in `handles` is gone. */
void server_loop_handle_closed(struct server_loop *sl);

/* ---- connection ---- */

enum conn_state {
    CONN_IDLE,
    CONN_READING,
    CONN_WAITING,
    CONN_WRITING,
    CONN_WS,
    CONN_LINGER,
    CONN_CLOSED
};

struct conn {
    struct timer timer;
    struct list kicked; /* server_loop.kicked; meaningful while is_kicked */
    struct list link;   /* server_loop.conns, then .dead */
    struct server_loop *sl;
    struct exchange *x; /* owned; while a request is in progress */
    struct ws *ws;      /* owned */
    char *in;           /* owned; bytes read that nobody could take yet */
    uint32_t in_len;
    int fd;
    uint64_t due_ms;       /* of the state: head, body, idle, close; 0 = none */
    uint64_t due_write_ms; /* the peer takes nothing */
    uint64_t bytes_out;
    uint16_t events; /* asked of epoll */
    uint8_t state;   /* enum conn_state */
    bool running : 1, again : 1, is_kicked : 1, is_blocked : 1, is_unix : 1, close_after : 1;
};

struct exchange {
    struct conn *conn;
    struct http_parser *parser; /* owned */
    struct http_peer peer;
    struct buf extra; /* owned; the handler's headers */
    struct buf head;  /* owned; bytes to send first */
    struct buf body;  /* owned */
    size_t head_sent, body_sent, tail_sent, tail_len;
    struct byte_source *source;
    void (*aborted)(void *ctx);
    void *abort_ctx;
    bool answered, is_chunked, in_handler, has_no_body;
};

/* Whole frames of ours, sent at borders between the source's; exists only while something is
 * unsent. */
struct ws_queue {
    struct buf bytes;
    size_t sent;
};

struct ws {
    struct conn *conn;
    const struct ws_callbacks *callbacks; /* borrowed */
    void *ctx;
    struct byte_source *source;
    struct ws_parser *parser; /* owned; while a frame or message is half there */
    struct ws_queue *queue;   /* owned or NULL */
    size_t frame_left;        /* bytes of the source's frame begun */
    uint64_t due_ping_ms;     /* the next ping, or the pong */
    uint64_t bytes_acked;     /* at the last look while waiting for a pong */
    uint32_t max_message;
    uint16_t close_code; /* told to the handler; 0 = open */
    uint16_t pongs_unsent;
    bool pong_awaited, is_closing, close_flushed;
    bool done_after; /* the peer has closed: the end when our queue is sent */
    bool is_faulty;  /* the peer broke the protocol: its bytes are dropped */
    bool is_broken;  /* we cannot go on: cut */
};

struct conn *conn_new(struct server_loop *sl, int fd, bool is_unix, bool refuse);
/* Moves the connection as far as it goes. */
void conn_run(struct conn *c);
/* Asks for conn_run at the end of the turn. */
void conn_kick(struct conn *c);
/* Ends it now: detaches, tells handlers, closes the socket. The struct lives to the turn's end. */
void conn_close(struct conn *c);
/* The drain begins: ends what is idle. */
void conn_drain(struct conn *c);
/* Its time is up: ends everything; WebSockets are told, and cut when they do not answer. */
void conn_drain_over(struct conn *c);
void conn_event(struct conn *c, int events);
void conn_set_due(struct conn *c, uint64_t delay_ms);
uint64_t conn_now(const struct conn *c);

/* loop_defer's calls of a loop. */
void conns_run_kicked(struct loop_defer *d);
void conns_free_dead(struct loop_defer *d);

/* ---- waiting for sockets ---- */

enum watch_event { WATCH_IN = 0x001, WATCH_OUT = 0x004, WATCH_BROKEN = 0x008, WATCH_GONE = 0x2000 };

int watch_init(struct server_loop *sl);
void watch_start(struct server_loop *sl);
/* Closes the loop's handle and then posts server.sem. */
void watch_stop(struct server_loop *sl);
/* What to be told of; 0 before the socket is closed. False when the kernel has no room for it. */
bool watch_set(struct conn *c, int events);

enum conn_write { WRITE_DONE, WRITE_WAIT, WRITE_BLOCKED, WRITE_FAILED };
/* One write of the pieces: bytes taken, 0 when the socket is full, -1 when the peer is gone. */
ssize_t conn_send(struct conn *c, struct iovec *iov, int count);

/* ---- exchange ---- */

struct exchange *exchange_new(struct conn *c);
void exchange_free(struct exchange *x);
/* Hands a complete request to the server or the handler. */
void exchange_dispatch(struct exchange *x);
/* Answers a request that never reaches a handler and closes. */
void exchange_refuse(struct exchange *x, int status, const char *detail);
enum conn_write exchange_write(struct exchange *x);
/* Appends status line and the headers every answer has; framing and the empty line are the
 * caller's. */
void exchange_put_head(struct exchange *x, int status, const char *content_type, struct buf *out);

/* ---- WebSocket ---- */

/* Checks the handshake of a request that asks for one: 0, or the status to refuse with. */
int ws_check_handshake(const struct http_request *r, const char **ret_detail);
/* Returns the bytes taken; fewer when pongs must be sent first. The bytes are changed. */
size_t ws_input(struct ws *ws, char *in, size_t len);
enum conn_write ws_write(struct ws *ws);
/* The connection is going: last calls, then ws is gone. */
void ws_gone(struct ws *ws);
void ws_on_timer(struct ws *ws, uint64_t now);
bool ws_wants_input(const struct ws *ws);
