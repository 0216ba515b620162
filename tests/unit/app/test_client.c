/* Promises of the event-stream reader, of problem bodies and of what terminals are shown. */
#include "../cm.h"
#include "app/client.h"
#include "app/sse_read.h"
#include "app/terminal.h"
#include "base/fault.h"
#include "base/mem.h"

static int note_event(void *ctx, const struct sse_event *e)
{
    struct buf *out = ctx;
    buf_put_span(out, e->type);
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
            struct sse_read r;
            struct buf out = BUF_INIT(4096);
            sse_read_init(&r);
            struct span parts[] = {span_first(all, i), span_of(all.ptr + i, j - i),
                                   span_skip(all, j)};
            for (size_t p = 0; p < ARRAY_LEN(parts); p++)
                assert_int_equal(sse_read_feed(&r, parts[p], note_event, &out), 0);
            assert_string_equal(buf_str(&out), expected);
            assert_true(r.retry_ms == 250);
            buf_done(&out);
            sse_read_done(&r);
        }
}

static void byte_by_byte_is_a_cut_too(void **state)
{
    (void)state;
    struct sse_read r;
    struct buf out = BUF_INIT(4096);
    sse_read_init(&r);
    for (size_t i = 0; i < sizeof stream - 1; i++)
        assert_int_equal(sse_read_feed(&r, span_of(stream + i, 1), note_event, &out), 0);
    assert_string_equal(buf_str(&out), expected);
    buf_done(&out);
    sse_read_done(&r);
}

static void a_new_connection_drops_the_half_event_and_keeps_the_id(void **state)
{
    (void)state;
    struct sse_read r;
    struct buf out = BUF_INIT(4096);
    sse_read_init(&r);
    assert_int_equal(
        sse_read_feed(&r, SPAN_LIT("id: 7\ndata: a\n\nid: 8\ndata: half"), note_event, &out), 0);
    sse_read_restart(&r);
    assert_int_equal(sse_read_feed(&r, SPAN_LIT("data: b\n\n"), note_event, &out), 0);
    assert_string_equal(buf_str(&out), "message/7/a;message/7/b;");
    buf_done(&out);
    sse_read_done(&r);
}

static void an_endless_line_or_event_is_refused(void **state)
{
    (void)state;
    char *block = mem_alloc(65536);
    memset(block, 'x', 65535);
    for (int with_lines = 0; with_lines < 2; with_lines++) {
        struct sse_read r;
        struct buf out = BUF_INIT(4096);
        sse_read_init(&r);
        int result = 0, rounds = 0;
        while (result == 0 && rounds++ < 1000) {
            if (with_lines)
                result = sse_read_feed(&r, SPAN_LIT("\ndata:"), note_event, &out);
            if (result == 0)
                result = sse_read_feed(&r, span_of(block, 65535), note_event, &out);
        }
        assert_int_equal(result, -ERR_TOO_LARGE);
        buf_done(&out);
        sse_read_done(&r);
    }
    mem_free(block);
}

static void reading_survives_every_failed_allocation(void **state)
{
    (void)state;
    for (uint64_t nth = 1; nth < 40; nth++) {
        struct sse_read r;
        struct buf out = BUF_INIT(4096);
        sse_read_init(&r);
        assert_true(buf_reserve(&out, 1000));
        fault_arm(FAULT_ALLOC, nth, 0);
        int result = sse_read_feed(&r, span_of(stream, sizeof stream - 1), note_event, &out);
        bool was_hit = fault_seen(FAULT_ALLOC) >= nth;
        fault_disarm();
        assert_int_equal(result, was_hit ? -ERR_NO_MEMORY : 0);
        buf_done(&out);
        sse_read_done(&r);
    }
}

static void a_problem_body_becomes_what_why_and_hint(void **state)
{
    (void)state;
    static const struct {
        long status;
        const char *body, *msg, *hint;
        int code;
    } rows[] = {
        {404,
         "{\"title\":\"no such source\",\"detail\":\"'x' is not indexed\",\"hint\":\"index it\"}",
         "no such source: 'x' is not indexed", "index it", ERR_NOT_FOUND},
        {400, "{\"detail\":\"No messages provided\"}", "cannot: No messages provided", "",
         ERR_INVALID},
        {500, "<html>", "cannot: the server answered with status 500", "", ERR_INTERNAL},
        {401, "{\"detail\":\"Missing API key\"}", "cannot: Missing API key",
         "the server wants a key: set HEADWATER_SERVER_KEY", ERR_FORBIDDEN},
        {429, "[]", "cannot: the server answered with status 429", "", ERR_LIMIT},
        {422, "{\"detail\":[{\"msg\":\"x\"}]}", "cannot: the server answered with status 422", "",
         ERR_INVALID},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct err err = {0};
        assert_int_equal(client_problem(rows[i].status, span_str(rows[i].body), "cannot", &err),
                         -rows[i].code);
        assert_string_equal(err.msg, rows[i].msg);
        assert_string_equal(err.hint, rows[i].hint);
    }
}

static void control_characters_of_others_never_reach_a_terminal(void **state)
{
    (void)state;
    struct buf out = BUF_INIT(256);
    put_visible(&out, SPAN_LIT("a\x1b[31mb\nc\td\x7f\xc2\x9b"
                               "e\xc3\xa9\r"));
    assert_string_equal(buf_str(&out), "a?[31mb\nc\td??e\xc3\xa9?");
    buf_done(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_stream_reads_the_same_however_it_is_cut),
        cmocka_unit_test(byte_by_byte_is_a_cut_too),
        cmocka_unit_test(a_new_connection_drops_the_half_event_and_keeps_the_id),
        cmocka_unit_test(an_endless_line_or_event_is_refused),
        cmocka_unit_test(reading_survives_every_failed_allocation),
        cmocka_unit_test(a_problem_body_becomes_what_why_and_hint),
        cmocka_unit_test(control_characters_of_others_never_reach_a_terminal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
