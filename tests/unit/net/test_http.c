/* Promises of the HTTP parser and the request values. */
#include "../cm.h"
#include "base/fault.h"
#include "base/limits.h"
#include "base/mem.h"
#include "net/http_parse.h"

#include <stdlib.h>

/* Feeds the bytes in pieces of `step` (0: random); returns the status, 0 when a request was
 * complete, -1 for more. */
static int parse(struct http_parser *p, const char *text, size_t len, size_t step, size_t *ret_used)
{
    size_t at = 0;
    while (at < len) {
        size_t n = step ? step : 1 + (size_t)rand() % 40, used;
        if (n > len - at)
            n = len - at;
        enum http_parse r = http_parser_feed(p, span_of(text + at, n), &used);
        assert_true(used <= n);
        at += used;
        *ret_used = at;
        if (r == HTTP_PARSE_ERROR)
            return http_parser_status(p);
        if (r == HTTP_PARSE_DONE)
            return 0;
        assert_true(used == n || r == HTTP_PARSE_HEAD);
    }
    return -1;
}

/* Same verdict and same bytes used whatever the pieces. */
static int status_of(const char *text, size_t len)
{
    static const size_t steps[] = {0, 0, 1, 2, 3, 7, 1 << 30};
    int first = 0;
    size_t first_used = 0;
    for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
        struct http_parser *p = http_parser_new();
        size_t used = 0;
        int status = parse(p, text, len, steps[i], &used);
        if (i == 0) {
            first = status;
            first_used = used;
        } else if (status != first || used != first_used) {
            fail_msg("pieces of %zu: status %d after %zu, before %d after %zu: %.80s", steps[i],
                     status, used, first, first_used, text);
        }
        http_parser_free(p);
    }
    return first;
}

#define GET "GET / HTTP/1.1\r\n"
#define HOST "Host: x\r\n"
#define POST "POST / HTTP/1.1\r\n" HOST
#define CHUNKED POST "Transfer-Encoding: chunked\r\n\r\n"

struct row {
    int status;
    const char *text;
};

static void check_rows(const struct row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        int status = status_of(rows[i].text, strlen(rows[i].text));
        if (status != rows[i].status)
            fail_msg("row %zu: %d, not %d: %s", i, status, rows[i].status, rows[i].text);
    }
}

static void malformed_requests_get_their_status(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {400, "GET / HTTP/1.1\nHost: x\n\n"},
        {400, "GET / HTTP/1.1\r\nHost: x\n\r\n"},
        {400, "GET / HTTP/1.1\r\nHost: x\r\r\n"},
        {400, "GET / HTTP/1.1\rHost: x\r\n\r\n"},
        {400, "GET  / HTTP/1.1\r\n" HOST "\r\n"},
        {400, "GET /  HTTP/1.1\r\n" HOST "\r\n"},
        {400, " GET / HTTP/1.1\r\n" HOST "\r\n"},
        {400, "GET\t/ HTTP/1.1\r\n" HOST "\r\n"},
        {400, "GET / HTTP/1.1 \r\n" HOST "\r\n"},
        {400, "GET /\r\n" HOST "\r\n"},
        {400, "GET\r\n" HOST "\r\n"},
        {400, "GET /a b HTTP/1.1\r\n" HOST "\r\n"},
        {400, "\r\r\n" GET HOST "\r\n"},
        {400, "\n" GET HOST "\r\n"},
        {400, "\r\n\r\n\r\n" GET HOST "\r\n"},
        {400, "GET / HTTP/11\r\n" HOST "\r\n"},
        {400, "GET / http/1.1\r\n" HOST "\r\n"},
        {400, "GET / HTTP/1.\r\n" HOST "\r\n"},
        {400, "GET / HTTP/1.1x\r\n" HOST "\r\n"},
        {400, "GET / XTTP/1.1\r\n" HOST "\r\n"},
        {400, "SOURCE / ICE/1.0\r\n" HOST "\r\n"},
        {505, "GET / HTTP/2.0\r\n" HOST "\r\n"},
        {505, "GET / HTTP/0.9\r\n" HOST "\r\n"},
        {505, "GET / HTTP/1.2\r\n" HOST "\r\n"},
        {505, "GET / HTTP/9.9\r\n" HOST "\r\n"},
        {505, "PRI * HTTP/2.0\r\n\r\n"},
        {501, "BREW / HTTP/1.1\r\n" HOST "\r\n"},
        {501, "get / HTTP/1.1\r\n" HOST "\r\n"},
        {501, "CONNECT x:443 HTTP/1.1\r\n" HOST "\r\n"},
        {400, "G@T / HTTP/1.1\r\n" HOST "\r\n"},
        {400, "AAAAAAAAAABBBBBBBBBBCCCCCCCCCCDDDDDD / HTTP/1.1\r\n" HOST "\r\n"},
        {400, "\x16\x03\x01\x02"},
        {400, "GET / HTTP/1.1\r\nA: \x01\r\n" HOST "\r\n"},
        {400, "GET / HTTP/1.1\r\nA: \x7f\r\n" HOST "\r\n"},
        {400, "GET /\x7f HTTP/1.1\r\n" HOST "\r\n"},
        {400, "GET /#top HTTP/1.1\r\n" HOST "\r\n"},
        {400, "GET foo HTTP/1.1\r\n" HOST "\r\n"},
        {400, "GET * HTTP/1.1\r\n" HOST "\r\n"},
        {400, "GET ftp://x/ HTTP/1.1\r\n" HOST "\r\n"},
        {400, "GET http:///a HTTP/1.1\r\n" HOST "\r\n"},
        {400, "GET /% HTTP/1.1\r\n" HOST "\r\n"},
        {400, "GET /%4 HTTP/1.1\r\n" HOST "\r\n"},
        {400, "GET /%zz HTTP/1.1\r\n" HOST "\r\n"},
        {400, "GET /a%00b HTTP/1.1\r\n" HOST "\r\n"},
        {400, GET "\r\n"},
        {400, GET HOST HOST "\r\n"},
        {400, GET "Host: a b\r\n\r\n"},
        {400, GET "Host: a/b\r\n\r\n"},
        {400, GET "Host: u@h\r\n\r\n"},
        {400, GET "Host : x\r\n\r\n"},
        {400, GET HOST "A\r\n\r\n"},
        {400, GET HOST "A b: c\r\n\r\n"},
        {400, GET HOST ": c\r\n\r\n"},
        {400, GET HOST "A: b\r\n c\r\n\r\n"},
        {400, GET HOST "A: b\r\n\tc\r\n\r\n"},
        {400, GET " Host: x\r\n\r\n"},
        {400, GET HOST "A(: c\r\n\r\n"},
        {400, GET HOST "\xc3\xa4: c\r\n\r\n"},
        {400, POST "Content-Length: -1\r\n\r\n"},
        {400, POST "Content-Length: +1\r\n\r\na"},
        {400, POST "Content-Length: 1 2\r\n\r\na"},
        {400, POST "Content-Length: 0x1\r\n\r\na"},
        {400, POST "Content-Length: 1,1\r\n\r\na"},
        {400, POST "Content-Length: \r\n\r\n"},
        {400, POST "Content-Length: 99999999999999999999999\r\n\r\n"},
        {413, POST "Content-Length: 16777217\r\n\r\n"},
        {413, POST "Content-Length: 9999999999999\r\n\r\n"},
        {417, POST "Expect: a-miracle\r\nContent-Length: 1\r\n\r\na"},
    };
    assert_true(ARRAY_LEN(rows) >= 60);
    check_rows(rows, ARRAY_LEN(rows));
}

static void ambiguous_framing_is_refused(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {400, POST "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"},
        {400, POST "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n"},
        {400, POST "Content-Length: 4\r\nContent-Length: 5\r\n\r\nabcde"},
        {400, POST "Content-Length: 4\r\nContent-Length: 4\r\n\r\nabcd"},
        {400, POST "Content-Length : 4\r\n\r\nabcd"},
        {400, POST "Content-Length\t: 4\r\n\r\nabcd"},
        {400, POST "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n"},
        {400, POST "Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n"},
        {400, POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"},
        {400, POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n"},
        {400, POST "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n"},
        {501, POST "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"},
        {501, POST "Transfer-Encoding: gzip\r\n\r\n"},
        {501, POST "Transfer-Encoding: identity\r\n\r\n"},
        {501, POST "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"},
        {501, POST "Transfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n"},
        {400, POST "Transfer-Encoding: \x0b"
                   "chunked\r\n\r\n0\r\n\r\n"},
        {400, "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"},
        {400, CHUNKED "\r\n\r\n"},
        {400, CHUNKED "x\r\n"},
        {400, CHUNKED "-1\r\n"},
        {400, CHUNKED "0x1\r\na\r\n0\r\n\r\n"},
        {400, CHUNKED " 1\r\na\r\n0\r\n\r\n"},
        {400, CHUNKED "1 \r\na\r\n0\r\n\r\n"},
        {400, CHUNKED "1\na\n0\n\n"},
        {400, CHUNKED "1\r\na\n0\r\n\r\n"},
        {400, CHUNKED "1\r\nab\r\n0\r\n\r\n"},
        {400, CHUNKED "1\r\na0\r\n\r\n"},
        {400, CHUNKED "1;a\nb\r\na\r\n0\r\n\r\n"},
        {400, CHUNKED "1;a\rb\r\na\r\n0\r\n\r\n"},
        {400, CHUNKED "000000000\r\n\r\n"},
        {400, CHUNKED "0\r\nA\nB: c\r\n\r\n"},
        {400, CHUNKED "0\r\n folded\r\n\r\n"},
        {400, CHUNKED "0\r\nA: b\n\r\n"},
        {413, CHUNKED "1000001\r\n"},
        {413, CHUNKED "ffffffff\r\n"},
    };
    check_rows(rows, ARRAY_LEN(rows));
}

static void good_requests_are_accepted(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {0, GET HOST "\r\n"},
        {0, "\r\n\r\n" GET HOST "\r\n"},
        {0, GET "host:x\r\n\r\n"},
        {0, GET "Host: \r\n\r\n"},
        {0, GET "Host: [::1]:80\r\n\r\n"},
        {0, "GET / HTTP/1.0\r\n\r\n"},
        {0, "OPTIONS * HTTP/1.1\r\n" HOST "\r\n"},
        {0, "PROPFIND / HTTP/1.1\r\n" HOST "\r\n"},
        {0, GET HOST "A: \xc3\xa4\tb\r\n\r\n"},
        {0, GET HOST "A:\r\n\r\n"},
        {0, "GET http://x HTTP/1.1\r\n" HOST "\r\n"},
        {0, "GET HTTPS://x?y HTTP/1.1\r\n" HOST "\r\n"},
        {0, POST "Content-Length: 0\r\n\r\n"},
        {0, POST "Content-Length: 003\r\n\r\nabc"},
        {0, POST "Transfer-Encoding: Chunked\r\n\r\n0\r\n\r\n"},
        {0, CHUNKED "1;a=\"b\"\r\na\r\n00\r\nTrailer: x\r\nAnother: y\r\n\r\n"},
        {-1, GET HOST},
        {-1, POST "Content-Length: 3\r\n\r\nab"},
        {-1, CHUNKED "1\r\na\r\n0\r\n"},
    };
    check_rows(rows, ARRAY_LEN(rows));
}

static void repeat(struct buf *b, const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++)
        buf_puts(b, text);
}

static int status_with(const char *before, const char *unit, size_t n, const char *after)
{
    struct buf b = BUF_INIT(64u << 20);
    buf_puts(&b, before);
    repeat(&b, unit, n);
    buf_puts(&b, after);
    int status = status_of(b.ptr, b.len);
    buf_done(&b);
    return status;
}

static void bounds_have_their_own_status(void **state)
{
    (void)state;
    assert_int_equal(status_with("GET /", "a", LIMIT_HTTP_TARGET - 1, " HTTP/1.1\r\n" HOST "\r\n"),
                     0);
    assert_int_equal(status_with("GET /", "a", LIMIT_HTTP_TARGET, " HTTP/1.1\r\n" HOST "\r\n"),
                     414);
    assert_int_equal(status_with("GET /", "a", 1 << 20, ""), 414);
    assert_int_equal(status_with(GET HOST, "A: b\r\n", LIMIT_HTTP_HEADER_COUNT - 1, "\r\n"), 0);
    assert_int_equal(status_with(GET HOST, "A: b\r\n", LIMIT_HTTP_HEADER_COUNT, "\r\n"), 431);
    assert_int_equal(status_with(GET HOST "A: ", "b", 60000, "\r\n\r\n"), 0);
    assert_int_equal(status_with(GET HOST "A: ", "b", LIMIT_HTTP_HEAD, "\r\n\r\n"), 431);
    assert_int_equal(status_with(CHUNKED, "1\r\na\r\n", 1000, "0\r\n\r\n"), 0);
    assert_int_equal(status_with(CHUNKED "1;", "a", 300, "\r\na\r\n0\r\n\r\n"), 400);
    assert_int_equal(status_with(CHUNKED "0\r\n", "A: b\r\n", 20000, "\r\n"), 431);
    assert_int_equal(status_with("POST / HTTP/1.1\r\n" HOST "Content-Length: 16777216\r\n\r\n",
                                 "aaaaaaaa", LIMIT_HTTP_BODY / 8, ""),
                     0);
    assert_int_equal(status_with(CHUNKED, "100000\r\n", 1, ""), -1);
}

static struct http_parser *parsed(const char *text)
{
    struct http_parser *p = http_parser_new();
    size_t used;
    assert_int_equal(parse(p, text, strlen(text), 0, &used), 0);
    return p;
}

static void request_values_are_as_sent(void **state)
{
    (void)state;
    struct http_parser *p =
        parsed("PUT /a%20b/%C3%A4?x=1&y=%2F HTTP/1.1\r\nHost: h\r\nX-One:  spaced \t\r\n"
               "Accept: a, B ,c\r\naccept: d\r\nTransfer-Encoding: chunked\r\n\r\n"
               "5\r\nhello\r\nB\r\n, big world\r\n0\r\nX-Trailer: ignored\r\n\r\n");
    const struct http_request *r = http_parser_request(p);
    assert_int_equal(r->method, HTTP_PUT_);
    assert_true(span_is(r->target, "/a%20b/%C3%A4?x=1&y=%2F"));
    assert_true(span_is(r->path, "/a b/\xc3\xa4"));
    assert_true(span_is(r->query, "x=1&y=%2F"));
    assert_true(span_is(r->body, "hello, big world"));
    assert_int_equal(r->minor, 1);
    assert_int_equal(r->header_count, 5);
    assert_true(span_is(http_header_get(r, "x-one"), "spaced"));
    assert_null(http_header_get(r, "x-trailer").ptr);
    assert_null(http_header_get(r, "absent").ptr);
    assert_true(http_header_has(r, "ACCEPT", "b"));
    assert_true(http_header_has(r, "accept", "D"));
    assert_false(http_header_has(r, "accept", "e"));
    assert_true(http_parser_keep_alive(p));
    http_parser_free(p);
}

static void target_forms_give_path_and_query(void **state)
{
    (void)state;
    static const struct {
        const char *target, *path, *query;
    } rows[] = {
        {"/", "/", ""},
        {"/a?b?c", "/a", "b?c"},
        {"/?", "/", ""},
        {"http://h/p/q?r", "/p/q", "r"},
        {"http://h:80", "/", ""},
        {"https://h?x", "/", "x"},
        {"//a/../b", "//a/../b", ""},
        {"/%2e%2E/", "/../", ""},
        {"/a+b", "/a+b", ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct buf b = BUF_INIT(4096);
        buf_printf(&b, "GET %s HTTP/1.1\r\nHost: h\r\n\r\n", rows[i].target);
        struct http_parser *p = parsed(b.ptr);
        assert_true(span_is(http_parser_request(p)->path, rows[i].path));
        assert_true(span_is(http_parser_request(p)->query, rows[i].query));
        http_parser_free(p);
        buf_done(&b);
    }
}

static void keep_alive_follows_version_and_connection(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool keep;
    } rows[] = {
        {"GET / HTTP/1.1\r\nHost: h\r\n\r\n", true},
        {"GET / HTTP/1.1\r\nHost: h\r\nConnection: foo, Close\r\n\r\n", false},
        {"GET / HTTP/1.0\r\n\r\n", false},
        {"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", true},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct http_parser *p = parsed(rows[i].text);
        assert_int_equal(http_parser_keep_alive(p), rows[i].keep);
        http_parser_free(p);
    }
}

static void a_parser_stops_where_the_next_request_begins(void **state)
{
    (void)state;
    static const char one[] = POST "Content-Length: 2\r\n\r\nab",
                      two[] = CHUNKED "1\r\na\r\n0\r\n\r\n";
    struct buf b = BUF_INIT(4096);
    buf_puts(&b, one);
    buf_puts(&b, two);
    buf_puts(&b, GET HOST "\r\n");
    size_t want[] = {sizeof one - 1, sizeof two - 1, strlen(GET HOST "\r\n")}, at = 0;
    for (size_t i = 0; i < ARRAY_LEN(want); i++) {
        struct http_parser *p = http_parser_new();
        size_t used = 0;
        assert_int_equal(parse(p, b.ptr + at, b.len - at, 1 << 20, &used), 0);
        assert_int_equal(used, want[i]);
        at += used;
        http_parser_free(p);
    }
    buf_done(&b);
}

static void head_is_reported_before_its_body(void **state)
{
    (void)state;
    struct http_parser *p = http_parser_new();
    static const char text[] = POST "Expect: 100-Continue\r\nContent-Length: 2\r\n\r\nab";
    size_t used;
    assert_false(http_parser_has_begun(p));
    assert_int_equal(http_parser_feed(p, span_of(text, sizeof text - 1), &used), HTTP_PARSE_HEAD);
    assert_int_equal(used, sizeof text - 3);
    assert_true(http_parser_expects_continue(p) && http_parser_has_head(p));
    assert_int_equal(http_parser_feed(p, SPAN_LIT("ab"), &used), HTTP_PARSE_DONE);
    assert_true(span_is(http_parser_request(p)->body, "ab"));
    http_parser_free(p);
}

static void no_memory_is_an_answer_not_a_crash(void **state)
{
    (void)state;
    static const char text[] =
        "POST /path HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        "5\r\nhello\r\n0\r\n\r\n";
    bool was_complete = false;
    for (uint64_t n = 1; n < 50 && !was_complete; n++) {
        fault_arm(FAULT_ALLOC, n, 0);
        struct http_parser *p = http_parser_new();
        size_t used;
        int status = p ? parse(p, text, sizeof text - 1, 5, &used) : 503;
        was_complete = status == 0;
        assert_true(status == 0 || status == 503);
        http_parser_free(p);
    }
    fault_disarm();
    assert_true(was_complete);
}

static void query_values_are_decoded(void **state)
{
    (void)state;
    static const struct {
        const char *query, *name, *value; /* NULL: absent */
    } rows[] = {
        {"a=1&b=2", "a", "1"},
        {"a=1&b=2", "b", "2"},
        {"a=1", "c", NULL},
        {"a=x+y%20z", "a", "x y z"},
        {"a", "a", ""},
        {"a=", "a", ""},
        {"a=1&a=2", "a", "1"},
        {"%61=1", "a", "1"},
        {"a+b=1", "a b", "1"},
        {"ab=1", "a", NULL},
        {"a=b=c", "a", "b=c"},
        {"a=%", "a", "%"},
        {"a=100%+1", "a", "100% 1"},
        {"&&a=1", "a", "1"},
        {"", "a", NULL},
        {"a%zz=1", "a%zz", "1"},
        {"a=%C3%A4", "a", "\xc3\xa4"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct buf b = BUF_INIT(100);
        bool found = http_query_get(span_str(rows[i].query), rows[i].name, &b);
        if (found != !!rows[i].value || (found && strcmp(buf_str(&b), rows[i].value) != 0))
            fail_msg("row %zu: %s of %s is '%s'", i, rows[i].name, rows[i].query, buf_str(&b));
        buf_done(&b);
    }
    struct buf small = BUF_INIT(3);
    assert_false(http_query_get(SPAN_LIT("a=12345"), "a", &small));
    buf_done(&small);
}

static void names_are_known(void **state)
{
    (void)state;
    assert_string_equal(http_reason(404), "Not Found");
    assert_string_equal(http_reason(101), "Switching Protocols");
    assert_string_equal(http_reason(799), "Unknown");
    assert_string_equal(http_method_name(HTTP_PATCH_), "PATCH");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(malformed_requests_get_their_status),
        cmocka_unit_test(ambiguous_framing_is_refused),
        cmocka_unit_test(good_requests_are_accepted),
        cmocka_unit_test(bounds_have_their_own_status),
        cmocka_unit_test(request_values_are_as_sent),
        cmocka_unit_test(target_forms_give_path_and_query),
        cmocka_unit_test(keep_alive_follows_version_and_connection),
        cmocka_unit_test(a_parser_stops_where_the_next_request_begins),
        cmocka_unit_test(head_is_reported_before_its_body),
        cmocka_unit_test(no_memory_is_an_answer_not_a_crash),
        cmocka_unit_test(query_values_are_decoded),
        cmocka_unit_test(names_are_known),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
