/* Promises of the cross-origin headers: DeepWiki upstream with "*", the fork with a list. */
#include "../cm.h"
#include "net/cors.h"

struct row {
    const char *origins, *origin, *cookie; /* NULL: header absent */
    const char *want;
};

static struct http_request request_of(enum http_method method, struct http_header *h, size_t n)
{
    size_t count = 0;
    for (size_t i = 0; i < n; i++)
        if (h[i].value.ptr)
            h[count++] = h[i];
    return (struct http_request){.method = method, .headers = h, .header_count = count};
}

#define CREDENTIALS                              \
    "Access-Control-Allow-Credentials: true\r\n" \
    "Access-Control-Expose-Headers: X-Stream-Id, Content-Disposition\r\n"

static void simple_answers_carry_the_origin_rules(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {NULL, "http://a", NULL, ""},
        {"", "http://a", NULL, ""},
        {"*", NULL, NULL, ""},
        {"*", "http://a", NULL, "Access-Control-Allow-Origin: *\r\n" CREDENTIALS},
        {"*", "http://a", "x=1",
         "Access-Control-Allow-Origin: http://a\r\nVary: Origin\r\n" CREDENTIALS},
        {"http://b, http://a", "http://a", NULL,
         "Access-Control-Allow-Origin: http://a\r\nVary: Origin\r\n" CREDENTIALS},
        {"http://b", "http://a", "x=1", CREDENTIALS},
        {"http://b", "http://B", NULL, CREDENTIALS},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct cors c;
        struct buf b = BUF_INIT(4096);
        struct http_header h[] = {{SPAN_LIT("Origin"), span_str(rows[i].origin)},
                                  {SPAN_LIT("Cookie"), span_str(rows[i].cookie)}};
        struct http_request r = request_of(HTTP_GET_, h, 2);
        assert_int_equal(cors_init(&c, rows[i].origins), 0);
        cors_put_headers(&c, &r, &b);
        assert_string_equal(buf_str(&b), rows[i].want);
        cors_done(&c);
        buf_done(&b);
    }
}

static void preflights_are_answered(void **state)
{
    (void)state;
    static const struct {
        const char *origins, *origin, *method, *headers;
        int status;
        const char *body, *want, *not ;
    } rows[] = {
        {"*", "http://a", "POST", "x-any, content-type", 200, "OK",
         "Access-Control-Allow-Headers: x-any, content-type\r\n", "Disallowed"},
        {"*", "http://a", "POST", NULL, 200, "OK",
         "Access-Control-Allow-Methods: DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT\r\n",
         "Allow-Headers"},
        {"*", "http://a", "POST", NULL, 200, "OK", "Access-Control-Allow-Origin: http://a\r\n",
         "*"},
        {"*", "http://a", "BREW", NULL, 400, "Disallowed CORS method",
         "Access-Control-Max-Age: 600\r\n", "OK"},
        {"http://a", "http://a", "PUT", "X-API-Key", 200, "OK",
         "Access-Control-Allow-Headers: Accept, Accept-Language, Authorization, Content-Language, "
         "Content-Type, X-API-Key\r\n",
         "*"},
        {"http://a", "http://b", "PUT", NULL, 400, "Disallowed CORS origin",
         "Access-Control-Allow-Methods: GET, POST, PUT, PATCH, DELETE, OPTIONS\r\n",
         "Access-Control-Allow-Origin"},
        {"http://a", "http://b", "BREW", "x-other", 400, "Disallowed CORS origin, method, headers",
         "Access-Control-Allow-Credentials: true\r\n", "Access-Control-Allow-Origin"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct cors c;
        struct buf b = BUF_INIT(4096), body = BUF_INIT(256);
        struct http_header h[] = {
            {SPAN_LIT("origin"), span_str(rows[i].origin)},
            {SPAN_LIT("access-control-request-method"), span_str(rows[i].method)},
            {SPAN_LIT("access-control-request-headers"), span_str(rows[i].headers)}};
        struct http_request r = request_of(HTTP_OPTIONS_, h, 3);
        assert_int_equal(cors_init(&c, rows[i].origins), 0);
        assert_true(cors_is_preflight(&c, &r));
        assert_int_equal(cors_preflight(&c, &r, &b, &body), rows[i].status);
        assert_string_equal(buf_str(&body), rows[i].body);
        assert_non_null(strstr(buf_str(&b), rows[i].want));
        assert_null(strstr(buf_str(&b), rows[i].not ));
        cors_done(&c);
        buf_done(&b);
        buf_done(&body);
    }
}

static void other_requests_are_no_preflight(void **state)
{
    (void)state;
    struct cors any, none;
    struct http_header h[] = {{SPAN_LIT("Origin"), SPAN_LIT("http://a")},
                              {SPAN_LIT("Access-Control-Request-Method"), SPAN_LIT("GET")}};
    struct http_request r = request_of(HTTP_OPTIONS_, h, 2);
    assert_int_equal(cors_init(&any, "*"), 0);
    assert_int_equal(cors_init(&none, NULL), 0);
    assert_true(cors_is_preflight(&any, &r));
    assert_false(cors_is_preflight(&none, &r));
    r.method = HTTP_GET_;
    assert_false(cors_is_preflight(&any, &r));
    r.method = HTTP_OPTIONS_;
    r.header_count = 1;
    assert_false(cors_is_preflight(&any, &r));
    cors_done(&any);
    cors_done(&none);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(simple_answers_carry_the_origin_rules),
        cmocka_unit_test(preflights_are_answered),
        cmocka_unit_test(other_requests_are_no_preflight),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
