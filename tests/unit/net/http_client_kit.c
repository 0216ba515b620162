#include "http_client_kit.h"

#include "base/clock.h"
#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

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

char big_byte(size_t i)
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

void on_loop(struct fixture *f, void (*run)(void *), void *arg)
{
    struct action a = {.msg.deliver = deliver_action, .run = run, .arg = arg};
    sem_init(&a.done, 0, 0);
    loop_post(f->loop, &a.msg);
    while (sem_wait(&a.done) != 0)
        continue;
    sem_destroy(&a.done);
}

bool wait_sem(sem_t *s, unsigned seconds)
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

void start_it(void *arg)
{
    struct got *g = arg;
    g->started_ms = clock_ms();
    g->start_result = http_call_start(g->f->client, &g->o, &callbacks, g, &g->call, &g->err);
}

void got_init(struct got *g, struct fixture *f, const char *path)
{
    *g = (struct got){.f = f, .o = {.method = "GET"}, .body = BUF_INIT(4 << 20)};
    snprintf(g->url, sizeof g->url, "%s%s", path[0] == '/' ? f->up.url : "", path);
    g->o.url = g->url;
    sem_init(&g->done, 0, 0);
    sem_init(&g->paused, 0, 0);
}

void got_done(struct got *g)
{
    buf_done(&g->body);
    sem_destroy(&g->done);
    sem_destroy(&g->paused);
}

void start(struct got *g)
{
    on_loop(g->f, start_it, g);
    if (g->start_result < 0)
        fail_msg("not started: %s", g->err.msg);
}

void finish(struct got *g)
{
    if (!wait_sem(&g->done, 20))
        fail_msg("%s did not end", g->url);
    assert_int_equal(g->ends, 1);
    if ((g->result < 0) != (g->why[0] != 0))
        fail_msg("result %d, but why is '%s'", g->result, g->why);
}

void ask(struct got *g)
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

void fixture_start_tls(struct fixture *f, const struct http_client_options *o, bool tls)
{
    *f = (struct fixture){.up.handle = handle};
    upstream_start(&f->up, tls);
    assert_int_equal(loop_new("client", &f->loop, NULL), 0);
    assert_int_equal(loop_start(f->loop, NULL), 0);
    new_options = o;
    on_loop(f, new_client, f);
}

void fixture_start(struct fixture *f, const struct http_client_options *o)
{
    fixture_start_tls(f, o, false);
}

void fixture_stop(struct fixture *f)
{
    on_loop(f, free_client, f);
    loop_stop(f->loop);
    loop_free(f->loop);
    upstream_stop(&f->up);
}

bool has(struct span s, const char *text)
{
    return span_find_nocase(s, span_str(text)) >= 0;
}
