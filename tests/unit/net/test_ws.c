/* Promises of WebSockets on real sockets. */
#include "peer.h"

#include "base/limits.h"
#include "base/metric.h"

#include <malloc.h>
#include <poll.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

static void expect_frame(int fd, struct buf *b, int first_byte, const char *payload)
{
    assert_int_equal(peer_ws_frame(fd, b), first_byte);
    assert_string_equal(buf_str(b), payload);
}

static void echoes_whole_and_fragmented_messages(void **state)
{
    (void)state;
    struct fixture f;
    struct buf b = BUF_INIT(1 << 20);
    fixture_start(&f, NULL, 1);
    int fd = peer_ws_open(&f, "/ws");
    peer_ws_send(fd, 0x81, "hello", 5);
    expect_frame(fd, &b, 0x81, "hello");
    peer_ws_send(fd, 0x01, "one ", 4);
    peer_ws_send(fd, 0x89, "p", 1); /* a ping between fragments is answered at once */
    peer_ws_send(fd, 0x00, "two ", 4);
    peer_ws_send(fd, 0x80, "three", 5);
    expect_frame(fd, &b, 0x8a, "p");
    expect_frame(fd, &b, 0x81, "one two three");
    peer_ws_send(fd, 0x88, "\x03\xe8", 2);
    assert_int_equal(peer_ws_frame(fd, &b), 0x88);
    assert_memory_equal(b.ptr, "\x03\xe8", 2);
    assert_true(peer_is_closed(fd));
    wait_for(&seen.ws_closed, 1);
    assert_int_equal(seen.ws_close_code, 1000);
    close(fd);
    buf_done(&b);
    fixture_stop(&f);
}

static void handshakes_are_checked(void **state)
{
    (void)state;
    static const struct {
        const char *text, *want;
    } rows[] = {
        {"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
         "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 8\r\n\r\n",
         "HTTP/1.1 426 Upgrade Required\r\n"},
        {"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
         "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 8\r\n\r\n",
         "\r\nSec-WebSocket-Version: 13\r\n"},
        {"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
         "Sec-WebSocket-Key: c2hvcnQ=\r\nSec-WebSocket-Version: 13\r\n\r\n",
         "HTTP/1.1 400 "},
        {"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
         "Sec-WebSocket-Version: 13\r\n\r\n",
         "HTTP/1.1 400 "},
        {"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
         "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
         "HTTP/1.1 400 "},
        {"POST /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
         "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
         "HTTP/1.1 400 "},
        {"GET /hello HTTP/1.1\r\nHost: x\r\nUpgrade: h2c\r\nConnection: Upgrade, close\r\n\r\n",
         "\r\n\r\nhello"},
        {"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: WebSocket\r\nConnection: upgrade\r\n"
         "Sec-WebSocket-Protocol: other, headwater.v1\r\n"
         "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
         "\x88\x80\x01\x02\x03\x04",
         "\r\nSec-WebSocket-Protocol: headwater.v1\r\n"},
    };
    struct fixture f;
    fixture_start(&f, NULL, 1);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct buf b = BUF_INIT(1 << 16);
        peer_ask(&f, rows[i].text, &b);
        if (span_find(buf_span(&b), span_str(rows[i].want)) < 0)
            fail_msg("row %zu: %s", i, buf_str(&b));
        buf_done(&b);
    }
    fixture_stop(&f);
}

static void frames_right_behind_the_handshake_are_read(void **state)
{
    (void)state;
    struct fixture f;
    struct buf b = BUF_INIT(1 << 16);
    fixture_start(&f, NULL, 1);
    peer_ask(&f,
             "GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
             "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
             "\x81\x82\x01\x01\x01\x01ii\x88\x80\x01\x02\x03\x04",
             &b);
    assert_true(span_ends(buf_span(&b), SPAN_LIT("\r\n\r\n\x81\x02hh\x88")) ||
                span_find(buf_span(&b), SPAN_LIT("\r\n\r\n\x81\x02hh\x88")) > 0);
    buf_done(&b);
    fixture_stop(&f);
}

static int close_code(const struct buf *b)
{
    return b->len < 2 ? 1005 : (uint8_t)b->ptr[0] << 8 | (uint8_t)b->ptr[1];
}

static void expect_close(int fd, struct buf *b, int code)
{
    int first;
    do
        first = peer_ws_frame(fd, b);
    while (first >= 0 && first != 0x88);
    assert_int_equal(first, 0x88);
    assert_int_equal(close_code(b), code);
}

static void faults_close_with_their_code(void **state)
{
    (void)state;
    static const struct {
        int first_byte;
        const char *payload;
        size_t len;
        int code;
    } rows[] = {
        {0xc1, "x", 1, 1002},    {0x83, "x", 1, 1002},
        {0x80, "x", 1, 1002},    {0x09, "x", 1, 1002},
        {0x88, "\x03", 1, 1002}, {0x88, "\x03\xee", 2, 1002},
        {0x81, "\xff", 1, 1007}, {0x88, "\x03\xe8\xff", 3, 1007},
    };
    struct fixture f;
    struct buf b = BUF_INIT(1 << 20);
    fixture_start(&f, NULL, 1);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        int fd = peer_ws_open(&f, "/ws");
        peer_ws_send(fd, rows[i].first_byte, rows[i].payload, rows[i].len);
        expect_close(fd, &b, rows[i].code);
        assert_true(peer_is_closed(fd)); /* without waiting for an answer it could not understand */
        close(fd);
        wait_for(&seen.ws_closed, (int)i + 1);
        assert_int_equal(seen.ws_close_code, rows[i].code);
    }
    int fd = peer_ws_open(&f, "/ws");
    char *big = mem_alloc(100001);
    peer_ws_send(fd, 0x82, big, 100001);
    expect_close(fd, &b, 1009);
    mem_free(big);
    close(fd);
    fd = peer_ws_open(&f, "/ws");
    peer_send(fd, "\x81\x01x", 3); /* not masked */
    expect_close(fd, &b, 1002);
    close(fd);
    buf_done(&b);
    fixture_stop(&f);
}

static void the_server_closes_and_waits_for_the_peer(void **state)
{
    (void)state;
    struct fixture f;
    struct buf b = BUF_INIT(1 << 20);
    fixture_start(&f, NULL, 1);
    int fd = peer_ws_open(&f, "/ws");
    peer_ws_send(fd, 0x81, "first", 5);
    peer_ws_send(fd, 0x81, "close", 5);
    expect_frame(fd, &b, 0x81, "first"); /* what was queued goes before */
    expect_close(fd, &b, 4001);
    assert_string_equal(b.ptr + 2, "as you wish");
    assert_int_equal(seen.ws_closed, 0);
    peer_ws_send(fd, 0x81, "too late", 8); /* not echoed any more */
    peer_ws_send(fd, 0x88, "\x0f\xa1", 2);
    assert_int_equal(peer_ws_frame(fd, &b), -1);
    wait_for(&seen.ws_closed, 1);
    assert_int_equal(seen.ws_close_code, 4001);
    close(fd);
    /* A peer that never answers is waited for a while only. */
    fd = peer_ws_open(&f, "/ws");
    uint64_t before = clock_ms();
    peer_ws_send(fd, 0x81, "close", 5);
    expect_close(fd, &b, 4001);
    assert_true(peer_is_closed(fd));
    assert_true(clock_ms() - before >= TIMEOUT_WS_CLOSE_MS && clock_ms() - before < 4000);
    wait_for(&seen.ws_closed, 2);
    close(fd);
    buf_done(&b);
    fixture_stop(&f);
}

static void a_lost_peer_is_1006(void **state)
{
    (void)state;
    struct fixture f;
    fixture_start(&f, NULL, 1);
    int fd = peer_ws_open(&f, "/ws");
    close(fd);
    wait_for(&seen.ws_closed, 1);
    assert_int_equal(seen.ws_close_code, 1006);
    fixture_stop(&f);
}

static void pings_are_sent_and_silence_closes(void **state)
{
    (void)state;
    struct fixture f;
    const struct server_options o = {
        .ping_interval_ms = 150, .pong_timeout_ms = 300, .close_timeout_ms = 200};
    struct buf b = BUF_INIT(1 << 16);
    fixture_start(&f, &o, 1);
    int fd = peer_ws_open(&f, "/ws");
    for (int i = 0; i < 3; i++) {
        expect_frame(fd, &b, 0x89, "");
        peer_ws_send(fd, 0x8a, "", 0);
    }
    assert_int_equal(seen.ws_closed, 0);
    expect_frame(fd, &b, 0x89, ""); /* not answered */
    expect_close(fd, &b, 1011);
    assert_true(peer_is_closed(fd));
    wait_for(&seen.ws_closed, 1);
    assert_int_equal(seen.ws_close_code, 1006);
    close(fd);
    buf_done(&b);
    fixture_stop(&f);
}

static void drain_closes_with_1001(void **state)
{
    (void)state;
    struct fixture f;
    struct buf b = BUF_INIT(1 << 16);
    fixture_start(&f, NULL, 2);
    int fd = peer_ws_open(&f, "/ws");
    uint64_t before = clock_ms();
    server_drain(f.server, 400);
    assert_true(clock_ms() - before < 2000);
    expect_close(fd, &b, 1001);
    assert_int_equal(seen.ws_closed, 1);
    assert_int_equal(seen.ws_close_code, 1001);
    close(fd);
    buf_done(&b);
    fixture_stop(&f);
}

/* Reads the frames of ws_stream: `frames` of `payload` equal letters in order, others in between
 * are counted. */
static void expect_stream(int fd, struct buf *b, int frames, size_t payload, int *ret_pongs)
{
    for (int i = 0; i < frames; i++) {
        int first = peer_ws_frame(fd, b);
        if (first == 0x8a) {
            (*ret_pongs)++;
            i--;
            continue;
        }
        assert_int_equal(first, 0x81);
        assert_int_equal(b->len, payload);
        for (size_t k = 0; k < payload; k++)
            if (b->ptr[k] != 'a' + i % 26)
                fail_msg("frame %d byte %zu is %d", i, k, b->ptr[k]);
    }
}

static void a_source_is_sent_and_detached_at_its_end(void **state)
{
    (void)state;
    struct fixture f;
    struct buf b = BUF_INIT(1 << 20);
    int pongs = 0;
    fixture_start(&f, NULL, 1);
    int fd = peer_ws_open(&f, "/ws");
    peer_ws_send(fd, 0x81, "stream", 6);
    expect_stream(fd, &b, 200, 64, &pongs);
    wait_for(&seen.detached_completed, 1);
    peer_ws_send(fd, 0x81, "again", 5);
    expect_frame(fd, &b, 0x81, "again");
    peer_ws_send(fd, 0x81, "fail", 4); /* a source that fails: what it had, then 1011 */
    expect_stream(fd, &b, 3, 10, &pongs);
    expect_close(fd, &b, 1011);
    assert_int_equal(seen.detached_lost, 1);
    close(fd);
    buf_done(&b);
    fixture_stop(&f);
}

static void control_frames_only_go_between_frames(void **state)
{
    (void)state;
    struct fixture f;
    struct buf b = BUF_INIT(1 << 20);
    fixture_start(&f, NULL, 1);
    for (int round = 0; round < 3; round++) {
        int fd = peer_ws_open(&f, "/ws"), small = 100 << 10, pongs = 0;
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
        peer_ws_send(fd, 0x81, "flood", 5);
        (void)poll(NULL, 0, 50); /* the socket is full, most likely inside a frame */
        peer_ws_send(fd, 0x89, "one", 3);
        for (int i = 0; i < 160; i++) {
            if (i % 16 == 1)
                peer_ws_send(fd, 0x89, "more", 4);
            expect_stream(fd, &b, 0, 0, &pongs);
            int first = peer_ws_frame(fd, &b);
            if (first == 0x8a) {
                pongs++;
                i--;
                continue;
            }
            assert_int_equal(first, 0x81);
            assert_int_equal(b.len, 65536);
            assert_int_equal(b.ptr[0], 'a' + i % 26);
            assert_int_equal(b.ptr[65535], 'a' + i % 26);
        }
        peer_ws_send(fd, 0x81, "end", 3);
        while (peer_ws_frame(fd, &b) == 0x8a)
            pongs++;
        assert_string_equal(buf_str(&b), "end");
        assert_true(pongs >= 10);
        close(fd);
    }
    buf_done(&b);
    fixture_stop(&f);
}

static void close_in_mid_frame_finishes_the_frame(void **state)
{
    (void)state;
    struct fixture f;
    struct buf b = BUF_INIT(1 << 20);
    fixture_start(&f, NULL, 1);
    int fd = peer_ws_open(&f, "/ws"), small = 100 << 10;
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    peer_ws_send(fd, 0x81, "flood", 5);
    (void)poll(NULL, 0, 50);
    peer_ws_send(fd, 0x81, "close", 5);
    wait_for(&seen.detached_lost, 1); /* at once, though the socket is full */
    int whole = 0, first;
    while ((first = peer_ws_frame(fd, &b)) == 0x81) {
        assert_int_equal(b.len, 65536);
        assert_int_equal(b.ptr[65535], 'a' + whole % 26);
        whole++;
    }
    assert_int_equal(first, 0x88);
    assert_int_equal(close_code(&b), 4001);
    assert_true(whole > 0 && whole < 160);
    close(fd);
    buf_done(&b);
    fixture_stop(&f);
}

static void a_source_attached_while_closing_is_let_go(void **state)
{
    (void)state;
    struct fixture f;
    struct buf b = BUF_INIT(1 << 20);
    fixture_start(&f, NULL, 1);
    int fd = peer_ws_open(&f, "/ws");
    peer_ws_send(fd, 0x81, "cut", 3); /* attach, then close before a byte was sent */
    expect_close(fd, &b, 1000);
    wait_for(&seen.detached_lost, 1);
    close(fd);
    buf_done(&b);
    fixture_stop(&f);
}

static void a_flood_of_pings_is_bounded(void **state)
{
    (void)state;
    struct fixture f;
    struct buf b = BUF_INIT(1 << 20);
    fixture_start(&f, NULL, 1);
    int fd = peer_ws_open(&f, "/ws"), small = 4096;
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    struct timeval tv = {0, 300000};
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof tv);
    char payload[125] = {0};
    struct buf pings = BUF_INIT(1 << 20);
    for (int i = 0; i < 1000; i++) {
        buf_put(&pings, "\x89\xfd\x00\x00\x00\x00", 6);
        buf_put(&pings, payload, 125);
    }
    struct mallinfo2 before = mallinfo2();
    size_t sent = 0;
    while (sent < (64u << 20)) { /* until our sends stall: the server has stopped reading */
        ssize_t n = send(fd, pings.ptr + sent % 131, pings.len - sent % 131, MSG_NOSIGNAL);
        if (n <= 0)
            break;
        sent += (size_t)n;
    }
    assert_true(sent < (64u << 20));
    struct mallinfo2 after = mallinfo2();
    assert_true(after.uordblks < before.uordblks + (256 << 10));
    close(fd);
    buf_done(&b);
    buf_done(&pings);
    fixture_stop(&f);
}

static void what_a_handler_queues_is_bounded(void **state)
{
    (void)state;
    struct fixture f;
    fixture_start(&f, NULL, 1);
    int fd = peer_ws_open(&f, "/ws"), small = 4096;
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    char *big = mem_alloc(60000);
    memset(big, 'x', 60000);
    for (int i = 0; i < 400 && !atomic_load(&seen.ws_send_failed); i++)
        peer_ws_send(fd, 0x81, big, 60000);
    assert_true(seen.ws_send_failed > 0);
    mem_free(big);
    close(fd);
    fixture_stop(&f);
}

static void no_memory_ends_one_websocket_only(void **state)
{
    (void)state;
    struct fixture f;
    fixture_start(&f, NULL, 1);
    bool was_whole = false;
    for (uint64_t n = 1; n < 80 && !was_whole; n++) {
        struct buf b = BUF_INIT(1 << 20), story = BUF_INIT(1 << 20);
        buf_reserve(&b, 100000);
        buf_reserve(&story, 100000);
        int fd = peer_connect(&f);
        fault_arm(FAULT_ALLOC, n, 0);
        static const char text[] =
            "GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
            "\x01\x82\x01\x01\x01\x01ii\x80\x81\x01\x01\x01\x01i\x89\x80\x01\x01\x01\x01"
            "\x81\x86\0\0\0\0stream\x88\x80\x01\x02\x03\x04";
        peer_send(fd, text, 160);
        (void)poll(NULL, 0, 5);
        peer_send(fd, text + 160, sizeof text - 161);
        peer_read(fd, &story, NULL);
        was_whole = fault_seen(FAULT_ALLOC) < n;
        fault_disarm();
        close(fd);
        assert_int_equal(was_whole,
                         was_whole && span_find(buf_span(&story), SPAN_LIT("\x81\x03hhh\x8a")) > 0);
        fd = peer_ws_open(&f, "/ws");
        peer_ws_send(fd, 0x81, "alive", 5);
        expect_frame(fd, &b, 0x81, "alive");
        close(fd);
        buf_done(&b);
        buf_done(&story);
    }
    assert_true(was_whole);
    fixture_stop(&f);
}

#ifndef __has_feature
#define __has_feature(x) 0
#endif

/* The bar: 512 bytes. */
static void an_idle_websocket_costs_little(void **state)
{
    (void)state;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || \
    __has_feature(address_sanitizer)
    skip();
#endif
    enum { N = 4000 };
    static int fd[N];
    struct fixture f;
    struct rlimit r;
    getrlimit(RLIMIT_NOFILE, &r);
    r.rlim_cur = r.rlim_max;
    setrlimit(RLIMIT_NOFILE, &r);
    if (r.rlim_cur < 2 * N + 100)
        skip();
    fixture_start(&f, NULL, 1);
    int first = peer_ws_open(&f, "/ws");
    struct buf b = BUF_INIT(1 << 16);
    struct mallinfo2 before = mallinfo2();
    for (int i = 0; i < N; i++) {
        fd[i] = peer_ws_open(&f, "/ws");
        peer_ws_send(fd[i], 0x81, "x", 1);
        expect_frame(fd[i], &b, 0x81, "x");
    }
    struct mallinfo2 after = mallinfo2();
    size_t each = (after.uordblks - before.uordblks) / N;
    print_message("an idle WebSocket: %zu bytes of heap\n", each);
    assert_true(each <= 320);
    for (int i = 0; i < N; i++)
        close(fd[i]);
    close(first);
    buf_done(&b);
    fixture_stop(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(echoes_whole_and_fragmented_messages),
        cmocka_unit_test(handshakes_are_checked),
        cmocka_unit_test(frames_right_behind_the_handshake_are_read),
        cmocka_unit_test(faults_close_with_their_code),
        cmocka_unit_test(the_server_closes_and_waits_for_the_peer),
        cmocka_unit_test(a_lost_peer_is_1006),
        cmocka_unit_test(pings_are_sent_and_silence_closes),
        cmocka_unit_test(drain_closes_with_1001),
        cmocka_unit_test(a_source_is_sent_and_detached_at_its_end),
        cmocka_unit_test(control_frames_only_go_between_frames),
        cmocka_unit_test(close_in_mid_frame_finishes_the_frame),
        cmocka_unit_test(a_source_attached_while_closing_is_let_go),
        cmocka_unit_test(a_flood_of_pings_is_bounded),
        cmocka_unit_test(what_a_handler_queues_is_bounded),
        cmocka_unit_test(no_memory_ends_one_websocket_only),
        cmocka_unit_test(an_idle_websocket_costs_little),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
