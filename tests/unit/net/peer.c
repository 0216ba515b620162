#include "peer.h"

#include "base/bug.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define STEP_MS 5000

struct seen seen;

/* ---- a source whose bytes become ready one piece a tick ---- */

struct slow_source {
    struct byte_source base;
    struct timer timer;
    struct loop *loop;
    struct buf bytes;
    size_t ready, at, step;
    bool ends, fails;
};

static enum source_result slow_peek(struct byte_source *s, struct iovec *iov, int *count)
{
    struct slow_source *w = container_of(s, struct slow_source, base);
    if (w->at < w->ready) {
        iov[0] = (struct iovec){w->bytes.ptr + w->at, w->ready - w->at};
        *count = 1;
        return SOURCE_READY;
    }
    if (w->ready == w->bytes.len && w->fails)
        return SOURCE_FAILED;
    return w->ready == w->bytes.len && w->ends ? SOURCE_END : SOURCE_WAIT;
}

static void slow_consume(struct byte_source *s, size_t n)
{
    struct slow_source *w = container_of(s, struct slow_source, base);
    w->at += n;
    BUG_ON(w->at > w->ready); /* not an assert: those belong to the test's thread */
    atomic_fetch_add(&seen.consumed, n);
}

static void slow_detach(struct byte_source *s, bool completed)
{
    struct slow_source *w = container_of(s, struct slow_source, base);
    atomic_fetch_add(completed ? &seen.detached_completed : &seen.detached_lost, 1);
    timer_clear(&w->timer);
    buf_done(&w->bytes);
    mem_free(w);
}

static void slow_tick(struct timer *t)
{
    struct slow_source *w = container_of(t, struct slow_source, timer);
    w->ready = w->ready + w->step < w->bytes.len ? w->ready + w->step : w->bytes.len;
    if (w->ready < w->bytes.len)
        timer_set(w->loop, t, 1, slow_tick);
    source_wake(&w->base);
}

/* Bytes appended to w->bytes by the caller; `step` of them a tick, all at once when 0. */
static struct slow_source *slow_new(struct loop *l, bool ends)
{
    struct slow_source *w = mem_alloc(sizeof *w);
    w->base = (struct byte_source){slow_peek, slow_consume, slow_detach, NULL};
    w->loop = l;
    w->ends = ends;
    buf_init(&w->bytes, 64u << 20);
    return w;
}

static void slow_start(struct slow_source *w, size_t step)
{
    w->step = step;
    w->ready = step ? 0 : w->bytes.len;
    if (step)
        timer_set(w->loop, &w->timer, 1, slow_tick);
}

static void put_chunk(struct buf *out, const char *text)
{
    buf_printf(out, "%zx\r\n%s\r\n", strlen(text), text);
}

/* ---- handlers ---- */

static void stream_reply(struct exchange *x, bool endless, bool fails)
{
    struct slow_source *w = slow_new(exchange_loop(x), !endless);
    bool chunks = exchange_wants_chunks(x);
    for (int i = 0; i < 3; i++) {
        if (chunks)
            put_chunk(&w->bytes, "piece ");
        else
            buf_puts(&w->bytes, "piece ");
    }
    w->fails = fails;
    slow_start(w, w->bytes.len / 3);
    exchange_stream(x, 200, "text/event-stream", &w->base);
}

static void big_stream(struct exchange *x)
{
    struct slow_source *w = slow_new(exchange_loop(x), true);
    static char block[16384];
    for (int i = 0; i < 640; i++) { /* 10 MiB */
        buf_printf(&w->bytes, "%zx\r\n", sizeof block);
        buf_put(&w->bytes, block, sizeof block);
        buf_puts(&w->bytes, "\r\n");
    }
    slow_start(w, 0);
    exchange_stream(x, 200, "application/octet-stream", &w->base);
}

struct later {
    struct timer timer;
    struct exchange *x;
    bool never;
};

static void answer_later(struct timer *t)
{
    struct later *l = container_of(t, struct later, timer);
    exchange_reply(l->x, 200, "text/plain", SPAN_LIT("later"));
    mem_free(l);
}

static void later_aborted(void *ctx)
{
    struct later *l = ctx;
    timer_clear(&l->timer);
    atomic_fetch_add(&seen.aborted, 1);
    mem_free(l);
}

static void reply_later(struct exchange *x, bool never)
{
    struct later *l = mem_alloc(sizeof *l);
    l->x = x;
    exchange_on_abort(x, later_aborted, l);
    if (!never)
        timer_set(exchange_loop(x), &l->timer, 120, answer_later);
}

static void ws_stream(struct ws *ws, size_t frames, size_t payload, bool fails)
{
    struct slow_source *w = slow_new(ws_loop(ws), true);
    char *block = mem_alloc(payload + 1);
    for (size_t i = 0; i < frames; i++) {
        memset(block, 'a' + (int)(i % 26), payload);
        ws_frame_header(&w->bytes, WS_OP_TEXT, payload);
        buf_put(&w->bytes, block, payload);
    }
    mem_free(block);
    w->fails = fails;
    slow_start(w, 0);
    ws_attach(ws, &w->base);
}

static void on_message(void *ctx, struct ws *ws, bool is_text, struct span payload)
{
    (void)ctx;
    if (span_is(payload, "close"))
        ws_close(ws, 4001, "as you wish");
    else if (span_is(payload, "stream"))
        ws_stream(ws, 200, 64, false);
    else if (span_is(payload, "flood"))
        ws_stream(ws, 160, 65536, false);
    else if (span_is(payload, "fail"))
        ws_stream(ws, 3, 10, true);
    else if (span_is(payload, "cut")) {
        ws_stream(ws, 160, 65536, false);
        ws_close(ws, 1000, "done");
    } else if (ws_send(ws, is_text, payload) < 0)
        atomic_fetch_add(&seen.ws_send_failed, 1);
}

static void on_closed(void *ctx, struct ws *ws, int code)
{
    (void)ctx;
    (void)ws;
    atomic_store(&seen.ws_close_code, code);
    atomic_fetch_add(&seen.ws_closed, 1);
}

static void upgrade(struct exchange *x)
{
    static const struct ws_callbacks callbacks = {on_message, on_closed};
    bool native = http_header_has(exchange_request(x), "sec-websocket-protocol", "headwater.v1");
    (void)exchange_upgrade(x, native ? "headwater.v1" : NULL, 100000, &callbacks, NULL);
}

static void on_request(void *ctx, struct exchange *x)
{
    (void)ctx;
    const struct http_request *r = exchange_request(x);
    atomic_fetch_add(&seen.requests, 1);
    if (exchange_peer(x)->is_trusted)
        atomic_fetch_add(&seen.trusted, 1);
    if (r->wants_websocket && span_is(r->path, "/ws"))
        upgrade(x);
    else if (span_is(r->path, "/hello"))
        exchange_reply(x, 200, "text/plain", SPAN_LIT("hello"));
    else if (span_is(r->path, "/html")) {
        exchange_header(x, "Referrer-Policy", SPAN_LIT("origin"));
        exchange_header(x, "X-Evil", SPAN_LIT("a\r\nSet-Cookie: x"));
        exchange_reply(x, 200, "text/html; charset=utf-8", SPAN_LIT("<p>"));
    } else if (span_is(r->path, "/echo"))
        exchange_reply(x, 200, "application/octet-stream", r->body);
    else if (span_is(r->path, "/stream"))
        stream_reply(x, false, false);
    else if (span_is(r->path, "/endless"))
        stream_reply(x, true, false);
    else if (span_is(r->path, "/failing"))
        stream_reply(x, false, true);
    else if (span_is(r->path, "/big"))
        big_stream(x);
    else if (span_is(r->path, "/later"))
        reply_later(x, false);
    else if (span_is(r->path, "/never"))
        reply_later(x, true);
    else
        exchange_reply(x, 404, "application/json", SPAN_LIT("{\"detail\":\"Not Found\"}"));
}

/* ---- the server ---- */

void fixture_start(struct fixture *f, const struct server_options *options, size_t loop_count)
{
    struct err err = {0};
    static int number;
    memset(&seen, 0, sizeof seen);
    *f = (struct fixture){.loop_count = loop_count};
    for (size_t i = 0; i < loop_count; i++) {
        assert_int_equal(loop_new("net", &f->loops[i], &err), 0);
        assert_int_equal(loop_start(f->loops[i], &err), 0);
    }
    const struct server_callbacks callbacks = {.request = on_request};
    assert_int_equal(server_new(f->loops, loop_count, options, &callbacks, &f->server, &err), 0);
    assert_int_equal(server_listen(f->server, "127.0.0.1:0", &f->port, &err), 0);
    assert_true(f->port > 0);
    snprintf(f->unix_path, sizeof f->unix_path, "/tmp/headwater-test-%d-%d", (int)getpid(),
             number++);
    char address[80];
    snprintf(address, sizeof address, "unix:%s", f->unix_path);
    assert_int_equal(server_listen(f->server, address, NULL, &err), 0);
    server_start(f->server);
}

void fixture_stop(struct fixture *f)
{
    server_drain(f->server, 300);
    server_free(f->server);
    for (size_t i = 0; i < f->loop_count; i++) {
        loop_stop(f->loops[i]);
        loop_free(f->loops[i]);
    }
}

void wait_for(_Atomic int *counter, int value)
{
    for (int i = 0; i < 2000 && atomic_load(counter) < value; i++)
        (void)poll(NULL, 0, 1);
    assert_int_equal(atomic_load(counter), value);
}

/* ---- the client ---- */

int peer_connect(const struct fixture *f)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)f->port)};
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (const struct sockaddr *)&a, sizeof a), 0);
    return fd;
}

int peer_connect_unix(const struct fixture *f)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    snprintf(a.sun_path, sizeof a.sun_path, "%s", f->unix_path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (const struct sockaddr *)&a, sizeof a), 0);
    return fd;
}

void peer_send(int fd, const void *ptr, size_t len)
{
    const char *p = ptr;
    while (len) {
        ssize_t n = send(fd, p, len, MSG_NOSIGNAL);
        if (n < 0)
            return; /* the server closed: what it said before is what the test looks at */
        p += n;
        len -= (size_t)n;
    }
}

void peer_puts(int fd, const char *text)
{
    peer_send(fd, text, strlen(text));
}

/* Some bytes, 0 at the end or a reset, -1 when nothing came in time. */
static ssize_t read_some(int fd, char *ptr, size_t cap)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    if (poll(&p, 1, STEP_MS) <= 0)
        return -1;
    ssize_t n = recv(fd, ptr, cap, 0);
    return n < 0 ? 0 : n;
}

void peer_read(int fd, struct buf *into, const char *until)
{
    char part[65536];
    while (!until || span_find(buf_span(into), span_str(until)) < 0) {
        ssize_t n = read_some(fd, part, sizeof part);
        if (n < 0 || (n == 0 && until))
            fail_msg("'%s' did not come; got: %s", until ? until : "end of file", buf_str(into));
        if (n == 0)
            return;
        buf_put(into, part, (size_t)n);
    }
}

void peer_read_bytes(int fd, struct buf *into, size_t total)
{
    char part[65536];
    while (into->len < total) {
        size_t want = total - into->len < sizeof part ? total - into->len : sizeof part;
        ssize_t n = read_some(fd, part, want);
        if (n <= 0)
            fail_msg("%zu of %zu bytes came", into->len, total);
        buf_put(into, part, (size_t)n);
    }
}

bool peer_is_closed(int fd)
{
    char part[65536];
    ssize_t n;
    do
        n = read_some(fd, part, sizeof part);
    while (n > 0);
    return n == 0;
}

void peer_ask(const struct fixture *f, const char *request, struct buf *answer)
{
    int fd = peer_connect(f);
    peer_puts(fd, request);
    peer_read(fd, answer, NULL);
    close(fd);
}

int peer_ws_open(const struct fixture *f, const char *path)
{
    int fd = peer_connect(f);
    char text[400];
    struct buf b = BUF_INIT(4096);
    snprintf(
        text, sizeof text,
        "GET %s HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
        path);
    peer_puts(fd, text);
    while (b.len < 4 || memcmp(b.ptr + b.len - 4, "\r\n\r\n", 4) != 0)
        peer_read_bytes(fd, &b, b.len + 1);
    assert_true(span_starts(buf_span(&b), SPAN_LIT("HTTP/1.1 101 Switching Protocols\r\n")));
    assert_true(span_find(buf_span(&b),
                          SPAN_LIT("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n")) > 0);
    buf_done(&b);
    return fd;
}

void peer_ws_send(int fd, int first_byte, const void *ptr, size_t len)
{
    static const uint8_t mask[4] = {0x12, 0x34, 0x56, 0x78};
    struct buf b = BUF_INIT(len + 32);
    ws_frame_header(&b, 1, len);
    b.ptr[0] = (char)first_byte;
    b.ptr[1] = (char)(b.ptr[1] | (char)0x80);
    buf_put(&b, mask, 4);
    for (size_t i = 0; i < len; i++)
        buf_putc(&b, (char)(((const uint8_t *)ptr)[i] ^ mask[i % 4]));
    peer_send(fd, b.ptr, b.len);
    buf_done(&b);
}

static bool read_exact(int fd, void *ptr, size_t len)
{
    char *p = ptr;
    while (len) {
        ssize_t n = read_some(fd, p, len);
        assert_true(n >= 0);
        if (n == 0)
            return false;
        p += n;
        len -= (size_t)n;
    }
    return true;
}

int peer_ws_frame(int fd, struct buf *into)
{
    uint8_t h[2], more[8];
    buf_clear(into);
    if (!read_exact(fd, h, 2))
        return -1;
    size_t len = h[1], extra = len == 126 ? 2 : len == 127 ? 8 : 0;
    assert_true(len < 128); /* a server does not mask */
    if (extra) {
        assert_true(read_exact(fd, more, extra));
        len = 0;
        for (size_t i = 0; i < extra; i++)
            len = len << 8 | more[i];
    }
    if (len) {
        assert_true(buf_reserve(into, len));
        assert_true(read_exact(fd, into->ptr, len));
        into->len = len;
        into->ptr[len] = 0;
    }
    return h[0];
}
