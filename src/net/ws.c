/* Open WebSockets: handshake, messages in, frames out, pings, closing. The wire format is in
 * ws_frame.c. */
#include "net/net_priv.h"

#include "base/bug.h"
#include "base/limits.h"
#include "base/mem.h"

#include <linux/sockios.h>
#include <openssl/evp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#define QUEUE_MAX (LIMIT_WS_UNSENT + LIMIT_HTTP_ANSWER_HEADERS + LIMIT_STREAM_EVENT + (128u << 10))

/* ---- handshake ---- */

static bool is_key_valid(struct span key)
{
    if (key.len != 24 || key.ptr[22] != '=' || key.ptr[23] != '=')
        return false;
    for (size_t i = 0; i < 22; i++) {
        char c = key.ptr[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
              c == '+' || c == '/'))
            return false;
    }
    return true;
}

int ws_check_handshake(const struct http_request *r, const char **ret_detail)
{
    if (!http_header_has(r, "upgrade", "websocket"))
        return 0; /* other protocols are ignored, RFC 9110 §7.8 */
    *ret_detail = "a WebSocket handshake is a GET of HTTP/1.1 with Connection: Upgrade and no body";
    if (r->method != HTTP_GET_ || r->minor == 0 || !http_header_has(r, "connection", "upgrade") ||
        r->body.len)
        return 400;
    *ret_detail = "the WebSocket version spoken here is 13";
    if (!span_is(http_header_get(r, "sec-websocket-version"), "13"))
        return 426;
    *ret_detail = "Sec-WebSocket-Key must be 16 bytes in base64";
    size_t keys = 0;
    for (size_t i = 0; i < r->header_count; i++)
        keys += span_eq_nocase(r->headers[i].name, SPAN_LIT("sec-websocket-key"));
    if (keys != 1 || !is_key_valid(http_header_get(r, "sec-websocket-key")))
        return 400;
    return 0;
}

static void put_accept(struct buf *out, struct span key)
{
    static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"; /* RFC 6455 §1.3 */
    unsigned char both[24 + sizeof guid - 1], hash[EVP_MAX_MD_SIZE], text[32];
    unsigned int n = 0;
    memcpy(both, key.ptr, 24);
    memcpy(both + 24, guid, sizeof guid - 1);
    BUG_ON(!EVP_Digest(both, sizeof both, hash, &n, EVP_sha1(), NULL) || n != 20);
    int len = EVP_EncodeBlock(text, hash, 20);
    buf_puts(out, "Sec-WebSocket-Accept: ");
    buf_put(out, text, (size_t)len);
    buf_put(out, "\r\n", 2);
}

static struct buf *queue_of(struct ws *ws)
{
    if (!ws->queue && (ws->queue = mem_try(sizeof *ws->queue)))
        buf_init(&ws->queue->bytes, QUEUE_MAX);
    return ws->queue ? &ws->queue->bytes : NULL;
}

static void drop_queue(struct ws *ws)
{
    if (ws->queue)
        buf_done(&ws->queue->bytes);
    mem_free(take_ptr(ws->queue));
}

struct ws *exchange_upgrade(struct exchange *x, const char *subprotocol, size_t max_message,
                            const struct ws_callbacks *callbacks, void *ctx)
{
    const struct http_request *r = exchange_request(x);
    BUG_ON(x->answered || !r->wants_websocket);
    BUG_ON(subprotocol && !http_header_has(r, "sec-websocket-protocol", subprotocol));
    struct conn *c = x->conn;
    struct ws *ws = mem_try(sizeof *ws);
    struct buf *q = ws ? queue_of(ws) : NULL;
    if (q) {
        if (subprotocol)
            exchange_header(x, "Sec-WebSocket-Protocol", span_str(subprotocol));
        exchange_put_head(x, 101, NULL, q);
        buf_puts(q, "Upgrade: websocket\r\nConnection: Upgrade\r\n");
        put_accept(q, http_header_get(r, "sec-websocket-key"));
        buf_put(q, "\r\n", 2);
    }
    if (!q || buf_failed(q)) {
        if (ws)
            drop_queue(ws);
        mem_free(ws);
        buf_clear(&x->extra);
        c->close_after = true;
        exchange_reply(x, 503, "application/json", SPAN_LIT("{\"detail\":\"out of memory\"}"));
        return NULL;
    }
    x->answered = true;
    ws->conn = c;
    ws->callbacks = callbacks;
    ws->ctx = ctx;
    ws->max_message = (uint32_t)(max_message < UINT32_MAX ? max_message : UINT32_MAX);
    ws->due_ping_ms = conn_now(c) + c->sl->server->options.ping_interval_ms;
    c->ws = ws;
    c->state = CONN_WS;
    c->due_ms = 0;
    net_count(NET_WS_OPEN, 1);
    net_count(NET_WS_TOTAL, 1);
    conn_kick(c);
    if (c->sl->draining)
        ws_close(ws, 1001, "going away");
    return ws;
}

void ws_set_ctx(struct ws *ws, void *ctx)
{
    ws->ctx = ctx;
}

struct loop *ws_loop(const struct ws *ws)
{
    return ws->conn->sl->loop;
}

/* ---- frames out ---- */

static size_t unsent(const struct ws *ws)
{
    return ws->queue ? ws->queue->bytes.len - ws->queue->sent : 0;
}

/* A whole frame into the queue or nothing. */
static bool put_frame(struct ws *ws, int opcode, struct span a, struct span b)
{
    struct buf *q = queue_of(ws);
    if (!q)
        return false;
    if (ws->queue->sent > q->len / 2) {
        buf_drop(q, ws->queue->sent);
        ws->queue->sent = 0;
    }
    if (!buf_reserve(q, a.len + b.len + 10)) {
        q->failed = false; /* nothing was put: what is queued stays good */
        return false;
    }
    ws_frame_header(q, opcode, a.len + b.len);
    buf_put_span(q, a);
    buf_put_span(q, b);
    return true;
}

int ws_send(struct ws *ws, bool is_text, struct span payload)
{
    if (ws->is_closing)
        return -ERR_CANCELLED;
    if (payload.len > LIMIT_WS_UNSENT || unsent(ws) + payload.len + 10 > LIMIT_WS_UNSENT)
        return -ERR_LIMIT;
    if (!put_frame(ws, is_text ? WS_OP_TEXT : WS_OP_BINARY, payload, SPAN_NULL))
        return -ERR_NO_MEMORY;
    conn_kick(ws->conn);
    return 0;
}

void ws_attach(struct ws *ws, struct byte_source *src)
{
    BUG_ON(ws->source);
    ws->source = src;
    src->conn = ws->conn;
    conn_kick(ws->conn); /* if it is closing, the run lets go of the source again */
}

static void let_go(struct ws *ws, bool completed)
{
    struct byte_source *src = take_ptr(ws->source);
    if (!src)
        return;
    src->conn = NULL;
    src->detach(src, completed);
}

/* The rest of a frame the socket has taken in part goes to the front of the queue, so that the
 * source can go. */
static bool save_rest(struct ws *ws)
{
    struct iovec iov[NET_IOV_MAX];
    int count = NET_IOV_MAX;
    if (!ws->frame_left)
        return true;
    if (ws->frame_left > LIMIT_STREAM_EVENT + 16 || !ws->source ||
        ws->source->peek(ws->source, iov, &count) != SOURCE_READY)
        return false;
    struct buf both = BUF_INIT(QUEUE_MAX);
    size_t left = ws->frame_left;
    for (int i = 0; i < count && left; i++) {
        size_t n = iov[i].iov_len < left ? iov[i].iov_len : left;
        buf_put(&both, iov[i].iov_base, n);
        left -= n;
    }
    if (unsent(ws))
        buf_put_span(&both, span_skip(buf_span(&ws->queue->bytes), ws->queue->sent));
    if (left || buf_failed(&both) || !queue_of(ws)) {
        buf_done(&both);
        return false;
    }
    buf_done(&ws->queue->bytes);
    *ws->queue = (struct ws_queue){both, 0};
    ws->frame_left = 0;
    return true;
}

static size_t cut_reason(const char *reason)
{
    size_t n = reason ? strlen(reason) : 0;
    if (n <= LIMIT_WS_CONTROL - 2)
        return n;
    n = LIMIT_WS_CONTROL - 2;
    while (n && ((unsigned char)reason[n] & 0xc0) == 0x80)
        n--;
    return n;
}

/* Queues the close frame; `told` is the code the handler hears. */
static void begin_close(struct ws *ws, int code, const char *reason, int told)
{
    if (ws->is_closing)
        return;
    bool is_saved = save_rest(ws);
    ws->is_closing = true;
    ws->close_code = (uint16_t)told;
    let_go(ws, false);
    char number[2] = {(char)(code >> 8), (char)code};
    struct span payload = code ? span_of(number, 2) : SPAN_NULL;
    struct span text = code ? span_of(reason, cut_reason(reason)) : SPAN_NULL;
    if (!is_saved || !put_frame(ws, WS_OP_CLOSE, payload, text))
        ws->is_broken = true;
    conn_kick(ws->conn);
}

void ws_close(struct ws *ws, int code, const char *reason)
{
    begin_close(ws, code, reason, code);
}

enum fill { FILL_OK, FILL_AGAIN, FILL_BAD };

/* Adds the source's pieces; only up to the frame's end when something of ours waits there. */
static enum fill add_source(struct ws *ws, struct iovec *iov, int *n, size_t *ret_bytes)
{
    struct byte_source *src = ws->source;
    int count = NET_IOV_MAX - *n;
    size_t limit = ws->frame_left && unsent(ws) ? ws->frame_left : SIZE_MAX;
    switch (src->peek(src, iov + *n, &count)) {
    case SOURCE_READY:
        for (int i = 0; i < count && limit; i++) {
            struct iovec *v = &iov[*n];
            if (v->iov_len > limit)
                v->iov_len = limit;
            limit -= v->iov_len;
            *ret_bytes += v->iov_len;
            (*n)++;
        }
        return FILL_OK;
    case SOURCE_END:
        if (ws->frame_left)
            return FILL_BAD;
        let_go(ws, true);
        return FILL_AGAIN;
    case SOURCE_FAILED:
        if (ws->frame_left)
            return FILL_BAD; /* half a frame is out and its rest is lost: nothing more can be said
                              */
        begin_close(ws, 1011, "the stream could not be read", 1011);
        return FILL_AGAIN;
    case SOURCE_WAIT:
        break;
    }
    return FILL_OK;
}

static void count_sent(struct ws *ws, size_t n)
{
    ws->queue->sent += n;
    if (!unsent(ws)) {
        drop_queue(ws);
        ws->pongs_unsent = 0;
    }
}

/* What to do when everything is sent. */
static enum conn_write all_sent(struct ws *ws)
{
    struct conn *c = ws->conn;
    if (!ws->is_closing && !ws->source && c->sl->draining)
        begin_close(ws, 1001, "going away", 1001); /* its answer is over */
    else if (!ws->is_closing)
        return WRITE_WAIT;
    if (unsent(ws))
        return WRITE_WAIT; /* the close asked for another run */
    if (ws->done_after)
        return WRITE_DONE;
    if (!ws->close_flushed) {
        ws->close_flushed = true;
        conn_set_due(c, c->sl->server->options.close_timeout_ms);
        if (ws->is_faulty)
            (void)shutdown(c->fd,
                           SHUT_WR); /* we understand nothing more of it: wait for its end only */
    }
    return WRITE_WAIT;
}

enum conn_write ws_write(struct ws *ws)
{
    for (size_t turn = 0; turn < LIMIT_WRITE_TURN;) {
        struct iovec iov[NET_IOV_MAX];
        size_t own = 0, from_source = 0;
        int n = 0;
        if (ws->is_closing)
            let_go(ws, false); /* attached too late */
        if (ws->is_broken)
            return WRITE_FAILED;
        if (unsent(ws) && !ws->frame_left) {
            own = unsent(ws);
            iov[n++] = (struct iovec){ws->queue->bytes.ptr + ws->queue->sent, own};
        }
        int first = n;
        enum fill f = ws->source ? add_source(ws, iov, &n, &from_source) : FILL_OK;
        if (f == FILL_BAD)
            return WRITE_FAILED;
        if (f == FILL_AGAIN)
            continue; /* the queue may have changed: look again */
        if (!own && !from_source)
            return ws->frame_left ? WRITE_WAIT : all_sent(ws);
        ssize_t w = conn_send(ws->conn, iov, n);
        if (w < 0)
            return WRITE_FAILED;
        size_t q = (size_t)w < own ? (size_t)w : own, s = (size_t)w - q;
        if (s) {
            BUG_ON(!ws->source); /* nothing else made from_source */
            if (s <= ws->frame_left)
                ws->frame_left -= s;
            else if (s == from_source)
                ws->frame_left = 0; /* the pieces end on a border */
            else
                ws->frame_left = ws_border_after(iov + first, n - first, ws->frame_left, s);
            if (ws->frame_left == WS_BORDER_BAD)
                return WRITE_FAILED;
            ws->source->consume(ws->source, s);
        }
        if (q)
            count_sent(ws, q);
        if ((size_t)w < own + from_source)
            return WRITE_BLOCKED;
        turn += (size_t)w;
    }
    return WRITE_BLOCKED;
}

/* ---- frames in ---- */

bool ws_wants_input(const struct ws *ws)
{
    return ws->pongs_unsent <= LIMIT_WS_PONGS_UNSENT;
}

static void fail(struct ws *ws, int code)
{
    const char *reason = code == 1009   ? "message too big"
                         : code == 1007 ? "invalid UTF-8"
                         : code == 1002 ? "protocol error"
                                        : "internal error";
    ws->is_faulty = true;
    begin_close(ws, code, reason, code);
    ws->close_flushed = false;
}

static void on_event(struct ws *ws, const struct ws_event *e)
{
    switch (e->kind) {
    case WS_EVENT_MESSAGE:
        net_count(NET_WS_FRAMES_IN, 1);
        net_count(NET_WS_MESSAGES_IN, 1);
        if (!ws->is_closing && ws->callbacks->message)
            ws->callbacks->message(ws->ctx, ws, e->is_text, e->payload);
        break;
    case WS_EVENT_PING:
        net_count(NET_WS_FRAMES_IN, 1);
        if (!ws->is_closing && put_frame(ws, WS_OP_PONG, e->payload, SPAN_NULL)) {
            ws->pongs_unsent = (uint16_t)(ws->pongs_unsent + e->payload.len + 2);
            ws->conn->again = true;
        }
        break;
    case WS_EVENT_CLOSE:
        net_count(NET_WS_FRAMES_IN, 1);
        ws->done_after = true;
        begin_close(ws, e->code == 1005 ? 0 : e->code, "", e->code);
        ws->conn->again = true;
        break;
    case WS_EVENT_ERROR:
        fail(ws, e->code);
        break;
    case WS_EVENT_PONG:
    case WS_EVENT_NONE:
        net_count(NET_WS_FRAMES_IN, e->kind == WS_EVENT_PONG || e->is_frame_end);
        break;
    }
}

size_t ws_input(struct ws *ws, char *in, size_t len)
{
    struct ws_parser local, *p = ws->parser;
    size_t at = 0;
    if (ws->pong_awaited) { /* whatever comes shows that it lives */
        ws->pong_awaited = false;
        ws->due_ping_ms = conn_now(ws->conn) + ws->conn->sl->server->options.ping_interval_ms;
    }
    if (!p) {
        ws_parser_init(&local, ws->max_message);
        p = &local;
    }
    while (at < len && !ws->done_after && !ws->is_faulty && ws_wants_input(ws)) {
        size_t used;
        struct ws_event e = ws_parser_feed(p, in + at, len - at, &used);
        at += used;
        on_event(ws, &e);
    }
    bool is_over = ws->done_after || ws->is_faulty;
    if (is_over || ws_parser_is_idle(p)) {
        ws_parser_done(p);
        mem_free(take_ptr(ws->parser));
    } else if (p == &local) {
        ws->parser = mem_try(sizeof local);
        if (ws->parser) {
            *ws->parser = local;
        } else {
            ws_parser_done(&local);
            fail(ws, 1011);
            return len;
        }
    }
    return is_over ? len : at;
}

/* ---- time and end ---- */

static void on_ping_due(struct ws *ws, uint64_t now)
{
    const struct server_options *o = &ws->conn->sl->server->options;
    if (ws->conn->is_blocked) {
        ws->due_ping_ms = now + o->ping_interval_ms; /* the write stall time-out watches */
        return;
    }
    if (!put_frame(ws, WS_OP_PING, SPAN_NULL, SPAN_NULL)) {
        ws->due_ping_ms = now + o->ping_interval_ms;
        return;
    }
    ws->pong_awaited = true;
    ws->due_ping_ms = now + o->pong_timeout_ms;
    ws->conn->again = true;
}

void ws_on_timer(struct ws *ws, uint64_t now)
{
    if (ws->is_closing || now < ws->due_ping_ms)
        return;
    if (!ws->pong_awaited) {
        on_ping_due(ws, now);
        return;
    }
    /* A slow reader gets to the ping late: as long as it takes bytes it lives. */
    int in_kernel = 0;
    if (ioctl(ws->conn->fd, SIOCOUTQ, &in_kernel) == 0 && in_kernel > 0) {
        uint64_t acked = ws->conn->bytes_out - (uint64_t)in_kernel;
        if (acked > ws->bytes_acked) {
            ws->bytes_acked = acked;
            ws->due_ping_ms = now + ws->conn->sl->server->options.pong_timeout_ms;
            return;
        }
    }
    net_count(NET_TIMEOUTS, 1);
    ws->due_ping_ms = 0;
    begin_close(ws, 1011, "keepalive ping timeout", 1006);
}

static enum net_metric class_of(int code)
{
    switch (code) {
    case 1000:
    case 1001:
    case 1005:
        return NET_WS_CLOSES_NORMAL;
    case 1002:
    case 1003:
    case 1007:
    case 1009:
        return NET_WS_CLOSES_FAULT;
    case 1006:
        return NET_WS_CLOSES_LOST;
    default:
        return NET_WS_CLOSES_OTHER;
    }
}

void ws_gone(struct ws *ws)
{
    int code = ws->close_code ? ws->close_code : 1006;
    ws->is_closing = true;
    let_go(ws, false);
    net_count(NET_WS_OPEN, -1);
    net_count(class_of(code), 1);
    if (ws->callbacks->closed)
        ws->callbacks->closed(ws->ctx, ws, code);
    if (ws->parser)
        ws_parser_done(ws->parser);
    mem_free(ws->parser);
    drop_queue(ws);
    mem_free(ws);
}
