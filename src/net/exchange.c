/* One request and its answer: heads, bodies and streams. */
#include "net/net_priv.h"

#include "base/bug.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/limits.h"
#include "base/mem.h"

#include <arpa/inet.h>
#include <sys/socket.h>
#include <time.h>

#define HEAD_MAX \
    (LIMIT_HTTP_ANSWER_HEADERS + 128 * 1024) /* ours, and what CORS echoes of the request */
#define SMALL_BODY (16u << 10)               /* copied behind the head: one piece to write */

struct exchange *exchange_new(struct conn *c)
{
    struct exchange *x = mem_try(sizeof *x);
    if (!x)
        return NULL;
    x->parser = http_parser_new();
    if (!x->parser) {
        mem_free(x);
        return NULL;
    }
    x->conn = c;
    buf_init(&x->extra, LIMIT_HTTP_ANSWER_HEADERS);
    buf_init(&x->head, HEAD_MAX + SMALL_BODY);
    return x;
}

void exchange_free(struct exchange *x)
{
    if (!x)
        return;
    http_parser_free(x->parser);
    buf_done(&x->extra);
    buf_done(&x->head);
    buf_done(&x->body);
    mem_free(x);
}

const struct http_request *exchange_request(const struct exchange *x)
{
    BUG_ON(!x->parser);
    return http_parser_request(x->parser);
}

const struct http_peer *exchange_peer(const struct exchange *x)
{
    return &x->peer;
}

struct loop *exchange_loop(const struct exchange *x)
{
    return x->conn->sl->loop;
}

void exchange_on_abort(struct exchange *x, void (*aborted)(void *ctx), void *ctx)
{
    x->aborted = aborted;
    x->abort_ctx = ctx;
}

bool exchange_wants_chunks(const struct exchange *x)
{
    return exchange_request(x)->minor > 0;
}

static void find_peer(struct exchange *x)
{
    struct http_peer *p = &x->peer;
    if (x->conn->is_unix) {
        memcpy(p->address, "unix", 5);
        p->is_loopback = p->is_trusted = true;
        return;
    }
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
        struct sockaddr_storage room;
    } a;
    socklen_t len = sizeof a;
    memset(&a, 0, sizeof a);
    if (getpeername(x->conn->fd, &a.any, &len) < 0)
        return; /* gone already: an empty address, no rights */
    if (a.any.sa_family == AF_INET) {
        (void)inet_ntop(AF_INET, &a.v4.sin_addr, p->address, sizeof p->address);
        p->is_loopback = ntohl(a.v4.sin_addr.s_addr) >> 24 == 127;
    } else if (a.any.sa_family == AF_INET6) {
        (void)inet_ntop(AF_INET6, &a.v6.sin6_addr, p->address, sizeof p->address);
        p->is_loopback = IN6_IS_ADDR_LOOPBACK(&a.v6.sin6_addr);
    }
}

/* ---- the head ---- */

/* Headers of the transport: a handler's word on them would break the framing. */
static bool is_ours(struct span name)
{
    static const char *const ours[] = {
        "date", "server", "content-length", "transfer-encoding", "connection", "upgrade"};
    for (size_t i = 0; i < ARRAY_LEN(ours); i++)
        if (span_eq_nocase(name, span_str(ours[i])))
            return true;
    return false;
}

void exchange_header(struct exchange *x, const char *name, struct span value)
{
    if (x->answered || is_ours(span_str(name)))
        return;
    buf_puts(&x->extra, name);
    buf_put(&x->extra, ": ", 2);
    for (size_t i = 0; i < value.len; i++) {
        char c = value.ptr[i]; /* a line end here would begin a header of the value's author */
        buf_putc(&x->extra, ((unsigned char)c < 0x20 && c != '\t') || c == 0x7f ? ' ' : c);
    }
    buf_put(&x->extra, "\r\n", 2);
}

static bool has_extra(const struct exchange *x, const char *name)
{
    struct span rest = buf_span(&x->extra), line, want = span_str(name);
    while (span_next(&rest, '\n', &line))
        if (line.len > want.len && line.ptr[want.len] == ':' &&
            span_eq_nocase(span_first(line, want.len), want))
            return true;
    return false;
}

static void put_default(struct exchange *x, struct buf *out, const char *name, const char *value)
{
    if (x->extra.len && has_extra(x, name))
        return;
    buf_puts(out, name);
    buf_put(out, ": ", 2);
    buf_puts(out, value);
    buf_put(out, "\r\n", 2);
}

static const char *date_now(struct server_loop *sl)
{
    uint64_t now = (uint64_t)clock_wall_ms() / 1000;
    if (now != sl->date_s) {
        time_t t = (time_t)now;
        struct tm tm;
        sl->date_s = now;
        if (!gmtime_r(&t, &tm) ||
            !strftime(sl->date, sizeof sl->date, "%a, %d %b %Y %H:%M:%S GMT", &tm))
            sl->date[0] = 0;
    }
    return sl->date;
}

#define CSP_DATA "default-src 'none'; frame-ancestors 'none'"
#define CSP_HTML                                                                          \
    "default-src 'self'; connect-src 'self' ws: wss:; style-src 'self' 'unsafe-inline'; " \
    "img-src 'self' data:; script-src 'self'; frame-ancestors 'none'; base-uri 'none'"

void exchange_put_head(struct exchange *x, int status, const char *content_type, struct buf *out)
{
    struct server_loop *sl = x->conn->sl;
    bool is_html = content_type && span_starts(span_str(content_type), SPAN_LIT("text/html"));
    buf_puts(out, "HTTP/1.1 ");
    buf_put_u64(out, (uint64_t)status);
    buf_putc(out, ' ');
    buf_puts(out, http_reason(status));
    buf_puts(out, "\r\nDate: ");
    buf_puts(out, date_now(sl));
    buf_puts(out, "\r\nServer: headwater\r\n");
    if (content_type)
        put_default(x, out, "Content-Type", content_type);
    put_default(x, out, "X-Content-Type-Options", "nosniff");
    put_default(x, out, "X-Frame-Options", "DENY");
    put_default(x, out, "Referrer-Policy", "no-referrer");
    put_default(x, out, "X-XSS-Protection", "1; mode=block");
    put_default(x, out, "Content-Security-Policy", is_html ? CSP_HTML : CSP_DATA);
    const struct http_request *r = exchange_request(x);
    if (status != 101 && !cors_is_preflight(&sl->server->cors, r))
        cors_put_headers(&sl->server->cors, r, out);
    buf_put_span(out, buf_span(&x->extra));
    if (buf_failed(&x->extra))
        out->failed = true;
}

static void put_connection(struct exchange *x)
{
    if (x->conn->close_after)
        buf_puts(&x->head, "Connection: close\r\n");
    else if (exchange_request(x)->minor == 0)
        buf_puts(&x->head, "Connection: keep-alive\r\n");
}

static void begin_answer(struct exchange *x, int status)
{
    BUG_ON(x->answered);
    x->has_no_body = exchange_request(x)->method == HTTP_HEAD_ || status == 204 || status == 304;
    x->answered = true;
    x->conn->state = CONN_WRITING;
    x->conn->due_ms = 0;
}

/* Everything of a whole answer but its body; the caller adds that. */
static void put_reply_head(struct exchange *x, int status, const char *content_type,
                           size_t body_len)
{
    begin_answer(x, status);
    exchange_put_head(x, status, content_type, &x->head);
    put_connection(x);
    if (status != 204 && status != 304) {
        buf_puts(&x->head, "Content-Length: ");
        buf_put_u64(&x->head, body_len);
        buf_put(&x->head, "\r\n", 2);
    }
    buf_put(&x->head, "\r\n", 2);
}

void exchange_reply(struct exchange *x, int status, const char *content_type, struct span body)
{
    put_reply_head(x, status, content_type, body.len);
    if (!x->has_no_body) {
        buf_init(&x->body, body.len + 1);
        buf_put_span(body.len <= SMALL_BODY ? &x->head : &x->body, body);
    }
    conn_kick(x->conn);
}

void exchange_reply_buf(struct exchange *x, int status, const char *content_type, struct buf *body)
{
    bool is_broken = buf_failed(body);
    put_reply_head(x, status, content_type, body->len);
    if (!x->has_no_body) {
        x->body = *body;
        *body = BUF_INIT(body->max);
    } else {
        buf_done(body);
    }
    x->body.failed = is_broken;
    conn_kick(x->conn);
}

void exchange_stream(struct exchange *x, int status, const char *content_type,
                     struct byte_source *src)
{
    begin_answer(x, status);
    x->source = src;
    src->conn = x->conn;
    x->is_chunked = exchange_wants_chunks(x);
    if (!x->is_chunked)
        x->conn->close_after = true;
    exchange_put_head(x, status, content_type, &x->head);
    put_default(x, &x->head, "Cache-Control", "no-cache, no-transform");
    put_default(x, &x->head, "X-Accel-Buffering", "no");
    put_connection(x);
    if (x->is_chunked)
        buf_puts(&x->head, "Transfer-Encoding: chunked\r\n");
    buf_put(&x->head, "\r\n", 2);
    conn_kick(x->conn);
}

/* ---- requests that the server answers itself ---- */

static void put_detail(struct buf *out, const char *detail)
{
    struct json_writer w = json_writer(out);
    jw_obj(&w);
    jw_kstr(&w, "detail", detail);
    jw_end_obj(&w);
}

void exchange_refuse(struct exchange *x, int status, const char *detail)
{
    net_count(NET_REQUESTS_REFUSED, 1);
    x->conn->close_after = true;
    x->in_handler = false;
    struct buf body = BUF_INIT(4096);
    put_detail(&body, detail);
    if (status == 426)
        exchange_header(x, "Sec-WebSocket-Version", SPAN_LIT("13"));
    exchange_reply_buf(x, status, "application/json", &body);
}

static void answer_preflight(struct exchange *x)
{
    struct buf body = BUF_INIT(256);
    int status = cors_preflight(&x->conn->sl->server->cors, exchange_request(x), &x->extra, &body);
    exchange_reply_buf(x, status, "text/plain; charset=utf-8", &body);
}

void exchange_dispatch(struct exchange *x)
{
    struct server *s = x->conn->sl->server;
    struct http_request *r = http_parser_edit_request(x->parser);
    const char *detail;
    int status = ws_check_handshake(r, &detail);
    if (status) {
        exchange_refuse(x, status, detail);
        return;
    }
    r->wants_websocket = http_header_has(r, "upgrade", "websocket");
    find_peer(x);
    x->in_handler = true;
    if (cors_is_preflight(&s->cors, r))
        answer_preflight(x);
    else
        s->callbacks.request(s->callbacks.ctx, x);
}

/* ---- writing ---- */

static const char last_chunk[] = "0\r\n\r\n";

static int add_piece(struct iovec *iov, int n, const char *ptr, size_t len, size_t sent)
{
    if (sent >= len)
        return n;
    iov[n] = (struct iovec){(void *)(uintptr_t)(ptr + sent), len - sent};
    return n + 1;
}

static size_t taken(size_t *left, size_t len, size_t *sent)
{
    size_t n = len - *sent < *left ? len - *sent : *left;
    *sent += n;
    *left -= n;
    return n;
}

/* The source's pieces, or its end. False when it failed. */
static bool add_source(struct exchange *x, struct iovec *iov, int *n, size_t *ret_bytes)
{
    int count = NET_IOV_MAX - *n - 1;
    struct byte_source *src = x->source;
    enum source_result r = x->has_no_body ? SOURCE_END : src->peek(src, iov + *n, &count);
    switch (r) {
    case SOURCE_READY:
        for (int i = 0; i < count; i++)
            *ret_bytes += iov[*n + i].iov_len;
        *n += count;
        return true;
    case SOURCE_END:
        x->tail_len = x->is_chunked && !x->has_no_body ? sizeof last_chunk - 1 : 0;
        x->source = NULL;
        src->conn = NULL;
        src->detach(src, true);
        return true;
    case SOURCE_FAILED:
        return false;
    case SOURCE_WAIT:
        break;
    }
    return true;
}

/* A stream may wait for hours: request and head are not kept for it. */
static void trim(struct exchange *x)
{
    if (!x->parser || x->head_sent < x->head.len)
        return;
    http_parser_free(take_ptr(x->parser));
    buf_done(&x->extra);
    buf_done(&x->head);
    x->head_sent = 0;
}

enum conn_write exchange_write(struct exchange *x)
{
    if (buf_failed(&x->head) || buf_failed(&x->body))
        return WRITE_FAILED;
    for (size_t turn = 0; turn < LIMIT_WRITE_TURN;) {
        struct iovec iov[NET_IOV_MAX];
        size_t from_source = 0, total = 0;
        int n = add_piece(iov, 0, x->head.ptr, x->head.len, x->head_sent);
        n = add_piece(iov, n, x->body.ptr, x->body.len, x->body_sent);
        if (x->source && !add_source(x, iov, &n, &from_source))
            return WRITE_FAILED;
        n = add_piece(iov, n, last_chunk, x->tail_len, x->tail_sent);
        for (int i = 0; i < n; i++)
            total += iov[i].iov_len;
        if (!total && x->source)
            trim(x);
        if (!total)
            return x->source ? WRITE_WAIT : WRITE_DONE;
        ssize_t w = conn_send(x->conn, iov, n);
        if (w < 0)
            return WRITE_FAILED;
        size_t left = (size_t)w;
        (void)taken(&left, x->head.len, &x->head_sent);
        (void)taken(&left, x->body.len, &x->body_sent);
        size_t s = left < from_source ? left : from_source;
        if (s)
            x->source->consume(x->source, s);
        left -= s;
        (void)taken(&left, x->tail_len, &x->tail_sent);
        if ((size_t)w < total)
            return WRITE_BLOCKED;
        turn += (size_t)w;
    }
    return WRITE_BLOCKED; /* the others' turn; the socket will say that it has room */
}
