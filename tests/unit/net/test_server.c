/* Promises of the HTTP server on real sockets. */
#include "peer.h"

#include "base/limits.h"

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keep_alive_serves_one_after_the_other),
        cmocka_unit_test(pipelined_requests_are_answered_in_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
