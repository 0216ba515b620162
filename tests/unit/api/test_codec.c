/* Promises of the framings of events, at the lengths where a WebSocket header changes its size. */
#include "../cm.h"
#include "api/codec.h"
#include "base/buf.h"
#include "base/limits.h"
#include "net/server.h"

#include <stdio.h>

static char text[70000];

/* What the native dialect's frame of a token is to be, put together the plain way. */
static void put_expected(struct buf *out, uint64_t seq, struct span token)
{
    struct buf json = BUF_INIT(LIMIT_FRAME);
    buf_printf(&json, "{\"id\":%llu,\"event\":\"token\",\"data\":{\"text\":\"",
               (unsigned long long)seq);
    buf_put_span(&json, token);
    buf_puts(&json, "\"}}");
    ws_frame_header(out, 1, json.len);
    buf_put_span(out, buf_span(&json));
    buf_done(&json);
}

static void native_ws_frame_is_whole_at_every_header_size(void **state)
{
    (void)state;
    static const size_t around[] = {0, 75,
                                    65480}; /* below 126, from 126, from 65,536 bytes of JSON */
    memset(text, 'a', sizeof text);
    for (size_t k = 0; k < sizeof around / sizeof *around; k++)
        for (size_t n = around[k]; n < around[k] + 70; n++) {
            struct stream_event e = {7, STREAM_TOKEN, span_of(text, n)};
            struct buf got = BUF_INIT(LIMIT_FRAME), expected = BUF_INIT(LIMIT_FRAME);
            codec_native_ws.encode(&e, &got);
            codec_native_ws.encode(&e, &got); /* behind what is there already */
            put_expected(&expected, e.seq, e.payload);
            put_expected(&expected, e.seq, e.payload);
            assert_false(buf_failed(&got));
            assert_int_equal(got.len, expected.len);
            assert_memory_equal(got.ptr, expected.ptr, expected.len + 1);
            buf_done(&got);
            buf_done(&expected);
        }
}

static void native_ws_frame_that_does_not_fit_is_a_failure(void **state)
{
    (void)state;
    memset(text, 'a', sizeof text);
    for (size_t max = 0; max < 60; max++) {
        struct stream_event e = {7, STREAM_TOKEN, span_of(text, 40)};
        struct buf got = BUF_INIT(max);
        codec_native_ws.encode(&e, &got);
        assert_true(buf_failed(&got));
        buf_done(&got);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(native_ws_frame_is_whole_at_every_header_size),
        cmocka_unit_test(native_ws_frame_that_does_not_fit_is_a_failure),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
