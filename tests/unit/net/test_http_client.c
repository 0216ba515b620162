/* Promises of the HTTP client, kept against a server of raw sockets. */
#include "../cm.h"
#include "base/clock.h"
#include "base/fault.h"
#include "base/limits.h"
#include "base/mem.h"
#include "net/http_client.h"
#include "upstream.h"

#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define BIG (1u << 20)

/* ---- the server's side ---- */

static bool answer(struct upstream_conn *c, const char *status, const char *headers,
                   struct span body)
{
    struct buf b = BUF_INIT(4 << 20);
    buf_printf(&b, "HTTP/1.1 %s\r\n%sContent-Length: %zu\r\n\r\n", status, headers, body.len);
    buf_put_span(&b, body);
    bool is_ok = !buf_failed(&b) && upstream_send(c, buf_span(&b));
    buf_done(&b);
    return is_ok;
}

static bool chunk(struct upstream_conn *c, struct span bytes)
{
    char head[32];
    snprintf(head, sizeof head, "%zx\r\n", bytes.len);
    return upstream_puts(c, head) && upstream_send(c, bytes) && upstream_puts(c, "\r\n");
}

static char big_byte(size_t i)
{
    return (char)('a' + (i * 7 + i / 1000) % 26);
}

static bool send_big(struct upstream_conn *c)
{
    char *all = mem_alloc(BIG);
    for (size_t i = 0; i < BIG; i++)
        all[i] = big_byte(i);
    bool is_ok = answer(c, "200 OK", "", span_of(all, BIG));
    mem_free(all);
    return is_ok;
}

#define CHUNKED \
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"

static bool send_odd(struct upstream_conn *c)
{
    static const char text[] = "The quick brown fox jumps over the lazy dog";
    bool is_ok = upstream_puts(c, CHUNKED);
    for (size_t at = 0, n = 1; is_ok && at < sizeof text - 1; at += n, n = n * 2 + 1)
        is_ok = chunk(c, span_first(span_str(text + at), n));
    /* also within a chunk, and its last bytes with the end */
    return is_ok && upstream_puts(c, "2\r") && upstream_puts(c, "\n!") &&
           upstream_puts(c, "!\r\n0\r\nX-Trailer: 1\r\n\r\n");
}

static bool redirect(struct upstream_conn *c, struct span path)
{
    char headers[300];
    struct span rest = path, status;
    assert_true(span_next(&rest, '?', &status));
    snprintf(headers, sizeof headers, "Location: " SPAN_FMT "\r\n", SPAN_ARG(rest));
    char line[32];
    snprintf(line, sizeof line, SPAN_FMT " Moved", SPAN_ARG(span_skip(status, 4)));
    return answer(c, line, headers, SPAN_LIT("moved"));
}

static bool trickle(struct upstream_conn *c)
{
    bool is_ok = upstream_puts(c, CHUNKED);
    for (int i = 0; is_ok && i < 40; i++) {
        is_ok = chunk(c, SPAN_LIT("drop "));
        clock_pause_ms(50);
    }
    return is_ok && upstream_puts(c, "0\r\n\r\n");
}

static bool send_head(struct upstream_conn *c, struct span path)
{
    struct buf b = BUF_INIT(1 << 20);
    size_t lines = span_is(path, "/head/lines") ? 100 : 1;
    size_t width = span_is(path, "/head/lines")  ? 1000
                   : span_is(path, "/head/line") ? 90000
                                                 : 200000;
    buf_puts(&b, "HTTP/1.1 200 OK\r\n");
    for (size_t i = 0; i < lines; i++) {
        buf_puts(&b, "X-Long: ");
        for (size_t n = 0; n < width; n++)
            buf_putc(&b, 'x');
        buf_puts(&b, "\r\n");
    }
    buf_puts(&b, "Content-Length: 0\r\n\r\n");
    (void)upstream_send(c, buf_span(&b));
    buf_done(&b);
    return false;
}

static bool echo(struct upstream_conn *c, struct span head, struct span body)
{
    struct buf b = BUF_INIT(4 << 20);
    buf_put_span(&b, head);
    buf_put_span(&b, body);
    bool is_ok = answer(c, "200 OK", "", buf_span(&b));
    buf_done(&b);
    return is_ok;
}

static bool send_retry(struct upstream_conn *c, struct span path)
{
    char headers[200];
    snprintf(headers, sizeof headers, "Retry-After: " SPAN_FMT "\r\n",
             SPAN_ARG(span_skip(path, 7)));
    for (char *p = headers; *p; p++)
        *p = *p == '_' ? ' ' : *p;
    return answer(c, "429 Too Many Requests", headers, SPAN_LIT("slow down"));
}

/* /rate/<remaining>/<reset> */
static bool send_rate(struct upstream_conn *c, struct span path)
{
    struct span rest = span_skip(path, 6), remaining = SPAN_NULL;
    IGNORE(!span_next(&rest, '/', &remaining));
    char headers[200];
    snprintf(headers, sizeof headers,
             "x-ratelimit-reset-requests: 1ms\r\nX-RateLimit-Remaining-Tokens: " SPAN_FMT
             "\r\nx-ratelimit-reset-tokens: " SPAN_FMT "\r\n",
             SPAN_ARG(remaining), SPAN_ARG(rest));
    return answer(c, "200 OK", headers, SPAN_LIT("fine"));
}

static bool handle(struct upstream_conn *c, struct span path, struct span head, struct span body)
{
    if (span_is(path, "/hello"))
        return answer(c, "200 OK", "Content-Type: text/plain\r\n", SPAN_LIT("hello"));
    if (span_is(path, "/early"))
        return upstream_puts(c, "HTTP/1.1 103 Early Hints\r\nRetry-After: 7\r\n\r\n") &&
               answer(c, "200 OK", "", SPAN_LIT("hello"));
    if (span_is(path, "/odd"))
        return send_odd(c);
    if (span_is(path, "/big"))
        return send_big(c);
    if (span_is(path, "/echo"))
        return echo(c, head, body);
    if (span_is(path, "/trickle"))
        return trickle(c);
    if (span_is(path, "/close"))
        return upstream_puts(c, "HTTP/1.1 200 OK\r\n\r\nuntil the end") && false;
    if (span_is(path, "/cut"))
        return upstream_puts(c, "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nhalf") && false;
    if (span_is(path, "/cut-chunk"))
        return upstream_puts(c, CHUNKED "9\r\nhalf") && false;
    if (span_is(path, "/nothing"))
        return false;
    if (span_is(path, "/noise"))
        return upstream_puts(c, "good morning\r\n\r\n") && false;
    if (span_is(path, "/503"))
        return answer(c, "503 Busy", "Content-Type: application/json\r\n", SPAN_LIT("{\"why\":1}"));
    if (span_starts(path, SPAN_LIT("/head/")))
        return send_head(c, path);
    if (span_starts(path, SPAN_LIT("/rate/")))
        return send_rate(c, path);
    if (span_starts(path, SPAN_LIT("/retry/")))
        return send_retry(c, path);
    if (span_starts(path, SPAN_LIT("/to/")))
        return redirect(c, path);
    if (span_is(path, "/stall"))
        (void)(upstream_puts(c, CHUNKED) && chunk(c, SPAN_LIT("one piece")));
    if (span_is(path, "/head-only"))
        (void)upstream_puts(c, CHUNKED);
    upstream_wait_closed(c); /* and /hang */
    return false;
}

/* ---- the client's side ---- */

struct fixture {
    struct loop *loop;
    struct http_client *client;
    struct upstream up;
};

struct got {
    struct fixture *f;
    struct http_call_options o;
    char url[512];
    struct http_call *call;
    bool (*on_piece)(struct got *g, struct span piece); /* or NULL: takes it */
    sem_t done, paused;
    int start_result, heads, ends, pieces, status, result;
    bool is_connect_failure;
    int64_t retry_after_ms, rate_wait_ms;
    uint64_t started_ms, ended_ms;
    char type[64], why[512];
    struct err err;
    struct buf body;
};

struct action {
    struct loop_msg msg;
    void (*run)(void *arg);
    void *arg;
    sem_t done;
};

static void deliver_action(struct loop_msg *m)
{
    struct action *a = container_of(m, struct action, msg);
    a->run(a->arg);
    sem_post(&a->done);
}

static void on_loop(struct fixture *f, void (*run)(void *), void *arg)
{
    struct action a = {.msg.deliver = deliver_action, .run = run, .arg = arg};
    sem_init(&a.done, 0, 0);
    loop_post(f->loop, &a.msg);
    while (sem_wait(&a.done) != 0)
        continue;
    sem_destroy(&a.done);
}

static bool wait_sem(sem_t *s, unsigned seconds)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += seconds;
    return sem_timedwait(s, &until) == 0;
}

static void note_head(void *ctx, const struct http_answer *a)
{
    struct got *g = ctx;
    g->heads++;
    g->status = a->status;
}

static bool note_body(void *ctx, struct span piece)
{
    struct got *g = ctx;
    g->pieces++;
    assert_true(piece.len > 0 && g->ends == 0);
    if (g->on_piece)
        return g->on_piece(g, piece);
    buf_put_span(&g->body, piece);
    return true;
}

static void note_end(void *ctx, const struct http_answer *a, int result, const char *why)
{
    struct got *g = ctx;
    g->ends++;
    g->status = a->status;
    g->retry_after_ms = a->retry_after_ms;
    g->rate_wait_ms = a->rate_wait_ms;
    g->is_connect_failure = a->is_connect_failure;
    g->result = result;
    snprintf(g->type, sizeof g->type, SPAN_FMT, SPAN_ARG(a->content_type));
    snprintf(g->why, sizeof g->why, "%s", why);
    g->ended_ms = clock_ms();
    sem_post(&g->done);
}

static const struct http_call_callbacks callbacks = {note_head, note_body, note_end};

static void start_it(void *arg)
{
    struct got *g = arg;
    g->started_ms = clock_ms();
    g->start_result = http_call_start(g->f->client, &g->o, &callbacks, g, &g->call, &g->err);
}

static void got_init(struct got *g, struct fixture *f, const char *path)
{
    *g = (struct got){.f = f, .o = {.method = "GET"}, .body = BUF_INIT(4 << 20)};
    snprintf(g->url, sizeof g->url, "%s%s", path[0] == '/' ? f->up.url : "", path);
    g->o.url = g->url;
    sem_init(&g->done, 0, 0);
    sem_init(&g->paused, 0, 0);
}

static void got_done(struct got *g)
{
    buf_done(&g->body);
    sem_destroy(&g->done);
    sem_destroy(&g->paused);
}

static void start(struct got *g)
{
    on_loop(g->f, start_it, g);
    if (g->start_result < 0)
        fail_msg("not started: %s", g->err.msg);
}

static void finish(struct got *g)
{
    if (!wait_sem(&g->done, 20))
        fail_msg("%s did not end", g->url);
    assert_int_equal(g->ends, 1);
    if ((g->result < 0) != (g->why[0] != 0))
        fail_msg("result %d, but why is '%s'", g->result, g->why);
}

static void ask(struct got *g)
{
    start(g);
    finish(g);
}

static const struct http_client_options *new_options;

static void new_client(void *arg)
{
    struct fixture *f = arg;
    assert_int_equal(http_client_new(f->loop, new_options, &f->client, NULL), 0);
}

static void free_client(void *arg)
{
    struct fixture *f = arg;
    http_client_free(f->client);
    f->client = NULL;
}

static void fixture_start_tls(struct fixture *f, const struct http_client_options *o, bool tls)
{
    *f = (struct fixture){.up.handle = handle};
    upstream_start(&f->up, tls);
    assert_int_equal(loop_new("client", &f->loop, NULL), 0);
    assert_int_equal(loop_start(f->loop, NULL), 0);
    new_options = o;
    on_loop(f, new_client, f);
}

static void fixture_start(struct fixture *f, const struct http_client_options *o)
{
    fixture_start_tls(f, o, false);
}

static void fixture_stop(struct fixture *f)
{
    on_loop(f, free_client, f);
    loop_stop(f->loop);
    loop_free(f->loop);
    upstream_stop(&f->up);
}

static bool has(struct span s, const char *text)
{
    return span_find_nocase(s, span_str(text)) >= 0;
}

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

/* ---- connecting ---- */

static void a_failed_connection_may_be_tried_again(void **state)
{
    (void)state;
    static const struct {
        const char *url, *why;
    } rows[] = {
        {"http://127.0.0.1:1/x?token=s3cret",
         "cannot connect to 'http://127.0.0.1:1/x': Connection refused"},
        {"http://nowhere.invalid/?token=s3cret",
         "cannot find the address of 'http://nowhere.invalid/'"},
    };
    struct fixture f;
    fixture_start(&f, NULL);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct got g;
        got_init(&g, &f, rows[i].url);
        ask(&g);
        assert_int_equal(g.result, -ERR_UNAVAILABLE);
        assert_string_equal(g.why, rows[i].why);
        assert_true(g.is_connect_failure);
        got_done(&g);
    }
    fixture_stop(&f);
}

static void a_certificate_nobody_vouches_for_is_refused(void **state)
{
    (void)state;
    struct fixture f;
    struct got g;
    fixture_start_tls(&f, NULL, true);
    got_init(&g, &f, "/hello");
    ask(&g);
    assert_int_equal(g.result, -ERR_UNAVAILABLE);
    if (!strstr(g.why, "no secure connection") || !strstr(g.why, "self-signed"))
        fail_msg("%s", g.why);
    assert_true(g.is_connect_failure);
    assert_int_equal(f.up.requests, 0);
    got_done(&g);
    fixture_stop(&f);
}

static void https_works_and_never_leads_to_http(void **state)
{
    (void)state;
    char path[] = "/tmp/headwater-ca-XXXXXX", to[128];
    struct fixture f, plain;
    struct got g;
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    struct http_client_options o = {.ca_file = path};
    fixture_start_tls(&f, &o, true);
    fixture_start(&plain, NULL);
    upstream_write_certificate(&f.up, path);
    got_init(&g, &f, "/odd");
    ask(&g);
    assert_string_equal(buf_str(&g.body), "The quick brown fox jumps over the lazy dog!!");
    got_done(&g);
    snprintf(to, sizeof to, "/to/302?%s/hello", plain.up.url);
    got_init(&g, &f, to);
    g.o.max_redirects = 5;
    ask(&g);
    assert_int_equal(g.result, -ERR_UPSTREAM);
    assert_true(strstr(g.why, "from https to http"));
    assert_int_equal(g.heads, 0);
    assert_int_equal(plain.up.connections, 0);
    got_done(&g);
    fixture_stop(&plain);
    fixture_stop(&f);
    unlink(path);
}

static bool allow_by_list(void *ctx, const char *ip)
{
    return !strstr(ctx, ip);
}

static void a_refused_address_is_never_connected_to(void **state)
{
    (void)state;
    char refused[] = "127.0.0.1 ::1";
    struct fixture f, client;
    struct got g;
    fixture_start(&f, NULL);
    struct http_client_options o = {.allow_address = allow_by_list, .allow_ctx = refused};
    fixture_start(&client, &o);
    static const char *const urls[] = {"http://127.0.0.1:%u/hello", "http://localhost:%u/hello",
                                       "http://[::ffff:127.0.0.1]:%u/hello"};
    for (size_t i = 0; i < ARRAY_LEN(urls); i++) {
        got_init(&g, &client, "/");
        char port[16];
        struct span form = span_str(urls[i]);
        ptrdiff_t at = span_find(form, SPAN_LIT("%u"));
        snprintf(port, sizeof port, "%u", f.up.port);
        snprintf(g.url, sizeof g.url, SPAN_FMT "%s/hello", SPAN_ARG(span_first(form, (size_t)at)),
                 port);
        ask(&g);
        if (g.result != -ERR_FORBIDDEN)
            fail_msg("%s: %d %s", g.url, g.result, g.why);
        got_done(&g);
    }
    assert_int_equal(f.up.connections, 0);
    fixture_stop(&client);
    fixture_stop(&f);
}

static void a_redirect_to_a_refused_address_is_not_followed(void **state)
{
    (void)state;
    char refused[] = "127.0.0.9", to[128];
    struct fixture f;
    struct got g;
    struct http_client_options o = {.allow_address = allow_by_list, .allow_ctx = refused};
    fixture_start(&f, &o);
    snprintf(to, sizeof to, "/to/302?http://127.0.0.9:%u/hello", f.up.port);
    got_init(&g, &f, to);
    g.o.max_redirects = 5;
    ask(&g);
    assert_int_equal(g.result, -ERR_FORBIDDEN);
    assert_int_equal(f.up.requests, 1);
    got_done(&g);
    fixture_stop(&f);
}

/* ---- redirects ---- */

static void redirects_are_followed_by_the_rules(void **state)
{
    (void)state;
    static const struct {
        const char *path, *method;
        unsigned max;
        int result;
        const char *line;
        bool has_body;
    } rows[] = {
        {"/to/302?/echo", "GET", 1, 0, "GET /echo ", false},
        {"/to/301?echo/../../echo", "GET", 1, 0, "GET /echo ", false},
        {"/to/302?/echo", "POST", 1, 0, "GET /echo ", false},
        {"/to/303?/echo", "PUT", 1, 0, "GET /echo ", false},
        {"/to/307?/echo", "POST", 1, 0, "POST /echo ", true},
        {"/to/308?/echo", "PUT", 1, 0, "PUT /echo ", true},
        {"/to/302?/to/302?/echo", "GET", 2, 0, "GET /echo ", false},
        {"/to/302?/to/302?/echo", "GET", 1, -ERR_UPSTREAM, "", false},
        {"/to/302?file:///etc/passwd", "GET", 1, -ERR_UPSTREAM, "", false},
        {"/to/302?http://me:pw1@127.0.0.1/", "GET", 1, -ERR_UPSTREAM, "", false},
    };
    struct fixture f;
    fixture_start(&f, NULL);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct got g;
        got_init(&g, &f, rows[i].path);
        bool is_get = !strcmp(rows[i].method, "GET");
        g.o.method = rows[i].method;
        g.o.headers = (const char *const[]){"X-Api-Key: s3cret", "Content-Type: x/y", NULL};
        g.o.body = is_get ? SPAN_NULL : SPAN_LIT("the body");
        g.o.max_redirects = rows[i].max;
        ask(&g);
        struct span got = buf_span(&g.body);
        if (g.result != rows[i].result || !span_starts(got, span_str(rows[i].line)) ||
            has(got, "the body") != rows[i].has_body || strstr(g.why, "pw1"))
            fail_msg("row %zu: %d %s '%s'", i, g.result, g.why, buf_str(&g.body));
        assert_int_equal(has(got, "s3cret"), g.result == 0); /* the same host may have it */
        assert_int_equal(g.heads, g.result == 0);
        got_done(&g);
    }
    fixture_stop(&f);
}

static void secrets_do_not_follow_to_another_origin(void **state)
{
    (void)state;
    struct fixture f, other;
    fixture_start(&f, NULL);
    fixture_start(&other, NULL);
    char to[3][160];
    snprintf(to[0], sizeof to[0], "/to/307?http://127.0.0.1:%u/echo", other.up.port);
    snprintf(to[1], sizeof to[1], "/to/307?http://localhost:%u/echo", f.up.port);
    /* there and back again: once dropped, dropped */
    snprintf(to[2], sizeof to[2], "/to/307?http://127.0.0.1:%u/to/307?%s/echo", other.up.port,
             f.up.url);
    for (size_t i = 0; i < ARRAY_LEN(to); i++) {
        struct got g;
        got_init(&g, &f, to[i]);
        g.o.method = "POST";
        g.o.body = SPAN_LIT("the body");
        g.o.max_redirects = 3;
        g.o.headers = (const char *const[]){"Authorization: Bearer s3cret", "x-api-key: s3cret",
                                            "Cookie: s3cret", "X-Kept: yes", NULL};
        ask(&g);
        assert_int_equal(g.result, 0);
        assert_true(has(buf_span(&g.body), "x-kept: yes") && has(buf_span(&g.body), "the body"));
        assert_false(has(buf_span(&g.body), "s3cret"));
        got_done(&g);
    }
    fixture_stop(&other);
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
        cmocka_unit_test(a_failed_connection_may_be_tried_again),
        cmocka_unit_test(a_certificate_nobody_vouches_for_is_refused),
        cmocka_unit_test(https_works_and_never_leads_to_http),
        cmocka_unit_test(a_refused_address_is_never_connected_to),
        cmocka_unit_test(a_redirect_to_a_refused_address_is_not_followed),
        cmocka_unit_test(redirects_are_followed_by_the_rules),
        cmocka_unit_test(secrets_do_not_follow_to_another_origin),
        cmocka_unit_test(a_hundred_at_once_share_the_pool),
        cmocka_unit_test(calls_past_max_calls_are_refused),
        cmocka_unit_test(each_failed_allocation_ends_the_call_cleanly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
