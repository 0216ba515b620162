/* Promises of the reader of server-sent events (HTML standard, §9.2.6). */
#include "../cm.h"
#include "base/err.h"
#include "base/fault.h"
#include "base/limits.h"
#include "net/sse.h"

static int note_event(void *ctx, const struct sse_event *e)
{
    struct buf *out = ctx;
    buf_put_span(out, e->event);
    buf_putc(out, '/');
    buf_put_span(out, e->id);
    buf_putc(out, '/');
    buf_put_span(out, e->data);
    buf_putc(out, ';');
    return 0;
}

static const char stream[] =
    "\xef\xbb\xbf: hello\n\nid: 1\nevent: token\ndata: {\"a\":1}\n\n"
    "data:two\r\ndata: lines\r\nid:2\r\n\r\n"
    ":keep-alive\r\rdata\rdata\r\rretry: 250\nretry: x\nnonsense\nid: 3\n\n"
    "event: nothing\n\nid: 4\nid\ndata:  end\n\ndata: unfinished";
static const char expected[] = "token/1/{\"a\":1};message/2/two\nlines;message/2/\n;message// end;";

static void a_stream_reads_the_same_however_it_is_cut(void **state)
{
    (void)state;
    struct span all = span_of(stream, sizeof stream - 1);
    for (size_t i = 0; i <= all.len; i++)
        for (size_t j = i; j <= all.len; j += 7) {
            struct sse_reader r;
            struct buf out = BUF_INIT(4096);
            sse_init(&r, 4096);
            struct span parts[] = {span_first(all, i), span_of(all.ptr + i, j - i),
                                   span_skip(all, j)};
            for (size_t p = 0; p < ARRAY_LEN(parts); p++)
                assert_int_equal(sse_feed(&r, parts[p], note_event, &out), 0);
            assert_string_equal(buf_str(&out), expected);
            assert_true(r.retry_ms == 250);
            buf_done(&out);
            sse_done(&r);
        }
}

static void byte_by_byte_is_a_cut_too(void **state)
{
    (void)state;
    struct sse_reader r;
    struct buf out = BUF_INIT(4096);
    sse_init(&r, 4096);
    for (size_t i = 0; i < sizeof stream - 1; i++)
        assert_int_equal(sse_feed(&r, span_of(stream + i, 1), note_event, &out), 0);
    assert_string_equal(buf_str(&out), expected);
    buf_done(&out);
    sse_done(&r);
}

static void a_new_connection_drops_the_half_event_and_keeps_the_id(void **state)
{
    (void)state;
    struct sse_reader r;
    struct buf out = BUF_INIT(4096);
    sse_init(&r, 4096);
    assert_int_equal(
        sse_feed(&r, SPAN_LIT("id: 7\ndata: a\n\nid: 8\ndata: half"), note_event, &out), 0);
    sse_restart(&r);
    assert_int_equal(sse_feed(&r, SPAN_LIT("data: b\n\n"), note_event, &out), 0);
    assert_string_equal(buf_str(&out), "message/7/a;message/7/b;");
    buf_done(&out);
    sse_done(&r);
}

static void an_endless_line_or_event_is_refused(void **state)
{
    (void)state;
    char block[500];
    memset(block, 'x', sizeof block);
    for (int with_lines = 0; with_lines < 2; with_lines++) {
        struct sse_reader r;
        struct buf out = BUF_INIT(4096);
        sse_init(&r, 4096);
        int result = 0, rounds = 0;
        while (result == 0 && rounds++ < 1000) {
            if (with_lines)
                result = sse_feed(&r, SPAN_LIT("\ndata:"), note_event, &out);
            if (result == 0)
                result = sse_feed(&r, span_of(block, sizeof block), note_event, &out);
        }
        assert_int_equal(result, -ERR_TOO_LARGE);
        buf_done(&out);
        sse_done(&r);
    }
}

static void reading_survives_every_failed_allocation(void **state)
{
    (void)state;
    for (uint64_t nth = 1; nth < 40; nth++) {
        struct sse_reader r;
        struct buf out = BUF_INIT(4096);
        sse_init(&r, 4096);
        assert_true(buf_reserve(&out, 1000));
        fault_arm(FAULT_ALLOC, nth, 0);
        int result = sse_feed(&r, span_of(stream, sizeof stream - 1), note_event, &out);
        bool was_hit = fault_seen(FAULT_ALLOC) >= nth;
        fault_disarm();
        assert_int_equal(result, was_hit ? -ERR_NO_MEMORY : 0);
        buf_done(&out);
        sse_done(&r);
    }
}

static void each_rule_of_the_standard_holds(void **state)
{
    (void)state;
    static const struct {
        struct span bytes;
        const char *events;
        int64_t retry_ms;
    } rows[] = {
        {SPAN_INIT(""), "", -1},
        {SPAN_INIT("data: a\n\n"), "message//a;", -1},
        {SPAN_INIT("data:a\n\n"), "message//a;", -1},
        {SPAN_INIT("data:  a \n\n"), "message// a ;", -1},
        {SPAN_INIT("data\n\n"), "message//;", -1},
        {SPAN_INIT("data\ndata\n\n"), "message//\n;", -1},
        {SPAN_INIT("data: a\n"), "", -1},
        {SPAN_INIT("data: a\r\r"), "message//a;", -1},
        {SPAN_INIT("data: a\r\n\r\n"), "message//a;", -1},
        {SPAN_INIT("data: a\n\r\n"), "message//a;", -1},
        {SPAN_INIT("data: a\r\ndata: b\n\r"), "message//a\nb;", -1},
        {SPAN_INIT("\xef\xbb\xbf"
                   "data: a\n\n"),
         "message//a;", -1},
        {SPAN_INIT("\xef\xbb\xbf\xef\xbb\xbf"
                   "data: a\n\n"),
         "", -1},
        {SPAN_INIT("\n\xef\xbb\xbf"
                   "data: a\n\n"),
         "", -1},
        {SPAN_INIT(":data: a\n\n"), "", -1},
        {SPAN_INIT("Data: a\n\n"), "", -1},
        {SPAN_INIT(" data: a\n\n"), "", -1},
        {SPAN_INIT("event: x\n\ndata: a\n\n"), "message//a;", -1},
        {SPAN_INIT("event: x\nevent: y\ndata: a\n\n"), "y//a;", -1},
        {SPAN_INIT("event: x\nevent\ndata: a\n\n"), "message//a;", -1},
        {SPAN_INIT("id: 1\ndata: a\n\ndata: b\n\n"), "message/1/a;message/1/b;", -1},
        {SPAN_INIT("id: 1\n\nid: 2\0\ndata: a\n\n"), "message/1/a;", -1},
        {SPAN_INIT("id: 1\ndata: a\n\nid\ndata: b\n\n"), "message/1/a;message//b;", -1},
        {SPAN_INIT("data: a:b\n\n"), "message//a:b;", -1},
        {SPAN_INIT("retry: 1500\n"), "", 1500},
        {SPAN_INIT("retry: 0\n"), "", 0},
        {SPAN_INIT("retry: 7\nretry: +8\nretry: 9s\nretry:\n"), "", 7},
        {SPAN_INIT("retry: 99999999999999999999\n"), "", -1},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct sse_reader r;
        struct buf out = BUF_INIT(4096);
        sse_init(&r, 4096);
        assert_int_equal(sse_feed(&r, rows[i].bytes, note_event, &out), 0);
        if (strcmp(buf_str(&out), rows[i].events) != 0 || r.retry_ms != rows[i].retry_ms)
            fail_msg("row %zu: '%s', retry %lld", i, buf_str(&out), (long long)r.retry_ms);
        buf_done(&out);
        sse_done(&r);
    }
}

static void data_is_bounded_to_the_byte(void **state)
{
    (void)state;
    for (size_t n = 9; n <= 11; n++) {
        struct sse_reader r;
        struct buf out = BUF_INIT(4096);
        sse_init(&r, 10);
        assert_int_equal(sse_feed(&r, SPAN_LIT("data: "), note_event, &out), 0);
        assert_int_equal(sse_feed(&r, span_of("xxxxxxxxxxx", n), note_event, &out), 0);
        assert_int_equal(sse_feed(&r, SPAN_LIT("\n\n"), note_event, &out),
                         n <= 10 ? 0 : -ERR_TOO_LARGE);
        assert_int_equal(out.len, n <= 10 ? n + 10 : 0);
        buf_done(&out);
        sse_done(&r);
    }
}

static void an_endless_name_or_id_is_refused(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct sse_reader r;
        struct buf out = BUF_INIT(4096);
        char text[LIMIT_SSE_FIELD + 1];
        memset(text, 'x', sizeof text);
        sse_init(&r, 1 << 20);
        assert_int_equal(sse_feed(&r, i ? SPAN_LIT("id:") : SPAN_LIT("event:"), note_event, &out),
                         0);
        assert_int_equal(sse_feed(&r, span_of(text, sizeof text), note_event, &out), 0);
        assert_int_equal(sse_feed(&r, SPAN_LIT("\n"), note_event, &out), -ERR_TOO_LARGE);
        buf_done(&out);
        sse_done(&r);
    }
}

static int refuse_second(void *ctx, const struct sse_event *e)
{
    (void)e;
    return ++*(int *)ctx == 2 ? -ERR_CANCELLED : 0;
}

static void a_handler_that_refuses_ends_it_until_restart(void **state)
{
    (void)state;
    struct sse_reader r;
    int seen = 0;
    sse_init(&r, 100);
    struct span three = SPAN_LIT("data: 1\n\ndata: 2\n\ndata: 3\n\n");
    assert_int_equal(sse_feed(&r, three, refuse_second, &seen), -ERR_CANCELLED);
    assert_int_equal(sse_feed(&r, three, refuse_second, &seen), -ERR_CANCELLED);
    assert_int_equal(seen, 2);
    sse_restart(&r);
    assert_int_equal(sse_feed(&r, three, refuse_second, &seen), 0);
    assert_int_equal(seen, 5);
    sse_done(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_rule_of_the_standard_holds),
        cmocka_unit_test(a_stream_reads_the_same_however_it_is_cut),
        cmocka_unit_test(byte_by_byte_is_a_cut_too),
        cmocka_unit_test(a_new_connection_drops_the_half_event_and_keeps_the_id),
        cmocka_unit_test(an_endless_line_or_event_is_refused),
        cmocka_unit_test(data_is_bounded_to_the_byte),
        cmocka_unit_test(an_endless_name_or_id_is_refused),
        cmocka_unit_test(a_handler_that_refuses_ends_it_until_restart),
        cmocka_unit_test(reading_survives_every_failed_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
