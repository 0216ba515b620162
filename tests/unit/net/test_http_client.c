/* Promises of the HTTP client about answers, pauses, ends and time-outs, kept against a server of raw sockets. */
#include "http_client_kit.h"

#include "base/clock.h"
#include "base/fault.h"
#include "base/mem.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

/* ---- answers ---- */

static void each_answer_is_told_for_what_it_is(void **state)
{
    (void)state;
    static const struct {
        const char *path;
        int result, status, heads;
        const char *body, *type;
    } rows[] = {
        {"/hello", 0, 200, 1, "hello", "text/plain"},
        {"/early", 0, 200, 1, "hello", ""},
        {"/odd", 0, 200, 1, "The quick brown fox jumps over the lazy dog!!", "text/event-stream"},
        {"/close", 0, 200, 1, "until the end", ""},
        {"/503", 0, 503, 1, "{\"why\":1}", "application/json"},
        {"/to/302?/hello", 0, 302, 1, "moved", ""},
        {"/cut", -ERR_UPSTREAM, 200, 1, "half", ""},
        {"/cut-chunk", -ERR_UPSTREAM, 200, 1, "half", "text/event-stream"},
        {"/nothing", -ERR_UPSTREAM, 0, 0, "", ""},
        {"/noise", -ERR_UPSTREAM, 0, 0, "", ""},
        {"/head/lines", -ERR_TOO_LARGE, 0, 0, "", ""},
        {"/head/line", -ERR_TOO_LARGE, 0, 0, "", ""},
        {"/head/huge", -ERR_TOO_LARGE, 0, 0, "", ""},
    };
    struct fixture f;
    fixture_start(&f, NULL);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct got g;
        got_init(&g, &f, rows[i].path);
        ask(&g);
        if (g.result != rows[i].result || g.status != rows[i].status || g.heads != rows[i].heads ||
            strcmp(buf_str(&g.body), rows[i].body) != 0 || strcmp(g.type, rows[i].type) != 0)
            fail_msg("%s: result %d status %d heads %d type '%s' body '%s' why '%s'", rows[i].path,
                     g.result, g.status, g.heads, g.type, buf_str(&g.body), g.why);
        assert_false(g.is_connect_failure);
        assert_int_equal(g.retry_after_ms, -1);
        got_done(&g);
    }
    fixture_stop(&f);
}

static void the_request_is_sent_as_given_and_nothing_else(void **state)
{
    (void)state;
    struct fixture f;
    struct got g;
    fixture_start(&f, NULL);
    char *body = mem_alloc(BIG * 2);
    memset(body, 'b', BIG * 2);
    got_init(&g, &f, "/echo");
    g.o.method = "POST";
    g.o.headers = (const char *const[]){"Authorization: Bearer s3cret", "Content-Type: x/y", NULL};
    g.o.body = span_of(body, BIG * 2);
    ask(&g);
    struct span all = buf_span(&g.body), head = span_first(all, all.len - BIG * 2);
    assert_true(span_starts(head, SPAN_LIT("POST /echo HTTP/1.1\r\n")));
    assert_true(has(head, "\r\nauthorization: bearer s3cret\r\n"));
    assert_true(has(head, "\r\ncontent-type: x/y\r\n"));
    assert_true(has(head, "\r\naccept-encoding: identity\r\n"));
    assert_true(has(head, "\r\ncontent-length: 2097152\r\n"));
    assert_false(has(head, "expect"));
    assert_false(has(head, "cookie"));
    assert_true(span_eq(span_skip(all, head.len), span_of(body, BIG * 2)));
    got_done(&g);
    got_init(&g, &f, "/echo");
    g.o.method = "DELETE";
    ask(&g);
    assert_true(span_starts(buf_span(&g.body), SPAN_LIT("DELETE /echo HTTP/1.1\r\n")));
    got_done(&g);
    mem_free(body);
    fixture_stop(&f);
}

static void what_cannot_be_sent_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *url, *method, *header, *why;
    } rows[] = {
        {"http://user:pw1@127.0.0.1/", "GET", NULL, "password"},
        {"ftp://127.0.0.1/", "GET", NULL, "neither"},
        {"file:///etc/passwd", "GET", NULL, "neither"},
        {"127.0.0.1/x", "GET", NULL, "neither"},
        {"http://", "GET", NULL, "not a URL"},
        {"", "GET", NULL, "neither"},
        {"http://127.0.0.1/", "G T", NULL, "method"},
        {"http://127.0.0.1/", "", NULL, "method"},
        {"http://127.0.0.1/", "GET", "no colon", "colon"},
        {"http://127.0.0.1/", "GET", "A b: c", "name"},
        {"http://127.0.0.1/", "GET", "A: c\r\nB: pw1", "control"},
        {"http://127.0.0.1/", "GET", "Content-Length: 7", "body"},
    };
    struct fixture f;
    fixture_start(&f, NULL);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct got g;
        got_init(&g, &f, rows[i].url);
        g.o.method = rows[i].method;
        g.o.headers = (const char *const[]){rows[i].header, NULL};
        on_loop(&f, start_it, &g);
        if (g.start_result != -ERR_INVALID || !strstr(g.err.msg, rows[i].why) ||
            strstr(g.err.msg, "pw1"))
            fail_msg("row %zu: %d '%s'", i, g.start_result, g.err.msg);
        got_done(&g);
    }
    fixture_stop(&f);
}

static void rate_headers_say_how_long_nothing_is_left(void **state)
{
    (void)state;
    static const struct {
        const char *path;
        int64_t wait;
    } rows[] = {{"/rate/0/1h2m3.5s", 3723500},
                {"/rate/0/120ms", 120},
                {"/rate/0/2", 2000},
                {"/rate/17/6m0s", 0},
                {"/rate/0/soon", 0},
                {"/rate/0/3x", 0},
                {"/rate/0/99999999999h", LIMIT_HTTP_RETRY_AFTER_MS}};
    struct fixture f;
    fixture_start(&f, NULL);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct got g;
        got_init(&g, &f, rows[i].path);
        ask(&g);
        assert_int_equal(g.status, 200);
        assert_int_equal(g.rate_wait_ms, rows[i].wait);
        got_done(&g);
    }
    fixture_stop(&f);
}

static void retry_after_is_read_in_both_forms(void **state)
{
    (void)state;
    char date[64], past[] = "/retry/Wed,_21_Oct_2015_07:28:00_GMT";
    time_t at = (time_t)(clock_wall_ms() / 1000) + 100;
    struct tm tm;
    gmtime_r(&at, &tm);
    strftime(date, sizeof date, "/retry/%a,_%d_%b_%Y_%H:%M:%S_GMT", &tm);
    const struct {
        const char *path;
        int64_t least, most;
    } rows[] = {
        {"/retry/120", 120000, 120000},
        {"/retry/0", 0, 0},
        {date, 90000, 100000},
        {past, 0, 0},
        {"/retry/soon", -1, -1},
        {"/retry/-5", -1, -1},
        {"/retry/99999999999999999", LIMIT_HTTP_RETRY_AFTER_MS, LIMIT_HTTP_RETRY_AFTER_MS},
    };
    struct fixture f;
    fixture_start(&f, NULL);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct got g;
        got_init(&g, &f, rows[i].path);
        ask(&g);
        assert_int_equal(g.status, 429);
        assert_string_equal(buf_str(&g.body), "slow down");
        if (g.retry_after_ms < rows[i].least || g.retry_after_ms > rows[i].most)
            fail_msg("%s: %lld ms", rows[i].path, (long long)g.retry_after_ms);
        got_done(&g);
    }
    fixture_stop(&f);
}

static void an_answer_past_max_body_is_refused(void **state)
{
    (void)state;
    struct fixture f;
    fixture_start(&f, NULL);
    for (size_t max = BIG - 1; max <= BIG; max++) {
        struct got g;
        got_init(&g, &f, "/big");
        g.o.max_body = max;
        ask(&g);
        assert_int_equal(g.result, max < BIG ? -ERR_TOO_LARGE : 0);
        assert_true(g.body.len <= max);
        got_done(&g);
    }
    fixture_stop(&f);
}

/* ---- pausing and ending ---- */

static bool pause_every_third(struct got *g, struct span piece)
{
    if (g->pieces % 3 == 1) {
        sem_post(&g->paused);
        return false;
    }
    buf_put_span(&g->body, piece);
    return true;
}

static void resume_it(void *arg)
{
    struct got *g = arg;
    if (!g->ends)
        http_call_resume(g->call);
}

static void a_paused_piece_comes_again_and_none_is_lost(void **state)
{
    (void)state;
    struct fixture f;
    struct got g;
    fixture_start(&f, NULL);
    got_init(&g, &f, "/big");
    g.on_piece = pause_every_third;
    g.o.idle_timeout_ms = 300;
    start(&g);
    assert_true(wait_sem(&g.paused, 10));
    clock_pause_ms(700); /* longer than the idle time-out, which must not count */
    int pieces = g.pieces;
    on_loop(&f, resume_it, &g);
    assert_true(pieces <= 1);
    while (!wait_sem(&g.done, 0))
        if (wait_sem(&g.paused, 0))
            on_loop(&f, resume_it, &g);
    assert_int_equal(g.result, 0);
    assert_int_equal(g.body.len, BIG);
    for (size_t i = 0; i < BIG; i++)
        if (g.body.ptr[i] != big_byte(i))
            fail_msg("byte %zu differs", i);
    got_done(&g);
    fixture_stop(&f);
}

static bool resume_at_once(struct got *g, struct span piece)
{
    if (g->pieces % 2) {
        http_call_resume(g->call);
        return false;
    }
    buf_put_span(&g->body, piece);
    return true;
}

static void resume_within_the_callback_counts(void **state)
{
    (void)state;
    struct fixture f;
    struct got g;
    fixture_start(&f, NULL);
    got_init(&g, &f, "/big");
    g.on_piece = resume_at_once;
    ask(&g);
    assert_int_equal(g.body.len, BIG);
    got_done(&g);
    fixture_stop(&f);
}

static bool tell_first(struct got *g, struct span piece)
{
    buf_put_span(&g->body, piece);
    sem_post(&g->paused);
    return true;
}

static bool cancel_first(struct got *g, struct span piece)
{
    g->ended_ms = clock_ms();
    http_call_cancel(g->call);
    buf_put_span(&g->body, piece); /* still there to the end of the callback */
    sem_post(&g->paused);
    return true;
}

static bool free_first(struct got *g, struct span piece)
{
    g->ended_ms = clock_ms();
    http_client_free(g->f->client);
    g->f->client = NULL;
    buf_put_span(&g->body, piece);
    sem_post(&g->paused);
    return true;
}

static void cancel_it(void *arg)
{
    struct got *g = arg;
    g->ended_ms = clock_ms();
    if (!g->ends)
        http_call_cancel(g->call);
}

static void assert_peer_saw_it(struct fixture *f, const struct got *g)
{
    for (int i = 0; i < 200 && !f->up.closed_by_peer; i++)
        clock_pause_ms(10);
    assert_int_equal(f->up.closed_by_peer, 1);
    uint64_t after = f->up.closed_at_ms - g->ended_ms;
    if (after > 100)
        fail_msg("the server saw it after %llu ms", (unsigned long long)after);
    assert_int_equal(g->ends, 0);
}

static void cancel_is_seen_by_the_server_at_once(void **state)
{
    (void)state;
    for (int tls = 0; tls < 2; tls++)
        for (int how = 0; how < 3; how++) {
            char path[] = "/tmp/headwater-ca-XXXXXX";
            struct fixture f;
            struct got g;
            int fd = mkstemp(path);
            assert_true(fd >= 0);
            close(fd);
            struct http_client_options o = {.ca_file = tls ? path : NULL};
            fixture_start_tls(&f, &o, tls);
            if (tls)
                upstream_write_certificate(&f.up, path);
            got_init(&g, &f, "/stall");
            g.on_piece = how == 0 ? tell_first : how == 1 ? cancel_first : free_first;
            start(&g);
            assert_true(wait_sem(&g.paused, 10));
            assert_string_equal(buf_str(&g.body), "one piece");
            if (how == 0)
                on_loop(&f, cancel_it, &g);
            assert_peer_saw_it(&f, &g);
            fixture_stop(&f);
            got_done(&g);
            unlink(path);
        }
}

static void start_and_cancel(void *arg)
{
    struct got *g = arg;
    start_it(g);
    http_call_cancel(g->call);
}

static void cancel_right_after_start_leaves_nothing(void **state)
{
    (void)state;
    struct fixture f;
    fixture_start(&f, NULL);
    for (int i = 0; i < 20; i++) {
        struct got g;
        got_init(&g, &f, i % 2 ? "/hang" : "http://nowhere.invalid/");
        if (i % 4 < 2) {
            start(&g);
            on_loop(&f, cancel_it, &g); /* while it looks for the name, or connects */
        } else {
            on_loop(&f, start_and_cancel, &g);
            assert_int_equal(g.ends, 0);
        }
        got_done(&g);
    }
    fixture_stop(&f);
}

static void a_client_is_freed_while_calls_run(void **state)
{
    (void)state;
    static const char *const paths[] = {"/hang", "/head-only", "/stall", "/trickle", "/big"};
    struct fixture f;
    struct got g[20];
    fixture_start(&f, NULL);
    for (size_t i = 0; i < ARRAY_LEN(g); i++) {
        got_init(&g[i], &f, paths[i % ARRAY_LEN(paths)]);
        start(&g[i]);
        if (i == 10)
            clock_pause_ms(100);
    }
    fixture_stop(&f);
    for (size_t i = 0; i < ARRAY_LEN(g); i++)
        got_done(&g[i]);
}

/* ---- time-outs ---- */

static void each_timeout_ends_the_call_in_its_time(void **state)
{
    (void)state;
    static const struct {
        const char *path;
        uint64_t first, idle, total;
        const char *why;
    } rows[] = {
        {"/hang", 300, 0, 0, "no answer within 300 ms"},
        {"/head-only", 300, 0, 0, "no answer within 300 ms"},
        {"/head-only", 0, 100, 300, "not complete within 300 ms"},
        {"/stall", 100000, 300, 0, "nothing more for 300 ms"},
        {"/trickle", 1000, 1000, 300, "not complete within 300 ms"},
        {"/hang", 0, 0, 300, "not complete within 300 ms"},
    };
    struct fixture f;
    fixture_start(&f, NULL);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct got g;
        got_init(&g, &f, rows[i].path);
        g.o.first_byte_timeout_ms = rows[i].first;
        g.o.idle_timeout_ms = rows[i].idle;
        g.o.total_timeout_ms = rows[i].total;
        ask(&g);
        uint64_t took = g.ended_ms - g.started_ms;
        if (g.result != -ERR_TIMEOUT || !strstr(g.why, rows[i].why) || took < 295 || took > 1500)
            fail_msg("row %zu: result %d after %llu ms: %s", i, g.result, (unsigned long long)took,
                     g.why);
        assert_false(g.is_connect_failure);
        got_done(&g);
    }
    fixture_stop(&f);
}

static void no_connection_in_time_may_be_tried_again(void **state)
{
    (void)state;
    struct fixture f, quiet;
    struct got g;
    fixture_start(&f, NULL);
    /* TLS to a server that waits for a request in the clear: connected, but never ready. */
    fixture_start(&quiet, NULL);
    got_init(&g, &f, "/");
    snprintf(g.url, sizeof g.url, "https://127.0.0.1:%u/x?key=s3cret", quiet.up.port);
    g.o.connect_timeout_ms = 300;
    ask(&g);
    assert_int_equal(g.result, -ERR_TIMEOUT);
    assert_true(strstr(g.why, "no connection") && !strstr(g.why, "s3cret"));
    assert_true(g.is_connect_failure);
    assert_true(g.ended_ms - g.started_ms >= 295);
    got_done(&g);
    fixture_stop(&quiet);
    fixture_stop(&f);
}

static void a_slow_stream_outlives_its_idle_timeout(void **state)
{
    (void)state;
    struct fixture f;
    struct got g;
    fixture_start(&f, NULL);
    got_init(&g, &f, "/trickle");
    g.o.idle_timeout_ms = 1000;
    g.o.first_byte_timeout_ms = 1000;
    ask(&g);
    assert_int_equal(g.result, 0);
    assert_int_equal(g.body.len, 200);
    assert_true(g.ended_ms - g.started_ms > 1500);
    got_done(&g);
    fixture_stop(&f);
}

/* ---- many ---- */

static void a_hundred_at_once_share_the_pool(void **state)
{
    (void)state;
    struct fixture f;
    struct got *g = mem_alloc(100 * sizeof *g);
    struct http_client_options o = {.max_per_host = 10, .max_calls = 100};
    fixture_start(&f, &o);
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < 100; i++) {
            got_init(&g[i], &f, i % 4 ? "/odd" : "/hello");
            start(&g[i]);
        }
        for (size_t i = 0; i < 100; i++) {
            finish(&g[i]);
            assert_int_equal(g[i].result, 0);
            assert_int_equal(g[i].body.len, i % 4 ? 45 : 5);
            got_done(&g[i]);
        }
    }
    assert_int_equal(f.up.requests, 200);
    assert_true(f.up.connections <= 10);
    fixture_stop(&f);
    mem_free(g);
}

static void calls_past_max_calls_are_refused(void **state)
{
    (void)state;
    struct fixture f;
    struct got a, b;
    struct http_client_options o = {.max_calls = 1};
    fixture_start(&f, &o);
    got_init(&a, &f, "/hang");
    got_init(&b, &f, "/hello");
    start(&a);
    on_loop(&f, start_it, &b);
    assert_int_equal(b.start_result, -ERR_LIMIT);
    on_loop(&f, cancel_it, &a);
    ask(&b);
    assert_int_equal(b.result, 0);
    got_done(&a);
    got_done(&b);
    fixture_stop(&f);
}

static void each_failed_allocation_ends_the_call_cleanly(void **state)
{
    (void)state;
    struct fixture f;
    fixture_start(&f, NULL);
    int failed = 0;
    for (uint64_t nth = 1; nth <= 20; nth++) {
        struct got g;
        got_init(&g, &f, "/to/307?/big");
        assert_true(buf_reserve(&g.body, 2 * BIG));
        g.o.method = "POST";
        g.o.body = SPAN_LIT("the body");
        g.o.max_redirects = 1;
        fault_arm(FAULT_ALLOC, nth, 0);
        on_loop(&f, start_it, &g);
        if (g.start_result == 0)
            finish(&g);
        fault_disarm();
        int result = g.start_result < 0 ? g.start_result : g.result;
        /* The server's own allocations are counted too: without them it hangs up. */
        if (result != 0 && result != -ERR_NO_MEMORY && result != -ERR_UPSTREAM)
            fail_msg("%d %s", result, g.why);
        failed += result == -ERR_NO_MEMORY;
        got_done(&g);
    }
    assert_true(failed >= 4); /* the call, its body, where it leads, what came */
    fixture_stop(&f);
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_answer_is_told_for_what_it_is),
        cmocka_unit_test(the_request_is_sent_as_given_and_nothing_else),
        cmocka_unit_test(what_cannot_be_sent_is_refused),
        cmocka_unit_test(retry_after_is_read_in_both_forms),
        cmocka_unit_test(rate_headers_say_how_long_nothing_is_left),
        cmocka_unit_test(an_answer_past_max_body_is_refused),
        cmocka_unit_test(a_paused_piece_comes_again_and_none_is_lost),
        cmocka_unit_test(resume_within_the_callback_counts),
        cmocka_unit_test(cancel_is_seen_by_the_server_at_once),
        cmocka_unit_test(cancel_right_after_start_leaves_nothing),
        cmocka_unit_test(a_client_is_freed_while_calls_run),
        cmocka_unit_test(each_timeout_ends_the_call_in_its_time),
        cmocka_unit_test(no_connection_in_time_may_be_tried_again),
        cmocka_unit_test(a_slow_stream_outlives_its_idle_timeout),
        cmocka_unit_test(a_hundred_at_once_share_the_pool),
        cmocka_unit_test(calls_past_max_calls_are_refused),
        cmocka_unit_test(each_failed_allocation_ends_the_call_cleanly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
