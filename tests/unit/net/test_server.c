/* Promises of the HTTP server on real sockets. */
#include "peer.h"

#include "base/limits.h"

#include <malloc.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static bool has(const struct buf *b, const char *text)
{
    return span_find(buf_span(b), span_str(text)) >= 0;
}

static size_t count(const struct buf *b, const char *text)
{
    size_t n = 0;
    struct span rest = buf_span(b);
    ptrdiff_t at;
    while ((at = span_find(rest, span_str(text))) >= 0) {
        n++;
        rest = span_skip(rest, (size_t)at + strlen(text));
    }
    return n;
}

static void assert_has(const struct buf *b, const char *text)
{
    if (!has(b, text))
        fail_msg("'%s' is not in: %s", text, buf_str(b));
}

static void keep_alive_serves_one_after_the_other(void **state)
{
    (void)state;
    struct fixture f;
    fixture_start(&f, NULL, 2);
    int fd = peer_connect(&f);
    for (int i = 0; i < 5; i++) {
        struct buf b = BUF_INIT(1 << 16);
        peer_puts(fd, "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
        peer_read(fd, &b, "\r\n\r\nhello");
        assert_has(&b, "HTTP/1.1 200 OK\r\nDate: ");
        assert_has(&b, "\r\nContent-Length: 5\r\n");
        assert_false(has(&b, "Connection:"));
        buf_done(&b);
    }
    close(fd);
    fixture_stop(&f);
}

static void pipelined_requests_are_answered_in_order(void **state)
{
    (void)state;
    struct fixture f;
    fixture_start(&f, NULL, 1);
    int fd = peer_connect(&f);
    struct buf b = BUF_INIT(1 << 16);
    peer_puts(fd, "GET /later HTTP/1.1\r\nHost: x\r\n\r\n"
                  "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\nsecond"
                  "GET /stream HTTP/1.1\r\nHost: x\r\n\r\n"
                  "GET /later HTTP/1.1\r\nHost: x\r\n\r\n"
                  "GET /hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
                  "GET /html HTTP/1.1\r\nHost: x\r\n\r\n"); /* after close: not answered */
    peer_read(fd, &b, NULL);
    struct span rest = buf_span(&b);
    static const char *const order[] = {"\r\n\r\nlater", "\r\n\r\nsecond", "piece ",
                                        "0\r\n\r\n",     "\r\n\r\nlater",  "\r\n\r\nhello"};
    for (size_t i = 0; i < ARRAY_LEN(order); i++) {
        ptrdiff_t at = span_find(rest, span_str(order[i]));
        assert_true(at >= 0);
        rest = span_skip(rest, (size_t)at + strlen(order[i]));
    }
    assert_int_equal(rest.len, 0);
    assert_int_equal(count(&b, "HTTP/1.1 200 OK"), 5);
    buf_done(&b);
    close(fd);
    fixture_stop(&f);
}

static void on_unexpected_request(void *ctx, struct exchange *x)
{
    (void)ctx;
    (void)x;
    abort();
}

static void closes_after_answer(const struct fixture *f, const char *request, const char *want)
{
    struct buf b = BUF_INIT(1 << 20);
    peer_ask(f, request, &b);
    assert_has(&b, want);
    buf_done(&b);
}

static void http_1_0_closes_unless_asked(void **state)
{
    (void)state;
    struct fixture f;
    fixture_start(&f, NULL, 1);
    closes_after_answer(&f, "GET /hello HTTP/1.0\r\n\r\n", "Connection: close\r\n");
    closes_after_answer(&f, "GET /stream HTTP/1.0\r\n\r\n", "\r\n\r\npiece piece piece ");
    int fd = peer_connect(&f);
    struct buf b = BUF_INIT(1 << 16);
    peer_puts(fd, "GET /hello HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    peer_read(fd, &b, "\r\n\r\nhello");
    assert_has(&b, "Connection: keep-alive\r\n");
    buf_clear(&b);
    peer_puts(fd, "GET /hello HTTP/1.0\r\n\r\n");
    peer_read(fd, &b, NULL);
    assert_has(&b, "\r\n\r\nhello");
    buf_done(&b);
    close(fd);
    fixture_stop(&f);
}

static void every_answer_has_the_security_headers(void **state)
{
    (void)state;
    struct fixture f;
    fixture_start(&f, NULL, 1);
    static const char *const requests[] = {
        "GET /hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        "GET /none HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        "GET /stream HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        "nonsense\r\n\r\n",
        "GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        "\x88\x80\x01\x02\x03\x04",
    };
    static const char *const headers[] = {
        "\r\nDate: ",
        "\r\nServer: headwater\r\n",
        "\r\nX-Content-Type-Options: nosniff\r\n",
        "\r\nX-Frame-Options: DENY\r\n",
        "\r\nReferrer-Policy: no-referrer\r\n",
        "\r\nX-XSS-Protection: 1; mode=block\r\n",
        "\r\nContent-Security-Policy: default-src 'none'; frame-ancestors 'none'\r\n",
    };
    for (size_t i = 0; i < ARRAY_LEN(requests); i++) {
        struct buf b = BUF_INIT(1 << 16);
        peer_ask(&f, requests[i], &b);
        for (size_t k = 0; k < ARRAY_LEN(headers); k++)
            assert_has(&b, headers[k]);
        buf_done(&b);
    }
    fixture_stop(&f);
}

static void a_handler_overrides_headers_but_cannot_inject(void **state)
{
    (void)state;
    struct fixture f;
    struct buf b = BUF_INIT(1 << 16);
    fixture_start(&f, NULL, 1);
    peer_ask(&f, "GET /html HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", &b);
    assert_has(&b, "\r\nReferrer-Policy: origin\r\n");
    assert_int_equal(count(&b, "Referrer-Policy"), 1);
    assert_has(&b, "script-src 'self'; frame-ancestors 'none'; base-uri 'none'\r\n");
    assert_has(&b, "\r\nX-Evil: a  Set-Cookie: x\r\n");
    buf_done(&b);
    fixture_stop(&f);
}

static void head_has_the_length_and_no_body(void **state)
{
    (void)state;
    struct fixture f;
    struct buf b = BUF_INIT(1 << 16);
    fixture_start(&f, NULL, 1);
    int fd = peer_connect(&f);
    peer_puts(fd, "HEAD /hello HTTP/1.1\r\nHost: x\r\n\r\nHEAD /stream HTTP/1.1\r\nHost: x\r\n\r\n"
                  "GET /hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    peer_read(fd, &b, NULL);
    assert_int_equal(count(&b, "Content-Length: 5\r\n"), 2);
    assert_int_equal(count(&b, "\r\n\r\n"), 3);
    assert_int_equal(count(&b, "\r\n\r\nHTTP/1.1 200 OK"), 2);
    assert_true(span_ends(buf_span(&b), SPAN_LIT("\r\n\r\nhello")));
    assert_int_equal(seen.detached_completed, 1);
    buf_done(&b);
    close(fd);
    fixture_stop(&f);
}

static void a_stream_is_sent_as_it_becomes_ready(void **state)
{
    (void)state;
    struct fixture f;
    struct buf b = BUF_INIT(1 << 16);
    fixture_start(&f, NULL, 1);
    int fd = peer_connect(&f);
    peer_puts(fd, "GET /stream HTTP/1.1\r\nHost: x\r\n\r\n");
    peer_read(fd, &b, "\r\n\r\n"); /* the head does not wait for the first piece */
    assert_false(has(&b, "piece"));
    assert_has(&b, "Transfer-Encoding: chunked\r\n");
    assert_has(&b, "Cache-Control: no-cache, no-transform\r\n");
    assert_has(&b, "X-Accel-Buffering: no\r\n");
    assert_false(has(&b, "Content-Length"));
    peer_read(fd, &b, "0\r\n\r\n");
    assert_true(span_ends(buf_span(&b),
                          SPAN_LIT("6\r\npiece \r\n6\r\npiece \r\n6\r\npiece \r\n0\r\n\r\n")));
    wait_for(&seen.detached_completed, 1);
    assert_int_equal(seen.detached_lost, 0);
    buf_clear(&b);
    peer_puts(fd, "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n"); /* and the connection goes on */
    peer_read(fd, &b, "hello");
    buf_done(&b);
    close(fd);
    fixture_stop(&f);
}

static void a_failed_stream_is_cut_without_its_last_chunk(void **state)
{
    (void)state;
    struct fixture f;
    struct buf b = BUF_INIT(1 << 16);
    fixture_start(&f, NULL, 1);
    peer_ask(&f, "GET /failing HTTP/1.1\r\nHost: x\r\n\r\n", &b);
    assert_has(&b, "piece ");
    assert_false(has(&b, "0\r\n\r\n"));
    wait_for(&seen.detached_lost, 1);
    buf_done(&b);
    fixture_stop(&f);
}

static void a_reader_that_leaves_detaches_once(void **state)
{
    (void)state;
    struct fixture f;
    fixture_start(&f, NULL, 1);
    for (int reset = 0; reset < 2; reset++) {
        struct buf b = BUF_INIT(1 << 16);
        int fd = peer_connect(&f);
        peer_puts(fd, "GET /endless HTTP/1.1\r\nHost: x\r\n\r\n");
        peer_read(fd, &b, "6\r\npiece \r\n6\r\npiece \r\n6\r\npiece \r\n");
        struct linger l = {1, 0};
        if (reset)
            setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, sizeof l);
        close(fd);
        wait_for(&seen.detached_lost, reset + 1);
        buf_done(&b);
    }
    fixture_stop(&f);
    assert_int_equal(seen.detached_lost, 2);
    assert_int_equal(seen.detached_completed, 0);
}

static void a_waiting_handler_hears_that_the_peer_left(void **state)
{
    (void)state;
    struct fixture f;
    fixture_start(&f, NULL, 1);
    int fd = peer_connect(&f);
    peer_puts(fd, "GET /never HTTP/1.1\r\nHost: x\r\n\r\n");
    wait_for(&seen.requests, 1);
    close(fd);
    wait_for(&seen.aborted, 1);
    fd = peer_connect(&f); /* also with unread bytes behind the request, and at the drain's end */
    peer_puts(fd, "GET /never HTTP/1.1\r\nHost: x\r\n\r\nGET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
    wait_for(&seen.requests, 2);
    close(fd);
    wait_for(&seen.aborted, 2);
    fd = peer_connect(&f);
    peer_puts(fd, "GET /never HTTP/1.1\r\nHost: x\r\n\r\n");
    wait_for(&seen.requests, 3);
    fixture_stop(&f);
    assert_int_equal(seen.aborted, 3);
    close(fd);
}

/* What the server has taken from its source once it takes no more; 20 s are for a loaded machine. */
static size_t consumed_at_rest(void)
{
    size_t last = 0, now = 0;
    for (int i = 0; i < 200 && (!now || now != last); i++) {
        last = now;
        (void)poll(NULL, 0, 100);
        now = atomic_load(&seen.consumed);
    }
    return now;
}

static void a_slow_reader_gets_all_of_a_large_body(void **state)
{
    (void)state;
    struct fixture f;
    fixture_start(&f, NULL, 1);
    int fd = peer_connect(&f), small = 256 << 10;
    struct buf b = BUF_INIT(1u << 25);
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    peer_puts(fd, "GET /big HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    size_t early = consumed_at_rest();
    assert_true(early > 0 &&
                early < (9u << 20)); /* taken from the source only as the socket takes it */
    int other = peer_connect(&f);
    peer_puts(other, "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
    peer_read(other, &b, "hello"); /* and nobody waits for it */
    buf_clear(&b);
    peer_read(fd, &b, NULL);
    assert_true(b.len > 640 * 16384);
    assert_true(span_ends(buf_span(&b), SPAN_LIT("0\r\n\r\n")));
    assert_int_equal(seen.detached_completed, 1);
    buf_done(&b);
    close(fd);
    close(other);
    fixture_stop(&f);
}

static void large_bodies_go_both_ways(void **state)
{
    (void)state;
    struct fixture f;
    fixture_start(&f, NULL, 1);
    int fd = peer_connect(&f);
    size_t n = 3u << 20;
    char *body = mem_alloc(n);
    for (size_t i = 0; i < n; i++)
        body[i] = (char)(i * 7 + i / 251);
    peer_puts(fd, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3145728\r\n\r\n");
    peer_send(fd, body, n);
    struct buf b = BUF_INIT(1u << 25);
    peer_read(fd, &b, "\r\n\r\n");
    ptrdiff_t at = span_find(buf_span(&b), SPAN_LIT("\r\n\r\n"));
    peer_read_bytes(fd, &b, (size_t)at + 4 + n);
    assert_memory_equal(b.ptr + at + 4, body, n);
    mem_free(body);
    buf_done(&b);
    close(fd);
    fixture_stop(&f);
}

static void expect_100_is_answered_before_the_body(void **state)
{
    (void)state;
    struct fixture f;
    struct buf b = BUF_INIT(1 << 16);
    fixture_start(&f, NULL, 1);
    int fd = peer_connect(&f);
    peer_puts(
        fd, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n");
    peer_read(fd, &b, "HTTP/1.1 100 Continue\r\n\r\n");
    peer_puts(fd, "body");
    peer_read(fd, &b, "\r\n\r\nbody");
    close(fd);
    buf_clear(&b);
    /* A body that will be refused is refused instead. */
    peer_ask(&f,
             "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\nExpect: "
             "100-continue\r\n\r\n",
             &b);
    assert_has(&b, "HTTP/1.1 413 ");
    assert_has(&b, "{\"detail\":\"the request body is too large\"}");
    buf_done(&b);
    fixture_stop(&f);
}

static void a_refusal_reaches_a_peer_that_is_still_sending(void **state)
{
    (void)state;
    struct fixture f;
    struct buf b = BUF_INIT(1 << 16);
    fixture_start(&f, NULL, 1);
    int fd = peer_connect(&f);
    char *body = mem_alloc(4u << 20);
    peer_puts(fd, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n");
    peer_send(fd, body, 4u << 20);
    peer_read(fd, &b, NULL);
    assert_has(&b, "HTTP/1.1 413 Content Too Large\r\n");
    assert_has(&b, "Connection: close\r\n");
    mem_free(body);
    buf_done(&b);
    close(fd);
    fixture_stop(&f);
}

static void slow_requests_time_out(void **state)
{
    (void)state;
    struct fixture f;
    const struct server_options o = {.head_timeout_ms = 100,
                                     .body_timeout_ms = 100,
                                     .idle_timeout_ms = 200,
                                     .close_timeout_ms = 100};
    struct buf b = BUF_INIT(1 << 16);
    fixture_start(&f, &o, 1);
    peer_ask(&f, "GET /hello HTTP/1.1\r\nHost:", &b);
    assert_has(&b, "HTTP/1.1 408 Request Timeout\r\n");
    buf_clear(&b);
    peer_ask(&f, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nabc", &b);
    assert_has(&b, "HTTP/1.1 408 Request Timeout\r\n");
    buf_clear(&b);
    peer_ask(&f, "", &b); /* a connection that says nothing is closed without words */
    assert_int_equal(b.len, 0);
    peer_ask(&f, "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n", &b); /* and so is an idle one */
    assert_true(span_ends(buf_span(&b), SPAN_LIT("hello")));
    buf_done(&b);
    fixture_stop(&f);
}

static void a_peer_that_takes_nothing_is_cut_off(void **state)
{
    (void)state;
    struct fixture f;
    const struct server_options o = {.write_stall_ms = 200};
    fixture_start(&f, &o, 1);
    int fd = peer_connect(&f), small = 4096;
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    peer_puts(fd, "GET /big HTTP/1.1\r\nHost: x\r\n\r\n");
    wait_for(&seen.detached_lost, 1);
    close(fd);
    fixture_stop(&f);
}

static void unix_socket_peers_are_trusted(void **state)
{
    (void)state;
    struct fixture f;
    struct buf b = BUF_INIT(1 << 16);
    fixture_start(&f, NULL, 2);
    struct stat st;
    assert_int_equal(stat(f.unix_path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    int fd = peer_connect_unix(&f);
    peer_puts(fd, "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
    peer_read(fd, &b, "hello");
    assert_int_equal(seen.trusted, 1);
    close(fd);
    fd = peer_connect(&f);
    buf_clear(&b);
    peer_puts(fd, "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
    peer_read(fd, &b, "hello");
    assert_int_equal(seen.trusted, 1);
    close(fd);
    buf_done(&b);
    fixture_stop(&f);
    assert_int_equal(stat(f.unix_path, &st), -1);
}

static void connections_past_the_maximum_get_503(void **state)
{
    (void)state;
    struct fixture f;
    const struct server_options o = {.max_connections = 2};
    struct buf b = BUF_INIT(1 << 16);
    fixture_start(&f, &o, 1);
    int first = peer_connect(&f), second = peer_connect(&f);
    peer_puts(first, "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
    peer_read(first, &b, "hello");
    buf_clear(&b);
    peer_ask(&f, "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n", &b);
    assert_has(&b, "HTTP/1.1 503 Service Unavailable\r\n");
    assert_has(&b, "too many connections");
    close(first);
    close(second);
    for (int i = 0; i < 100; i++) { /* room again */
        buf_clear(&b);
        peer_ask(&f, "GET /hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", &b);
        if (has(&b, "200 OK"))
            break;
        (void)poll(NULL, 0, 10);
    }
    assert_has(&b, "200 OK");
    buf_done(&b);
    fixture_stop(&f);
}

static void listening_fails_in_words(void **state)
{
    (void)state;
    struct fixture f;
    fixture_start(&f, NULL, 1);
    struct server *s;
    struct err err = {0};
    const struct server_callbacks callbacks = {.request = on_unexpected_request};
    assert_int_equal(server_new(f.loops, 1, NULL, &callbacks, &s, &err), 0);
    char taken[80];
    snprintf(taken, sizeof taken, "127.0.0.1:%u", f.port);
    assert_true(server_listen(s, taken, NULL, &err) <
                0); /* not shared with a server that is there */
    assert_non_null(strstr(err.msg, "cannot listen on '127.0.0.1:"));
    snprintf(taken, sizeof taken, "unix:%s", f.unix_path);
    assert_int_equal(server_listen(s, taken, NULL, &err), -ERR_BUSY);
    assert_int_equal(server_listen(s, "unix:/dev/null", NULL, &err), -ERR_EXISTS);
    static const char *const bad[] = {
        "",        "8001",  ":8001", "127.0.0.1",   "127.0.0.1:99999", "localhost:80",
        "[::1:80", "[::1]", "unix:", "127.0.0.1:8x"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(server_listen(s, bad[i], NULL, &err), -ERR_INVALID);
    unsigned port = 0;
    assert_int_equal(server_listen(s, "[::1]:0", &port, &err), 0);
    assert_true(port > 0);
    server_free(s); /* never started */
    fixture_stop(&f);
}

static void a_stale_socket_file_is_replaced(void **state)
{
    (void)state;
    struct fixture f;
    struct err err = {0};
    const struct server_callbacks callbacks = {.request = on_unexpected_request};
    fixture_start(&f, NULL, 1);
    char path[96], address[104];
    snprintf(path, sizeof path, "%s-stale", f.unix_path);
    snprintf(address, sizeof address, "unix:%s", path);
    for (int i = 0; i < 2;
         i++) { /* the second finds the file of the first, which is gone without a word */
        struct server *s;
        assert_int_equal(server_new(f.loops, 1, NULL, &callbacks, &s, &err), 0);
        assert_int_equal(server_listen(s, address, NULL, &err), 0);
        char kept[112];
        snprintf(kept, sizeof kept, "%s-kept", path);
        assert_int_equal(rename(path, kept), 0);
        server_free(s);
        assert_int_equal(rename(kept, path), 0);
    }
    unlink(path);
    fixture_stop(&f);
}

static void drain_lets_answers_finish(void **state)
{
    (void)state;
    struct fixture f;
    struct buf b = BUF_INIT(1 << 16);
    fixture_start(&f, NULL, 1);
    int busy = peer_connect(&f), idle = peer_connect(&f);
    peer_puts(busy, "GET /later HTTP/1.1\r\nHost: x\r\n\r\n");
    wait_for(&seen.requests, 1);
    uint64_t before = clock_ms();
    server_drain(f.server, 5000);
    assert_true(clock_ms() - before < 3000);
    peer_read(busy, &b, NULL);
    assert_true(span_ends(buf_span(&b), SPAN_LIT("\r\n\r\nlater")));
    assert_true(peer_is_closed(idle));
    close(busy);
    close(idle);
    buf_done(&b);
    fixture_stop(&f);
}

/* The answer asks the request for its Origin: there may be no header to look at. */
static void a_broken_head_is_refused_with_cors_on(void **state)
{
    (void)state;
    struct fixture f;
    const struct server_options options = {.cors_origins = "*"};
    static const char *const heads[] = {
        "GET /hello HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        "GET /hello HTTP/1.1\r\nHost: x\r\nOrigin: http://a\r\nnonsense\r\n\r\n",
        "GET /hello HTTP/1.1\r\nOrigin\r\n\r\n",
        "GET /hello HTTP/9.9\r\n\r\n",
    };
    fixture_start(&f, &options, 1);
    for (size_t i = 0; i < ARRAY_LEN(heads); i++) {
        struct buf b = BUF_INIT(1 << 16);
        peer_ask(&f, heads[i], &b);
        assert_has(&b, i < 3 ? "HTTP/1.1 400 " : "HTTP/1.1 505 ");
        buf_done(&b);
    }
    fixture_stop(&f);
}

static void socket_faults_end_one_connection_only(void **state)
{
    (void)state;
    struct fixture f;
    fixture_start(&f, NULL, 1);
    static const enum fault_site sites[] = {FAULT_READ, FAULT_WRITE, FAULT_ACCEPT};
    for (size_t i = 0; i < ARRAY_LEN(sites); i++) {
        for (uint64_t n = 1; n <= 4; n++) {
            struct buf b = BUF_INIT(1 << 16);
            fault_arm(sites[i], n, 0);
            int fd = peer_connect(&f);
            peer_puts(fd, "GET /stream HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
            (void)peer_is_closed(fd);
            close(fd);
            fault_disarm();
            peer_ask(&f, "GET /hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", &b);
            assert_has(&b, "\r\n\r\nhello");
            buf_done(&b);
        }
    }
    fixture_stop(&f);
    assert_int_equal(seen.detached_completed + seen.detached_lost, seen.requests - 12);
}

static void no_memory_ends_one_connection_only(void **state)
{
    (void)state;
    struct fixture f;
    fixture_start(&f, NULL, 1);
    bool was_whole = false;
    for (uint64_t n = 1; n < 60 && !was_whole; n++) {
        struct buf b = BUF_INIT(1 << 16);
        buf_reserve(&b, 60000);
        fault_arm(FAULT_ALLOC, n, 0);
        int fd = peer_connect(&f);
        peer_puts(fd, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nConnection: "
                      "close\r\n\r\nhello");
        peer_read(fd, &b, NULL);
        was_whole = fault_seen(FAULT_ALLOC) < n;
        fault_disarm();
        close(fd);
        assert_int_equal(was_whole, was_whole && has(&b, "\r\n\r\nhello"));
        buf_clear(&b);
        peer_ask(&f, "GET /hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", &b);
        assert_has(&b, "\r\n\r\nhello");
        buf_done(&b);
    }
    assert_true(was_whole);
    fixture_stop(&f);
}

static void many_clients_are_served_at_once(void **state)
{
    (void)state;
    struct fixture f;
    enum { N = 100 };
    int fd[N];
    fixture_start(&f, NULL, 2);
    for (int i = 0; i < N; i++) {
        fd[i] = peer_connect(&f);
        peer_puts(fd[i],
                  "GET /stream HTTP/1.1\r\nHost: x\r\n\r\nGET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
    }
    for (int i = 0; i < N; i++) {
        struct buf b = BUF_INIT(1 << 16);
        peer_read(fd[i], &b, "\r\n\r\nhello");
        close(fd[i]);
        buf_done(&b);
    }
    assert_int_equal(seen.detached_completed, N);
    fixture_stop(&f);
}

static void an_endless_upload_does_not_need_a_handler(void **state)
{
    (void)state;
    struct fixture f;
    struct buf b = BUF_INIT(1 << 16);
    fixture_start(&f, NULL, 1);
    int fd = peer_connect(&f);
    char block[65536];
    memset(block, 'a', sizeof block);
    peer_puts(fd, "GET /");
    for (int i = 0; i < 20; i++)
        peer_send(fd, block, sizeof block);
    peer_read(fd, &b, NULL);
    assert_has(&b, "HTTP/1.1 414 URI Too Long\r\n");
    assert_int_equal(seen.requests, 0);
    buf_done(&b);
    close(fd);
    fixture_stop(&f);
}

static void a_waiting_stream_costs_little(void **state)
{
    (void)state;
    enum { N = 400 };
    int fd[N];
    struct fixture f;
    struct buf b = BUF_INIT(1 << 16);
    fixture_start(&f, NULL, 1);
    size_t before = mallinfo2().uordblks;
    for (int i = 0; i < N; i++) {
        fd[i] = peer_connect(&f);
        peer_puts(fd[i],
                  "GET /endless HTTP/1.1\r\nHost: x\r\nX-Long: words a browser may send\r\n\r\n");
    }
    for (int i = 0; i < N; i++) {
        buf_clear(&b);
        peer_read(fd[i], &b, "6\r\npiece \r\n6\r\npiece \r\n6\r\npiece \r\n");
    }
    size_t each = (mallinfo2().uordblks - before) / N;
    print_message("a waiting stream: %zu bytes of heap, the test's source included\n", each);
    if (before) /* a sanitizer's heap does not tell */
        assert_true(each < 1300);
    for (int i = 0; i < N; i++)
        close(fd[i]);
    buf_done(&b);
    wait_for(&seen.detached_lost, N);
    fixture_stop(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keep_alive_serves_one_after_the_other),
        cmocka_unit_test(pipelined_requests_are_answered_in_order),
        cmocka_unit_test(http_1_0_closes_unless_asked),
        cmocka_unit_test(every_answer_has_the_security_headers),
        cmocka_unit_test(a_handler_overrides_headers_but_cannot_inject),
        cmocka_unit_test(head_has_the_length_and_no_body),
        cmocka_unit_test(a_stream_is_sent_as_it_becomes_ready),
        cmocka_unit_test(a_failed_stream_is_cut_without_its_last_chunk),
        cmocka_unit_test(a_reader_that_leaves_detaches_once),
        cmocka_unit_test(a_waiting_handler_hears_that_the_peer_left),
        cmocka_unit_test(a_slow_reader_gets_all_of_a_large_body),
        cmocka_unit_test(large_bodies_go_both_ways),
        cmocka_unit_test(expect_100_is_answered_before_the_body),
        cmocka_unit_test(a_refusal_reaches_a_peer_that_is_still_sending),
        cmocka_unit_test(slow_requests_time_out),
        cmocka_unit_test(a_peer_that_takes_nothing_is_cut_off),
        cmocka_unit_test(unix_socket_peers_are_trusted),
        cmocka_unit_test(connections_past_the_maximum_get_503),
        cmocka_unit_test(listening_fails_in_words),
        cmocka_unit_test(a_stale_socket_file_is_replaced),
        cmocka_unit_test(drain_lets_answers_finish),
        cmocka_unit_test(a_broken_head_is_refused_with_cors_on),
        cmocka_unit_test(socket_faults_end_one_connection_only),
        cmocka_unit_test(no_memory_ends_one_connection_only),
        cmocka_unit_test(many_clients_are_served_at_once),
        cmocka_unit_test(an_endless_upload_does_not_need_a_handler),
        cmocka_unit_test(a_waiting_stream_costs_little),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
