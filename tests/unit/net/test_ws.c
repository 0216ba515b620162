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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(echoes_whole_and_fragmented_messages),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
