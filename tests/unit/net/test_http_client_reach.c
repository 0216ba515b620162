/* Promises of the HTTP client about where it connects and where it lets itself be led. */
#include "http_client_kit.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

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

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_failed_connection_may_be_tried_again),
        cmocka_unit_test(a_certificate_nobody_vouches_for_is_refused),
        cmocka_unit_test(https_works_and_never_leads_to_http),
        cmocka_unit_test(a_refused_address_is_never_connected_to),
        cmocka_unit_test(a_redirect_to_a_refused_address_is_not_followed),
        cmocka_unit_test(redirects_are_followed_by_the_rules),
        cmocka_unit_test(secrets_do_not_follow_to_another_origin),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
